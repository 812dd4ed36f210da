"""Keeps workers: starts them when asked for, replaces the dead, lets go of the idle."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path

from modelyard.records.errors import UnavailableError, WorkerStartError, YardError
from modelyard.settings import Settings
from modelyard.workers.control import WorkerInfo
from modelyard.workers.logs import trim
from modelyard.workers.plans import SERVE, Plan, Progress, Taken, Worker, Workers

log = logging.getLogger(__name__)

_SHORT_LIFE = 10.0  # seconds: a worker that dies sooner than this after it was ready died young
_YOUNG_DEATHS = 10  # so many in a row, and the version is left alone for a while
_LEAVE_ALONE = 30.0
_START_AT_ONCE = 32  # many: one may wait half an hour for its environment, and must not hold up the rest
_STOP_AT_ONCE = 32
_LAST_WORDS = 1.0

PlanFor = Callable[[str, int, Progress], Plan]
Changed = Callable[[str, list[Worker]], None]
Warm = Callable[[Worker], None]


class Fleet:
    """The workers of one version.

    Attributes:
        wanted: whether a dead worker is to be replaced.
        used: when it was last asked for, in monotonic seconds.
        young_deaths: how many workers in a row died soon after they were ready.
        alone_until: no start before this time (monotonic seconds), because they keep dying.
    """

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}
        self.starting: dict[int, Future[Worker]] = {}
        self.wanted = True
        self.used = time.monotonic()
        self.restarts = 0
        self.young_deaths = 0
        self.alone_until = 0.0
        self.last_death = ""


class Keeper:
    """Keeps the workers of a node. Thread-safe.

    Args:
        workers: who starts and ends them.
        plan_for: version id, replica and a progress function to the plan (lays the bundle out).
        warm: has a worker answer its example before it takes traffic.
        changed: told the version and its ready workers whenever these change.
    """

    def __init__(
        self, settings: Settings, workers: Workers, plan_for: PlanFor, warm: Warm, changed: Changed
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._plan_for = plan_for
        self._warm = warm
        self._changed = changed
        self._fleets: dict[str, Fleet] = {}
        self._lock = threading.RLock()
        self._announcing = threading.Lock()
        self._starters = ThreadPoolExecutor(_START_AT_ONCE, thread_name_prefix="start")
        self._leaving: list[Worker] = []
        self._taken: dict[str, Taken] = {}  # by socket
        self._stopped = False

    def adopt(self) -> None:
        """Take over the workers an earlier engine left running."""
        for worker in sorted(self._workers.alive(), key=lambda worker: worker.since):
            if worker.plan.purpose != SERVE:  # whoever asked for it died with the earlier engine
                self._workers.stop(worker)
                continue
            log.info("adopting worker %s of %s", worker.pid, worker.plan.version_id)
            with self._lock:
                fleet = self._fleets.setdefault(worker.plan.version_id, Fleet())
                older = fleet.workers.get(worker.plan.replica)
                fleet.workers[worker.plan.replica] = worker
            if older is not None:  # it was being replaced
                self._workers.stop(older)
            self._watch(worker)

    def ensure(self, version_id: str, replicas: int = 1, progress: Progress | None = None) -> list[Worker]:
        """The version's ready workers, started first if there are none.

        It returns as soon as one is ready; those that are missing of `replicas` start meanwhile.

        Raises:
            WorkerStartError: they do not start; the reason and the end of the log.
            UnavailableError: they keep dying and are left alone for a while.
        """
        with self._lock:
            if self._stopped:
                raise UnavailableError("The yard is going down.", "Ask again when it is up.")
            fleet = self._fleets.setdefault(version_id, Fleet())
            fleet.wanted = True
            fleet.used = time.monotonic()
            starts = self._start_missing(version_id, fleet, replicas, progress)
            if fleet.workers:
                return list(fleet.workers.values())
        return _first_ready(starts)

    def _start_missing(
        self, version_id: str, fleet: Fleet, replicas: int, progress: Progress | None
    ) -> list[Future[Worker]]:
        left = fleet.alone_until - time.monotonic()
        if left > 0:
            if fleet.workers:
                return []
            raise UnavailableError(
                f"The workers of {version_id} keep dying soon after they start: {fleet.last_death}.",
                "See the worker's log with `yard show`; another try is made in a while.",
                retry_after=left,
            )
        missing = [replica for replica in range(replicas) if replica not in fleet.workers]
        return [self._start_soon(version_id, fleet, replica, progress) for replica in missing]

    def grow(self, version_id: str, replicas: int) -> None:
        """Have so many workers of a version that has some; returns when all have started.

        It does not count as asking for the version: an idle one is let go all the same.

        Raises:
            WorkerStartError, UnavailableError: as `ensure`, of any of them.
        """
        with self._lock:
            fleet = self._fleets.get(version_id)
            if fleet is None or self._stopped:
                return
            starts = self._start_missing(version_id, fleet, replicas, None)
        for start in starts:
            start.result()

    def shrink(self, version_id: str, replicas: int) -> None:
        """Let go of a version's workers but for so many; they end when what they were asked is answered."""
        with self._lock:
            fleet = self._fleets.get(version_id)
            beyond = sorted(fleet.workers)[replicas:] if fleet else []
            workers = [fleet.workers.pop(replica) for replica in beyond] if fleet else []
            self._leaving += workers
        if workers:
            self._announce(version_id)
        for worker in workers:
            self._leave_later(worker)

    def replace(self, version_id: str, fits: Callable[[Plan], bool]) -> None:
        """Have workers by the version's plan of now in place of those whose plan does not fit.

        The new are started first, then take their places; the old end when what they were asked is answered.

        Raises:
            WorkerStartError: a new one does not start; the old stay.
        """
        with self._lock:
            fleet = self._fleets.get(version_id)
            unfit = [w for w in fleet.workers.values() if not fits(w.plan)] if fleet else []
        for old in unfit:
            new = self._workers.start(self._plan_for(version_id, old.plan.replica, _silent), _silent)
            self._warm_or_stop(new)
            if fleet is None or not self._place(fleet, new):
                self._workers.stop(new)
                return

    def _place(self, fleet: Fleet, worker: Worker) -> bool:
        """Have a worker serve, unless its version was let go meanwhile.

        Another one in its place leaves: it is replaced, or was started meanwhile for one that had died.
        """
        replica = worker.plan.replica
        with self._lock:
            fleet.starting.pop(replica, None)
            if not fleet.wanted or self._stopped:
                return False
            before = fleet.workers.get(replica)
            fleet.workers[replica] = worker
            if before is not None:
                self._leaving.append(before)
        self._watch(worker)
        self._announce(worker.plan.version_id)
        if before is not None:
            self._leave_later(before)
        return True

    def _leave_later(self, old: Worker) -> None:
        later = threading.Timer(self._settings.answer_timeout, self._leave, (old,))
        later.daemon = True
        later.start()

    def _leave(self, old: Worker) -> None:
        with self._lock:
            if old in self._leaving:
                self._leaving.remove(old)
        self._workers.stop(old)

    def release(self, version_id: str) -> None:
        """End the version's workers and start none until it is asked for again."""
        with self._lock:
            fleet = self._fleets.pop(version_id, None)
            if fleet is None:
                return
            fleet.wanted = False
            workers = list(fleet.workers.values())
            fleet.workers.clear()
        self._announce(version_id)
        for worker in workers:
            self._workers.stop(worker)

    def used(self, version_ids: tuple[str, ...]) -> None:
        """Note that these versions were asked for."""
        with self._lock:
            for version_id in version_ids:
                if version_id in self._fleets:
                    self._fleets[version_id].used = time.monotonic()

    def kill(self, version_id: str, socket: str, why: str) -> None:
        """End a worker that does not answer, and start another."""
        with self._lock:
            fleet = self._fleets.get(version_id)
            stuck = [w for w in fleet.workers.values() if w.socket == socket] if fleet else []
        for worker in stuck:
            self._lost(worker, why)
            self._workers.stop(worker)

    def sweep(self) -> None:
        """Let go of idle versions, end workers over their memory, tame those that burn. Once a second."""
        now = time.monotonic()
        with self._lock:
            fleets = list(self._fleets.items())
        taken: dict[str, Taken] = {}
        for version_id, fleet in fleets:
            if fleet.workers and now - fleet.used > self._settings.idle_after:
                log.info("letting go of %s: idle for %.0f s", version_id, now - fleet.used)
                self.release(version_id)
                continue
            for worker in list(fleet.workers.values()):
                taken[worker.socket] = self._check(worker)
        self._taken = taken

    def report(self) -> tuple[WorkerInfo, ...]:
        """Every worker as the status shows it, with what the last sweep saw that it takes."""
        with self._lock:
            pairs = [(f, w) for f in self._fleets.values() for w in f.workers.values()]
        taken = self._taken
        return tuple(
            WorkerInfo(
                version_id=w.plan.version_id,
                replica=w.plan.replica,
                language=w.plan.language,
                pid=w.pid,
                socket=w.socket,
                state="ready",
                since=w.since,
                memory=(taken.get(w.socket) or self._workers.look(w)).memory,
                restarts=f.restarts,
                node=w.node,
            )
            for f, w in pairs
        )

    def live(self) -> dict[str, list[Worker]]:
        """Ready workers by version."""
        with self._lock:
            return {v: list(f.workers.values()) for v, f in self._fleets.items() if f.workers}

    def stop(self) -> None:
        """End everything; for when the yard goes down."""
        with self._lock:
            self._stopped = True
            workers = [w for f in self._fleets.values() for w in f.workers.values()] + self._leaving
            starts = [s for f in self._fleets.values() for s in f.starting.values()]
            self._fleets.clear()
        self._workers.close()
        with ThreadPoolExecutor(_STOP_AT_ONCE, thread_name_prefix="stop") as stoppers:
            list(stoppers.map(self._workers.stop, workers))
        self._starters.shutdown(wait=False, cancel_futures=True)
        wait(starts, _LAST_WORDS)  # they clear away after themselves

    def _announce(self, version_id: str) -> None:
        """Tell of a version's workers as they are now, so that the last word said is true."""
        with self._announcing:
            with self._lock:
                fleet = self._fleets.get(version_id)
                ready = list(fleet.workers.values()) if fleet else []
            self._changed(version_id, ready)

    def _start_soon(
        self, version_id: str, fleet: Fleet, replica: int, progress: Progress | None = None
    ) -> Future[Worker]:
        known = fleet.starting.get(replica)
        if known is None:
            known = self._starters.submit(self._start, version_id, fleet, replica, progress or _silent)
            fleet.starting[replica] = known
        return known

    def _start(self, version_id: str, fleet: Fleet, replica: int, progress: Progress) -> Worker:
        try:
            worker = self._workers.start(self._plan_for(version_id, replica, progress), progress)
            self._warm_or_stop(worker)
        except BaseException as error:
            with self._lock:
                fleet.starting.pop(replica, None)
            if not isinstance(error, YardError):
                log.exception("starting a worker of %s failed", version_id)
                raise WorkerStartError(f"The worker could not be started: {error}.") from error
            raise
        if not self._place(fleet, worker):
            self._workers.stop(worker)
            raise UnavailableError(f"{version_id} was let go while its worker started.", "Ask again.")
        fleet.used = time.monotonic()
        log.info("worker %s of %s is ready", worker.pid, version_id)
        return worker

    def _warm_or_stop(self, worker: Worker) -> None:
        try:
            self._warm(worker)
        except BaseException:
            self._workers.stop(worker)
            raise

    def _watch(self, worker: Worker) -> None:
        name = f"watch-{worker.pid}"
        threading.Thread(target=self._wait_for_end, args=(worker,), name=name, daemon=True).start()

    def _wait_for_end(self, worker: Worker) -> None:
        self._lost(worker, self._workers.wait(worker))

    def _lost(self, worker: Worker, how: str) -> None:
        """It has ended, or is as good as ended: it is no longer offered to anybody, and replaced."""
        version_id, replica = worker.plan.version_id, worker.plan.replica
        with self._lock:
            fleet = self._fleets.get(version_id)
            if fleet is None or fleet.workers.get(replica) is not worker:
                return  # it was let go
            del fleet.workers[replica]
            self._count_death(fleet, worker, how)
            log.warning("worker %s of %s ended: %s", worker.pid, version_id, how)
            if fleet.wanted and not self._stopped and fleet.alone_until <= time.monotonic():
                fleet.restarts += 1
                self._start_soon(version_id, fleet, replica)
        self._announce(version_id)

    @staticmethod
    def _count_death(fleet: Fleet, worker: Worker, how: str) -> None:
        young = time.time() - worker.since < _SHORT_LIFE
        fleet.young_deaths = fleet.young_deaths + 1 if young else 0
        fleet.last_death = how
        if fleet.young_deaths >= _YOUNG_DEATHS:
            fleet.young_deaths = 0
            fleet.alone_until = time.monotonic() + _LEAVE_ALONE

    def _check(self, worker: Worker) -> Taken:
        taken = self._workers.look(worker)
        if taken.memory > worker.plan.memory(self._settings.worker_memory):
            self.kill(worker.plan.version_id, worker.socket, f"it uses {taken.memory >> 20} MiB of memory")
        trim(Path(worker.log))
        return taken


def _first_ready(starts: list[Future[Worker]]) -> list[Worker]:
    """The first that starts; where none does, the first one's error."""
    for start in as_completed(starts):
        if start.exception() is None:
            return [start.result()]
    return [starts[0].result()]


def _silent(_: str) -> None:
    """Progress that nobody watches."""
