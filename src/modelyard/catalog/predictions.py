"""Recorded predictions of one model, as a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import polars as pl

from modelyard.catalog.frames import PREDICTIONS, Most, Piles, table_of
from modelyard.catalog.history import Found, History, Opened, in_time
from modelyard.records.errors import NotFoundError
from modelyard.records.predictions import INPUT, OUTPUT

OWN = ("request", "row", "at", "version", "route", "caller", "seconds", "keys")
_FRAMES_A_CHUNK = 20_000
_ROWS_A_CHUNK = 200_000
_BYTES_A_CHUNK = 64 * 1024 * 1024


class Piece(NamedTuple):
    """Rows on disk that are in the order of time, and the times of the first and the last."""

    first: datetime
    last: datetime
    path: Path


def export(
    history: History, model: str, since: datetime | None, to: Path, hidden: frozenset[str] = frozenset()
) -> int:
    """Write a model's recorded predictions, oldest first, to a Parquet file; how many rows.

    One row a row asked: `request`, `row`, `at` (UTC), `version`, `route`, `caller`, `seconds`, `keys` (JSON),
    then the inputs and the outputs under their own names (`in:NAME` or `out:NAME` where that is taken).
    Memory is bounded by the rows of a chunk and of segments that overlap in time, not by the file.

    Args:
        since: only what was answered at or after this time (UTC if it has no zone).
        hidden: inputs and keys to leave out, for their columns are marked in the data of the model.

    Raises:
        NotFoundError: nothing is recorded.
    """
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    with TemporaryDirectory(dir=to.parent, prefix="export-") as scratch:
        opened = history.open(model, since)
        pieces = [*_shipped(history, opened, Path(scratch)), *_pending(opened, model, Path(scratch))]
        parts = [_in_order(group, since) for group in _overlapping(pieces)]
        if not parts:
            raise _nothing(model, since)
        _without(pl.concat(parts, how="diagonal_relaxed"), hidden).sink_parquet(to)
    rows = int(pl.scan_parquet(to).select(pl.len()).collect().item())
    if not rows:
        to.unlink()
        raise _nothing(model, since)
    return rows


def _without(table: pl.LazyFrame, hidden: frozenset[str]) -> pl.LazyFrame:
    if not hidden:
        return table
    names = {f"{side}{name}" for name in hidden for side in ("", INPUT)} - set(OWN)
    table = table.drop(names, strict=False)
    if "keys" not in table.collect_schema().names():
        return table
    return table.with_columns(pl.col("keys").map_elements(partial(_keep, hidden), return_dtype=pl.String))


def _keep(hidden: frozenset[str], keys: str) -> str:
    told = msgspec.json.decode(keys)
    return msgspec.json.encode({name: value for name, value in told.items() if name not in hidden}).decode()


def _nothing(model: str, since: datetime | None) -> NotFoundError:
    return NotFoundError(
        f"No prediction of {model} is recorded{' since then' if since else ''}.",
        "They are recorded as soon as something answers for it.",
    )


def _shipped(history: History, opened: Opened, scratch: Path) -> Iterator[Piece]:
    dropped = opened.keeper.only_drops()  # they were hashed when they were shipped
    for segment in opened.segments:
        fetched, path = scratch / "segment", scratch / f"segment-{segment.id}.parquet"
        history.fetch(segment, fetched)
        version = pl.lit(segment.version, pl.Int64).alias("version")
        table = dropped(pl.read_parquet(fetched).with_columns(version))
        table.select(_shown(table.columns)).write_parquet(path)
        yield Piece(segment.first_at, segment.last_at, path)


def _pending(opened: Opened, model: str, scratch: Path) -> Iterator[Piece]:
    for number, chunk in enumerate(_in_chunks(in_time(opened.files, model))):
        tables = [
            opened.keeper(table_of(piles)).with_columns(pl.lit(version, pl.Int64).alias("version"))
            for version, piles in chunk.by(lambda head: head.version).items()
        ]
        shown = [table.select(_shown(table.columns)) for table in tables]
        table = pl.concat(shown, how="diagonal_relaxed").sort("at", maintain_order=True)
        path = scratch / f"spool-{number}.parquet"
        table.write_parquet(path)
        yield Piece(table["at"][0], table["at"][-1], path)


def _in_chunks(found: Iterator[Found]) -> Iterator[Piles]:
    predicted = (each for each in found if each[0][1].verb == PREDICTIONS)
    most = Most(_FRAMES_A_CHUNK, _ROWS_A_CHUNK, _BYTES_A_CHUNK)
    while (chunk := Piles()).fill(predicted, most):
        yield chunk


def _overlapping(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Groups of pieces, in the order of time; what is in different groups is not at the same time."""
    group: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: (p.first, p.last)):
        if group and piece.first > max(p.last for p in group):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _in_order(group: list[Piece], since: datetime | None) -> pl.LazyFrame:
    rows = pl.concat([pl.scan_parquet(p.path) for p in group], how="diagonal_relaxed")
    if len(group) > 1:
        rows = rows.sort("at", maintain_order=True)
    return rows if since is None else rows.filter(pl.col("at") >= since)


def _shown(names: list[str]) -> list[pl.Expr]:
    """The columns under the names they have in the file, its own ones first."""
    outputs = {name.removeprefix(OUTPUT) for name in names if name.startswith(OUTPUT)}
    taken = outputs.union(OWN)
    own = [name for name in ("at", "version", *OWN) if name in names]
    order = [*dict.fromkeys(own), *(name for name in names if name not in OWN)]
    return [pl.col(name).alias(_name(name, taken)) for name in order]


def _name(name: str, taken: set[str]) -> str:
    """The column's name in the file: its own, unless that is taken or looks like one that was changed."""
    if name in OWN:
        return name
    side, plain = (
        (INPUT, name.removeprefix(INPUT)) if name.startswith(INPUT) else (OUTPUT, name[len(OUTPUT) :])
    )
    clashes = plain in (taken if side == INPUT else OWN)
    return name if clashes or plain.startswith((INPUT, OUTPUT)) else plain
