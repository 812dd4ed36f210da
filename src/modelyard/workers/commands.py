"""Runs a job's command within walls: watched, limited, and gone with whoever started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from modelyard.records.errors import EnvironmentBuildError
from modelyard.records.jobs import Usage
from modelyard.records.spans import span
from modelyard.workers import cgroups, exits, gpus, processes, sandbox
from modelyard.workers.cgroups import held_together
from modelyard.workers.exits import Exit
from modelyard.workers.processes import gone, name_of, start_time, tree

_POLITE_SECONDS = 3.0
_AT_ONCE = 1_000_000  # bytes of output that are read at a time
_LONGEST_LINE = 64_000
_BEHIND = 8_000_000  # bytes of output that may wait; of more the middle is left out
_RECORD = "process.json"
_LOG = "log"
_SHARE, _NICE = 0.25, "10"  # a training gives way to predictions, by its group or by its niceness
_FEW = 6  # processes: walls and an interpreter with a child
_BLOCK = 512  # bytes, of st_blocks
_DISK_EVERY = 2.0  # seconds between two looks at what it has written


class Limits(Struct, frozen=True):
    """What a command may use: seconds by the clock, bytes of memory, bytes on disk, and hosts outside."""

    seconds: float
    memory: int
    disk: int
    hosts: tuple[str, ...] = ()


class Place(Struct, frozen=True):
    """The folders of a job; `work` and `output` it may write to.

    Attributes:
        home: of all three; the log and what is needed to find the process again are beside them.
    """

    home: Path

    @property
    def work(self) -> Path:
        """The project's files, and where the command runs."""
        return self.home / "work"

    @property
    def data(self) -> Path:
        """The datasets."""
        return self.home / "data"

    @property
    def output(self) -> Path:
        """Where the bundle and the metrics go."""
        return self.home / "output"


class Command(Struct, frozen=True):
    """What is run.

    Attributes:
        words: program and arguments.
        environment: all variables there are.
        read_only: what it needs to see beside its folders and the system.
        outbound: networks within the house that its hosts may be in; see `Settings.outbound`.
        gpus: how many it asks for.
    """

    words: list[str]
    environment: dict[str, str]
    read_only: tuple[str, ...]
    limits: Limits
    outbound: str = ""
    gpus: float = 0.0


class Record(Struct, frozen=True):
    """A process, and its control group, to be found again by an engine that comes later."""

    pid: int
    started: int
    group: str = ""


class Running:
    """A command that runs. The thread that starts it must live as long as it does: it dies with it.

    Args:
        hidden: folders that nothing of is to be seen, but for the job's own.

    Raises:
        EnvironmentBuildError: it does not start.
    """

    def __init__(self, command: Command, place: Place, hidden: tuple[str, ...]) -> None:
        self._place = place
        self._limits = command.limits
        self._group = f"job-{place.home.name}-{os.getpid()}"
        self._log = (place.home / _LOG).open("w+b")
        self._read = 0
        self._began = time.monotonic()
        self._looked_at_disk = 0.0
        self._usage = Usage()
        self.code: int | None = None
        self._exit: Exit | None = None
        self._child = self._start(command, hidden)
        try:
            record = Record(self._child.pid, start_time(self._child.pid), self._group)
            (place.home / _RECORD).write_bytes(msgspec.json.encode(record))
        except BaseException:  # the disk is full: what could not be found again is not left running
            self.__exit__()
            raise

    @property
    def usage(self) -> Usage:
        """What it has taken so far."""
        return self._usage

    @property
    def ran_out(self) -> bool:
        """Whether the kernel ended a process of it for want of memory within its limit."""
        return cgroups.ran_out(self._group)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so many seconds."""
        if self.code is None and gone(self._child.pid, seconds):
            self._reap()
        return self.code is not None

    def look(self) -> str:
        """Look at what it takes: which limit it is over, in words; "" if none."""
        found = processes.look(self._child.pid)
        memory = found.resident
        if memory > self._limits.memory or len(found.pids) > _FEW:
            memory = held_together(self._group, found.pids)
        seconds = time.monotonic() - self._began
        cpu = max(self._usage.cpu_seconds, found.cpu_seconds)
        self._usage = Usage(seconds, cpu, max(self._usage.peak_memory, memory))
        if seconds > self._limits.seconds:
            return f"it ran for over {span(self._limits.seconds)} (train.time)"
        if memory > self._limits.memory:
            return f"it used over {self._limits.memory / 1e9:g} GB of memory (train.memory)"
        if seconds - self._looked_at_disk > _DISK_EVERY:
            self._looked_at_disk = seconds
            if self._written() > self._limits.disk:
                return f"it wrote over {self._limits.disk / 1e9:g} GB (train.disk)"
        return ""

    def output(self) -> str:
        """What it has printed since the last time, in whole lines; of a flood only a part."""
        size = os.fstat(self._log.fileno()).st_size
        told = ""
        if size - self._read > _BEHIND:
            told = f"\nyard: {size - self._read - _AT_ONCE} bytes of output are left out here\n"
            self._read = size - _AT_ONCE
        data = os.pread(self._log.fileno(), _AT_ONCE, self._read)
        whole = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1  # so that no secret is cut in two
        if self.code is None and (whole or len(data) < _LONGEST_LINE):
            data = data[:whole]
        self._read += len(data)
        text = data.decode(errors="replace").replace("\r\n", "\n")
        return told + text.replace("\r", "\n")  # bars of progress, a line each

    def ask_to_end(self) -> None:
        """Ask it to end; what has not after some seconds is ended by `end`."""
        for pid in tree(self._child.pid):
            if name_of(pid) != "bwrap":  # the walls would fall at once, and end what is inside unasked
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        self.wait(_POLITE_SECONDS)

    def end(self) -> int:
        """End it and all that it has started; its exit code, negative for a signal."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            gone(self._child.pid, None)
            self._reap()
        if self._exit is not None:
            self._exit.close()
        assert self.code is not None  # noqa: S101 - it has been reaped
        return self.code

    def __enter__(self) -> Self:
        """Nothing; at the end of the block it has ended."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and clear away what is needed to find it."""
        self.end()
        self._clear()

    def _start(self, command: Command, hidden: tuple[str, ...]) -> subprocess.Popen[bytes]:
        is_contained = not sandbox.missing()
        try:
            words = self._within(command, hidden) if is_contained else self._limited(command)
            if nice := shutil.which("nice"):
                words = [nice, "-n", _NICE, *words]
            return subprocess.Popen(
                words,
                stdin=self._exit.inner if self._exit else subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                cwd=self._place.work,
                env=command.environment,
                start_new_session=True,
            )
        except OSError as error:
            self._clear()
            raise EnvironmentBuildError(f"The command does not start: {error}.") from error
        except EnvironmentBuildError:
            self._clear()
            raise

    def _written(self) -> int:
        """Bytes of disk that its folders and its output take."""
        output = os.fstat(self._log.fileno()).st_blocks * _BLOCK
        return output + sum(_size(folder) for folder in (self._place.work, self._place.output))

    def _reap(self) -> None:
        """Take its exit code, and what it and all below it have taken."""
        with suppress(ProcessLookupError):  # what it forked and left, where there are no walls
            os.killpg(self._child.pid, signal.SIGKILL)
        _, status, used = os.wait4(self._child.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.code = self._child.returncode = 128 - code if code > 128 else code  # noqa: PLR2004  # as shells do
        cpu = max(self._usage.cpu_seconds, used.ru_utime + used.ru_stime)
        peak = max(self._usage.peak_memory, used.ru_maxrss * 1024)
        self._usage = Usage(time.monotonic() - self._began, cpu, peak)

    def _clear(self) -> None:
        if self._exit is not None:
            self._exit.close()
        self._log.close()
        (self._place.home / _RECORD).unlink(missing_ok=True)
        cgroups.remove(self._group)

    def _limited(self, command: Command) -> list[str]:
        if command.limits.hosts:
            self._log.write(b"yard: there are no walls here, so it has this machine's network\n")
            self._log.flush()
        return sandbox.limited(command.words, command.limits.memory, command.limits.disk)

    def _within(self, command: Command, hidden: tuple[str, ...]) -> list[str]:
        place, limits = self._place, command.limits
        for folder in (place.work, place.output):
            _open(folder)
        sandbox.show(place.data)
        granted = gpus.grant(command.gpus)
        walls = sandbox.Walls(
            read_only=(*command.read_only, *granted.read_only, str(place.data)),
            writable=(str(place.work), str(place.output)),
            devices=granted.devices,
            hidden=hidden,
            folder=str(place.work),
            environment=command.environment | granted.environment,
            memory=limits.memory,
            file_bytes=limits.disk,
            groups=cgroups.make(self._group, limits.memory, sandbox.Walls().processes, share=_SHARE),
            dies_with_parent=True,
        )
        if not limits.hosts:
            return sandbox.contained(command.words, walls)
        self._exit = Exit(limits.hosts, command.outbound, hidden, walls.groups, self._log)
        return sandbox.contained(exits.through(command.words), exits.with_exit(walls))


def clear(home: Path) -> bool:
    """End a command of an engine that has died, if it should still run; whether it did. Its folder goes."""
    found = False
    with suppress(OSError, msgspec.MsgspecError):
        record = msgspec.json.decode((home / _RECORD).read_bytes(), type=Record)
        found = record.started >= 0 and start_time(record.pid) == record.started
        if found:
            with suppress(ProcessLookupError):
                os.killpg(record.pid, signal.SIGKILL)
            gone(record.pid, None)
        cgroups.remove(record.group)
    remove(home)
    return found


def remove(home: Path) -> None:
    """Remove a job's folder, whatever rights the command took from parts of it."""
    for path in (home, *(p for p in home.rglob("*") if p.is_dir() and not p.is_symlink())):
        with suppress(OSError):
            path.chmod(0o700)
    shutil.rmtree(home, ignore_errors=True)


def _open(folder: Path) -> None:
    """Let the user of the command write to all that is in a folder."""
    sandbox.hand_over(folder)
    for path in folder.rglob("*"):
        if os.geteuid() == 0:
            path.chmod(0o777 if path.is_dir() else 0o666)
        else:
            path.chmod(path.stat().st_mode | (0o700 if path.is_dir() else 0o600))


def _size(folder: Path) -> int:
    total = 0
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(OSError):
                total += os.lstat(os.path.join(at, name)).st_blocks * _BLOCK  # noqa: PTH118  # quicker, for many
    return total
