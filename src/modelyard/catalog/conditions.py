"""How a node's machine is, looked at where it stands, for all nodes to know."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from modelyard.catalog.checkup import waiting_in
from modelyard.catalog.history import node_of
from modelyard.records.conditions import Condition
from modelyard.records.diagnosis import Finding
from modelyard.store import segments
from modelyard.store.database import Database

_MEMORY = Path("/proc/meminfo")
_KIB = 1024
_SELDOM = 3600.0  # seconds


class Conditions:
    """Looks at this node.

    Args:
        data: its data folder; `most` bytes may wait in the `spool` there.
        workers: bytes that each of its workers takes.
        problems: what else is wrong on it.
        clock: what time it is.
    """

    def __init__(
        self,
        database: Database,
        data: Path,
        most: int,
        workers: Callable[[], Sequence[int]],
        problems: Callable[[], Iterable[Finding]],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._data = data
        self._most = most
        self._workers = workers
        self._problems = problems
        self._clock = clock

    def look(self) -> Condition:
        """How it is now.

        Raises:
            UnavailableError: the database does not answer.
        """
        spool = self._data / "spool"
        with self._database.read() as connection:
            ends = segments.offsets(connection, node_of(spool))
        waiting, first = waiting_in(spool, ends)
        total, free = memory()
        workers = self._workers()
        return Condition(
            at=self._clock(),
            cores=len(os.sched_getaffinity(0)),
            load=round(os.getloadavg()[0], 2),
            memory=total,
            memory_free=free,
            workers=len(workers),
            worker_memory=sum(workers),
            disk_free=shutil.disk_usage(self._data).free,
            spool_bytes=waiting,
            spool_since=first,
            spool_most=self._most,
            problems=tuple(f for f in self._problems() if f.state == "problem"),
        )


class Seldom:
    """Looks once an hour; in between it says what was found then.

    Args:
        monotonic: seconds.
    """

    def __init__(
        self, look: Callable[[], tuple[Finding, ...]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._look, self._monotonic = look, monotonic
        self._at = -_SELDOM
        self._found: tuple[Finding, ...] = ()

    def __call__(self) -> tuple[Finding, ...]:
        """What was found last."""
        if self._monotonic() - self._at >= _SELDOM:
            self._at, self._found = self._monotonic(), self._look()
        return self._found


def memory() -> tuple[int, int]:
    """Bytes of the machine's memory, and what could be had of it (proc_meminfo(5): `MemAvailable`)."""
    told = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
    total, free = (int(told[name].split()[0]) * _KIB for name in ("MemTotal", "MemAvailable"))
    return total, free
