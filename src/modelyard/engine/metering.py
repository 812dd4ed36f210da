"""The meters of one node: what its fronts answered and its workers' processors did, charged once in effect.

See `records.meters` for how. What is lost is what a process did after the last look at it and before its end:
of a worker that dies or ends while no engine is there, and of a front, a second at most.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from modelyard.records.errors import UnavailableError, YardError
from modelyard.records.ledger import CALLERS_FAULTS
from modelyard.records.meters import Books, Counts, Meters
from modelyard.records.rollouts import version_of
from modelyard.store import ledger
from modelyard.store.database import Database
from modelyard.store.folder import whole_file
from modelyard.workers.plans import Plan, Progress, Taken, Worker, Workers
from modelyard.workers.processes import start_time

log = logging.getLogger(__name__)

_SAMPLE = re.compile(
    r'modelyard_predict_(requests|rows)_total\{model="([^"]+)",version="(\d+)"(?:,outcome="([^"]+)")?\}'
)
_ANSWERED = "answered"
_MILLION = 1_000_000
_NICE = 10  # the fronts come first
Source = Callable[[], Meters]


class Metered:
    """Workers of which it is known what their processors did. It starts and ends none by itself. Thread-safe.

    Args:
        workers: who does.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._live: dict[str, Worker] = {}
        self._used: dict[str, float] = {}
        self._ended: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def start(self, plan: Plan, progress: Progress) -> Worker:
        """See `Workers.start`."""
        worker = self._workers.start(plan, progress)
        self._know(worker)
        return worker

    def stop(self, worker: Worker) -> None:
        """See `Workers.stop`."""
        self._end(worker)
        self._workers.stop(worker)

    def close(self) -> None:
        """See `Workers.close`."""
        self._workers.close()

    def alive(self) -> list[Worker]:
        """See `Workers.alive`."""
        found = self._workers.alive()
        for worker in found:
            self._know(worker)
        return found

    def wait(self, worker: Worker) -> str:
        """See `Workers.wait`."""
        try:
            return self._workers.wait(worker)
        finally:
            self._end(worker)

    def look(self, worker: Worker) -> Taken:
        """See `Workers.look`; never fewer seconds than before, though its processes end one by one."""
        name, taken = _name(worker), self._workers.look(worker)
        with self._lock:
            if name in self._live:
                self._used[name] = max(taken.cpu_seconds, self._used.get(name, 0.0))
                taken = taken._replace(cpu_seconds=self._used[name])
        return taken

    def read(self) -> Meters:
        """The meters of workers that run, and once more of those that have ended since the last time."""
        with self._lock:
            live, ended = list(self._live.values()), self._ended
            self._ended = {}
        found = {_name(w): (w.plan.version_id, self.look(w).cpu_seconds) for w in live} | ended
        return {
            name: {_place(version_id): Counts(cpu=round(seconds * _MILLION))}
            for name, (version_id, seconds) in found.items()
        }

    def _know(self, worker: Worker) -> None:
        with self._lock:
            self._live[_name(worker)] = worker

    def _end(self, worker: Worker) -> None:
        seconds = self.look(worker).cpu_seconds
        with self._lock:
            name = _name(worker)
            if self._live.pop(name, None) is not None:
                self._ended[name] = (worker.plan.version_id, max(seconds, self._used.pop(name, 0.0)))


class Meter:
    """Reads a node's meters from time to time and hands over what they grew by, in a thread of its engine.

    Args:
        node: whose meters they are; see `catalog.history.node_of`.
        file: where it keeps what is not handed over yet.
        sources: what to read.
        every: seconds between two looks.
        clock: what time it is.
    """

    def __init__(
        self,
        database: Database,
        node: str,
        file: Path,
        sources: Iterable[Source],
        every: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._node = node
        self._file = file
        self._sources = tuple(sources)
        self._every = every
        self._clock = clock
        self._books: Books | None = None
        self._kept: Books | None = None  # as it is on the disk
        self._stopping = threading.Event()
        self._working = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def start(self) -> None:
        """Work in a thread until `stop`."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Look a last time; before the workers end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._round()

    def look(self) -> None:
        """Read the meters, and keep what they grew by."""
        meters: dict[str, Mapping[str, Counts]] = {}
        for source in self._sources:
            meters |= source()
        if self._books is None:
            self._books = _load(self._file)
        gone = frozenset(s for s in self._books.readings if s not in meters and not _is_there(s))
        self._keep(self._books.read(meters, f"{self._clock():%Y-%m-%d}", gone))

    def hand_over(self) -> bool:
        """Have the database take what was kept; whether there was something.

        Raises:
            UnavailableError: it does not answer; nothing is lost or counted twice.
        """
        if self._books is None:
            return False
        self._keep(self._books.seal(secrets.token_hex(8)))
        batch = self._books.sealed
        if batch is None:
            return False
        with self._database.write(unaudited="counts of answers, as predictions are") as connection:
            ledger.take(connection, self._node, batch, self._clock())
        self._keep(self._books.taken())
        return True

    def _keep(self, books: Books) -> None:
        """In memory and on the disk, whole or not at all; nothing goes on before it is there."""
        self._books = books
        if books != self._kept:
            with whole_file(self._file) as file:
                file.write(msgspec.json.encode(books))
            self._kept = books

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._stopping.wait(self._every):
            self._round()

    def _round(self) -> None:
        with self._working:
            try:
                self.look()
                self.hand_over()
            except UnavailableError as error:
                log.warning("what was counted waits: %s", error)
            except (YardError, OSError):
                log.exception("what was counted waits; the next try comes soon")
            except Exception:
                log.exception("metering failed in the yard itself; the next try comes soon")


def of_fronts(fronts: Callable[[], Mapping[str, Mapping[str, float]]]) -> Source:
    """The meters of fronts, out of what each has counted since it started."""

    def read() -> Meters:
        return {name: _answers(values) for name, values in fronts().items()}

    return read


def _answers(values: Mapping[str, float]) -> dict[str, Counts]:
    found: dict[str, Counts] = {}
    for sample, value in values.items():
        if (matched := _SAMPLE.fullmatch(sample)) is None:
            continue
        kind, model, version, outcome = matched.groups()
        count = int(value)
        if kind == "rows":
            more = Counts(rows=count)
        elif outcome == _ANSWERED:
            more = Counts(answered=count)
        else:
            more = Counts(refused=count) if outcome in CALLERS_FAULTS else Counts(failed=count)
        place = f"{model}/{version}"
        found[place] = found.get(place, Counts()) + more
    return found


def _place(version_id: str) -> str:
    """Of the version, whichever of its fleets it is.

    >>> _place("finance.fuel-cost.3.many")
    'finance/fuel-cost/3'
    """
    model, number = version_of(version_id)
    return f"{model}/{number}"


def _name(worker: Worker) -> str:
    """Its socket is its own; with the process, so that it is seen when that has gone."""
    return f"{Path(worker.socket).parent.name}:{worker.pid}:{worker.started}"


def _is_there(source: str) -> bool:
    _, pid, started = source.rsplit(":", 2)
    return start_time(int(pid)) == int(started)


def _load(file: Path) -> Books:
    """What was kept, if anything can be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Books)
    except FileNotFoundError:
        return Books()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        log.exception("%s cannot be read; counting begins anew", file)
        return Books()
