"""Processes as `/proc` shows them: who is below whom, what they take, how they ended."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

_START_TIME_FIELD = 19  # of /proc/PID/stat after the command's name
_TIMES = slice(11, 15)  # the same: its own, and its ended children's, in ticks


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
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[_START_TIME_FIELD])


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
        with suppress(OSError, ValueError):
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


def resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 if it is gone."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def memory_of(pids: list[int]) -> int:
    """Bytes of memory that processes hold together, what they share counted once (`proc(5)`, Pss)."""
    return sum(map(_share, pids))


def _share(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return resident(pid)


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process and its children that have ended used; 0 if it is gone."""
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[_TIMES])) / os.sysconf("SC_CLK_TCK")
    return 0.0
