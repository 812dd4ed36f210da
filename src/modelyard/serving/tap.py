"""The tap: every batch that was answered goes to the spool, as a frame, before any of its answers leaves."""

from __future__ import annotations

import struct
import time
from array import array
from collections.abc import Callable, Sequence

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.predictions import INPUT, OUTPUT
from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import Block, block_of, from_values, seal

Append = Callable[[bytes], None]

_DOUBLE = struct.Struct("<d")
_LINES = (  # of each record's own columns
    "column\trequest\tstring\t{}\t0\ncolumn\trow\tint64\t{}\t0\ncolumn\tcaller\tstring\t{}\t0\n"
    "column\troute\tstring\t{}\t0\ncolumn\tseconds\tfloat64\t{}\t0\n"
)
_NO_KEYS = Block("", b"")


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
        now, at = time.monotonic(), time.time_ns() // 1000
        rows = [a.rows for a in asked]
        requests = _texts("request", [a.request_id for a in asked], rows)
        callers = _texts("caller", [a.caller for a in asked], rows)
        routes = _texts("route", [a.route for a in asked], rows)
        numbers = _row_numbers(rows)
        seconds = b"".join([_DOUBLE.pack(now - a.began) * a.rows for a in asked])
        parts = requests, numbers, callers, routes, seconds
        keys = _keys(asked) if any(a.keys for a in asked) else _NO_KEYS
        inputs, outputs = inputs.named(INPUT), outputs.named(OUTPUT)
        head = f"predictions\nmodel\t{model}\nversion\t{version}\nat\t{at}\nrows\t{sum(rows)}\n"
        own = _LINES.format(*map(len, parts))
        lines = head + own + keys.lines + inputs.lines + outputs.lines
        self._append(seal(lines, *parts, keys.body, inputs.body, outputs.body))


def _keys(asked: Sequence[Asked]) -> Block:
    keys = [key for a in asked for key in (a.keys or [None] * a.rows)]
    return block_of([from_values("keys", ColumnType.STRING, keys)])


def _row_numbers(rows: Sequence[int]) -> bytes:
    """Of each request from 0 on."""
    if rows.count(1) == len(rows):
        return bytes(8 * len(rows))
    return b"".join([array("q", range(count)).tobytes() for count in rows])


def _texts(name: str, texts: Sequence[str], rows: Sequence[int]) -> bytes:
    """A column in which each text stands so many times."""
    if rows.count(1) == len(rows):
        data = ("\0".join(texts) + "\0").encode()
    else:
        data = "".join([(text + "\0") * count for text, count in zip(texts, rows, strict=True)]).encode()
    if data.count(0) != sum(rows):
        raise InvalidError(f"A text of {name} has a NUL.")
    return data
