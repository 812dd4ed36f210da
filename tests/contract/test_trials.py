"""Rollouts on a front, against workers that do as they are told: no caller ever pays for a candidate."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.loop.rollout import Facts, fault
from modelyard.records.compatibility import refusal
from modelyard.records.errors import ModelError
from modelyard.records.people import Grant
from modelyard.records.rollouts import Evidence, ModelRoutes, RouteTable, Rules, StageKind, Trial
from modelyard.records.signatures import Column, Signature
from modelyard.serving.batcher import Fleet, Limits
from modelyard.serving.counters import Counters
from modelyard.serving.inputs import Inputs
from modelyard.serving.pool import Pool
from modelyard.serving.predict import Predictor
from modelyard.serving.routes import goes_to_candidate
from modelyard.serving.tap import Asked, Tap
from modelyard.serving.trials import Trials, converter
from modelyard.workers.wire import Frame, Value, from_values, to_values
from tests.contract.scripted import (
    SERVED,
    SIGNATURE,
    Dock,
    Worker,
    answer,
    dock,
    doubles,
    error,
    numbers,
    run_timed,
)
from tests.rows import FLOAT64, INT64, PREDICTION, STRING

MODEL = SERVED.model
CANDIDATE = msgspec.structs.replace(SERVED, id="finance.fuel-cost.2", version=2)
LIMITS = Limits(batch_rows=8, queue_rows=5000, answer_timeout=20.0)
NOBODY: dict[str, Grant] = {}

Test = Callable[["House"], Coroutine[Any, Any, None]]


class House:
    """A predictor with a champion's and a candidate's workers, each of a dock of its own."""

    def __init__(self, champion: Dock, candidate: Dock) -> None:
        self.docks = {SERVED.id: champion, CANDIDATE.id: candidate}
        self.pool = Pool(LIMITS, 100, self._ensure, champion.stuck, Tap(champion.append))
        self.trials = Trials(self.pool, 400.0)
        self.predictor = Predictor(self.pool, Counters(), self.trials)

    async def _ensure(self, version_id: str) -> Fleet:
        return await self.docks[version_id].ensure(version_id)

    async def begin(self, kind: StageKind, share: float = 0.0, **others: Any) -> None:
        """A rollout in this stage, with the candidate's worker started as the engine does."""
        trial = Trial(7, 2, kind, share, **others)
        self.trials.swap(table(trial))
        fleet = await self._ensure(CANDIDATE.id)
        self.pool.set_fleet(CANDIDATE.id, fleet)
        while not self.pool.batcher(CANDIDATE).is_warm:  # noqa: ASYNC110 - it has no event to await
            await asyncio.sleep(0.001)

    async def ask(self, value: float, key: str | None = None) -> Any:
        inputs = Inputs(1, rows=[(value,)], keys=[key] if key else None)
        number = self.predictor.new_request_id()
        asked = Asked(number, "anna", "champion", inputs.count, _now(), inputs.keys)
        return await self.predictor.answer(SERVED, inputs, asked)

    async def settled(self) -> Evidence:
        """What was counted once no shadow is on its way."""
        await asyncio.gather(*self.trials._shadows)
        return self.trials.take().get(7, Evidence())

    def routes(self) -> list[tuple[str, str]]:
        """The route and version of every recorded row."""
        spool = self.docks[SERVED.id].spool
        return [
            (str(route), frame.get("version"))
            for frame in spool
            for c in frame.columns
            if c.name == "route"
            for route in to_values(c)
        ]


def _now() -> float:
    return asyncio.get_running_loop().time()


def table(trial: Trial | None) -> RouteTable:
    routes = ModelRoutes({"champion": 1}, {1: SERVED, 2: CANDIDATE}, trial)
    return RouteTable(1, {MODEL: routes}, NOBODY)


async def triples(_: Worker, question: Frame) -> Frame:
    return answer(question, [3 * x for x in numbers(question)])


async def fails(_: Worker, question: Frame) -> Frame:
    return error(question, "no such column")


async def nothing(_: Worker, question: Frame) -> Frame:
    return answer(question, [None for _ in numbers(question)])


async def dies(_: Worker, __: Frame) -> None:
    return None


async def sleeps(worker: Worker, question: Frame) -> Frame:
    await asyncio.sleep(30)
    return await triples(worker, question)


@asynccontextmanager
async def house(behave: Any = triples) -> AsyncIterator[House]:
    async with dock() as champion, dock(behave, version_id=CANDIDATE.id) as candidate:
        made = House(champion, candidate)
        yield made
        for task in list(made.trials._shadows):
            task.cancel()
        made.pool.swap(RouteTable(2, {}, NOBODY))
        await asyncio.sleep(0)


def trying(test: Test, behave: Any = triples) -> None:
    async def whole() -> None:
        async with house(behave) as made:
            await test(made)

    run_timed(whole)


def test_a_shadow_is_recorded_and_never_returned() -> None:
    async def test(made: House) -> None:
        await made.begin(StageKind.SHADOW)
        for number in range(30):
            found = await made.ask(number)
            assert (found.version, found.outputs) == (1, [[2.0 * number]])
        evidence = await made.settled()
        assert (evidence.champion.asked, evidence.candidate.asked, evidence.candidate.failed) == (30, 30, 0)
        assert evidence.candidate.paired > 0
        assert sorted(set(made.routes())) == [("champion", "1"), ("shadow", "2")]
        assert len(made.routes()) == 60

    trying(test)


@pytest.mark.parametrize("behave", [fails, nothing, dies])
@pytest.mark.parametrize("kind", list(StageKind))
def test_a_candidate_that_fails_costs_no_caller_an_answer(kind: StageKind, behave: Any) -> None:
    async def test(made: House) -> None:
        await made.begin(kind, 0.99)
        for number in range(5):
            found = await made.ask(number)
            assert (found.version, found.outputs) == (1, [[2.0 * number]])
        evidence = await made.settled()
        assert evidence.candidate.failed > 0
        assert evidence.candidate.failed == evidence.candidate.asked
        assert evidence.candidate.words

    trying(test, behave)


def test_a_candidate_that_hangs_is_left_for_the_champion() -> None:
    async def test(made: House) -> None:
        made.trials._patience = 0.05
        await made.begin(StageKind.CANARY, 0.99)
        found = await made.ask(5, "a customer")
        assert found.version == 1
        assert (await made.settled()).candidate.failed == 1

    trying(test, sleeps)


def test_shadows_that_pile_up_are_left_out() -> None:
    async def test(made: House) -> None:
        await made.begin(StageKind.SHADOW)
        for number in range(100):
            assert (await made.ask(number)).version == 1
        assert made.trials.take()[7].candidate.dropped == 36

    trying(test, sleeps)


def test_rows_that_the_champion_refuses_too_are_not_the_candidates_fault() -> None:
    async def test(made: House) -> None:
        made.docks[SERVED.id].behave = fails
        await made.begin(StageKind.CANARY, 0.99)
        for number in range(5):
            with pytest.raises(ModelError):
                await made.ask(number)
        assert (await made.settled()).candidate.failed == 0

    trying(test, fails)


def test_a_canary_takes_its_share_and_says_who_answered() -> None:
    async def test(made: House) -> None:
        await made.begin(StageKind.CANARY, 0.25)
        versions = [(await made.ask(1.0)).version for _ in range(200)]
        assert 25 <= versions.count(2) <= 75
        evidence = await made.settled()
        assert (evidence.candidate.asked, evidence.champion.asked) == (versions.count(2), versions.count(1))
        assert set(made.routes()) == {("champion", "1"), ("canary", "2")}

    trying(test)


def test_a_candidate_without_workers_is_not_waited_for() -> None:
    async def test(made: House) -> None:
        made.trials.swap(table(Trial(7, 2, StageKind.CANARY, 0.99)))
        assert (await made.ask(1.0)).version == 1

    trying(test)


def test_a_customer_sees_one_version() -> None:
    async def test(made: House) -> None:
        await made.begin(StageKind.CANARY, 0.5, sticky="customer")
        first = {n: (await made.ask(1.0, f'{{"customer": {n}}}')).version for n in range(40)}
        again = {n: (await made.ask(2.0, f'{{"customer": {n}}}')).version for n in range(40)}
        assert first == again
        assert set(first.values()) == {1, 2}

    trying(test)


def test_a_slow_candidate_is_seen() -> None:
    async def late(worker: Worker, question: Frame) -> Frame:
        await asyncio.sleep(0.05)
        return await triples(worker, question)

    async def test(made: House) -> None:
        await made.begin(StageKind.SHADOW, latency_times=2.0)
        for _ in range(25):
            await made.ask(1.0)
            await asyncio.gather(*made.trials._shadows)
        tally = (await made.settled()).candidate
        assert tally.timed > 0
        assert tally.slow == tally.timed

    trying(test, late)


def test_one_stall_of_a_candidate_is_one_slow_answer_however_many_waited() -> None:
    async def test(made: House) -> None:
        await made.begin(StageKind.SHADOW, latency_times=2.0)
        for _ in range(30):  # the candidate is warm, and it is known how long the champion takes
            await made.ask(1.0)
            await asyncio.gather(*made.trials._shadows)
        worker = made.docks[CANDIDATE.id].workers[0]
        worker.gate.clear()
        for _ in range(40):
            await made.ask(1.0)
        await asyncio.sleep(0.06)  # the stall itself: longer than what is never called slow
        worker.gate.set()
        tally = (await made.settled()).candidate
        assert tally.asked == 70
        assert tally.slow == 1
        assert fault(Rules(()), Evidence(tally), Facts(1)) == ""

    trying(test, doubles)


def test_outputs_are_counted_in_bins() -> None:
    async def test(made: House) -> None:
        await made.begin(StageKind.SHADOW, edges=(4.0, 5.0))
        for value in (1.0, 1.5, 2.0):
            await made.ask(value)
        evidence = await made.settled()
        assert evidence.champion.bins == (2, 1, 0)  # 2, 3, 4
        assert evidence.candidate.bins == (1, 1, 1)  # 3, 4.5, 6

    trying(test)


def test_what_was_counted_of_a_rollout_that_ended_is_still_told() -> None:
    async def test(made: House) -> None:
        await made.begin(StageKind.SHADOW)
        await made.ask(1.0)
        made.trials.swap(table(None))
        assert (await made.ask(1.0)).version == 1
        assert made.trials.take()[7].champion.asked == 1

    trying(test)


@given(
    st.lists(st.text(max_size=5), min_size=1, max_size=4),
    st.floats(0.01, 0.5),
    st.floats(0.5, 0.99),
)
def test_who_saw_the_candidate_goes_on_seeing_it(keys: list[str], small: float, large: float) -> None:
    rows = Inputs(
        len(keys), rows=[(1.0,)] * len(keys), keys=[msgspec.json.encode({"k": k}).decode() for k in keys]
    )
    early, late = (Trial(3, 2, StageKind.CANARY, share, sticky="k") for share in (small, large))
    if goes_to_candidate(early, SIGNATURE, rows, "a"):
        assert goes_to_candidate(late, SIGNATURE, rows, "b")
    each = [
        goes_to_candidate(late, SIGNATURE, Inputs(1, rows=[(1.0,)], keys=[key]), "c")
        for key in rows.keys or ()
    ]
    assert goes_to_candidate(late, SIGNATURE, rows, "d") == all(each)


WIDE = Signature((Column("n", INT64), Column("s", STRING, missing=True), Column("x", FLOAT64)), PREDICTION)
NARROW = Signature(
    (Column("x", FLOAT64), Column("n", FLOAT64), Column("z", FLOAT64, missing=True)), PREDICTION
)


def test_rows_are_turned_into_the_candidates_columns() -> None:
    assert refusal(WIDE, NARROW) == ""
    convert = converter(WIDE, NARROW)
    assert convert(Inputs(1, rows=[(3, "a", 0.5)])).rows == [(0.5, 3.0, None)]
    values: tuple[list[Value], ...] = ([3], ["a"], [0.5])
    columns = tuple(from_values(c.name, c.type, v) for c, v in zip(WIDE.inputs, values, strict=True))
    turned = convert(Inputs(1, columns=columns)).columns
    assert turned is not None
    assert [to_values(c) for c in turned[:2]] == [[0.5], [3.0]]
    (missing,) = to_values(turned[2])
    assert isinstance(missing, float)
    assert math.isnan(missing)


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (Signature((Column("y", FLOAT64),), PREDICTION), "needs the column 'y'"),
        (Signature((Column("s", FLOAT64),), PREDICTION), "callers send string"),
        (Signature((Column("s", STRING),), PREDICTION), "refuses missing values"),
        (Signature((Column("s", STRING, missing=True, levels=("a",)),), PREDICTION), "other than its levels"),
        (Signature((Column("x", FLOAT64),), (Column("label", STRING),)), "answers as classification"),
        (Signature((Column("x", FLOAT64),), (Column("other", FLOAT64),)), "does not answer 'prediction'"),
    ],
)
def test_a_candidate_that_callers_could_not_use_is_told_why(candidate: Signature, words: str) -> None:
    assert words in refusal(WIDE, candidate)


def test_levels_may_grow_and_not_shrink() -> None:
    few = Signature((Column("s", STRING, levels=("a", "b")),), PREDICTION)
    more = Signature((Column("s", STRING, levels=("a", "b", "c")),), PREDICTION)
    assert refusal(few, more) == ""
    assert "level 'c'" in refusal(more, few)
