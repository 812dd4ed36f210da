"""Processes as `/proc` shows them: who is below whom, what they take, how they ended."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# Of /proc/PID/stat after the command's name, see proc(5).
_TIMES = slice(11, 15)  # its own, and its ended children's, in ticks
_START_TIME, _RESIDENT = 19, 21
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


class Look(NamedTuple):
    """A process and all below it, at one moment.

    Attributes:
        started: when the process itself began, see `start_time`.
        pids: parents first.
        resident: bytes of memory that they hold; what they share counts for each.
        cpu_seconds: that they used, and their children that have ended.
    """

    started: int
    pids: list[int]
    resident: int
    cpu_seconds: float


def look(pid: int) -> Look:
    """What a process and all below it take; what is gone takes nothing."""
    pids = tree(pid)
    found = [_stat(each) for each in pids]
    there = [fields for fields in found if fields]
    ticks = sum(int(ticks) for fields in there for ticks in fields[_TIMES])
    pages = sum(int(fields[_RESIDENT]) for fields in there)
    return Look(_started(found[0]), pids, pages * _PAGE, ticks / _TICKS)


def how_it_ended(code: int) -> str:
    """An exit code in words.

    >>> how_it_ended(-9)
    'killed by SIGKILL (by the system when memory ran out, or by a person)'
    """
    if code > 128:  # noqa: PLR2004  # the bridge passes a signal on as shells do
        code = 128 - code
    if code == -signal.SIGKILL:
        return "killed by SIGKILL (by the system when memory ran out, or by a person)"
    if code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def start_time(pid: int) -> int:
    """When a process began, in ticks since boot, so that a reused number is noticed; -1 if it is gone."""
    return _started(_stat(pid))


def _started(fields: list[bytes]) -> int:
    return int(fields[_START_TIME]) if fields else -1


def _stat(pid: int) -> list[bytes]:
    """What `/proc/PID/stat` says after the command's name; nothing if the process is gone."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    """What a file of `/proc` says, nothing if its process is gone; in as few calls as can be."""
    try:
        with open(path, "rb", 0) as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""


def gone(pid: int, timeout: float | None) -> bool:
    """Wait until the process has ended (a zombie has); it need not be ours."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout)[0])
    finally:
        os.close(handle)


def name_of(pid: int) -> str:
    """What a process calls itself, or ""."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def tree(pid: int) -> list[int]:
    """A process and all below it, parents first."""
    found = [pid]
    for parent in found:  # which grows: walls and a bridge stand between it and the model
        found += [child for child in _children(parent) if child not in found]
    return found


def _children(pid: int) -> Iterator[int]:
    """Its children, whichever of its threads started them."""
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # quicker than by Path
            yield from map(int, _read(f"/proc/{pid}/task/{thread}/children").split())


def memory_of(pids: list[int]) -> int:
    """Bytes of memory that processes hold together, what they share counted once (`proc(5)`, Pss)."""
    return sum(map(_share, pids))


def _share(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    fields = _stat(pid)
    return int(fields[_RESIDENT]) * _PAGE if fields else 0
