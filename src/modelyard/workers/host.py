"""The host of one worker, or one job, on another machine: starts it, joins connections to it, ends with it.

It runs in a process that a cluster has placed (`workers/ray.py`), and starts its worker as every yard does,
by `LocalWorkers`: the same program within the same walls. It talks to the yard's node by `workers/remote.py`.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO
from weakref import WeakSet

import msgspec
import uvloop

from modelyard.records.errors import (
    EnvironmentBuildError,
    MalformedError,
    UnavailableError,
    WorkerStartError,
    YardError,
)
from modelyard.settings import Settings
from modelyard.workers import commands, remote
from modelyard.workers.commands import Place
from modelyard.workers.environments import only_one
from modelyard.workers.host_jobs import Errand, check_release
from modelyard.workers.local import LocalWorkers
from modelyard.workers.plans import Taken, Worker
from modelyard.workers.remote import (
    BEAT_SECONDS,
    FRAMES,
    SILENCE_SECONDS,
    Beat,
    Ended,
    Message,
    Ready,
    Refused,
    Said,
    Start,
    Stop,
    Watch,
    Work,
)

log = logging.getLogger(__name__)

_ALONE_SECONDS = 120.0  # without a yard that watches: an engine that starts anew needs a few
_LOCK = "lock"  # held by the host that a folder belongs to
_CHUNK = 1 << 18
_LOG_CHUNK = 1 << 16
_JOB = "job"
_LINGER = 0.5
_CLOSING = 0.05
_SHAKE_SECONDS = 5.0
_GOODBYE_SECONDS = 1.0  # for the other side to end TLS as well
_DRAIN_SECONDS = 5.0
_TAKE_SECONDS = 120.0  # for the yard's node to take what a job has left


def folder_of_host() -> Path:
    """Where hosts of this user keep what they need: in YARD_DATA_DIR, else beside the system's own."""
    own = os.environ.get("YARD_DATA_DIR")
    return Path(own).resolve() / "hosts" if own else Path(f"/var/tmp/modelyard-hosts-{os.getuid()}")  # noqa: S108


class Host:
    """Listens for one yard node, and runs one worker for it.

    Args:
        address: where to listen.
        certificate: of the node that may connect.
        base: the folder of all hosts of this machine; environments are shared in it.
        leave: called when the worker has ended, or nobody has watched for a while; must end the process.

    Attributes:
        far: where it listens, with its certificate; for whoever placed it.
    """

    def __init__(self, address: str, certificate: str, base: Path, leave: Callable[[], object]) -> None:
        _make_own(base)
        self._base = base
        self._own = base / secrets.token_hex(6)
        with only_one(base, "hosts"):  # else another that starts takes the new folder for one that was left
            clear_left(base)
            self._own.mkdir(mode=0o700)
            self._lock = (self._own / _LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._leave = leave
        self._workers: LocalWorkers | None = None
        self._worker: Worker | None = None
        self._open: WeakSet[asyncio.StreamWriter] = WeakSet()  # also those that are being closed
        self._how = ""
        self._told = 0  # bytes of the worker's log that a beat has told
        self._is_taken = False
        self._is_over = False  # its job has ended
        self._ended = asyncio.Event()
        self._watchers = 0
        self._watched = time.monotonic()
        own = remote.make_identity(self._own / "identity")
        self._context = remote.context_of_host(self._own / "identity", certificate)
        self._socket = socket.create_server((address, 0), family=_family(address))
        self.far = remote.Far(address, self._socket.getsockname()[1], own, "")

    def run(self) -> None:
        """Serve until the worker has ended, or nobody watches. Blocks."""
        try:
            uvloop.run(self._serve())
        finally:
            self.clear()
            self._leave()

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.run, name="host", daemon=True).start()

    def clear(self) -> None:
        """End the worker, if it runs, and remove what it needed."""
        self._stop()
        shutil.rmtree(self._own, ignore_errors=True)
        if self._workers is not None:
            shutil.rmtree(self._workers.folder.parent, ignore_errors=True)
        self._lock.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(
            self._meet,
            sock=self._socket,
            ssl=self._context,
            ssl_handshake_timeout=_SHAKE_SECONDS,
            ssl_shutdown_timeout=_GOODBYE_SECONDS,
            limit=_CHUNK,
        )
        async with server:
            while not self._ended.is_set():
                if self._watchers:
                    self._watched = time.monotonic()
                if time.monotonic() - self._watched > _ALONE_SECONDS:
                    break
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), BEAT_SECONDS)
            await asyncio.sleep(_LINGER)  # who watches is told
            for writer in list(self._open):
                writer.transport.abort()
            await asyncio.sleep(_CLOSING)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            remote.notice_silence(writer.get_extra_info("socket"))
            if writer.get_extra_info("ssl_object").selected_alpn_protocol() == FRAMES:
                await self._join(reader, writer)
            else:
                await self._talk(reader, writer)
        except (OSError, MalformedError, asyncio.IncompleteReadError):
            pass  # who asked has gone, or is no yard: nobody is there to be told
        finally:
            writer.close()

    # Frames

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on between a front and the worker, both ways, until either hangs up."""
        if self._worker is None:
            return
        back, forth = await asyncio.open_unix_connection(self._worker.socket, limit=_CHUNK)
        ways = [asyncio.ensure_future(_pump(reader, forth)), asyncio.ensure_future(_pump(back, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forth.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    # Messages

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._watchers += 1
        beats: asyncio.Task[None] | None = None
        errand: Errand | None = None
        try:
            while True:
                message = await _receive(reader)
                if isinstance(message, Start) and not self._is_taken:
                    self._is_taken = True
                    await self._start(message, reader, writer)
                elif isinstance(message, Work) and not self._is_taken:
                    self._is_taken = True
                    errand = await self._work(message, reader, writer)
                elif isinstance(message, Stop):
                    await asyncio.to_thread(errand.stop if errand else self._stop)
                if isinstance(message, Start | Watch | Stop) and beats is None and errand is None:
                    beats = asyncio.ensure_future(self._beat(writer))
        finally:
            self._watchers -= 1
            if beats is not None:
                beats.cancel()
            if errand is not None:
                errand.stop()
            if self._is_over or (errand is None and self._worker is None):
                self._ended.set()  # the job has ended; or who asked has gone while it loaded, or it did not

    async def _start(self, start: Start, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()

        def say(words: str) -> None:
            loop.call_soon_threadsafe(writer.write, remote.pack(Said(words)))

        settings = Settings.from_environment(
            data=self._own, worker_memory=start.memory, load_timeout=start.load_timeout
        )
        try:
            settings.run.mkdir(exist_ok=True, mode=0o700)
            self._workers = LocalWorkers(settings, environments=self._base / "environments", outlives=False)
            bundle = await self._unpacked(reader, start.size, self._own / "bundle")
            check_release(start.release)
            plan = msgspec.structs.replace(start.plan, bundle=str(bundle))
            starting = asyncio.ensure_future(asyncio.to_thread(self._workers.start, plan, say))
            hung_up = asyncio.ensure_future(_hung_up(reader))
            await asyncio.wait([starting, hung_up], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                self._workers.close()
            hung_up.cancel()
            await asyncio.gather(hung_up, return_exceptions=True)
            worker = await starting
        except (YardError, OSError) as error:
            await _refuse(writer, error)
            raise ConnectionResetError from error
        self._worker = worker
        threading.Thread(target=self._wait, args=(loop, worker), name="wait", daemon=True).start()
        writer.write(remote.pack(Ready(worker.pid, worker.takes, worker.runtime)))

    async def _unpacked(self, reader: asyncio.StreamReader, size: int, folder: Path) -> Path:
        """The folder, with what is in the tar that follows."""
        path, left = self._own / "tar", size
        with path.open("wb") as file:
            while left:
                chunk = await reader.read(min(left, _CHUNK))
                if not chunk:
                    raise ConnectionResetError
                file.write(chunk)
                left -= len(chunk)
        with path.open("rb") as file:
            await asyncio.to_thread(remote.unpack_folders, file, folder)
        path.unlink()
        return folder

    async def _work(self, work: Work, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Errand:
        """Begin with a job, in a thread of its own."""
        loop = asyncio.get_running_loop()
        place = Place(self._own / _JOB)
        try:
            await self._unpacked(reader, work.size, place.home)
        except OSError as error:
            await _refuse(writer, error)
            raise ConnectionResetError from error

        async def send(data: bytes) -> None:
            writer.write(data)
            await asyncio.wait_for(writer.drain(), _TAKE_SECONDS)

        def pour(file: IO[bytes]) -> None:
            while data := file.read(_CHUNK):
                asyncio.run_coroutine_threadsafe(send(data), loop).result()

        def say(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(send(remote.pack(message)), loop).result()

        errand = Errand(work, place, self._base, say, pour)

        def run() -> None:
            try:
                errand.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, the yard's node is told
                log.warning("a job ends: %s", error)
                with suppress(OSError):
                    asyncio.run_coroutine_threadsafe(_refuse(writer, error), loop).result()
            finally:
                loop.call_soon_threadsafe(self._end_of_job, loop)

        threading.Thread(target=run, name="job", daemon=True).start()
        return errand

    def _end_of_job(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stay until the yard's node has taken what was sent last: it hangs up then."""
        self._is_over = True
        if self._watchers:
            loop.call_later(_TAKE_SECONDS, self._ended.set)
        else:
            self._ended.set()

    def _stop(self) -> None:
        if self._workers is not None and self._worker is not None:
            self._workers.stop(self._worker)

    def _wait(self, loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
        assert self._workers is not None  # noqa: S101 - it has started the worker
        self._how = self._workers.wait(worker)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._ended.set)

    async def _beat(self, writer: asyncio.StreamWriter) -> None:
        """Tell once a second how the worker does, and at last that it has ended; until nobody listens."""
        assert self._workers is not None  # noqa: S101
        taken = Taken()
        try:
            while self._worker is not None and not self._ended.is_set():
                taken = await asyncio.to_thread(self._workers.look, self._worker)
                log, self._told = _more(Path(self._worker.log), self._told)
                writer.write(remote.pack(Beat(taken.memory, taken.cpu_seconds, log)))
                await asyncio.wait_for(writer.drain(), SILENCE_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), BEAT_SECONDS)
            if self._worker is not None:
                log, self._told = _more(Path(self._worker.log), self._told)
                writer.write(remote.pack(Beat(0, taken.cpu_seconds, log)))
                writer.write(remote.pack(Ended(self._how)))
                await asyncio.wait_for(writer.drain(), _DRAIN_SECONDS)
        except OSError:
            writer.transport.abort()


def clear_left(base: Path) -> None:
    """End what hosts that were killed have left, and remove their folders: nobody holds their locks."""
    for lock in base.glob(f"*/{_LOCK}"):
        with suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            workers = LocalWorkers(Settings.from_environment(data=lock.parent))
            for worker in workers.alive():
                workers.stop(worker)
            shutil.rmtree(workers.folder.parent, ignore_errors=True)
            commands.clear(lock.parent / _JOB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def _make_own(base: Path) -> None:
    """Make the folder of all hosts. It may be where everybody can make one, and what lies in it is run.

    Raises:
        EnvironmentBuildError: somebody else has made it.
    """
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, os.getuid()):
        raise EnvironmentBuildError(
            f"The folder {base} on {socket.gethostname()} is another user's, so nothing is run from it.",
            "Remove it, or name another folder there with YARD_DATA_DIR.",
        )


async def _refuse(writer: asyncio.StreamWriter, error: Exception) -> None:
    if not isinstance(error, YardError):
        words = f"The machine {socket.gethostname()} failed: {error or type(error).__name__}."
        error = UnavailableError(words, "It is tried again.")
    log = error.log if isinstance(error, WorkerStartError) else ""
    writer.write(remote.pack(Refused(error.code, error.message, error.hint, log)))
    await writer.drain()


async def _receive(reader: asyncio.StreamReader) -> Message:
    size = remote.length(await reader.readexactly(4))
    return remote.unpack(await reader.readexactly(size))


async def _hung_up(reader: asyncio.StreamReader) -> None:
    """Until the other side hangs up; it says nothing while it waits for an answer."""
    with suppress(OSError):
        await reader.read(1)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


def _more(path: Path, since: int) -> tuple[bytes, int]:
    """What a log has beyond so many bytes, and how many it has up to there; it begins anew if it was cut."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = since if since <= size else 0
            file.seek(max(start, size - _LOG_CHUNK))
            data = file.read(_LOG_CHUNK)
            return data, file.tell()
    except OSError:
        return b"", since


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
