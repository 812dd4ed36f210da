"""What a node tells of its machine, and how much more that could carry: the law of docs/scale.md. Pure."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from modelyard.records.diagnosis import Finding
from modelyard.records.spans import size

# Measured, one row a request (docs/benchmarks.md, 8 connections), seconds of one core:
FRONT_CPU, PORTABLE_CPU, NATIVE_CPU = 61e-6, 25e-6, 85e-6
SHIP_CPU = 1 / 214_000  # from the spool to segments and summaries (docs/benchmarks.md)
PLAIN_WORKER = 16e6  # bytes (PSS) of a worker of plain Python, measured
LIBRARY_WORKER = 150e6  # of one that has loaded scikit-learn (assumed)
FILL = 0.6  # of a node that may be used at the peak
_ROW = FRONT_CPU + (PORTABLE_CPU + NATIVE_CPU) / 2 + SHIP_CPU  # half of the rows answered by either form


class Condition(Struct, frozen=True, kw_only=True):
    """How a node is, as it told last.

    Attributes:
        at: when it looked, by its own clock.
        cores: that its processes may use.
        load: processes that ran or waited for a core or the disk, on average over the last minute.
        memory: bytes of the machine; `memory_free` could be had without swapping.
        workers: of models, on this node; `worker_memory` is what they take, in bytes.
        disk_free: bytes where its data folder is.
        spool_bytes: recorded and not shipped yet; `spool_since` is when the first of it was recorded,
            `spool_most` how many may wait before predictions are refused.
        problems: what else is wrong there: its walls, certificates of what it talks to, its Ray clusters.
    """

    at: datetime
    cores: int
    load: float
    memory: int
    memory_free: int
    workers: int
    worker_memory: int
    disk_free: int
    spool_bytes: int
    spool_since: datetime | None
    spool_most: int
    problems: tuple[Finding, ...] = ()


def rows_left(condition: Condition) -> int:
    """One-row predictions a second that it could answer beside what it does, until its cores are full."""
    return int(max(0.0, FILL * condition.cores - condition.load) / _ROW)


def workers_left(condition: Condition, bytes_each: float = LIBRARY_WORKER) -> int:
    """Workers of this size that it has memory for beside what it holds, until that is full."""
    return int(max(0.0, condition.memory_free - (1 - FILL) * condition.memory) / bytes_each)


def machine(condition: Condition) -> str:
    """The machine in words.

    >>> from datetime import UTC
    >>> gib, now = 1024**3, datetime(2026, 1, 1, tzinfo=UTC)
    >>> idle = Condition(
    ...     at=now, cores=8, load=0.8, memory=32 * gib, memory_free=24 * gib, workers=3, worker_memory=gib,
    ...     disk_free=gib, spool_bytes=0, spool_since=None, spool_most=gib,
    ... )
    >>> machine(idle)
    '8 cores, load 0.8; 24.0 GiB of 32.0 GiB memory free; 3 workers with 1.0 GiB'
    >>> room(idle)
    'Room for some 33,000 more predictions a second and 80 more models with libraries.'
    """
    c = condition
    workers = f"{c.workers} worker{'' if c.workers == 1 else 's'}"
    return (
        f"{c.cores} cores, load {c.load:.1f}; {size(c.memory_free)} of {size(c.memory)} memory free; "
        f"{workers} with {size(c.worker_memory)}"
    )


def room(condition: Condition) -> str:
    """How much more it could carry until it is as full as a node should be at the peak."""
    rows, models = rows_left(condition), workers_left(condition)
    full = [what for what, left in (("cores", rows), ("memory", models)) if not left]
    if full:
        what = " and ".join(full)
        return f"Its {what} are full." if rows == 0 else f"Its {what} is full."
    return (
        f"Room for some {_about(rows)} more predictions a second and {_about(models)} more models with "
        "libraries."
    )


def _about(count: int) -> str:
    """In two digits: the law is no better than that.

    >>> _about(33_412), _about(7)
    ('33,000', '7')
    """
    return f"{int(float(f'{count:.2g}')):,}"
