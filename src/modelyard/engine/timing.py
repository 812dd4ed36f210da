"""Which form answers many rows sooner: both are timed on the example, repeated to more and more rows.

One row is answered many times sooner by the portable form. Many rows need not be: a native model may have
more threads, or better loops. So it is measured on this node, not guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from modelyard.engine.proof import Ask, Row
from modelyard.records.signatures import Column
from modelyard.workers.wire import ColumnData, from_values

SIZES = (1, 100, 1_000, 10_000)
WORTH = 1.25  # times as fast the native form must be: it is a second process, with memory of its own
_ROUNDS = 5
_A_SECOND = 0.999


class Speed(Struct, frozen=True):
    """How long a request of so many rows takes each form, in seconds; the best of some tries."""

    rows: int
    native: float
    portable: float


def time_forms(
    native: Ask,
    portable: Ask,
    inputs: Sequence[Column],
    example: Sequence[Row],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Speed]:
    """Both forms in turn, size by size, for as long as that takes little time.

    Args:
        example: rows that both forms answer.
        seconds: for all of it; a size that would take longer is not asked any more.

    Raises:
        ModelError: a form refuses them.
        WorkerLostError, DeadlineError: or it ends, or does not answer.
    """
    until = clock() + seconds
    found: list[Speed] = []
    for rows in SIZES:
        if found and clock() + _expected(found[-1], rows) > until:
            break
        columns = _repeated(inputs, example, rows)
        times: list[tuple[float, float]] = []
        while len(times) < _ROUNDS and (not times or clock() + sum(times[-1]) < until):
            times.append((_took(native, columns, rows, clock), _took(portable, columns, rows, clock)))
        found.append(Speed(rows, min(a for a, _ in times), min(b for _, b in times)))
    return found


def _expected(last: Speed, rows: int) -> float:
    return (last.native + last.portable) * rows / last.rows


def _repeated(inputs: Sequence[Column], example: Sequence[Row], rows: int) -> tuple[ColumnData, ...]:
    many = [example[i % len(example)] for i in range(rows)]
    return tuple(from_values(c.name, c.type, [row[i] for row in many]) for i, c in enumerate(inputs))


def _took(ask: Ask, columns: tuple[ColumnData, ...], rows: int, clock: Callable[[], float]) -> float:
    began = clock()
    ask(columns, rows)
    return clock() - began


def native_from(speeds: Sequence[Speed]) -> int:
    """From how many rows on the native form is the faster by far, at each size from there on; 0: from none.

    >>> native_from([Speed(1, 5.0, 1.0), Speed(100, 5.0, 9.0), Speed(1000, 6.0, 90.0)])
    100
    >>> native_from([Speed(1, 5.0, 1.0), Speed(100, 5.0, 9.0), Speed(1000, 60.0, 61.0)])
    0
    """
    found = 0
    for speed in reversed(speeds):
        if speed.native * WORTH > speed.portable:
            break
        found = speed.rows
    return found


def words_of(speeds: Sequence[Speed]) -> str:
    """As `yard show` says it.

    >>> words_of([Speed(1, 0.004, 0.0002), Speed(10_000, 0.02, 0.05)])
    'a request of 10,000 rows: 50 ms, natively 20 ms; so those of 10,000 rows and more go to native workers'
    """
    last, begin = speeds[-1], native_from(speeds)
    rows = "1 row" if last.rows == 1 else f"{last.rows:,} rows"
    told = f"a request of {rows}: {_milliseconds(last.portable)}, natively {_milliseconds(last.native)}"
    return told + (f"; so those of {begin:,} rows and more go to native workers" if begin else "")


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < _A_SECOND else f"{seconds:,.1f} s"
