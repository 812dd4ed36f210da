"""`yard predict` and `yard predictions`: rows in, predictions out."""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer
from msgspec import Struct
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

import modelyard
from modelyard.cli import output
from modelyard.cli.fragments import Fragments, task_of
from modelyard.cli.models import Model, Ref
from modelyard.cli.rows import Form, Part, Writer
from modelyard.cli.sdk import open_yard
from modelyard.cli.sources import PARQUET_ROWS, TEXT_ROWS, Source, polars_or_none, source_of
from modelyard.cli.suggest import suggestions
from modelyard.records import spans
from modelyard.records.errors import (
    BusyError,
    ForbiddenError,
    InvalidError,
    MalformedError,
    NotFoundError,
    TooLargeError,
    UnsupportedError,
    YardError,
)
from modelyard.records.models import Version
from modelyard.records.references import Reference

_TRIES = 8
_LONGEST_PAUSE = 10.0  # seconds
_PEEK = 64  # bytes
_WHOLE = 100  # per cent
_KEY = "key:"  # before the name of a kept column that is an output's, too; as the yard's own answers have it
_REFUSALS = (InvalidError, MalformedError, TooLargeError, UnsupportedError)  # the file's own fault


class _Answer(Struct, frozen=True):
    version: int
    predictions: list[Any]


def predict(
    ref: Ref,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV, JSON, JSON lines or Parquet; - is standard input.")
    ],
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to; by default standard output. Its name says the form."),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(help="Rows of one request; by default 5000, of Parquet 50000.", min=1, max=100_000),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="A column that goes beside the predictions; may be repeated. By default, of CSV and "
            "Parquet, those that the model does not take."
        ),
    ] = None,
) -> None:
    """Predict for the rows of a file of any size, in their order.

    The file is sent in parts, all answered by the version that answered the first. With -o they are kept in
    OUTPUT.parts until the output is whole: after a cut the same command goes on where it stopped.

    Example: yard predict finance/fuel-cost rows.parquet -o predictions.parquet

    Example: echo '[{"distance": 1400}]' | yard predict finance/fuel-cost -
    """
    yard, at = open_yard(), Reference.parse(ref)
    path = None if file == "-" else Path(file)
    with reading(path) as (stream, coming), suggestions(yard, ref):
        going = Form.of(to) if to else coming
        source = source_of(stream, path, coming)
        kept = _kept_of(yard, at, source.columns, keep, going)
        rows = rows or (PARQUET_ROWS if coming is Form.PARQUET else TEXT_ROWS)
        scoring = _Scoring(yard, at, source, coming, going, rows, kept)
        if to is not None:
            task = task_of(at.model, ref, path, rows, going, kept.names) if path else None
            scoring.into(Fragments(to.with_name(to.name + ".parts"), task, going), to)
        elif going is Form.PARQUET:
            with tempfile.TemporaryDirectory() as folder:
                whole = Path(folder, "whole.parquet")
                scoring.into(Fragments(Path(folder, "parts"), None, going), whole)
                sys.stdout.buffer.write(whole.read_bytes())
        else:
            scoring.onto(sys.stdout.buffer)


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
    output.note(f"{to} is written: {spans.size(size)}.")


class _Kept(Struct, frozen=True):
    """What of the file goes beside the predictions.

    Attributes:
        names: its columns.
        others: how many columns the model does not take, or None where that is not known.
    """

    names: tuple[str, ...] = ()
    others: int | None = None


def _kept_of(
    yard: modelyard.Yard, at: Reference, columns: Sequence[str], keep: list[str] | None, going: Form
) -> _Kept:
    """The columns named, or those that the model does not take."""
    if going in (Form.CSV, Form.PARQUET) and columns:
        _check_named(keep, columns)
        others = _not_taken(yard, at, columns)
        names = keep if keep is not None else others or ()
        return _Kept(tuple(names), None if others is None else len(others))
    _check_named(keep, ())
    return _Kept()


def _not_taken(yard: modelyard.Yard, at: Reference, columns: Sequence[str]) -> list[str] | None:
    try:
        found = yard.show(f"{at.model}@{at.alias or 'champion'}" if at.version is None else str(at))
    except (ForbiddenError, NotFoundError):  # may predict, and not look
        return None
    taken = {c.name for c in found.bundle.signature.inputs} if isinstance(found, Version) else ()
    return [name for name in columns if name not in taken]


def _check_named(keep: list[str] | None, columns: Sequence[str]) -> None:
    strange = [name for name in keep or () if name not in columns]
    if strange and columns:
        raise InvalidError(f"The file has no column {strange[0]!r}.", f"It has {', '.join(columns)}.")
    if strange:
        raise InvalidError("--keep goes from CSV or Parquet to CSV or Parquet.", "Leave it out.")


class _Scoring:
    """The rows of a source, answered part by part."""

    def __init__(  # whom is asked, of what, in which forms
        self,
        yard: modelyard.Yard,
        at: Reference,
        source: Source,
        coming: Form,
        going: Form,
        rows: int,
        kept: _Kept,
    ) -> None:
        self._yard, self._at, self._source = yard, at, source
        self._coming, self._going = coming, going
        self._part_rows, self._kept = rows, kept
        self._rows = 0

    def into(self, fragments: Fragments, to: Path) -> None:
        """Answer what is not yet among the fragments, and put them together."""
        if fragments.rows:
            self._rows = fragments.rows
            self._at = Reference(self._at.department, self._at.name, version=fragments.version)
            output.note(f"{fragments.rows:,} rows are there already; going on behind them.")
        try:
            for part in self._parts(fragments.parts):
                content, version = self._answered(part)
                fragments.add(content, part.rows, version)
            self._refuse_none()
            fragments.write_to(to)
        except BaseException as error:
            if fragments.rows and not isinstance(error, _REFUSALS):
                words = f"{fragments.rows:,} predicted rows are kept beside {to.name}"
                output.note(f"{words}; give the same command again to go on behind them.")
            else:
                fragments.remove()
            raise
        fragments.remove()

    def onto(self, target: BinaryIO) -> None:
        """Answer all and write it as it comes."""
        target.writelines(self._answered(part)[0] for part in self._parts(0))
        self._refuse_none()
        writer = Writer(target, self._going)
        writer.rows = self._rows
        writer.close()
        target.flush()

    def _refuse_none(self) -> None:
        if self._rows == 0:
            raise InvalidError("There are no rows in the file.", "A CSV has a header line, then rows.")

    def _parts(self, after: int) -> Iterator[Part]:
        with _progress() as progress:
            task = progress.add_task("predicted", total=_WHOLE, rows=self._rows)
            for part in self._source.parts(self._part_rows, self._kept.names, after):
                yield part
                progress.update(task, completed=self._source.read() * _WHOLE, rows=self._rows)

    def _answered(self, part: Part) -> tuple[bytes, int]:
        """A part of the output, and the version that answered it."""
        try:
            content, version = self._ask(part)
        except YardError as error:
            if self._rows:  # the yard counts the rows of a request
                error.message = f"In the part that begins at row {self._rows}: {error.message}"
            raise
        self._rows += part.rows
        self._at = Reference(self._at.department, self._at.name, version=version)
        return content, version

    def _ask(self, part: Part) -> tuple[bytes, int]:
        if self._going is Form.PARQUET:
            body, version = self._post(part.body, Form.PARQUET.content_type)
            return self._beside(part, body), version
        body, version = self._post(part.body, Form.JSON.content_type)
        answer = msgspec.json.decode(body, type=_Answer)
        _check_rows(len(answer.predictions), part.rows)
        text = io.BytesIO()
        writer = Writer(text, self._going)
        writer.rows = self._rows
        writer.write(answer.predictions, part.kept)
        return text.getvalue(), version

    def _beside(self, part: Part, body: bytes) -> bytes:
        """Predictions as Parquet, with the kept columns in the file's own types: the yard has text."""
        polars = polars_or_none()
        table = polars.read_parquet(io.BytesIO(body))
        _check_rows(table.height, part.rows)
        if self._kept.others is not None:  # they stand before the outputs
            table = table.select(table.columns[self._kept.others :])
        else:
            table = table.drop(list(part.kept), strict=False)
        kept = polars.DataFrame(dict(part.kept))
        kept = kept.rename({name: _KEY + name for name in kept.columns if name in table.columns})
        out = io.BytesIO()
        polars.DataFrame([*kept, *table]).write_parquet(out)
        return out.getvalue()

    def _post(self, body: bytes, accept: str) -> tuple[bytes, int]:
        at = self._at
        inner = f"/versions/{at.version}" if at.version else f"/aliases/{at.alias}" if at.alias else ""
        path = f"/models/{at.model}{inner}/predict"
        content, headers = asked(self._yard, path, body, self._coming.content_type, accept)
        return content, int(headers.get("x-yard-version", "/0").rpartition("/")[2])


def asked(
    yard: modelyard.Yard, path: str, body: bytes, content_type: str, accept: str = "application/json"
) -> tuple[bytes, Mapping[str, str]]:
    """The answer to one request; a yard that is busy is asked again after the time it says."""
    for attempt in range(_TRIES):
        try:
            return yard.connection.ask(path, body, content_type, accept)
        except BusyError as error:
            if attempt == _TRIES - 1:
                raise
            time.sleep(min(error.retry_after, _LONGEST_PAUSE))
    raise AssertionError("unreachable")  # pragma: no cover


def _check_rows(answered: int, asked: int) -> None:
    if answered != asked:
        raise InvalidError(
            f"The yard answered {answered} rows to {asked}.",
            "Is the file as its name says? Send it as JSON to be sure.",
        )


@contextmanager
def reading(path: Path | None) -> Iterator[tuple[BinaryIO, Form]]:
    """A file of rows, or standard input (None), and its form."""
    if path is None:
        with open(sys.stdin.fileno(), "rb", closefd=False) as source:
            yield source, Form.sniff(source.peek(_PEEK))
        return
    form = Form.of(path)
    with path.open("rb") as file:
        yield file, form


@contextmanager
def _writing(to: Path) -> Iterator[BinaryIO]:
    """A file that is there only once it is whole."""
    part = to.with_name(to.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(to)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _progress() -> Progress:
    """How far it is, on standard error and only where a person sees it."""
    rows = TextColumn("{task.fields[rows]:,} rows {task.description}")
    console = output.words()
    shown = (rows, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*shown, console=console, transient=True, disable=not console.is_terminal)
