"""`yard up`: the supervisor. It imports everything once, forks an engine and fronts, replaces who dies."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

from modelyard import logs, traces
from modelyard.app.engine import run_engine
from modelyard.app.front import DRAIN, run_front
from modelyard.app.records import prepare
from modelyard.records.errors import ConflictError, InvalidError, UnavailableError, YardError
from modelyard.settings import Settings, notify_socket

log = logging.getLogger(__name__)

_SIGNALLED_WHEN_PARENT_DIES = 1  # PR_SET_PDEATHSIG
_ADOPTS_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER
_FRONTS_SECONDS = 6.0
_ENGINE_SECONDS = 4.0  # together the ten seconds that `docker stop` gives
_ABANDONED_SECONDS = 15.0
_BACKLOG = 2048
_RESTART_AT_MOST_EVERY = 0.5
_FAILED = 70
_LOOK_EVERY = 60.0
_MANY = 4096
_OURS_ALONE = ("logs", "spool", "bundles", "environments", "scratch")  # what is in them others may read
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Announce = Callable[[str], None]


def run(settings: Settings, announce: Announce | None = None) -> int:
    """Run a yard until SIGTERM or SIGINT; the exit code.

    Args:
        announce: is told, a line a call, what a person should know; by default it is printed.

    Raises:
        YardError: it cannot start: the folder, the port or the database; the message says which and why.
    """
    announce = announce or partial(print, flush=True)
    logs.set_up(settings.log_level, settings.log_format, "supervisor")
    if settings.traces:
        traces.check_installed()
    lock = take_folder(settings)
    with contextlib.closing(lock):
        sockets = _listen(settings)
        settings = msgspec.structs.replace(settings, port=sockets[0].getsockname()[1])
        _in_a_child(lambda: _prepare(settings, announce))
        supervisor = _Supervisor(settings, sockets)
        supervisor.start()
        if supervisor.wait_until_ready():
            address, seconds = _address(settings), time.time() - _process_began()
            announce(f"Modelyard is up at {address} (ready in {seconds:.1f} s)")
            _tell_systemd(f"READY=1\nSTATUS=Up at {address}")
        return supervisor.supervise()


def _address(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _tell_systemd(state: str) -> None:
    """Where a unit of `Type=notify` started us, say how we stand (sd_notify(3)); else nothing."""
    if not (place := notify_socket()):
        return
    address = f"\0{place[1:]}" if place.startswith("@") else place
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
            one.sendto(state.encode(), address)
    except OSError as error:
        log.warning("systemd cannot be told %r: %s", state, error)


def _process_began() -> float:
    """Seconds since 1970 when this process was started: what a person waited counts from there."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")


def take_folder(settings: Settings) -> IO[str]:
    """The data folder, made if need be and locked against a second yard until the file is closed.

    Raises:
        ConflictError: a yard runs on it.
        InvalidError: it cannot be used.
    """
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in _OURS_ALONE:
            folder = settings.data / name
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)  # whatever the data folder lets others do: it may have been there before
        settings.run.mkdir(exist_ok=True, mode=0o700)
        if settings.run.stat().st_uid != os.getuid():
            raise InvalidError(
                f"{settings.run} belongs to somebody else.", "Delete it or choose another --data."
            )
        lock = (settings.data / "lock").open("a+")
    except OSError as error:
        raise InvalidError(
            f"The data folder {settings.data} cannot be used: {error.strerror}.",
            "Give --data a folder that you may write to, on a disk with room.",
        ) from error
    deadline = time.monotonic() + _ABANDONED_SECONDS
    while not _locked(lock):
        # The processes of a supervisor that was killed hold the lock until they have ended.
        if _supervisor_lives(lock) or time.monotonic() > deadline:
            lock.close()
            raise ConflictError(
                f"A yard already runs on {settings.data}.", "Stop it first, or give this one another --data."
            )
        time.sleep(0.05)
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _supervisor_lives(lock: IO[str]) -> bool:
    lock.seek(0)
    pid = lock.read().strip()
    return not pid.isdigit() or Path(f"/proc/{pid}").exists()


def _listen(settings: Settings) -> list[socket.socket]:
    """One listening socket a front, all on the same port; the kernel shares connections between them."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sockets: list[socket.socket] = []
    port = settings.port
    try:
        # A first socket without SO_REUSEPORT notices another program on the port.
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, port))
            port = probe.getsockname()[1]
        for _ in range(settings.fronts):
            one = socket.socket(family)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((settings.host, port))
            one.listen(_BACKLOG)
            sockets.append(one)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "another program uses the port" if taken else str(error)
        raise UnavailableError(
            f"{settings.host}:{port} cannot be listened on: {why}.", "Choose another with --port or --host."
        ) from error
    return sockets


def _prepare(settings: Settings, announce: Announce) -> None:
    """Migrate the database and make the first administrator; in a child, so that no connection is forked."""
    path = settings.data / "admin.token"

    def keep(secret: str) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        announce(f"The administrator's token is in {path}; keep it as you would a key.")
        announce(f"Come in with it: yard login {_address(settings)} --token-file {path}")

    try:
        prepare(settings, keep)
    except UnavailableError as error:
        if not settings.routes_file.exists():
            raise  # a first start: there is nothing to answer with
        announce(
            f"{error} Until then predictions are answered from the last routes, and nothing can be changed."
        )


def _in_a_child(work: Callable[[], None]) -> None:
    """Do it in a forked child; its YardError is raised here."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            work()
        except YardError as error:
            os.write(writing, f"{error.message}\0{error.hint}".encode())
            code = 1
        except BaseException:
            logging.getLogger("modelyard").exception("preparing the yard failed")
            code = _FAILED
        sys.stdout.flush()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as words:
        message, _, hint = words.read().decode().partition("\0")
    _, status = os.waitpid(pid, 0)
    if status:
        raise UnavailableError(message or "The yard could not be prepared; the log above says why.", hint)


class _Child:
    """A process to keep: how to start it, when it was last started, and its id (0: it does not run)."""

    def __init__(self, name: str, work: Callable[[Callable[[], None]], None]) -> None:
        self.name = name
        self.work = work
        self.pid = 0
        self.started = 0.0


class _Supervisor:
    def __init__(self, settings: Settings, sockets: list[socket.socket]) -> None:
        self._stopping = False
        self._hurry = False
        self._drain = settings.drain
        self._started = False
        self._failed = False
        self._ready, self._say_ready = os.pipe()
        self._woken, self._wake = os.pipe()
        for end in (self._ready, self._woken, self._wake):
            os.set_blocking(end, False)
        self._parent = os.getpid()
        self._engine = _Child("engine", lambda ready: run_engine(settings, ready))
        self._fronts = [
            _Child(f"front-{i}", lambda ready, i=i, s=s: run_front(settings, f"front-{i}", s, ready))  # type: ignore[misc]
            for i, s in enumerate(sockets)
        ]

    def start(self) -> None:
        """Fork everybody."""
        _prctl(_ADOPTS_ORPHANS, 1)
        for number in _ENDS:
            signal.signal(number, self._stop)
        # Nothing is polled: a signal (a child's end, a wish to stop) writes to the pipe that is waited for.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for child in (self._engine, *self._fronts):
            self._fork(child)

    def wait_until_ready(self) -> bool:
        """Whether every process said that it is ready; false if asked to stop before."""
        due = 1 + len(self._fronts)
        while due and not self._stopping:
            self._wait(self._ready)
            due -= len(_read(self._ready, due))
            self._reap()
        self._started = not self._stopping
        return self._started

    def supervise(self) -> int:
        """Replace who dies until asked to stop; then stop everybody, fronts first."""
        while not self._stopping:
            self._reap()
            self._wait()
        _tell_systemd("STOPPING=1")
        if self._started and not self._failed:
            self._let_balancers_go()
        self._end(self._fronts, _FRONTS_SECONDS)
        self._end([self._engine], _ENGINE_SECONDS)
        _end_the_rest()
        return _FAILED if self._failed else 0

    def _let_balancers_go(self) -> None:
        """Say that this node is not ready, and answer on for a while; a second signal cuts that short."""
        deadline = time.monotonic() + self._drain
        for front in self._fronts if self._drain else ():
            _signal(front.pid, DRAIN)
        while not self._hurry and (left := deadline - time.monotonic()) > 0:
            self._wait(timeout=left)
            self._reap()

    def _stop(self, *_: object) -> None:
        self._hurry = self._stopping
        self._stopping = True

    def _wait(self, *more: int, timeout: float = _LOOK_EVERY) -> None:
        """Until a signal comes, one of these descriptors can be read, or the time is up."""
        select.select([self._woken, *more], [], [], timeout)
        _read(self._woken, _MANY)

    def _fork(self, child: _Child) -> None:
        child.started = time.monotonic()
        pid = os.fork()
        if pid:
            child.pid = pid
            return
        code = _FAILED
        try:
            _prctl(_SIGNALLED_WHEN_PARENT_DIES, signal.SIGTERM)
            _prctl(_ADOPTS_ORPHANS, 0)
            signal.set_wakeup_fd(-1)
            for number in (*_ENDS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            if os.getppid() == self._parent:  # else the supervisor died before the line above
                child.work(lambda: os.write(self._say_ready, b"."))  # type: ignore[arg-type]
            code = 0
        except SystemExit as error:  # uvicorn's way to say that it cannot start, or was told to stop
            code = error.code if isinstance(error.code, int) else _FAILED
        except BaseException:
            log.exception("%s failed", child.name)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._replace(*found)

    def _replace(self, pid: int, status: int) -> None:
        child = next((c for c in (self._engine, *self._fronts) if c.pid == pid), None)
        if child is None:
            return  # an orphaned worker that ended
        child.pid = 0
        if self._stopping:
            return
        if not self._started and status:
            log.error("%s cannot start; the lines above say why", child.name)
            self._failed = self._stopping = True
            return
        log.warning("%s ended (%s); starting another", child.name, os.waitstatus_to_exitcode(status))
        time.sleep(max(0.0, child.started + _RESTART_AT_MOST_EVERY - time.monotonic()))
        if not self._stopping:
            self._fork(child)

    def _end(self, children: list[_Child], seconds: float) -> None:
        """End them politely, and after some seconds at once."""
        deadline = time.monotonic() + seconds
        for child in children:
            _signal(child.pid, signal.SIGTERM)
        self._reap()
        while any(child.pid for child in children):
            left = deadline - time.monotonic()
            if left <= 0:
                for child in children:
                    _signal(child.pid, signal.SIGKILL)
            self._wait(timeout=max(0.1, left))
            self._reap()


def _signal(pid: int, number: signal.Signals) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _read(descriptor: int, most: int) -> bytes:
    try:
        return os.read(descriptor, most)
    except BlockingIOError:
        return b""


def _end_the_rest() -> None:
    """Kill what the engine left: orphans are ours, and their orphans after them."""
    mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    with contextlib.suppress(ChildProcessError):
        while True:
            for pid in map(int, mine.read_text().split()):
                _signal(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
