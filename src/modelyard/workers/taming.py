"""A worker that takes more of the processor than one needs is put behind everything else on the machine.

A worker answers one batch at a time with one thread (`OMP_NUM_THREADS=1` and the like), so more than one core
is for something else. Its group is then run only where nobody else wants the processor (`cpu.idle`: the
kernel's `SCHED_IDLE` for a whole group): it still answers, and its neighbours do not wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec import Struct

log = logging.getLogger(__name__)

_CORES = 1.25  # a moment's garbage collector or loader thread is no reason
_SHORTEST = 0.5  # seconds between two looks: the kernel counts in hundredths
_FIRST, _LONGEST = 60.0, 3600.0  # seconds that it stays behind; twice as long each time


class _Seen(Struct):
    at: float
    seconds: float
    wait: float = _FIRST
    until: float | None = None  # behind the others until then


class Taming:
    """Looks at workers, about once a second.

    Args:
        put_behind: a group, and whether it is to be behind all others.
    """

    def __init__(self, put_behind: Callable[[str, bool], None]) -> None:
        self._put_behind = put_behind
        self._seen: dict[str, _Seen] = {}

    def look(self, group: str, seconds: float, now: float) -> None:
        """Decide for one group; looks that follow each other too closely tell nothing.

        Args:
            group: its name.
            seconds: of CPU that its processes have used until now.
            now: by a clock that only goes forward.
        """
        seen = self._seen.setdefault(group, _Seen(now, seconds))
        if now - seen.at < _SHORTEST:
            return
        cores = (seconds - seen.seconds) / (now - seen.at)
        seen.at, seen.seconds = now, seconds
        if seen.until is None and cores > _CORES:
            log.warning("the worker %s takes %.1f cores: everything else goes before it now", group, cores)
            seen.until, seen.wait = now + seen.wait, min(2 * seen.wait, _LONGEST)
            self._put_behind(group, True)  # noqa: FBT003  # as it is declared
        elif seen.until is not None and now >= seen.until:
            seen.until = None
            self._put_behind(group, False)  # noqa: FBT003

    def forget(self, group: str) -> None:
        """A worker has ended."""
        self._seen.pop(group, None)
