"""The keeper: with workers whose every step the test decides, and with real ones."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from tests.contract.hands import DOUBLE, ask, is_alive, plan, quiet, settings
from tests.journeys.running import PATIENCE, until

from modelyard.engine import keeper
from modelyard.engine.keeper import Keeper
from modelyard.records.errors import UnavailableError, WorkerStartError
from modelyard.settings import MIB
from modelyard.workers.local import LocalWorkers
from modelyard.workers.plans import Plan, Progress, Taken, Worker

ONE, TWO = "ops.double.1", "ops.double.2"


class Staged:
    """Workers without processes: each start and each end happens when the test says so."""

    def __init__(self) -> None:
        self.starts: list[tuple[Plan, Future[Worker]]] = []
        self.ends: dict[int, Future[str]] = {}
        self.stopped: list[int] = []
        self.sizes: dict[int, int] = {}
        self.looked: list[int] = []
        self.before: list[Worker] = []
        self.closed = False
        self._pids = itertools.count(100)
        self._asked = threading.Condition()

    def start(self, plan: Plan, progress: Progress) -> Worker:
        wanted: Future[Worker] = Future()
        with self._asked:
            self.starts.append((plan, wanted))
            self._asked.notify_all()
        progress("starting the worker")
        return wanted.result(180)

    def stop(self, worker: Worker) -> None:
        self.stopped.append(worker.pid)
        self.die(worker, "stopped")

    def close(self) -> None:
        self.closed = True
        for _, wanted in self.starts:
            if not wanted.done():
                wanted.set_exception(WorkerStartError("ended while it loaded"))

    def alive(self) -> list[Worker]:
        return self.before

    def wait(self, worker: Worker) -> str:
        return self.ends[worker.pid].result()

    def look(self, worker: Worker) -> Taken:
        self.looked.append(worker.pid)
        return Taken(self.sizes.get(worker.pid, 1), float(worker.pid))

    def wait_for_starts(self, count: int) -> None:
        with self._asked:
            assert self._asked.wait_for(lambda: len(self.starts) >= count, 180)

    def finish(self, number: int, *, age: float = 0.0) -> Worker:
        """The start with this number succeeds: a worker that has been ready for `age` seconds."""
        self.wait_for_starts(number + 1)
        plan, wanted = self.starts[number]
        worker = self.worker(plan, age)
        wanted.set_result(worker)
        return worker

    def fail(self, number: int, error: Exception) -> None:
        self.wait_for_starts(number + 1)
        self.starts[number][1].set_exception(error)

    def worker(self, plan: Plan, age: float = 0.0) -> Worker:
        pid = next(self._pids)
        self.ends[pid] = Future()
        return Worker(plan, f"/run/{pid}.sock", pid, 1, "/nowhere", ("float64",), "x", time.time() - age)

    def die(self, worker: Worker, how: str = "exit code 1") -> None:
        if not self.ends[worker.pid].done():
            self.ends[worker.pid].set_result(how)


class Stage:
    """A keeper over staged workers, and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.workers = Staged()
        self.told: list[tuple[str, list[int]]] = []
        self.warmed: list[int] = []
        self.warming: Exception | None = None
        self.folder = folder
        self.keeper = Keeper(
            settings(folder, idle_after=1800.0), self.workers, self.plan, self.warm, self.changed
        )
        self.callers = ThreadPoolExecutor(16)

    def plan(self, version_id: str, replica: int, _: Progress) -> Plan:
        return plan(self.folder / "bundle", DOUBLE, version_id, replica)

    def warm(self, worker: Worker) -> None:
        self.warmed.append(worker.pid)
        if self.warming:
            raise self.warming

    def changed(self, version_id: str, workers: list[Worker]) -> None:
        self.told.append((version_id, [w.pid for w in workers]))

    def ensure(self, version_id: str = ONE, replicas: int = 1) -> Future[list[Worker]]:
        return self.callers.submit(self.keeper.ensure, version_id, replicas)

    def ready(self, version_id: str = ONE, *, age: float = 0.0) -> Worker:
        """A worker that was asked for and is ready."""
        number = len(self.workers.starts)
        asked = self.ensure(version_id)
        worker = self.workers.finish(number, age=age)
        assert asked.result(180) == [worker]
        return worker

    def has(self, worker: Worker) -> bool:
        return self.keeper.live().get(ONE) == [worker]

    def has_told(self, worker: Worker) -> bool:
        return self.told[-1] == (ONE, [worker.pid])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.keeper.stop()
    made.callers.shutdown()


def test_many_callers_start_one_worker(stage: Stage) -> None:
    asked = [stage.ensure() for _ in range(10)]
    worker = stage.workers.finish(0)
    assert all(future.result(180) == [worker] for future in asked)
    assert stage.keeper.ensure(ONE) == [worker]
    assert len(stage.workers.starts) == 1
    assert stage.warmed == [worker.pid], "before it takes traffic"
    assert stage.told == [(ONE, [worker.pid])]


def test_versions_start_side_by_side(stage: Stage) -> None:
    first, second = stage.ensure(ONE), stage.ensure(TWO)
    stage.workers.wait_for_starts(2)
    order = {p.version_id: n for n, (p, _) in enumerate(stage.workers.starts)}
    ready = stage.workers.finish(order[TWO])
    assert second.result(180) == [ready], "though the other still loads"
    stage.workers.finish(order[ONE])
    assert first.result(180)


def test_a_failed_start_is_everybodys_error_and_the_next_call_tries_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined, first_ready = threading.Semaphore(0), keeper._first_ready

    def waits(starts: list[Future[Worker]]) -> list[Worker]:
        joined.release()
        return first_ready(starts)

    monkeypatch.setattr(keeper, "_first_ready", waits)
    asked = [stage.ensure(), stage.ensure()]
    assert all(joined.acquire(timeout=10) for _ in asked)
    stage.workers.fail(0, WorkerStartError("no weights", log="Traceback"))
    errors = [f.exception(10) for f in asked]
    assert isinstance(errors[0], WorkerStartError)
    assert errors[0].log == "Traceback"
    assert stage.ready()


def test_a_start_that_fails_in_an_unforeseen_way_says_so(stage: Stage) -> None:
    asked = stage.ensure()
    stage.workers.fail(0, OSError("the disk is full"))
    with pytest.raises(WorkerStartError, match="the disk is full"):
        asked.result(180)


def test_a_worker_whose_warming_breaks_is_not_left_behind(stage: Stage) -> None:
    stage.warming = OSError("gone")
    asked = stage.ensure()
    worker = stage.workers.finish(0)
    with pytest.raises(WorkerStartError, match="gone"):
        asked.result(180)
    assert stage.workers.stopped == [worker.pid]
    assert stage.keeper.live() == {}


def test_a_dead_worker_is_replaced(stage: Stage) -> None:
    first = stage.ready()
    stage.workers.die(first)
    second = stage.workers.finish(1)
    until(lambda: stage.keeper.live() == {ONE: [second]})
    until(lambda: stage.told[-1] == (ONE, [second.pid]))
    assert stage.keeper.report()[0].restarts == 1


def test_callers_while_it_is_replaced_wait_for_the_new_one(stage: Stage) -> None:
    stage.workers.die(stage.ready())
    stage.workers.wait_for_starts(2)
    asked = stage.ensure()
    second = stage.workers.finish(1)
    assert asked.result(180) == [second]
    assert len(stage.workers.starts) == 2


def test_workers_that_keep_dying_young_are_left_alone_for_a_while(stage: Stage) -> None:
    worker = stage.ready()
    for number in range(1, 10):
        stage.workers.die(worker, "killed by SIGSEGV")
        worker = stage.workers.finish(number)
        until(partial(stage.has, worker))
    stage.workers.die(worker, "killed by SIGSEGV")
    until(lambda: stage.keeper.live() == {})
    with pytest.raises(
        UnavailableError, match=r"keep dying soon after they start: killed by SIGSEGV"
    ) as caught:
        stage.keeper.ensure(ONE)
    assert 0 < caught.value.retry_after <= 30
    assert len(stage.workers.starts) == 10
    stage.keeper._fleets[ONE].alone_until -= 30
    assert stage.ready()


def test_one_that_lived_long_does_not_count_as_young(stage: Stage) -> None:
    for number in range(12):
        worker = stage.ready(age=11.0) if number == 0 else stage.workers.finish(number, age=11.0)
        until(partial(stage.has, worker))
        stage.workers.die(worker)
    stage.workers.finish(12)


def test_an_idle_version_is_let_go_and_the_next_call_starts_it(stage: Stage) -> None:
    idle, used = stage.ready(ONE), stage.ready(TWO)
    for fleet in stage.keeper._fleets.values():
        fleet.used -= 1801
    stage.keeper.used((TWO, "never.heard-of.1"))
    stage.keeper.sweep()
    assert stage.workers.stopped == [idle.pid]
    assert stage.keeper.live() == {TWO: [used]}
    assert (ONE, []) in stage.told
    assert stage.ready(ONE)


def test_a_release_while_it_starts_ends_it_when_it_is_ready(stage: Stage) -> None:
    asked = stage.ensure()
    stage.workers.wait_for_starts(1)
    stage.keeper.release(ONE)
    again = stage.ensure()
    worker = stage.workers.finish(0)
    with pytest.raises(UnavailableError, match="let go while its worker started"):
        asked.result(180)
    assert stage.workers.stopped == [worker.pid]
    second = stage.workers.finish(1)
    assert again.result(180) == [second], "asked for after the release: another one"


def test_a_released_worker_is_not_replaced(stage: Stage) -> None:
    worker = stage.ready()
    stage.keeper.release(ONE)
    stage.keeper.release(ONE)
    assert stage.workers.stopped == [worker.pid]
    assert stage.told[-1] == (ONE, [])
    until(lambda: not any(t.name == f"watch-{worker.pid}" for t in threading.enumerate()))
    assert len(stage.workers.starts) == 1


def test_a_stuck_one_is_ended_and_replaced(stage: Stage) -> None:
    worker = stage.ready()
    stage.keeper.kill(ONE, "/run/another.sock", "no answer")
    stage.keeper.kill(TWO, worker.socket, "no answer")
    assert stage.workers.stopped == []
    stage.keeper.kill(ONE, worker.socket, "no answer in 30 s")
    assert stage.workers.stopped == [worker.pid]
    second = stage.workers.finish(1)
    until(lambda: stage.keeper.live() == {ONE: [second]})


def test_one_that_is_too_large_is_ended(stage: Stage) -> None:
    worker = stage.ready()
    stage.keeper.sweep()
    assert stage.workers.stopped == []
    stage.workers.sizes[worker.pid] = 4097 * MIB
    stage.keeper.sweep()
    assert stage.workers.stopped == [worker.pid]
    stage.workers.finish(1)


def test_each_worker_is_looked_at_once_a_sweep(stage: Stage) -> None:
    """For its memory, for what it takes of the processor, and for the status; walking /proc is dear."""
    worker = stage.ready()
    assert stage.keeper.report()[0].memory == 1, "before the first sweep, it is looked at for the status"
    stage.workers.sizes[worker.pid] = 5 * MIB
    stage.keeper.sweep()
    assert [info.memory for info in stage.keeper.report() + stage.keeper.report()] == [5 * MIB] * 2
    assert stage.workers.looked == [worker.pid] * 2


def test_replicas_are_started_together_and_the_first_ready_answers(stage: Stage) -> None:
    asked = stage.ensure(replicas=2)
    stage.workers.wait_for_starts(2)
    assert {p.replica for p, _ in stage.workers.starts} == {0, 1}
    first = stage.workers.finish(1)
    assert asked.result(180) == [first]
    second = stage.workers.finish(0)
    until(lambda: sorted(w.pid for w in stage.keeper.live()[ONE]) == [first.pid, second.pid])
    assert len(stage.keeper.ensure(ONE, 2)) == 2
    assert len(stage.workers.starts) == 2


def test_a_missing_replica_is_started_by_the_next_call(stage: Stage) -> None:
    worker = stage.ready()
    assert stage.keeper.ensure(ONE, 2) == [worker], "without waiting for the other"
    other = stage.workers.finish(1)
    assert other.plan.replica == 1
    until(lambda: len(stage.keeper.live()[ONE]) == 2)


def test_one_replica_that_fails_does_not_fail_the_call(stage: Stage) -> None:
    asked = stage.ensure(replicas=2)
    stage.workers.fail(0, WorkerStartError("no"))
    worker = stage.workers.finish(1)
    assert asked.result(180) == [worker]


def test_it_adopts_and_watches_what_runs(stage: Stage) -> None:
    adopted = stage.workers.worker(stage.plan(ONE, 0, quiet))
    stage.workers.before = [adopted]
    stage.keeper.adopt()
    assert stage.keeper.ensure(ONE) == [adopted]
    stage.workers.die(adopted)
    assert stage.workers.finish(0)


def test_stop_ends_everything_and_starts_no_more(stage: Stage) -> None:
    first, second = stage.ready(ONE), stage.ready(TWO)
    loading = stage.ensure("ops.slow.1")
    stage.workers.wait_for_starts(3)
    stage.keeper.stop()
    assert sorted(stage.workers.stopped) == [first.pid, second.pid]
    assert stage.workers.closed
    assert isinstance(loading.exception(10), WorkerStartError)
    with pytest.raises(UnavailableError, match="going down"):
        stage.keeper.ensure(ONE)
    assert len(stage.workers.starts) == 3


def test_the_last_word_told_is_true(stage: Stage) -> None:
    """However starts and deaths overlap, fronts end up with the workers that are there."""
    stage.ready()
    for number in range(1, 9):
        stage.workers.die(stage.keeper.live()[ONE][0])
        worker = stage.workers.finish(number)
        until(partial(stage.has, worker))
        until(partial(stage.has_told, worker))


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Keeper]:
    """A keeper of real processes."""
    made = real_keeper(tmp_path)
    yield made
    made.stop()


def real_keeper(folder: Path) -> Keeper:
    chosen = settings(folder / "data")
    return Keeper(
        chosen,
        LocalWorkers(chosen),
        lambda version_id, replica, _: plan(folder / "bundle", DOUBLE, version_id, replica),
        lambda _: None,
        lambda *_: None,
    )


def test_real_workers_killed_are_replaced_and_answer(real: Keeper) -> None:
    (worker,) = real.ensure(ONE)
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: real.live().get(ONE, [worker]) != [worker])
    assert ask(real.ensure(ONE)[0], 2.0) == [4.0]
    (info,) = real.report()
    assert info.restarts == 1
    assert info.memory > 5 * MIB


def test_real_replicas_answer_each_on_its_own_socket(real: Keeper) -> None:
    real.ensure(ONE, replicas=2)
    until(lambda: len(real.live()[ONE]) == 2)
    workers = real.live()[ONE]
    assert len({w.socket for w in workers}) == 2
    assert [ask(w, 1.0) for w in workers] == [[2.0], [2.0]]


def test_a_release_and_a_call_at_once_leave_one_that_answers(real: Keeper) -> None:
    (first,) = real.ensure(ONE)
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(real.release, ONE)
        until(lambda: ONE not in real.live())
        (second,) = real.ensure(ONE)
        going.result()
    assert second.pid != first.pid
    assert ask(second, 1.0) == [2.0]
    assert not is_alive(first.pid)


def test_a_real_stuck_worker_is_ended(real: Keeper) -> None:
    (worker,) = real.ensure(ONE)
    os.kill(worker.pid, signal.SIGSTOP)
    real.kill(ONE, worker.socket, "no answer")
    assert not is_alive(worker.pid)
    assert ask(real.ensure(ONE)[0], 1.0) == [2.0]


def test_workers_outlive_their_engine_and_are_adopted_by_the_next(tmp_path: Path) -> None:
    killed = real_keeper(tmp_path)
    (worker,) = killed.ensure(ONE)
    killed._stopped = True  # as good as dead: it replaces nobody
    later = real_keeper(tmp_path)
    later.adopt()
    assert later.ensure(ONE) == [worker]
    assert ask(worker, 1.0) == [2.0]
    later.stop()
    until(lambda: not is_alive(worker.pid))


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_one_that_dies_while_it_is_being_replaced_leaves_nobody_behind(
    stage: Stage, order: tuple[int, int]
) -> None:
    """Two are started in its place then; the later one serves, and the yard knows of both."""
    old = stage.ready()
    replacing = stage.callers.submit(stage.keeper.replace, ONE, lambda _: False)
    stage.workers.wait_for_starts(2)
    stage.workers.die(old)
    stage.workers.wait_for_starts(3)
    placed = []
    for number in order:
        placed.append(stage.workers.finish(number))
        until(partial(stage.has, placed[-1]))
    replacing.result(PATIENCE)
    assert stage.workers.stopped == [], "it may still be answering"
    stage.keeper.stop()
    assert sorted(stage.workers.stopped) == sorted(w.pid for w in placed)


def test_more_workers_are_started_without_counting_as_asked_for(stage: Stage) -> None:
    stage.ready()
    used = stage.keeper._fleets[ONE].used
    grown = stage.callers.submit(stage.keeper.grow, ONE, 3)
    second, third = stage.workers.finish(1), stage.workers.finish(2)
    assert grown.result(180) is None
    assert {second.pid, third.pid} <= {w.pid for w in stage.keeper.live()[ONE]}
    assert len(stage.workers.starts) == 3
    assert stage.keeper._fleets[ONE].used >= used
    stage.keeper.grow("ops.none.1", 3)
    assert "ops.none.1" not in stage.keeper.live()


def test_of_too_many_workers_the_newest_replicas_leave_and_answer_first(stage: Stage) -> None:
    first = stage.ready()
    grown = stage.callers.submit(stage.keeper.grow, ONE, 2)
    second = stage.workers.finish(1)
    grown.result(180)
    stage.keeper.shrink(ONE, 1)
    assert stage.keeper.live()[ONE] == [first]
    assert stage.told[-1] == (ONE, [first.pid])
    assert stage.workers.stopped == [], "it may still be answering"
    stage.keeper.shrink(ONE, 1)
    stage.keeper.shrink("ops.none.1", 1)
    assert stage.keeper.live()[ONE] == [first]
    stage.keeper.stop()
    assert set(stage.workers.stopped) == {first.pid, second.pid}, "the yard goes down: nobody is left behind"
