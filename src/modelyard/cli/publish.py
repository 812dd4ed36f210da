"""`yard publish`: files become a version."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.sdk import open_yard
from modelyard.records.errors import InvalidError
from modelyard.records.models import VersionState
from modelyard.records.references import CHAMPION


def publish(  # noqa: PLR0913, PLR0917 - each is an option of the command
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A bundle's folder, a model's file (.pkl, .rds, .jls) or a folder of code."
        ),
    ],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="department/name.")],
    language: Annotated[
        str | None, typer.Option(help="python, r or julia, where the file's name does not say it.")
    ] = None,
    entry: Annotated[
        str | None, typer.Option(help="module:function or module:Class in a folder of code.")
    ] = None,
    example: Annotated[
        Path | None, typer.Option(help="CSV file with rows of input, which say which columns it takes.")
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option(help="File with exact packages, as `pip freeze` writes it.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="What you measured, as mae=12.1; may be repeated.")
    ] = None,
    missing: Annotated[
        list[str] | None, typer.Option(help="A column that may miss values; may be repeated.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="For the runtime, as method=predict; may be repeated.")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Point this alias to it once it is checked.")] = None,
    why: Annotated[str, typer.Option(help="A reason, for the alias's history.")] = "",
    description: Annotated[str, typer.Option(help="A sentence about this version.")] = "",
    wait: Annotated[bool, typer.Option(help="Wait until it is checked.")] = True,
    as_json: output.Json = False,
) -> None:
    """Publish a new version of a model, and wait until it is checked.

    Example: yard publish model.rds finance/fuel-cost --example rows.csv --metric mae=12.1

    Example: yard publish ./bundle operations/arrival-delay --alias champion --why "retrained on March"
    """
    yard = open_yard(progress=None if as_json else output.note)
    version = yard.publish_path(
        path,
        model,
        example=example,
        language=language,
        entry=entry,
        metrics={name: _number(name, text) for name, text in _pairs("metric", metric).items()} or None,
        alias=alias,
        why=why,
        description=description,
        missing=missing or None,
        requirements=requirements,
        options=_pairs("option", option) or None,
        wait=wait,
    )
    if as_json:
        output.print_json(version)
        return
    name = f"{version.model}/{version.version}"
    aliases = f" as {', '.join('@' + a for a in version.aliases)}" if version.aliases else ""
    output.note(f"{name} is {version.state}{aliases}.")
    if version.state is VersionState.CHECKED:
        live = CHAMPION in version.aliases
        output.note(f"Next: yard predict {version.model if live else name} rows.csv")
        if not live:
            output.note(f"  or: yard promote {name}")


def _pairs(what: str, given: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InvalidError(f"--{what} {text!r} is not a name and a value.", f"Write --{what} name=value.")
        if name in found:
            raise InvalidError(f"--{what} {name} is given twice.", "Give it once.")
        found[name] = value
    return found


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidError(f"The metric {name} is {text!r}, not a number.", "Write it as --metric mae=12.1.")
    return number
