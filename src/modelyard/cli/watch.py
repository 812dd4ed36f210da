"""`yard outcomes`, `yard watch` and `yard keep`: how well a model does once it is at sea."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Struct

from modelyard.cli import output
from modelyard.cli.models import Model
from modelyard.cli.predict import asked, reading
from modelyard.cli.sdk import open_yard
from modelyard.cli.sources import source_of
from modelyard.cli.suggest import suggestions
from modelyard.cli.watched import Outcomes, Watched, print_watched
from modelyard.records.errors import InvalidError
from modelyard.records.predictions import Finding, Keeping
from modelyard.records.references import Reference


class _Accepted(Struct, frozen=True):
    accepted: int


def outcomes(
    model: Model,
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="CSV, JSON, JSON lines or Parquet; - is standard input."),
    ] = None,
    rows: Annotated[int, typer.Option(help="Rows of one request.", min=1, max=1_000_000)] = 50_000,
    as_json: output.Json = False,
) -> None:
    """Send what really happened: `actual`, with `request_id` and `row`, or with the model's key columns.

    Without a file: how many outcomes have met their prediction, and how many wait for one.

    Example: yard outcomes operations/arrival-delay landed.csv
    """
    yard, at = open_yard(), Reference.parse(model)
    with suggestions(yard, model):
        if file is not None:
            output.note(f"{_send(at, file, rows):,} outcomes are accepted.")
            return
        found = yard.connection.get(f"/api/v1/models/{at.model}/outcomes", msgspec.Raw)
    if as_json:
        output.print_json(msgspec.json.decode(found))
        return
    state = msgspec.json.decode(found, type=Outcomes)
    output.print_facts([("labelled", f"{state.labelled:,}"), ("waiting", f"{state.waiting:,}")])


def _send(at: Reference, file: str, rows: int) -> int:
    yard, accepted = open_yard(), 0
    path = None if file == "-" else Path(file)
    with reading(path) as (stream, form):
        for part in source_of(stream, path, form).parts(rows, (), 0):
            body, _ = asked(yard, f"/models/{at.model}/outcomes", part.body, form.content_type)
            accepted += msgspec.json.decode(body, type=_Accepted).accepted
    if not accepted:
        raise InvalidError("There are no rows in the file.", "A CSV has a header line, then rows.")
    return accepted


def watch(
    model: Model,
    acknowledge: Annotated[int | None, typer.Option(help="Say that you have seen this finding.")] = None,
    as_json: output.Json = False,
) -> None:
    """How well a model does: its days, its metrics with their intervals, and what was noticed.

    Example: yard watch operations/arrival-delay
    """
    yard, at = open_yard(), Reference.parse(model)
    with suggestions(yard, model):
        path = f"/api/v1/models/{at.model}"
        if acknowledge is not None:
            seen = yard.connection.send("POST", f"{path}/findings/{acknowledge}/acknowledge", Finding, {})
            output.note(f"Finding {seen.id} is acknowledged by {seen.acknowledged_by}.")
            return
        found = yard.connection.get(f"{path}/watch", msgspec.Raw)
    if as_json:
        output.print_json(msgspec.json.decode(found))
        return
    print_watched(str(at.model), msgspec.json.decode(found, type=Watched))


def keep(
    model: Model,
    days: Annotated[int | None, typer.Option(help="Rows older than so many days are deleted.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column that is not kept.")] = None,
    hash_: Annotated[
        list[str] | None, typer.Option("--hash", help="A column of which a keyed hash is kept.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """How long a model's predictions are kept, and which columns are dropped or hashed.

    Columns that are named take the place of those named before.

    Example: yard keep finance/fuel-cost --days 90 --drop name --hash customer
    """
    yard, at = open_yard(), Reference.parse(model)
    path = f"/api/v1/models/{at.model}/keeping"
    with suggestions(yard, model):
        rule = yard.connection.get(path, Keeping)
        if days is not None or drop or hash_:
            rule = Keeping(
                rule.days if days is None else days,
                tuple(drop) if drop else rule.drop,
                tuple(hash_) if hash_ else rule.hash,
            )
            rule = yard.connection.send("PUT", path, Keeping, rule)
    whole = {"days": rule.days, "drop": list(rule.drop), "hash": list(rule.hash)}
    if as_json:
        output.print_json(whole)
    else:
        output.print_facts([(k, ", ".join(v) if isinstance(v, list) else v) for k, v in whole.items()])
