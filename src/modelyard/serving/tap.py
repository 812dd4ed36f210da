"""The tap: every batch that was answered goes to the spool, as a frame, before any of its answers leaves."""

from __future__ import annotations

import struct
import time
from array import array
from collections.abc import Callable, Sequence

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import Block, ColumnData, block_of, compose, from_values

Append = Callable[[bytes], None]

INPUT = "in:"
OUTPUT = "out:"
_DOUBLE = struct.Struct("<d")


class Asked(Struct, frozen=True):
    """What is recorded of one request beside its rows.

    Attributes:
        caller: the principal of the token.
        route: `champion`, the alias, or `version` if it was named by number.
        began: monotonic seconds when it came in.
        wait: seconds from then in which its caller wants an answer; None: as long as every request may take.
    """

    request_id: str
    caller: str
    route: str
    rows: int
    began: float
    keys: Sequence[str | None] | None = None
    wait: float | None = None


class Tap:
    """Writes answered batches.

    Args:
        append: writes one record; an error there means that the answers must not leave.
    """

    def __init__(self, append: Append) -> None:
        self._append = append

    def record(self, model: str, version: int, asked: Sequence[Asked], inputs: Block, outputs: Block) -> None:
        """Write one batch: for each row whose request it is, then its inputs and outputs."""
        now = time.monotonic()
        rows = [a.rows for a in asked]
        count = sum(rows)
        columns = [
            _texts("request", [a.request_id for a in asked], rows),
            ColumnData("row", ColumnType.INT64, b"".join([_row_numbers(n) for n in rows])),
            _texts("caller", [a.caller for a in asked], rows),
            _texts("route", [a.route for a in asked], rows),
            ColumnData(
                "seconds", ColumnType.FLOAT64, b"".join([_DOUBLE.pack(now - a.began) * a.rows for a in asked])
            ),
        ]
        if any(a.keys for a in asked):
            keys = [key for a in asked for key in (a.keys or [None] * a.rows)]
            columns.append(from_values("keys", ColumnType.STRING, keys))
        fields = (("model", model), ("version", str(version)), ("at", str(time.time_ns() // 1000)))
        self._append(
            compose(
                "predictions", fields, count, block_of(columns), inputs.named(INPUT), outputs.named(OUTPUT)
            )
        )


def _row_numbers(count: int) -> bytes:
    return array("q", range(count)).tobytes()


def _texts(name: str, texts: Sequence[str], rows: Sequence[int]) -> ColumnData:
    """A column in which each text stands so many times."""
    blocks = [(text + "\0") * count for text, count in zip(texts, rows, strict=True)]
    data = "".join(blocks).encode()
    if data.count(0) != sum(rows):
        raise InvalidError(f"A text of {name} has a NUL.")
    return ColumnData(name, ColumnType.STRING, data)
