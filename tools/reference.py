"""Writes docs/reference/ from the code itself: `python -m tools.reference`. Tests compare the two."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from modelyard.api.application import api_schema
from modelyard.api.errors import STATUSES
from modelyard.cli.main import app
from modelyard.records.errors import YardError
from modelyard.records.people import MATRIX, Need

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
_MADE = "<!-- Written by `python -m tools.reference` from the code; change it there. -->\n"

_HTTP = """\
# HTTP reference

Send `Authorization: Bearer TOKEN` with every request but the probes. Bodies are JSON in UTF-8
(`Content-Type: application/json`) where nothing else is said, and unknown keys are refused. Names are
`[a-z][a-z0-9-]{0,62}`, versions whole numbers from 1. The same as OpenAPI is at `/api/openapi.json`.

```
curl -H "Authorization: Bearer $YARD_TOKEN" $YARD_URL/api/v1/models
```
"""
_BESIDE = """\
## Beside this API

| address | what | needs |
|---|---|---|
| `/v2/…` | Open Inference Protocol v2, with the model name `department.name` | predict |
| `/metrics` | Prometheus, for the departments that you see | signed-in |
"""
_CLI = """\
# Command reference

`YARD_URL` and `YARD_TOKEN` say which yard and who you are; else what `yard login` remembered. A `REF` is
`department/name`, `department/name@alias` or `department/name/7`. Results go to standard output, everything
else to standard error. Exit codes: 0 all went well, 1 it did not (the words say why and what to do), 2 the
command was written wrongly, 130 Ctrl-C.
"""


def http_page() -> str:
    """docs/reference/http.md."""
    schema = api_schema("")
    parts = [
        _MADE,
        _HTTP,
        _needs(),
        _errors(),
        "## Addresses\n\n| | address | needs | what |\n|---|---|---|---|",
    ]
    operations = [
        (path, method.upper(), operation)
        for path, item in schema["paths"].items()
        for method, operation in item.items()
    ]
    parts.append(
        "\n".join(f"| {m} | `{p}` | {o['x-need']} | {o['summary']} |" for p, m, o in operations) + "\n"
    )
    parts.append(_BESIDE)
    parts += [_operation(path, method, o, schema) for path, method, o in operations]
    return "\n".join(parts)


def cli_page() -> str:
    """docs/reference/cli.md."""
    return "\n".join([_MADE, _CLI, _contents(), *(_command(path, command) for path, command in commands())])


def commands() -> Iterator[tuple[str, Any]]:
    """Every command, as it is typed, with Typer's object for it."""
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        if inner:
            if command.invoke_without_command:  # a group that does something by itself
                yield f"yard {name}", command
            yield from ((f"yard {name} {below}", found) for below, found in inner.items())
        else:
            yield f"yard {name}", command


def _needs() -> str:
    lines = ["## Who may what\n", "| need | roles |", "|---|---|"]
    for need in Need:
        open_to = {Need.NOTHING: "anyone", Need.SIGNED_IN: "every role; listings hold what one may see"}
        roles = open_to.get(need) or ", ".join(role for role, needs in MATRIX.items() if need in needs)
        lines.append(f"| {need} | {roles} |")
    lines.append("\nA department's role counts in that department alone.")
    lines.append("What belongs to others is 404, as if it were not there.\n")
    return "\n".join(lines)


def _errors() -> str:
    lines = [
        "## Errors\n",
        "`application/problem+json`: `type`, `title`, `status`, `detail` (what happened and why), `hint`",
        "(what to do), and where it applies `column`, `row` or `field`. Every answer has an `X-Request-Id`;",
        "with a fault of the yard, its log has more under it.\n",
        "| status | `type` ends in | title |",
        "|---|---|---|",
    ]
    own = {kind for kind, _, _ in STATUSES}
    for kind, status, title in STATUSES:
        codes = [kind.code, *(below.code for below in _below(kind) if below not in own)]
        lines.append(f"| {status} | {', '.join(f'`{code}`' for code in codes)} | {title} |")
    return "\n".join(lines) + "\n"


def _below(kind: type[YardError]) -> list[type[YardError]]:
    """The house's own errors that are derived from one; the SDK has further ones of its own."""
    return [below for below in kind.__subclasses__() if below.__module__ == YardError.__module__]


def _operation(path: str, method: str, operation: dict[str, Any], schema: dict[str, Any]) -> str:
    lines = [f"## {method} {path}\n", f"{operation['summary']}. {operation['description']}\n"]
    inner = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
    lines += [f"- `?{p['name']}=`{_about(p)}" for p in inner]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        lines.append(f"- body `{kind}`{_keys(content['schema'], schema)}")
    for status, answer in operation["responses"].items():
        for kind, content in answer.get("content", {}).items():
            if status != "default":
                lines.append(f"- answer {status} `{kind}`{_keys(content['schema'], schema)}")
    return "\n".join(lines) + "\n"


def _about(parameter: dict[str, Any]) -> str:
    words = parameter.get("description", "")
    return f" {words}" if words else ""


def _keys(found: dict[str, Any], schema: dict[str, Any]) -> str:
    many = found.get("type") == "array"
    inner = found.get("items", {}) if many else found
    name = inner.get("$ref", "").rpartition("/")[2]
    if not name:
        return ""
    keys = ", ".join(f"`{key}`" for key in schema["components"]["schemas"][name]["properties"])
    return f": {'an array of ' if many else ''}{name} ({keys})"


def _command(path: str, command: Any) -> str:  # noqa: ANN401 - Typer keeps its own kinds of command
    is_group = hasattr(command, "commands")  # whose own help is of all that is below it
    told = inspect.getdoc(command.callback) if is_group else command.help
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", (told or "").strip())
    examples = re.findall(r"Example: (.+)", text)
    words = re.sub(r"\s*Example: .+", "", text).strip()
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([path, "[OPTIONS]", *map(_argument, arguments)])
    lines = [f"## {path}\n", "```", usage, "```", f"\n{words}\n"]
    for param in command.params:
        names = _argument(param) if param in arguments else ", ".join([*param.opts, *param.secondary_opts])
        if param.name != "help":
            lines.append(f"- `{names}` {getattr(param, 'help', '') or ''}".rstrip())
    lines += ["", "```", *examples, "```"]
    return "\n".join(lines) + "\n"


def _argument(param: Any) -> str:  # noqa: ANN401 - the same
    """An argument as a usage has it; in brackets where it may be left out."""
    name = (param.metavar or param.name or "").strip("{}[]").upper()
    return name if param.required else f"[{name}]"


def _contents() -> str:
    """All commands with the first sentence of each, so that one finds the right one."""
    lines = ["| command | what it does |", "|---|---|"]
    for path, command in commands():
        told = inspect.getdoc(command.callback) or ""
        first = " ".join(told.partition("\n\n")[0].split())
        lines.append(f"| [`{path}`](#{path.replace(' ', '-')}) | {first} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in (("http.md", http_page()), ("cli.md", cli_page())):
        (FOLDER / name).write_text(page, encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
