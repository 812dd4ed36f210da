"""Writes the TOML a bundle needs: tables of strings, numbers, booleans and arrays of strings."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence

from modelyard.records.errors import InvalidError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_toml(document: Mapping[str, object]) -> str:
    """A document as TOML text.

    Values are str, bool, int, float, sequences of these, mappings (tables) and sequences of mappings
    (arrays of tables). None is left out.

    Raises:
        InvalidError: a string that is not Unicode text.

    >>> print(write_toml({"format": 1, "metrics": {"mae": 12.5}}), end="")
    format = 1
    <BLANKLINE>
    [metrics]
    mae = 12.5
    """
    lines = [f"{_key(k)} = {_value(v)}" for k, v in document.items() if v is not None and not _is_table(v)]
    for key, value in document.items():
        _tables([key], value, lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) or _is_tables(value)


def _is_tables(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _tables(path: list[str], value: object, lines: list[str]) -> None:
    name = ".".join(map(_key, path))
    if isinstance(value, Mapping):
        plain = {k: v for k, v in value.items() if v is not None and not _is_table(v)}
        if plain or not value:
            lines += ["", f"[{name}]", *(f"{_key(k)} = {_value(v)}" for k, v in plain.items())]
        for key, inner in value.items():
            _tables([*path, key], inner, lines)
    elif isinstance(value, (list, tuple)) and _is_tables(value):
        for table in value:
            lines += [
                "",
                f"[[{name}]]",
                *(f"{_key(k)} = {_value(v)}" for k, v in table.items() if v is not None),
            ]


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else str(float(value))
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise InvalidError(f"A {type(value).__name__} cannot be written to a bundle's TOML.")


def _string(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidError(f"{text!a} is not Unicode text (a lone surrogate).", "Correct it.") from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
