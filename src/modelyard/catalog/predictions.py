"""Recorded predictions: the spool's frames of one model, as a Parquet file."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from modelyard.records.errors import MalformedError, NotFoundError
from modelyard.records.signatures import ColumnType
from modelyard.store.spool import read_spool, spool_files
from modelyard.workers import wire
from modelyard.workers.wire import ColumnData, Frame

INPUT = "in:"
OUTPUT = "out:"
OWN = ("request", "row", "at", "version", "route", "caller", "seconds", "keys")
_FRAMES_A_CHUNK = 20_000
_ROWS_A_CHUNK = 200_000


def export(folder: Path, model: str, since: datetime | None, to: Path) -> int:
    """Write a model's recorded predictions, oldest first, to a Parquet file; how many rows.

    One row a row asked: `request`, `row`, `at` (UTC), `version`, `route`, `caller`, `seconds`, `keys` (JSON),
    then the inputs and the outputs under their own names (`in:NAME` or `out:NAME` where that is taken).
    Memory is bounded by a chunk, not by the file.

    Args:
        folder: the spool.
        since: only what was answered at or after this time (UTC if it has no zone).

    Raises:
        NotFoundError: nothing is recorded.
    """
    rows = 0
    with TemporaryDirectory(dir=to.parent, prefix="export-") as scratch:
        chunks: list[Path] = []
        for frames in _in_chunks(_frames(folder, model, since)):
            table = _tables(frames)
            rows += table.height
            chunks.append(Path(scratch) / f"{len(chunks)}.parquet")
            table.write_parquet(chunks[-1])
        if not chunks:
            raise NotFoundError(
                f"No prediction of {model} is recorded{' since then' if since else ''}.",
                "They are recorded as soon as something answers for it.",
            )
        parts = [pl.scan_parquet(chunk) for chunk in chunks]
        pl.concat(parts, how="diagonal_relaxed").sink_parquet(to)
    return rows


def _in_chunks(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    chunk: list[Frame] = []
    rows = 0
    for frame in frames:
        chunk.append(frame)
        rows += frame.rows or 0
        if len(chunk) >= _FRAMES_A_CHUNK or rows >= _ROWS_A_CHUNK:
            yield chunk
            chunk, rows = [], 0
    if chunk:
        yield chunk


def _frames(folder: Path, model: str, since: datetime | None) -> Iterator[Frame]:
    """The model's frames in the order of time: each front's files are in it, and are merged."""
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    begin = int(since.timestamp() * 1e6) if since else 0
    fronts: dict[str, list[Path]] = {}
    for path in spool_files(folder):
        fronts.setdefault(path.name.rpartition("-")[0], []).append(path)
    each = [_frames_of(paths, model, begin) for paths in fronts.values()]
    return heapq.merge(*each, key=lambda frame: int(frame.get("at")))


def _frames_of(paths: list[Path], model: str, begin: int) -> Iterator[Frame]:
    mark = f"\nmodel\t{model}\n".encode()
    for path in paths:
        for record in read_spool(path):
            if mark not in record[: wire.PREFIX.size + 4096]:  # cheaper than decoding others' frames
                continue
            frame = wire.decode(record)
            if frame.verb != "predictions":
                raise MalformedError(f"The spool file {path.name} has a frame `{frame.verb}`.")
            if frame.get("model") == model and int(frame.get("at")) >= begin:
                yield frame


def _tables(frames: Iterable[Frame]) -> pl.DataFrame:
    """The frames' rows in one table; frames of the same columns are joined as bytes, which is fast."""
    alike: dict[tuple[tuple[str, ColumnType], ...], list[Frame]] = {}
    for frame in frames:
        alike.setdefault(tuple((c.name, c.type) for c in frame.columns), []).append(frame)
    tables = [_table(group) for group in alike.values()]
    return pl.concat(tables, how="diagonal_relaxed").sort("at", maintain_order=True)


def _table(frames: list[Frame]) -> pl.DataFrame:
    rows = [f.rows or 0 for f in frames]
    outputs = {c.name.removeprefix(OUTPUT) for c in frames[0].columns if c.name.startswith(OUTPUT)}
    taken = outputs.union(OWN)
    at = np.repeat([int(f.get("at")) for f in frames], rows)
    version = np.repeat([int(f.get("version")) for f in frames], rows)
    own = [pl.Series("at", at).cast(pl.Datetime("us", "UTC")), pl.Series("version", version)]
    columns = [_joined([f.columns[i] for f in frames], rows) for i in range(len(frames[0].columns))]
    return pl.DataFrame([*own, *(_series(_name(c.name, taken), c) for c in columns)])


def _joined(parts: list[ColumnData], rows: list[int]) -> ColumnData:
    validity = None
    if any(part.validity is not None for part in parts):
        every = zip(parts, rows, strict=True)
        validity = b"".join(b"\x01" * n if p.validity is None else p.validity for p, n in every)
    data = b"".join(part.data for part in parts)
    return ColumnData(parts[0].name, parts[0].type, data, validity)


def _name(name: str, taken: set[str]) -> str:
    """The column's name in the file: its own, unless that is taken or looks like one that was changed."""
    if name in OWN:
        return name
    side, plain = (
        (INPUT, name.removeprefix(INPUT)) if name.startswith(INPUT) else (OUTPUT, name[len(OUTPUT) :])
    )
    clashes = plain in (taken if side == INPUT else OWN)
    return name if clashes or plain.startswith((INPUT, OUTPUT)) else plain


def _series(name: str, column: ColumnData) -> pl.Series:
    if column.type is ColumnType.FLOAT64:
        return pl.Series(name, np.frombuffer(column.data, "<f8"))
    if column.type is ColumnType.INT64:
        series = pl.Series(name, np.frombuffer(column.data, "<i8"))
    elif column.type is ColumnType.BOOL:
        series = pl.Series(name, np.frombuffer(column.data, "?"))
    else:
        return pl.Series(name, wire.to_values(column), dtype=pl.String)
    if column.validity is None:
        return series
    there = pl.Series("there", np.frombuffer(column.validity, "?"))
    return pl.select(pl.when(there).then(series)).to_series().alias(name)
