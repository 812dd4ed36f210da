"""The tick moves the loop: it claims a duty that is due, does its step, and writes when it is due next.

A step may be repeated (its engine died before it was written down) but is never skipped, and two engines
never write for the same duty: see `store.duties`. So a step reads, decides, and writes in one transaction
that begins with `duties.hold`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from modelyard.records.errors import UnavailableError, YardError
from modelyard.store import duties
from modelyard.store.database import Database
from modelyard.store.duties import Duty, LostLeaseError

log = logging.getLogger(__name__)

Step = Callable[[Duty], datetime | None]
Clock = Callable[[], datetime]

_LEASES = "leases: what a step changes, it tells itself"
_LEASE = timedelta(seconds=60)
_HEARTBEAT = 15.0  # seconds; three may be missed
_STALLED = 5.0  # seconds without an answer: the database was away
_BACK = 20.0  # seconds after that in which others may keep what they hold
_LOOK_EVERY = 1.0  # seconds: other processes make duties, too
_AT_ONCE = 4
_FIRST_WAIT = timedelta(seconds=5)
_LONGEST_WAIT = timedelta(hours=1)
_DOUBLINGS = 10  # more lead beyond the longest wait


def now() -> datetime:
    """The clock of the machine, UTC."""
    return datetime.now(UTC)


def backoff(failures: int) -> timedelta:
    """How long a duty waits after so many failures in a row.

    >>> [str(backoff(n)) for n in (1, 2, 3, 99)]
    ['0:00:05', '0:00:10', '0:00:20', '1:00:00']
    """
    factor: int = 2 ** min(failures - 1, _DOUBLINGS)
    return min(_FIRST_WAIT * factor, _LONGEST_WAIT)


class Tick:
    """Does duties as they come due, a few at a time.

    Args:
        name: of this engine; no other that lives has it. What it held before a restart it gives back.
        steps: kind to its step: does what is due now and says when it is due next, None for not before it is
            asked for. It should take seconds: what takes longer runs elsewhere and is looked at again. One
            that raises is tried again, later each time, and the duty keeps what it said.
        clock: what time it is.
        at_once: how many steps at the same time.
        standing: kind to subject of duties that are there without anybody's asking.
        may_act: whether this engine may do anything at the moment.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        steps: Mapping[str, Step],
        clock: Clock = now,
        at_once: int = _AT_ONCE,
        standing: Mapping[str, str] | None = None,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database = database
        self._name = name
        self._steps = dict(steps)
        self._clock = clock
        self._at_once = at_once
        self._standing = dict(standing or {})
        self._may_act = may_act
        self._back_at = -_BACK
        self._wake = threading.Event()
        self._extend = threading.Event()
        self._stopping = threading.Event()
        self._held: dict[tuple[str, str], Duty] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Work in threads until `stop`."""
        for target in (self._run, self._beat):
            thread = threading.Thread(target=target, name=f"loop{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    def stop(self, timeout: float = 5.0) -> None:
        """Claim nothing further; steps that go on have so many seconds to end.

        One that takes longer is given up; the next start does it again.
        """
        self._stopping.set()
        self._wake.set()
        self._extend.set()
        for thread in self._threads:
            thread.join(timeout)

    def run_due(self) -> int:
        """Do, one after another and in this thread, all that is due; how many steps that were."""
        done = 0
        while duty := self._claim():
            self._do(duty)
            done += 1
        return done

    def _run(self) -> None:
        self._take_up()
        free = threading.Semaphore(self._at_once)
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="step") as pool:
            while not self._stopping.is_set():
                if not free.acquire(timeout=_LOOK_EVERY):
                    continue
                if duty := self._next():
                    pool.submit(self._do, duty).add_done_callback(lambda _: self._freed(free, _))
                else:
                    free.release()
                    self._wake.wait(_LOOK_EVERY)
                    self._wake.clear()

    def _freed(self, free: threading.Semaphore, done: Future[None]) -> None:
        free.release()
        if error := done.exception():
            log.error("a step of the loop ended badly", exc_info=error)

    def _take_up(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._database.write(unaudited=_LEASES) as connection:
                    duties.release(connection, self._steps, self._name, self._clock())
                    for kind, subject in self._standing.items():
                        duties.ensure(connection, kind, subject, self._clock())
            except UnavailableError as error:
                log.warning("the loop waits for the database: %s", error)
                self._stopping.wait(_LOOK_EVERY)
            else:
                return

    def _next(self) -> Duty | None:
        try:
            return self._claim() if self._may_act() else None
        except UnavailableError as error:
            self._was_away()
            log.warning("the loop waits for the database: %s", error)
        except Exception:
            log.exception("the loop cannot look for what is due")
        return None

    def _claim(self) -> Duty | None:
        began = time.monotonic()
        with self._database.read() as connection:  # mostly nothing is due, and that is a read
            due = duties.next_due(connection, self._steps)
        moment = self._clock()
        if time.monotonic() - began > _STALLED:
            self._was_away()
        if due is None or due > moment:
            return None
        with self._lock:
            held = list(self._held)
        is_settled = time.monotonic() - self._back_at >= _BACK
        with self._database.write(unaudited=_LEASES) as connection:
            duty = duties.claim(
                connection, self._steps, self._name, moment, _LEASE, but=held, takes_over=is_settled
            )
        if duty is not None:
            with self._lock:
                self._held[duty.kind, duty.subject] = duty
        return duty

    def _was_away(self) -> None:
        """Leases ran out because nobody could keep them: they are kept now, and others keep theirs."""
        self._back_at = time.monotonic()
        self._extend.set()

    def _do(self, duty: Duty) -> None:
        try:
            self._write_down(duty, *self._step(duty))
        except LostLeaseError as error:
            log.info("%s", error)
        except UnavailableError as error:  # the lease runs out, and the step is repeated
            log.warning("%s of %s is not written down: %s", duty.kind, duty.subject, error)
        finally:
            with self._lock:
                self._held.pop((duty.kind, duty.subject), None)

    def _step(self, duty: Duty) -> tuple[datetime | None, int, str]:
        try:
            return self._steps[duty.kind](duty), 0, ""
        except LostLeaseError:
            raise
        except Exception as error:
            failures = duty.failures + 1
            if isinstance(error, YardError):
                log.warning("%s of %s failed: %s", duty.kind, duty.subject, error)
            else:
                log.exception("%s of %s failed in the yard itself", duty.kind, duty.subject)
            return self._clock() + backoff(failures), failures, str(error) or type(error).__name__

    def _write_down(self, duty: Duty, due_at: datetime | None, failures: int, note: str) -> None:
        with self._database.write(unaudited=_LEASES) as connection:
            duties.finish(connection, duty, due_at, failures=failures, note=note)

    def _beat(self) -> None:
        """Keep the leases of steps that take long."""
        while not self._stopping.is_set():
            self._extend.wait(_HEARTBEAT)
            self._extend.clear()
            with self._lock:
                held = list(self._held.values())
            for duty in held:
                with (
                    suppress(LostLeaseError, UnavailableError),
                    self._database.write(unaudited=_LEASES) as connection,
                ):
                    duties.extend(connection, duty, self._clock() + _LEASE)
