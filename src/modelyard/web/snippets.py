"""The same call in other words: curl, Python, R and Julia, ready to copy. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MANY = 12  # columns; of more the record stands on lines of its own


def snippets(site: str, model: str, version: int | None, record: Mapping[str, Any]) -> dict[str, str]:
    """The call in each language, by the language's name.

    Args:
        site: the yard's address.
        version: asked for by its number; None: whatever version is in use.
    """
    return {
        "curl": _curl(site, model, version, record),
        "Python": _python(model, version, record),
        "R": _r(model, version, record),
        "Julia": _julia(model, version, record),
    }


def _reference(model: str, version: int | None) -> str:
    return model if version is None else f"{model}/{version}"


def _curl(site: str, model: str, version: int | None, record: Mapping[str, Any]) -> str:
    part = "" if version is None else f"/versions/{version}"
    body = json.dumps([record], ensure_ascii=False, indent=1 if len(record) > MANY else None)
    quoted = body.replace("'", "'\\''")
    return (
        f"curl '{site}/models/{model}{part}/predict' \\\n"
        f'  -H "Authorization: Bearer $YARD_TOKEN" \\\n'
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d '{quoted}'"
    )


def _python(model: str, version: int | None, record: Mapping[str, Any]) -> str:
    pairs = [f"{_string(name)}: {_python_value(value)}" for name, value in record.items()]
    return f'import modelyard as yard\n\nyard.predict("{_reference(model, version)}", [{{{_joined(pairs)}}}])'


def _r(model: str, version: int | None, record: Mapping[str, Any]) -> str:
    pairs = [f"{_r_name(name)} = {_r_value(value)}" for name, value in record.items()]
    rows = f"data.frame({_joined([*pairs, 'check.names = FALSE'])})"
    return f'library(modelyard)\n\nyard_predict("{_reference(model, version)}", {rows})'


def _julia(model: str, version: int | None, record: Mapping[str, Any]) -> str:
    pairs = [f"{_julia_string(name)} => {_julia_value(value)}" for name, value in record.items()]
    return f'using Modelyard\n\npredict("{_reference(model, version)}", [Dict({_joined(pairs)})])'


def _joined(pairs: list[str]) -> str:
    return ", ".join(pairs) if len(pairs) <= MANY else "\n  " + ",\n  ".join(pairs) + "\n"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _python_value(value: object) -> str:
    return _string(value) if isinstance(value, str) else repr(value)


def _r_name(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return name if name.isidentifier() and name.isascii() and not name.startswith("_") else f"`{escaped}`"


def _r_value(value: object) -> str:
    if value is None:
        return "NA"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int):
        return f"{value}L" if abs(value) < 2**31 else f"{value}"
    return _string(value) if isinstance(value, str) else repr(value)


def _julia_string(text: str) -> str:
    return _string(text).replace("$", "\\$")


def _julia_value(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    return _julia_string(value) if isinstance(value, str) else repr(value)
