"""Recorded frames as tables: many small frames of the same columns are joined as bytes, which is fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl

from modelyard.records.errors import MalformedError
from modelyard.records.signatures import ColumnType
from modelyard.workers import wire
from modelyard.workers.wire import Buffer, ColumnData

K = TypeVar("K")

PREDICTIONS, OUTCOMES = "predictions", "outcomes"
_ROWS, _AT = b"\nrows\t", b"\nat\t"
_ALL_THERE = b"\x01"
_COPIED = 64 * 1024  # bytes of a body up to which a copy is quicker than a view
_HEADS = 4096  # remembered


class Layout(NamedTuple):
    """Where a frame's columns are in its body.

    Attributes:
        kinds: name and type of each column, in order.
        spans: begin and end of each column's data, and whether a validity column follows.
    """

    rows: int
    kinds: tuple[tuple[str, ColumnType], ...]
    spans: tuple[tuple[int, int, bool], ...]
    size: int


class Head(NamedTuple):
    """What frames of one kind have in common.

    Attributes:
        verb: `predictions` or `outcomes`.
    """

    verb: str
    model: str
    version: int
    layout: Layout


Record = tuple[int, Head, Buffer]
"""One frame of the spool, not yet taken apart: microseconds since 1970, its head, its body. A bare tuple, for
there are hundreds of thousands a second."""


class Pile(NamedTuple):
    """Frames with one head: their times and bodies, in the order in which they came."""

    head: Head
    at: list[int]
    bodies: list[Buffer]


class Most(NamedTuple):
    """When there are enough frames: so many, so many rows, or so many bytes of bodies."""

    frames: int
    rows: int
    size: int


class Piles:
    """Frames by their heads. What is kept of a frame is nothing that the garbage collector would look at.

    Attributes:
        frames, rows, size: of all of them; the size is that of their bodies, in bytes.
    """

    def __init__(self) -> None:
        self._piles: dict[int, Pile] = {}
        self.frames = self.rows = self.size = 0

    def fill(self, found: Iterable[tuple[Record, str, int]], most: Most) -> dict[str, int]:
        """Put frames on their piles until there are enough; of each file, where the next one begins."""
        piles, ends = self._piles, dict[str, int]()
        frames, rows, size = self.frames, self.rows, self.size
        for (at, head, body), file, end in found:
            pile = piles.get(id(head))  # a reader makes each head once, and the pile keeps it
            if pile is None:
                pile = piles[id(head)] = Pile(head, [], [])
            pile[1].append(at)
            pile[2].append(body)
            ends[file] = end
            layout = head[3]
            frames += 1
            rows += layout[0]
            size += layout[3]
            if frames >= most.frames or rows >= most.rows or size >= most.size:
                break
        self.frames, self.rows, self.size = frames, rows, size
        return ends

    def by(self, key: Callable[[Head], K]) -> dict[K, list[Pile]]:
        """The piles that have the same key."""
        found: dict[K, list[Pile]] = {}
        for pile in self._piles.values():
            found.setdefault(key(pile.head), []).append(pile)
        return found


class RecordReader:
    """Reads frames as the tap or the outcomes door wrote them; most heads are like the one before."""

    def __init__(self) -> None:
        self._named = self._back = b""
        self._head: Head | None = None
        self._heads: dict[tuple[bytes, bytes], Head] = {}

    def read(self, data: bytes) -> Record:
        """A frame.

        Raises:
            MalformedError: it is no such frame.
            ValueError, KeyError: what it says of itself cannot be read.
        """
        magic, header, size = wire.PREFIX.unpack_from(data)
        end = wire.PREFIX.size + header
        front, _, back = data[wire.PREFIX.size : end].partition(_ROWS)
        # The writers' last field, and the only one that is another each time.
        named, _, at = front.rpartition(_AT)
        head = self._head
        if head is None or back != self._back or named != self._named:
            head = self._head_of(named, back)
        if magic != wire.MAGIC or len(data) != end + size or head.layout.size != size:
            raise MalformedError(f"The spool has a frame {head.verb[:40]!r} that is not whole.")
        body = data[end:] if size < _COPIED else memoryview(data)[end:]
        return int(at), head, body

    def _head_of(self, named: bytes, back: bytes) -> Head:
        found = self._heads.get((named, back))
        if found is None:
            verb, *lines = named.decode().split("\n")
            if verb not in (PREDICTIONS, OUTCOMES):
                raise MalformedError(f"The spool has a frame {verb[:40]!r}, which is not known.")
            fields = dict(line.split("\t", 1) for line in lines)
            found = Head(verb, fields["model"], int(fields.get("version", 0)), _layout(back))
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            self._heads[named, back] = found
        self._named, self._back, self._head = named, back, found
        return found


@lru_cache(16_384)  # frames of one row look alike again and again
def _layout(text: bytes) -> Layout:
    frame = text.decode().rstrip("\n").split("\n")
    rows, at = int(frame[0] or 0), 0
    kinds, spans = [], []
    for line in frame[1:]:
        _, name, kind, length, flag = line.split("\t")
        end = at + int(length)
        kinds.append((wire.unescape(name), ColumnType(kind)))
        spans.append((at, end, flag == "1"))
        at = end + (rows if flag == "1" else 0)
    return Layout(rows, tuple(kinds), tuple(spans), at)


def table_of(piles: Iterable[Pile]) -> pl.DataFrame:
    """The rows of frames of one model and version, by `at`, under the names they have in the frames.

    The frame's own time becomes the column `at` (microseconds, UTC). Columns that only some frames have are
    null in the others.
    """
    by_kinds: dict[tuple[tuple[str, ColumnType], ...], list[Pile]] = {}
    for pile in piles:
        by_kinds.setdefault(pile.head.layout.kinds, []).append(pile)
    tables = [_joined(kinds, alike) for kinds, alike in by_kinds.items()]
    table = tables[0] if len(tables) == 1 else pl.concat(tables, how="diagonal_relaxed")
    return table if _is_in_order(table["at"]) else table.sort("at", maintain_order=True)


def _is_in_order(at: pl.Series) -> bool:
    times = at.to_physical().to_numpy()
    return bool((times[1:] >= times[:-1]).all())


def _joined(kinds: tuple[tuple[str, ColumnType], ...], piles: list[Pile]) -> pl.DataFrame:
    """Frames whose columns lie alike are cut as one table of bytes: of single rows a tenth of the time."""
    data: list[list[Buffer]] = [[] for _ in kinds]
    validity: list[list[Buffer]] = [[] for _ in kinds]
    flagged = [any(pile.head.layout.spans[i][2] for pile in piles) for i in range(len(kinds))]
    at = []
    for (_, _, _, layout), times, bodies in piles:
        at.append(np.repeat(np.array(times, "<i8"), layout.rows))
        body = np.frombuffer(b"".join(bodies), np.uint8)
        table = body.reshape(len(bodies), layout.size)
        for i, (begin, end, has) in enumerate(layout.spans):
            data[i].append(table[:, begin:end].tobytes())
            if flagged[i]:
                there = table[:, end : end + layout.rows].tobytes()
                validity[i].append(there if has else _ALL_THERE * (layout.rows * len(bodies)))
    columns = [pl.Series("at", np.concatenate(at)).cast(pl.Datetime("us", "UTC"))]
    for i, (name, kind) in enumerate(kinds):
        known = b"".join(validity[i]) if flagged[i] else None
        columns.append(series(name, ColumnData(name, kind, b"".join(data[i]), known)))
    return pl.DataFrame(columns)


def series(name: str, column: ColumnData) -> pl.Series:
    """A column as Polars has it; what is missing is null (of doubles NaN)."""
    if column.type is ColumnType.FLOAT64:
        return pl.Series(name, np.frombuffer(column.data, "<f8"))
    if column.type is ColumnType.INT64:
        found = pl.Series(name, np.frombuffer(column.data, "<i8"))
    elif column.type is ColumnType.BOOL:
        found = pl.Series(name, np.frombuffer(column.data, "?"))
    else:
        found = pl.Series(name, _texts(bytes(column.data)), dtype=pl.String)
    if column.validity is None:
        return found
    there = pl.Series("there", np.frombuffer(column.validity, "?"))
    return pl.select(pl.when(there).then(found)).to_series().alias(name)


def _texts(block: bytes) -> list[str] | pl.Series:
    """The texts of a block; where all are one, as callers and routes are, that one so many times."""
    first = block[: block.find(b"\0") + 1]
    count = len(block) // max(1, len(first))
    if count > 1 and first * count == block:
        return pl.repeat(first[:-1].decode(), count, dtype=pl.String, eager=True)
    return block.decode().split("\0")[:-1]
