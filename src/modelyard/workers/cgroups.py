"""Limits for the processes of a worker together, by control groups, where this server may make some.

A group also has one share of the processor, however many processes are in it, so that a model that burns all
it can get leaves the others theirs.

Version 1: groups below the server's own, a controller each. Version 2: beside the server's own group, where
that is called `server` (systemd: `Delegate=yes` and `DelegateSubgroup=server`), for a group with processes
of its own cannot pass controllers on.

Sources: the kernel's `cgroup-v1/memory`, `cgroup-v1/pids`, `cgroup-v2`; `systemd.resource-control(5)`.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from msgspec import Struct

from modelyard.workers.processes import memory_of

_ROOT = Path("/sys/fs/cgroup")
_OWN = "/proc/self/cgroup"
_PROCESSES = "cgroup.procs"
_SERVER = "server"
_OURS = "modelyard-"
_SHARES = (("cpu.shares", 1024), ("cpu.weight", 100))  # of version 1 and 2, and what a group has by itself
_TRIES, _PAUSE = 40, 0.025  # a killed process leaves its group when the kernel has cleared it away


class Controller(Struct, frozen=True):
    """A folder below which groups can be made, and the names of their limits there.

    Attributes:
        folder: the parent of the groups.
        memory: the file for bytes, or "" where this folder has no such limit.
        processes: the file for processes and threads, or "".
    """

    folder: str
    memory: str = ""
    processes: str = ""


def controllers(root: Path = _ROOT, own: str | None = None) -> tuple[Controller, ...]:
    """Where this process may make groups.

    Args:
        own: the text of `/proc/self/cgroup`, read from there by default.
    """
    with suppress(OSError):
        lines = (Path(_OWN).read_text() if own is None else own).splitlines()
        found = [c for line in lines if (c := _controller(root, *line.split(":", 2)[1:])) is not None]
        return tuple(c for c in found if _works(c))
    return ()


def _controller(root: Path, names: str, path: str) -> Controller | None:
    below = path.lstrip("/")
    if "memory" in names.split(","):
        return Controller(str(root / "memory" / below), memory="memory.limit_in_bytes")
    if "pids" in names.split(","):
        return Controller(str(root / "pids" / below), processes="pids.max")
    if "cpu" in names.split(","):
        return Controller(str(root / "cpu" / below))
    if not names and below.rpartition("/")[2] == _SERVER:
        return Controller(str((root / below).parent), memory="memory.max", processes="pids.max")
    return None


def _works(controller: Controller) -> bool:
    """Whether a group can be made there, and limited; found out by trying."""
    folder = Path(controller.folder)
    with suppress(OSError):
        if controller.memory and controller.processes:
            (folder / "cgroup.subtree_control").write_text("+cpu +memory +pids")
        files = _make(controller, f"probe-{os.getpid()}", 1 << 30, 100)
        files.parent.rmdir()
        return True
    return False


@cache
def here() -> tuple[Controller, ...]:
    """`controllers()` of this machine, looked for once."""
    return controllers()


def make(
    name: str,
    memory: int,
    processes: int,
    where: tuple[Controller, ...] | None = None,
    share: float = 1.0,
) -> tuple[str, ...]:
    """Make the groups of one worker; the files that a process which is to be in them writes 0 to.

    Args:
        name: letters, digits and dashes; nobody else's.
        memory: bytes that all its processes may have together, files in memory (tmpfs) among them.
        processes: how many processes and threads.
        share: of the processor, where it is scarce, beside 1 of every other group.
    """
    made = [_make(c, name, memory, processes) for c in (here() if where is None else where)]
    for file, whole in _SHARES if share != 1.0 else ():
        for place in (path.with_name(file) for path in made):
            if place.exists():
                place.write_text(str(round(whole * share)))
    return tuple(map(str, made))


def _make(controller: Controller, name: str, memory: int, processes: int) -> Path:
    folder = Path(controller.folder) / (_OURS + name)
    folder.mkdir(exist_ok=True)
    for file, limit in ((controller.memory, memory), (controller.processes, processes)):
        if file:
            (folder / file).write_text(str(limit))
    return folder / _PROCESSES


def put_behind(name: str, behind: bool, where: tuple[Controller, ...] | None = None) -> None:
    """Run a worker's group only where nothing else wants the processor, or as any other again."""
    for controller in here() if where is None else where:
        file = Path(controller.folder) / (_OURS + name) / "cpu.idle"
        with suppress(OSError):  # a kernel before 5.15 has no such file; the share stays fair then
            if file.exists():
                file.write_text(str(int(behind)))


def held(name: str, where: tuple[Controller, ...] | None = None) -> int | None:
    """Bytes of memory that a group's processes hold of their own, what they share once; None if not counted.

    One file to read, however many they are (`memory.stat`: version 2 says `anon`, version 1 `total_rss`).
    """
    for controller in here() if where is None else where:
        with suppress(OSError, ValueError):
            lines = (Path(controller.folder) / (_OURS + name) / "memory.stat").read_text().splitlines()
            counts = {key: int(value) for key, value in map(str.split, lines)}
            for own, shared in (("total_rss", "total_shmem"), ("anon", "shmem")):
                if own in counts:
                    return counts[own] + counts.get(shared, 0)
    return None


def held_together(name: str, pids: list[int]) -> int:
    """Bytes of memory that a group's processes hold, what they share once; dear where none are counted."""
    counted = held(name)
    return memory_of(pids) if counted is None else counted


def ran_out(name: str, where: tuple[Controller, ...] | None = None) -> bool:
    """Whether the kernel ended a process of a group because the group's memory was used up."""
    for controller in here() if where is None else where:
        folder = Path(controller.folder) / (_OURS + name)
        for file in ("memory.oom_control", "memory.events"):
            with suppress(OSError):
                counts = dict(line.split() for line in (folder / file).read_text().splitlines())
                if int(counts.get("oom_kill", 0)):
                    return True
    return False


def remove(name: str, where: tuple[Controller, ...] | None = None) -> None:
    """Remove a worker's groups, whose processes have been killed; waits a moment for the last of them."""
    for controller in here() if where is None else where:
        folder = Path(controller.folder) / (_OURS + name)
        for _ in range(_TRIES):
            try:
                folder.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(_PAUSE)
            else:
                break
