"""Batching, against workers that do as they are told: each request has its own answer, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.records.errors import (
    BusyError,
    DeadlineError,
    ModelError,
    UnavailableError,
    WorkerLostError,
    WorkerStartError,
    YardError,
)
from modelyard.records.rollouts import ModelRoutes, RouteTable, ServedVersion
from modelyard.records.signatures import Column, Signature
from modelyard.serving.answers import Answer
from modelyard.serving.batcher import Batcher, Fleet, Limits
from modelyard.serving.inputs import Inputs
from modelyard.serving.pool import Pool
from modelyard.serving.tables import from_table
from modelyard.serving.tap import Asked, Tap
from modelyard.workers.wire import MAGIC, PREFIX, Frame, encode, to_values
from tests.contract.scripted import (
    LIMITS,
    SERVED,
    TAKES,
    Dock,
    Worker,
    answer,
    dock,
    doubles,
    error,
    numbers,
    run,
    run_timed,
    turns,
)
from tests.rows import INT64, PREDICTION

SHORT = Limits(batch_rows=8, queue_rows=16, answer_timeout=0.05)


def rows(*values: float) -> Inputs:
    return Inputs(len(values), rows=[(float(v),) for v in values])


def ask(batcher: Batcher, *values: float) -> asyncio.Future[Answer]:
    return batcher.submit(rows(*values), asked(*values))


def asked(*values: float) -> Asked:
    return Asked(f"id-{values}", "anna", "champion", len(values), 0.0)


async def outcome(future: asyncio.Future[Answer]) -> list[object] | type[YardError]:
    """The predictions, or the error's class."""
    try:
        return list((await future).outputs[0])
    except YardError as problem:
        return type(problem)


def recorded(yard: Dock) -> list[object]:
    """Every value that was recorded, in order."""
    return [v for frame in yard.spool for c in frame.columns if c.name == "in:x" for v in to_values(c)]


def fails_on(bad: float) -> Callable[[Worker, Frame], object]:
    async def behave(worker: Worker, question: Frame) -> Frame:
        if bad in numbers(question):
            return error(question, "cannot take the logarithm")
        return await doubles(worker, question)

    return behave


def dies_on(yard: Dock, bad: float) -> None:
    async def behave(worker: Worker, question: Frame) -> Frame | None:
        if bad in numbers(question):
            yard.living.remove(worker)
            return None
        return await doubles(worker, question)

    yard.behave = behave


def test_requests_of_one_tick_travel_together() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            futures = [ask(batcher, 1), ask(batcher, 2, 3), ask(batcher, 4)]
            assert [await outcome(f) for f in futures] == [[2.0], [4.0, 6.0], [8.0]]
            assert yard.workers[0].batches == [[1, 2, 3, 4]]
            assert recorded(yard) == [1, 2, 3, 4]
            assert batcher.idle

    run(test)


def test_while_a_worker_is_busy_requests_gather_up_to_the_limit() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            worker = await yard.add()
            worker.gate.clear()
            first = ask(batcher, 1)
            await worker.asked.acquire()
            later = [ask(batcher, *range(10 * i, 10 * i + 3)) for i in range(1, 5)]
            await asyncio.sleep(0)
            assert worker.batches == [[1]]
            worker.gate.set()
            assert await outcome(first) == [2.0]
            for i, future in enumerate(later, 1):
                assert await outcome(future) == [20.0 * i, 20.0 * i + 2, 20.0 * i + 4]
            assert worker.batches[1:] == [[10, 11, 12, 20, 21, 22], [30, 31, 32, 40, 41, 42]]

    run(test)


def test_a_request_over_the_batch_limit_travels_alone() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            big = ask(batcher, *range(12))
            small = ask(batcher, 50)
            assert await outcome(big) == [2.0 * i for i in range(12)]
            assert await outcome(small) == [100.0]
            assert [len(b) for b in yard.workers[0].batches] == [12, 1]

    run(test)


def test_tables_travel_alone_and_in_their_place() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            table = from_table(batcher.plan, pl.DataFrame({"x": [5.0, 6.0], "k": ["a", "b"]}))
            futures = [ask(batcher, 1), batcher.submit(table, asked(5, 6)), ask(batcher, 2), ask(batcher, 3)]
            assert [await outcome(f) for f in futures] == [[2.0], [10.0, 12.0], [4.0], [6.0]]
            assert yard.workers[0].batches == [[1], [5, 6], [2, 3]]
            assert list((await futures[1]).keys or ()) == ['{"k":"a"}', '{"k":"b"}']

    run(test)


def test_every_idle_worker_is_fed() -> None:
    async def test() -> None:
        async with dock(replicas=2) as yard:
            batcher = yard.batcher()
            assert await outcome(ask(batcher, 0)) == [0.0]
            for worker in yard.workers:
                worker.gate.clear()
            one = ask(batcher, 1)
            await asyncio.sleep(0.01)
            two = ask(batcher, 2)
            for worker in yard.workers:
                while not worker.batches or worker.batches == [[0.0]]:
                    await worker.asked.acquire()
            for worker in yard.workers:
                worker.gate.set()
            assert [await outcome(one), await outcome(two)] == [[2.0], [4.0]]

    run(test)


def test_a_full_queue_says_when_to_ask_again() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            worker = await yard.add()
            worker.gate.clear()
            first = ask(batcher, *range(40))  # an empty queue takes any request
            await worker.asked.acquire()
            waiting = [ask(batcher, *range(8)) for _ in range(2)]
            with pytest.raises(BusyError, match="16 rows wait") as caught:
                ask(batcher, 1)
            assert caught.value.retry_after == 1.0
            worker.gate.set()
            assert len((await first).outputs[0]) == 40
            assert [len((await f).outputs[0]) for f in waiting] == [8, 8]
            assert await outcome(ask(batcher, 1)) == [2.0]

    run(test)


def test_a_worker_that_does_not_answer_is_told_of_and_replaced() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher(SHORT)
            worker = await yard.add()
            worker.gate.clear()
            assert await outcome(ask(batcher, 1)) is DeadlineError
            assert yard.told == [(SERVED.id, worker.path, "no answer in 0.05 s")]
            assert await outcome(ask(batcher, 2)) == [4.0]
            assert recorded(yard) == [2]

    run_timed(test)


def test_a_worker_is_not_told_of_while_a_younger_request_may_still_be_answered() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher(Limits(8, 16, 0.2))
            worker = await yard.add()
            worker.gate.clear()
            blocker = ask(batcher, 0)
            await worker.asked.acquire()
            old = ask(batcher, 1)
            await asyncio.sleep(0.1)
            young = ask(batcher, 2)
            worker.gate.set()
            assert [await outcome(f) for f in (blocker, old, young)] == [[0.0], [2.0], [4.0]]
            assert yard.told == []

    run_timed(test)


def test_what_has_waited_too_long_leaves_the_queue() -> None:
    """Even where no worker comes: else it would count as waiting, and be asked for, for ever."""

    async def test() -> None:
        async with dock() as yard:
            yard.replicas = 0
            batcher = yard.batcher(SHORT)
            assert [await outcome(f) for f in [ask(batcher, *range(8)) for _ in range(2)]] == [
                DeadlineError
            ] * 2
            assert batcher.idle
            yard.replicas = 1
            assert await outcome(ask(batcher, *range(8))) == [2.0 * i for i in range(8)]

    run_timed(test)


def test_a_caller_who_went_away_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher(SHORT)
            worker = await yard.add()
            worker.gate.clear()
            gone, waiting = ask(batcher, 1), None
            await worker.asked.acquire()
            waiting = ask(batcher, 2)
            gone.cancel()
            waiting.cancel()
            await asyncio.wait_for(yard.heard.wait(), 180)  # nobody waits for it any more, yet it is stuck
            assert await outcome(ask(batcher, 3)) == [6.0]
            assert yard.workers[-1].batches == [[3]]

    run_timed(test)


def test_a_lost_worker_costs_the_innocent_nothing() -> None:
    async def test() -> None:
        async with dock() as yard:
            dies_on(yard, 2)
            batcher = yard.batcher()
            futures = [ask(batcher, 1), ask(batcher, 2), ask(batcher, 3, 4)]
            assert [await outcome(f) for f in futures] == [[2.0], WorkerLostError, [6.0, 8.0]]
            assert recorded(yard) == [1, 3, 4]
            deaths = [w.batches[-1] for w in yard.workers if 2 in w.batches[-1]]
            assert deaths == [[1, 2, 3, 4], [2], [2]]

    run(test)


def test_a_request_that_meets_one_dying_worker_is_answered_by_the_next() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            worker = await yard.add()
            worker.gate.clear()
            future = ask(batcher, 1)
            await worker.asked.acquire()
            await yard.kill(worker)
            assert await outcome(future) == [2.0]
            assert recorded(yard) == [1]

    run(test)


def test_only_the_rows_a_model_refuses_fail() -> None:
    async def test() -> None:
        async with dock(fails_on(2)) as yard:  # type: ignore[arg-type]
            batcher = yard.batcher()
            futures = [ask(batcher, 1), ask(batcher, 2), ask(batcher, 3)]
            assert [await outcome(f) for f in futures] == [[2.0], ModelError, [6.0]]
            with pytest.raises(ModelError, match="cannot take the logarithm"):
                await futures[1]
            assert yard.workers[0].batches == [[1, 2, 3], [1], [2], [3]]
            assert recorded(yard) == [1, 3]
            assert len(yard.workers) == 1

    run(test)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda q: answer(q, [1.0] * (len(numbers(q)) + 1)),
        lambda q: answer(q, []),
        lambda q: Frame("answer", (("id", q.get("id")),)),
        lambda q: Frame("pong", (("id", q.get("id")),)),
        lambda q: Frame("answer", (("id", q.get("id")),), q.rows, q.columns),
    ],
    ids=["more rows", "no rows", "no columns", "another verb", "other columns"],
)
def test_a_wrong_answer_is_an_error_and_nothing_is_recorded(wrong: Callable[[Frame], Frame]) -> None:
    async def behave(_: Worker, question: Frame) -> Frame:
        return wrong(question)

    async def test() -> None:
        async with dock(behave) as yard:
            batcher = yard.batcher()
            assert [await outcome(f) for f in (ask(batcher, 1), ask(batcher, 2))] == [ModelError] * 2
            assert yard.spool == []

    run(test)


def test_an_answer_to_another_question_reaches_nobody() -> None:
    """A worker that answers twice would shift all that follows by one: each caller had another's rows."""

    async def behave(worker: Worker, question: Frame) -> Frame | bytes:
        right = await doubles(worker, question)
        if worker is worker_one[0]:
            return encode(right) + encode(answer(question, [666.0] * len(numbers(question))))
        return right

    worker_one: list[Worker] = []

    async def test() -> None:
        async with dock(behave) as yard:
            worker_one.append(await yard.add())
            batcher = yard.batcher()
            assert await outcome(ask(batcher, 1)) == [2.0]
            assert await outcome(ask(batcher, 2)) == [4.0]
            assert [why for _, _, why in yard.told] == ["it answered what nobody asked"]
            assert recorded(yard) == [1, 2]

    run(test)


@pytest.mark.parametrize(
    "junk",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"YRD1" + b"\xff" * 8,
        b"YRD1\x01\0\0\0\0\0\0\0x",
        PREFIX.pack(MAGIC, 5, 1 << 30),
    ],
    ids=["HTTP", "over the limit", "no header", "a gigabyte for one row"],
)
def test_64_a_worker_that_speaks_no_frames_is_told_of_and_replaced(junk: bytes) -> None:
    async def behave(worker: Worker, question: Frame) -> Frame | bytes:
        return junk if worker is bad[0] else await doubles(worker, question)

    bad: list[Worker] = []

    async def test() -> None:
        async with dock(behave) as yard:
            bad.append(await yard.add())
            assert await outcome(ask(yard.batcher(), 1)) == [2.0]
            assert "does not speak frames" in yard.told[0][2]

    run(test)


def test_what_cannot_be_recorded_is_not_answered() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            yard.full = UnavailableError("The disk is full.", retry_after=5.0)
            futures = [ask(batcher, 1), ask(batcher, 2)]
            assert [await outcome(f) for f in futures] == [UnavailableError] * 2
            assert yard.workers[0].batches == [[1, 2]]  # asking one by one would not help a full disk
            yard.full = None
            assert await outcome(ask(batcher, 3)) == [6.0]

    run(test)


def test_where_no_worker_can_be_had_all_who_wait_hear_why() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            yard.refuse = WorkerStartError("The model cannot be loaded.", log="Error in readRDS")
            futures = [ask(batcher, 1), ask(batcher, 2)]
            assert [await outcome(f) for f in futures] == [WorkerStartError] * 2
            assert yard.ensured == 1
            yard.refuse = None
            assert await outcome(ask(batcher, 3)) == [6.0]

    run(test)


def test_a_fleet_that_changes_while_busy() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            old = await yard.add()
            old.gate.clear()
            flying = ask(batcher, 1)
            await old.asked.acquire()
            yard.living.clear()
            new = await yard.add()
            batcher.set_fleet(yard.fleet())
            assert await outcome(ask(batcher, 2)) == [4.0]
            old.gate.set()
            assert await outcome(flying) == [2.0]
            assert await outcome(ask(batcher, 3)) == [6.0]
            assert (old.batches, new.batches) == ([[1]], [[2], [3]])
            assert yard.ensured == 1

    run(test)


def test_workers_let_go_just_as_a_request_comes() -> None:
    """Idle models are unloaded; the request that comes at that moment has a new worker started."""

    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            assert await outcome(ask(batcher, 1)) == [2.0]
            future = ask(batcher, 2)
            await yard.kill(yard.workers[0])
            batcher.set_fleet(Fleet((), ()))
            assert await outcome(future) == [4.0]
            assert yard.ensured == 2

    run(test)


def test_a_closed_batcher_answers_what_flies_and_refuses_what_waits() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            worker = await yard.add()
            worker.gate.clear()
            flying = ask(batcher, 1)
            await worker.asked.acquire()
            waiting = ask(batcher, 2)
            batcher.close()
            late = ask(batcher, 3)
            assert [await outcome(waiting), await outcome(late)] == [UnavailableError] * 2
            worker.gate.set()
            assert await outcome(flying) == [2.0]
            assert (worker.batches, yard.ensured) == ([[1]], 1)

    run(test)


def test_whole_numbers_go_as_doubles_to_a_worker_that_takes_no_others() -> None:
    integers = ServedVersion(
        "finance.fuel-cost.1", "finance/fuel-cost", 1, "r", Signature((Column("x", INT64),), PREDICTION)
    )

    async def test() -> None:
        async with dock() as yard:
            yard.takes = ("float64", "string")
            batcher = yard.batcher(served=integers)
            small, big = [Inputs(1, rows=[(n,)]) for n in (3, 2**53)]
            futures = [batcher.submit(each, asked(1)) for each in (small, big)]
            assert await outcome(futures[0]) == [6.0]
            with pytest.raises(YardError, match="2\\^53"):
                await futures[1]
            assert [c.type for q in yard.workers[0].questions for c in q.columns] == ["float64"]
            assert [c.type for f in yard.spool for c in f.columns if c.name == "in:x"] == ["int64"]
            yard.takes = TAKES
            batcher.set_fleet(yard.fleet())
            assert await outcome(batcher.submit(big, asked(1))) == [2.0**54]

    run(test)


def test_the_pool_keeps_a_batcher_a_version_until_no_route_names_it() -> None:
    async def test() -> None:
        async with dock() as yard:
            pool = Pool(LIMITS, 10, yard.ensure, yard.stuck, Tap(yard.append))
            await yard.add()
            pool.set_fleet(SERVED.id, yard.fleet())
            batcher = pool.batcher(SERVED)
            assert pool.batcher(SERVED) is batcher
            assert await outcome(ask(batcher, 1)) == [2.0]
            assert yard.ensured == 0  # the engine's news came first
            assert (pool.take_used(), pool.take_used()) == ((SERVED.id,), ())
            pool.swap(RouteTable(1, {SERVED.model: ModelRoutes({}, {1: SERVED})}, {}))
            assert pool.batcher(SERVED) is batcher
            pool.swap(RouteTable(2, {}, {}))
            assert await outcome(ask(batcher, 1)) is UnavailableError
            assert pool.batcher(SERVED) is not batcher
            pool.swap(RouteTable(3, {}, {}))

    run(test)


def test_many_rows_go_to_native_workers_once_these_are_there() -> None:
    served = msgspec.structs.replace(SERVED, form="portable", native_from=3)
    many = served.for_many_rows

    async def test() -> None:
        async with dock() as few, dock(version_id=many.id) as lots:
            docks = {served.id: few, many.id: lots}

            async def ensure(version_id: str) -> Fleet:
                return await docks[version_id].ensure(version_id)

            pool = Pool(LIMITS, 10, ensure, few.stuck, Tap(few.append))
            assert pool.answering(served, 2) is pool.batcher(served)
            assert lots.ensured == 0, "nobody has asked for many rows"
            first = pool.answering(served, 3)
            assert first is pool.batcher(served), "nobody waits for a native worker to start"
            assert await outcome(ask(first, 1, 2, 3)) == [2.0, 4.0, 6.0]
            await turns()
            assert pool.batcher(many).is_warm
            assert await outcome(ask(pool.answering(served, 3), 1, 2, 3)) == [2.0, 4.0, 6.0]
            assert lots.workers[0].batches == [[1, 2, 3]]
            assert await outcome(ask(pool.answering(served, 2), 1, 2)) == [2.0, 4.0]
            assert few.workers[0].batches == [[1, 2, 3], [1, 2]]
            assert {frame.get("version") for frame in few.spool} == {"1"}, "one version, whoever answers"
            assert set(pool.take_used()) == {served.id, many.id}
            table = RouteTable(1, {SERVED.model: ModelRoutes({}, {1: served})}, {})
            pool.swap(table)
            assert pool.answering(served, 3).served.id == many.id
            plain = msgspec.structs.replace(served, native_from=0)
            pool.swap(RouteTable(2, {SERVED.model: ModelRoutes({}, {1: plain})}, {}))
            assert pool.answering(plain, 3) is pool.batcher(plain)
            pool.swap(RouteTable(3, {}, {}))

    run(test)


def test_native_workers_that_do_not_start_are_not_asked_for_at_each_request() -> None:
    served = msgspec.structs.replace(SERVED, form="portable", native_from=3)

    async def test() -> None:
        async with dock() as few, dock(version_id=served.for_many_rows.id) as lots:
            lots.refuse = WorkerStartError("no native worker today")

            async def ensure(version_id: str) -> Fleet:
                return await (lots if version_id != served.id else few).ensure(version_id)

            pool = Pool(LIMITS, 10, ensure, few.stuck, Tap(few.append))
            for _ in range(3):
                assert await outcome(ask(pool.answering(served, 3), 1, 2, 3)) == [2.0, 4.0, 6.0]
            assert lots.ensured == 1
            pool.swap(RouteTable(1, {}, {}))

    run(test)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 4)),
        st.tuples(st.just("poison"), st.integers(1, 2)),
        st.tuples(st.just("bad"), st.integers(1, 2)),
        st.tuples(st.sampled_from(["kill", "add", "hold", "go", "retire", "tick", "cancel"]), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(steps=STEPS, replicas=st.integers(1, 2))
def test_no_request_is_lost_or_answered_with_anothers_rows(
    steps: list[tuple[str, int]], replicas: int
) -> None:
    """Any mixture of requests, refusing rows, deadly rows, dying, coming and retiring workers."""

    async def behave(worker: Worker, question: Frame) -> Frame | None:
        values = numbers(question)
        if any(v % 10 == 7 for v in values):
            if worker in yards[0].living:
                yards[0].living.remove(worker)
            return None
        if any(v % 10 == 5 for v in values):
            return error(question, "bad")
        return await doubles(worker, question)

    yards: list[Dock] = []

    async def test() -> None:
        async with dock(behave, replicas) as yard:
            yards[:] = [yard]
            await _play(yard, yard.batcher(Limits(8, 10_000, 20.0)), steps)

    run(test)


async def _play(yard: Dock, batcher: Batcher, steps: list[tuple[str, int]]) -> None:
    asks: list[tuple[list[float], asyncio.Future[Answer]]] = []
    for number, (step, rows_) in enumerate(steps):
        if step in ("ask", "poison", "bad"):
            values = [number * 100.0 + 10 * i for i in range(rows_)]
            values[-1] += {"ask": 0, "poison": 7, "bad": 5}[step]
            asks.append((values, ask(batcher, *values)))
        elif step == "cancel" and asks:
            asks[-1][1].cancel()
        else:
            await _disturb(yard, batcher, step)
    for worker in yard.workers:
        worker.gate.set()
    expected: list[float] = []
    asks.append(([1.0], ask(batcher, 1)))  # in whatever state all that left the batcher
    for values, future in asks:
        if future.cancelled():
            continue
        last = values[-1] % 10
        found = await outcome(future)
        if last in (5, 7):
            assert found is (ModelError if last == 5 else WorkerLostError)
        elif found is not WorkerLostError:  # four workers died under it: given up, and said so
            assert found == [2 * v for v in values]
            expected += values
    # What was answered is recorded once; who went away may have been answered before.
    kept = [v for v in recorded(yard) if v in set(expected)]
    assert sorted(kept) == sorted(expected)
    assert batcher.idle


async def _disturb(yard: Dock, batcher: Batcher, step: str) -> None:
    if step == "kill" and yard.living:
        await yard.kill(yard.living[0])
    elif step == "add":
        await yard.add()
        batcher.set_fleet(yard.fleet())
    elif step == "hold":
        for worker in yard.living:
            worker.gate.clear()
    elif step == "go":
        for worker in yard.workers:
            worker.gate.set()
    elif step == "retire":
        yard.living.clear()
        batcher.set_fleet(yard.fleet())
    elif step == "tick":
        await asyncio.sleep(0.001)


# Overload


def asked_by(caller: str, *values: float, wait: float | None = None) -> Asked:
    began = asyncio.get_running_loop().time()
    return Asked(f"id-{values}", caller, "champion", len(values), began, None, wait)


def test_a_flood_of_one_caller_does_not_hold_up_another() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher(Limits(batch_rows=2, queue_rows=16, answer_timeout=20))
            worker = await yard.add()
            worker.gate.clear()
            first = ask(batcher, 0)
            await worker.asked.acquire()
            flood = [batcher.submit(rows(i), asked_by("flood", i)) for i in range(1, 17)]
            with pytest.raises(BusyError):
                batcher.submit(rows(50), asked_by("flood", 50))
            bert = batcher.submit(rows(40), asked_by("bert", 40))  # the queue is full, yet not of his
            worker.gate.set()
            assert await outcome(bert) == [80.0]
            assert [40 in batch for batch in worker.batches].index(True) <= 2
            assert [await outcome(f) for f in (first, *flood)] == [[2.0 * i] for i in range(17)]

    run(test)


def test_who_would_wait_too_long_is_told_at_once() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher(Limits(batch_rows=1, queue_rows=1000, answer_timeout=20, queue_seconds=3))
            worker = await yard.add()
            batcher._pace.took(1, 1.0)  # a second a row
            worker.gate.clear()
            futures = [ask(batcher, 1)]
            await worker.asked.acquire()
            futures += [ask(batcher, 2)]
            with pytest.raises(BusyError, match=r"about 1\.0 s") as caught:
                batcher.submit(rows(3), asked_by("anna", 3, wait=0.5))
            assert caught.value.retry_after == 1.0
            futures += [ask(batcher, i) for i in (3, 4, 5)]
            with pytest.raises(BusyError, match=r"about 4\.0 s"):
                ask(batcher, 6)
            worker.gate.set()
            assert [await outcome(f) for f in futures] == [[2.0 * i] for i in range(1, 6)]

    run(test)


def test_a_caller_may_wait_for_less_than_others_and_the_worker_is_not_ended_for_it() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher()
            worker = await yard.add()
            worker.gate.clear()
            short = batcher.submit(rows(1), asked_by("anna", 1, wait=0.05))
            long = ask(batcher, 2)
            with pytest.raises(DeadlineError, match=r"within 0\.05 s"):
                await short
            worker.gate.set()
            assert await outcome(long) == [4.0]
            assert yard.told == []
            began = asyncio.get_running_loop().time() - 9
            late = Asked("id", "anna", "champion", 1, began, None, 5.0)
            assert await outcome(batcher.submit(rows(3), late)) == DeadlineError  # read for 9 of its 5 s

    run_timed(test)


def test_the_next_batch_is_there_before_a_quick_worker_is_done_and_innocent_of_its_death() -> None:
    async def test() -> None:
        async with dock() as yard:
            batcher = yard.batcher(Limits(batch_rows=2, queue_rows=100, answer_timeout=20))
            worker = await yard.add()
            assert await outcome(ask(batcher, 0)) == [0.0]
            batcher._pace.seconds = 0.001  # it is known to be quick
            await worker.asked.acquire()
            worker.gate.clear()
            futures = [ask(batcher, i) for i in range(1, 8)]
            await worker.asked.acquire()
            await turns()
            assert len(batcher._busy[next(iter(batcher._busy))]) == 2
            await yard.kill(worker)
            assert [await outcome(f) for f in futures] == [[2.0 * i] for i in range(1, 8)]
            assert yard.workers[1].batches[:3] == [[1], [2], [3, 4]]  # the first were in the lost one's hands
            assert set(recorded(yard)) == set(range(8))

    run(test)


def test_at_twice_the_capacity_what_is_worked_on_is_answered() -> None:
    """A model of 2 ms a row is asked twice as much as it can: work that is done is for somebody who waits."""

    async def slow(_: Worker, question: Frame) -> Frame:
        await asyncio.sleep(0.002 * len(numbers(question)))
        return answer(question, [2 * x for x in numbers(question)])

    async def test() -> None:
        async with dock(slow) as yard:
            batcher = yard.batcher(Limits(batch_rows=16, queue_rows=10_000, answer_timeout=20))
            futures: list[asyncio.Future[Answer]] = []
            worker = await yard.add()
            asked, worked = 0, 0
            while worked < 200:
                worked = sum(len(batch) for batch in worker.batches)
                for i in range(asked, 2 * worked + 40):
                    with suppress(BusyError):
                        futures.append(batcher.submit(rows(i), asked_by("anna", i, wait=0.2)))
                    asked += 1
                await asyncio.sleep(0.001)
            found = [await outcome(f) for f in futures]
            late = found.count(DeadlineError)
            worked = sum(len(batch) for batch in worker.batches)
            assert len(found) - late >= 0.8 * worked
            assert len(found) - late > 0
            assert len(found) < asked

    run_timed(test)
