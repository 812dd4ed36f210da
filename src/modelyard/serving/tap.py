"""The tap: every batch that was answered goes to the spool, as a frame, before any of its answers leaves."""

from __future__ import annotations

import struct
import time
from array import array
from collections.abc import Callable, Sequence

from msgspec import Struct

from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import ColumnData, Frame, encode, from_values

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
    """

    request_id: str
    caller: str
    route: str
    rows: int
    began: float
    keys: Sequence[str | None] | None = None


class Tap:
    """Writes answered batches.

    Args:
        append: writes one record; an error there means that the answers must not leave.
    """

    def __init__(self, append: Append) -> None:
        self._append = append

    def record(
        self,
        model: str,
        version: int,
        asked: Sequence[Asked],
        inputs: Sequence[ColumnData],
        outputs: Sequence[ColumnData],
    ) -> None:
        """Write one batch: for each row whose request it is, then its inputs and outputs."""
        count = sum(a.rows for a in asked)
        now = time.monotonic()
        numbers = b"".join([array("q", range(a.rows)).tobytes() for a in asked])
        seconds = b"".join([_DOUBLE.pack(now - a.began) * a.rows for a in asked])
        columns = [
            _texts("request", [(a.request_id, a.rows) for a in asked]),
            ColumnData("row", ColumnType.INT64, numbers),
            _texts("caller", [(a.caller, a.rows) for a in asked]),
            _texts("route", [(a.route, a.rows) for a in asked]),
            ColumnData("seconds", ColumnType.FLOAT64, seconds),
        ]
        if any(a.keys for a in asked):
            keys = [key for a in asked for key in (a.keys or [None] * a.rows)]
            columns.append(from_values("keys", ColumnType.STRING, keys))
        columns += [ColumnData(INPUT + c.name, c.type, c.data, c.validity) for c in inputs]
        columns += [ColumnData(OUTPUT + c.name, c.type, c.data, c.validity) for c in outputs]
        fields = (("model", model), ("version", str(version)), ("at", str(time.time_ns() // 1000)))
        self._append(encode(Frame("predictions", fields, count, tuple(columns))))


def _texts(name: str, texts: Sequence[tuple[str, int]]) -> ColumnData:
    """A column in which each text stands so many times."""
    blocks = [bytes(from_values(name, ColumnType.STRING, (text,)).data) * rows for text, rows in texts]
    return ColumnData(name, ColumnType.STRING, b"".join(blocks))
