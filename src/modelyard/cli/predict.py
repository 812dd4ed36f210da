"""`yard predict` and `yard predictions`: rows in, predictions out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer
from msgspec import Struct
from rich.progress import Progress, TextColumn, TimeElapsedColumn

import modelyard
from modelyard.cli import output
from modelyard.cli.models import Model, Ref
from modelyard.cli.rows import Form, Writer, parts
from modelyard.cli.sdk import open_yard
from modelyard.cli.suggest import suggestions
from modelyard.records.errors import BusyError, InvalidError, YardError
from modelyard.records.references import Reference

_TRIES = 8
_LONGEST_PAUSE = 10.0  # seconds
_PEEK = 64  # bytes


class _Answer(Struct, frozen=True):
    version: int
    predictions: list[Any]


def predict(
    ref: Ref,
    file: Annotated[str, typer.Argument(help="CSV, JSON, JSON lines or Parquet; - is standard input.")],
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to; by default standard output. Its name says the form."),
    ] = None,
    rows: Annotated[int, typer.Option(help="Rows of one request.", min=1, max=100_000)] = 5_000,
) -> None:
    """Predict for the rows of a file, in their order.

    CSV and JSON are sent in parts, all answered by the version that answered the first. Parquet, in or out,
    is one request.

    Example: yard predict finance/fuel-cost rows.csv -o predictions.csv

    Example: echo '[{"distance": 1400}]' | yard predict finance/fuel-cost -
    """
    yard, at = open_yard(), Reference.parse(ref)
    with _reading(file) as (source, coming), suggestions(yard, ref):
        going = Form.of(to) if to else coming
        with _writing(to) as target:
            if Form.PARQUET in (coming, going):
                target.write(_whole(yard, at, source.read(), coming, going))
            else:
                _in_parts(yard, at, source, coming, Writer(target, going), rows)


def predictions(
    model: Model,
    to: Annotated[Path, typer.Option("--output", "-o", help="The Parquet file to write.")],
    since: Annotated[
        datetime | None,
        typer.Option(help="From this time on, UTC.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    ] = None,
) -> None:
    """Write the recorded predictions of a model, with what was asked, into a Parquet file.

    Example: yard predictions finance/fuel-cost -o predictions.parquet --since 2026-01-01
    """
    yard, at = open_yard(), Reference.parse(model)
    words = {} if since is None else {"since": since.isoformat() + "Z"}
    with suggestions(yard, model), _writing(to) as file:
        size = yard.connection.download(f"/api/v1/models/{at.model}/predictions", file, **words)
    output.note(f"{to} is written: {output.size(size)}.")


def _in_parts(
    yard: modelyard.Yard, at: Reference, source: BinaryIO, form: Form, writer: Writer, rows: int
) -> None:
    with _progress() as progress:
        task = progress.add_task("predicted", total=None)
        for part in parts(source, form, rows):
            try:
                body = _ask(yard, at, part.body, form.content_type)
            except YardError as error:
                if writer.rows:  # the yard counts the rows of a request
                    error.message = f"In the part that begins at row {writer.rows}: {error.message}"
                raise
            answer = msgspec.json.decode(body, type=_Answer)
            if len(answer.predictions) != part.rows:
                raise InvalidError(
                    f"The yard answered {len(answer.predictions)} rows to {part.rows}.",
                    "Is the file as its name says? Send it as JSON to be sure.",
                )
            writer.write(answer.predictions)
            at = Reference(at.department, at.name, version=answer.version)
            progress.advance(task, part.rows)
    if writer.rows == 0:
        raise InvalidError("There are no rows in the file.", "A CSV has a header line, then rows.")
    writer.close()


def _whole(yard: modelyard.Yard, at: Reference, body: bytes, coming: Form, going: Form) -> bytes:
    if Form.JSON_LINES in (coming, going):
        raise InvalidError("Parquet and JSON lines do not go together.", "Use .csv or .json with Parquet.")
    answer = _ask(yard, at, body, coming.content_type, going.content_type)
    if going is not Form.JSON:
        return answer
    return msgspec.json.encode(msgspec.json.decode(answer, type=_Answer).predictions) + b"\n"


def _ask(
    yard: modelyard.Yard, at: Reference, body: bytes, content_type: str, accept: str = "application/json"
) -> bytes:
    """One request; a yard that is busy is asked again after the time it says."""
    inner = f"/versions/{at.version}" if at.version else f"/aliases/{at.alias}" if at.alias else ""
    path = f"/models/{at.model}{inner}/predict"
    for _ in range(_TRIES - 1):
        try:
            return yard.connection.post(path, body, content_type, accept)
        except BusyError as error:
            time.sleep(min(error.retry_after, _LONGEST_PAUSE))
    return yard.connection.post(path, body, content_type, accept)


@contextmanager
def _reading(name: str) -> Iterator[tuple[BinaryIO, Form]]:
    if name == "-":
        with open(sys.stdin.fileno(), "rb", closefd=False) as source:
            yield source, Form.sniff(source.peek(_PEEK))
        return
    form = Form.of(Path(name))
    with Path(name).open("rb") as file:
        yield file, form


@contextmanager
def _writing(to: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there only once it is whole."""
    if to is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = to.with_name(to.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(to)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _progress() -> Progress:
    """Rows so far, on standard error and only where a person sees it."""
    columns = (TextColumn("{task.completed:,.0f} rows {task.description}"), TimeElapsedColumn())
    console = output.words()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
