"""The tap: every batch that was answered goes to the spool, as a frame, before any of its answers leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import ColumnData, Frame, encode, from_values

Append = Callable[[bytes], None]

INPUT = "in:"
OUTPUT = "out:"


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
        columns = [
            _column("request", ColumnType.STRING, asked, lambda a: a.request_id),
            from_values("row", ColumnType.INT64, [i for a in asked for i in range(a.rows)]),
            _column("caller", ColumnType.STRING, asked, lambda a: a.caller),
            _column("route", ColumnType.STRING, asked, lambda a: a.route),
            _column("seconds", ColumnType.FLOAT64, asked, lambda a: now - a.began),
        ]
        if any(a.keys for a in asked):
            keys = [key for a in asked for key in (a.keys or [None] * a.rows)]
            columns.append(from_values("keys", ColumnType.STRING, keys))
        columns += [ColumnData(INPUT + c.name, c.type, c.data, c.validity) for c in inputs]
        columns += [ColumnData(OUTPUT + c.name, c.type, c.data, c.validity) for c in outputs]
        fields = (("model", model), ("version", str(version)), ("at", str(time.time_ns() // 1000)))
        self._append(encode(Frame("predictions", fields, count, tuple(columns))))


def _column(
    name: str, kind: ColumnType, asked: Sequence[Asked], value: Callable[[Asked], str | float]
) -> ColumnData:
    return from_values(name, kind, [v for a in asked for v in [value(a)] * a.rows])
