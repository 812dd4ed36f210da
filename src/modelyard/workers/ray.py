"""Workers on Ray clusters: placed by Ray, talked to without it.

A worker is started by a host on a machine that Ray has chosen (`workers/host.py`), and watched over a
connection to that host. Where Ray itself is away, what runs goes on answering.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from modelyard import __version__
from modelyard.records import errors
from modelyard.records.errors import (
    InvalidError,
    MalformedError,
    UnavailableError,
    WorkerStartError,
    YardError,
)
from modelyard.settings import Settings
from modelyard.workers import remote
from modelyard.workers.cluster import Places, Spot
from modelyard.workers.plans import Plan, Progress, Taken, Worker
from modelyard.workers.remote import (
    PREPARES_SECONDS,
    Beat,
    Channel,
    Ended,
    Ready,
    Refused,
    Said,
    Start,
    Stop,
    Watch,
)

log = logging.getLogger(__name__)

_STOP_SECONDS = 10.0
_LOST = "its machine is gone, or cannot be reached"


class RayWorkers:
    """Starts workers on the clusters of their departments.

    Args:
        settings: the node's settings; where workers are is kept in `settings.run`.
        places: who has hosts placed.
    """

    def __init__(self, settings: Settings, places: Places) -> None:
        self._settings = settings
        self._places = places
        self.folder = settings.run / "workers"
        self._logs = settings.data / "logs" / "workers"
        for folder in (self.folder, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        self._links: dict[str, _Link] = {}
        self._loading: set[Channel] = set()
        self._closed = False
        self._lock = threading.Lock()

    def start(self, plan: Plan, progress: Progress) -> Worker:
        """See `Workers.start`."""
        home = self.folder / secrets.token_hex(8)
        name = f"{plan.version_id}-{plan.replica}-{home.name}"
        department = plan.version_id.split(".")[0]
        spot = self._places.place(department, name, plan.demand, progress)
        try:
            home.mkdir(mode=0o700)
            (home / remote.FILE).write_bytes(msgspec.json.encode(spot.far))
            worker = self._load(plan, spot, home, progress)
            home.with_suffix(".json").write_bytes(msgspec.json.encode(worker))
        except BaseException as error:
            self._places.note(department, error)
            spot.channel.close()
            shutil.rmtree(home, ignore_errors=True)
            spot.give_up()
            raise
        self._watch(worker, spot.channel)
        return worker

    def stop(self, worker: Worker) -> None:
        """See `Workers.stop`."""
        link = self._links.get(worker.socket)
        if link is not None and not link.ended.is_set():
            link.send(Stop())
            if not link.ended.wait(_STOP_SECONDS):
                log.warning("worker %s on %s does not end; its host ends it", worker.pid, worker.node)
                link.lose("it did not end when it was asked to")
        self._forget(worker)

    def close(self) -> None:
        """See `Workers.close`."""
        with self._lock:
            self._closed = True
            loading = list(self._loading)
        for channel in loading:
            channel.close()  # its host ends itself
        self._places.close()

    def alive(self) -> list[Worker]:
        """See `Workers.alive`: those whose hosts answer; others' records go."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                worker = msgspec.json.decode(path.read_bytes(), type=Worker)
                channel = self._reach(worker)
            except (msgspec.MsgspecError, OSError):
                channel = None
            if channel is None:
                path.unlink(missing_ok=True)
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                continue
            self._watch(worker, channel)
            found.append(worker)
        return found

    def wait(self, worker: Worker) -> str:
        """See `Workers.wait`."""
        link = self._links.get(worker.socket)
        if link is None:
            return "it ended"
        link.ended.wait()
        self._forget(worker)
        return link.how

    def look(self, worker: Worker) -> Taken:
        """See `Workers.look`; as its host told last, which keeps it in check."""
        link = self._links.get(worker.socket)
        return link.taken if link is not None else Taken()

    def _load(self, plan: Plan, spot: Spot, home: Path, progress: Progress) -> Worker:
        with self._lock:
            if self._closed:
                raise WorkerStartError("The yard is going down.", "Ask again when it is up.")
            self._loading.add(spot.channel)
        try:
            ready = self._ask(spot.channel, plan, progress)
        finally:
            self._loading.discard(spot.channel)
        return Worker(
            plan=plan,
            socket=str(home / remote.FILE),
            pid=ready.pid,
            started=0,
            log=str(self._logs / f"{plan.version_id}-{plan.replica}.log"),
            takes=ready.takes,
            runtime=ready.runtime,
            since=time.time(),
            node=spot.node,
        )

    def _ask(self, channel: Channel, plan: Plan, progress: Progress) -> Ready:
        """Send the plan and its bundle; the host's last word."""
        memory = plan.memory(self._settings.worker_memory)
        seconds = self._settings.load_timeout
        try:
            channel.send_tar(
                lambda size: Start(__version__, plan, size, memory, seconds),
                {".": Path(plan.bundle)},
                self._settings.data,
            )
            while True:
                match channel.receive(PREPARES_SECONDS):
                    case Said(words=words):
                        progress(words)
                    case Ready() as ready:
                        return ready
                    case Refused() as refused:
                        raise as_error(refused)
                    case _:
                        continue
        except (OSError, MalformedError) as error:
            if self._closed:
                raise WorkerStartError("The yard is going down.", "Ask again when it is up.") from error
            raise UnavailableError(
                f"The worker's machine was lost while it loaded the model: {error}.", "It is tried again."
            ) from error

    def _watch(self, worker: Worker, channel: Channel) -> None:
        self._links[worker.socket] = _Link(channel, Path(worker.log), lambda: self._reach(worker))

    @staticmethod
    def _reach(worker: Worker) -> Channel | None:
        """A new connection to a worker's host, if it can still be reached."""
        with suppress(OSError):
            if (far := remote.far_of(worker.socket)) is not None:
                channel = Channel(far)
                try:
                    channel.send(Watch())
                except OSError:
                    channel.close()
                    raise
                return channel
        return None

    def _forget(self, worker: Worker) -> None:
        """Remove what stands for it here."""
        self._links.pop(worker.socket, None)
        home = Path(worker.socket).parent
        home.with_suffix(".json").unlink(missing_ok=True)
        shutil.rmtree(home, ignore_errors=True)


class _Link:
    """What a worker's host tells, in a thread of its own until the worker has ended.

    Args:
        again: connects anew, where the connection broke; None if the host is gone.

    Attributes:
        taken: what the worker takes, as told last.
        ended: set when the worker has ended, or its host is gone; `how` says which.
    """

    def __init__(self, channel: Channel, log_file: Path, again: Callable[[], Channel | None]) -> None:
        self.taken = Taken()
        self.how = _LOST
        self.ended = threading.Event()
        self._channel = channel
        self._log_file = log_file
        self._again = again
        threading.Thread(target=self._run, name="link", daemon=True).start()

    def send(self, message: remote.Message) -> None:
        """Say something; lost if the host is."""
        with suppress(OSError):
            self._channel.send(message)

    def lose(self, how: str) -> None:
        """Count it as ended."""
        self.how = how
        self.ended.set()
        self._channel.close()

    def _run(self) -> None:
        while not self.ended.is_set():
            try:
                self._take(self._channel.receive())
            except (OSError, MalformedError):
                self._channel.close()
                channel = None if self.ended.is_set() else self._again()
                if channel is None:
                    break
                self._channel = channel
        self.taken = self.taken._replace(memory=0)
        self.ended.set()
        self._channel.close()

    def _take(self, message: remote.Message) -> None:
        if isinstance(message, Beat):
            self.taken = Taken(message.memory, max(self.taken.cpu_seconds, message.cpu_seconds))
            if message.log:
                with suppress(OSError), self._log_file.open("ab") as file:
                    file.write(message.log)
        elif isinstance(message, Ended):
            self.how = message.how
            self.ended.set()


_KINDS: dict[str, type[YardError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, WorkerStartError | InvalidError | UnavailableError)
}


def as_error(refused: Refused) -> YardError:
    """What a host refused, as the error that it was there."""
    kind = _KINDS.get(refused.code, WorkerStartError)
    error = kind(refused.message, refused.hint)
    if isinstance(error, WorkerStartError):
        error.log = refused.log
    return error
