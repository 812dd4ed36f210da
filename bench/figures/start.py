"""Starting: how long until a yard is ready, and the memory of all its processes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.figures.common import Run
from bench.machine import memory_mb
from bench.report import Figure, spread
from bench.yard import Yard

_READY_SECONDS = 2.5
_MEMORY_MB = 350


def measure(run: Run) -> Iterator[Figure]:
    """The figures `up` and `memory`."""
    folder = run.folder / "start"
    folder.mkdir()
    yard = Yard(folder / "data")
    with yard:
        first = yard.ready_after
    seconds, memory, shares = [], [], []
    for _ in range(run.rounds):
        with yard:
            seconds.append(yard.ready_after)
            by_role = {role: [memory_mb(p) for p in pids] for role, pids in yard.processes().items() if pids}
            memory.append([sum(m[i] for found in by_role.values() for m in found) for i in (0, 1)])
            shares = [
                f"{role}: " + ", ".join(f"PSS {pss:.0f} MB, RSS {rss:.0f} MB" for pss, rss in found)
                for role, found in by_role.items()
            ]
    yield Figure(
        name="up",
        what="`yard up` to ready, second start",
        measured=f"{spread(seconds)} s",
        reach=f"< {_READY_SECONDS} s",
        reached=statistics.median(seconds) < _READY_SECONDS,
        details=(
            "from starting the program until `/health/ready` answers",
            f"the first start, which makes the database, took {first:.2f} s",
        ),
    )
    pss = [m[0] for m in memory]
    yield Figure(
        name="memory",
        what="memory of all its processes, idle, no model loaded",
        measured=f"PSS {spread(pss, 0)} MB; RSS {spread([m[1] for m in memory], 0)} MB",
        reach=f"< {_MEMORY_MB} MB",
        reached=statistics.median(pss) < _MEMORY_MB,
        details=(
            "PSS counts a page that several processes share once: it is what the yard takes from the machine",
            "RSS, added up, counts such a page once a process; the figure goes by PSS",
            *shares,
        ),
    )
