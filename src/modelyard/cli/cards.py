"""`yard card`: what a model is for, read and written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.models import Ref
from modelyard.cli.sdk import open_yard
from modelyard.cli.suggest import suggestions
from modelyard.records.errors import InvalidError
from modelyard.records.models import Card
from modelyard.records.references import Reference


def card(
    ref: Ref,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Markdown to keep; '-' reads standard input.", show_default=False
        ),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Print a model's card, or write it: what it is for, what not, whom to ask.

    A card holds from a version on (by default the one in use) until another is written.

    Example: yard card finance/fuel-cost card.md
    """
    yard = open_yard()
    reference = Reference.parse(ref)
    path = f"/api/v1/models/{reference.model}/card"
    with suggestions(yard, ref):
        if file is None:
            told = {} if reference.version is None else {"version": reference.version}
            found = yard.connection.get(path, Card, **told)
        else:
            body: dict[str, Any] = {"text": _read(file), "version": reference.version}
            found = yard.connection.send("PUT", path, Card, body)
    if as_json:
        output.print_json(found)
    elif file is not None:
        output.note(f"The card of {found.model} is kept, from version {found.version} on.")
    elif found.text:
        sys.stdout.write(f"{found.text}\n")
    else:
        output.note(f"{found.model} has no card yet. Write one: yard card {found.model} FILE.")


def _read(file: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{file} is not text in UTF-8.", "Save it as UTF-8.") from error
