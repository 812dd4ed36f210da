"""Verdicts on both databases: asked for once, written under the fence with the rollout they begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from modelyard.catalog.gates import Case, Judged
from modelyard.catalog.registry import Registry
from modelyard.loop.gate import CannotCompareError, Compared, FailsError, GateStep, Side
from modelyard.loop.scores import Answers
from modelyard.loop.tick import Tick
from modelyard.records.errors import ConflictError, NotFoundError, WorkerStartError
from modelyard.records.policies import Promote, Retrain
from modelyard.records.references import CHAMPION
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.records.verdicts import HeldOut, Verdict, VerdictState
from modelyard.store import duties
from modelyard.store.database import Database
from modelyard.store.duties import Duty, LostLeaseError
from tests.bundles import SIGNATURE
from tests.contract.test_store_rollouts import MODEL, publish

ROWS = HeldOut(target="cost", file="0" * 64, form="csv")


@pytest.fixture
def yard(registry: Registry) -> Registry:
    """A registry with two checked versions, of which the first is champion."""
    for content in ("one", "two"):
        publish(registry, content)
    registry.policies.put(MODEL, Retrain(), Promote(rollout=("shadow 10m",)), by="anna")
    return registry


class Comparison:
    """Stands for the engine's comparing: answers that are good, or an error."""

    def __init__(self, error: float = 1.0, raises: Exception | None = None) -> None:
        self.error, self.raises = error, raises
        self.seen: list[int | None] = []

    def __call__(self, case: Case) -> Compared:
        champion = case.champion
        self.seen.append(champion.version if champion else None)
        if self.raises:
            raise self.raises
        chance = np.random.default_rng(1)
        came = chance.normal(0, 50, 200)
        mine, theirs = (came + chance.normal(0, error, 200) for error in (self.error, 10.0))
        sides = [Side(Answers(values), values, 0.001, 1000) for values in (mine, theirs)]
        return Compared(case.candidate.bundle.signature, came, {}, sides[0], sides[1] if champion else None)


def run(yard: Registry, database: Database, compare: Comparison, *, settled: bool = True) -> Verdict:
    """Let the loop do what is due once; the newest verdict."""
    step = GateStep(yard.gates, compare, lambda _: settled, lambda: None, lambda: datetime.now(UTC))
    Tick(database, "one", {"gate": step}).run_due()
    return yard.gates.of_model(MODEL)[0]


def test_a_version_that_passes_is_rolled_out_by_the_policy(yard: Registry, database: Database) -> None:
    asked = yard.gates.ask(MODEL, 2, ROWS, by="anna", why="the new engines")
    assert (asked.state, asked.champion) == (VerdictState.WAITING, None)
    found = run(yard, database, Comparison())
    assert (found.state, found.champion, found.asked_by, found.why) == (
        "passed",
        1,
        "anna",
        "the new engines",
    )
    rollout = yard.rollouts.active(MODEL)
    assert rollout is not None
    assert (rollout.id, rollout.candidate, rollout.began_by) == (found.rollout, 2, "yard")
    assert rollout.why == found.words
    assert len(rollout.rules.expected) == 10
    assert run(yard, database, Comparison()) == found  # nothing is due any more


def test_a_version_that_is_refused_is_not(yard: Registry, database: Database) -> None:
    yard.gates.ask(MODEL, 2, ROWS, by="anna")
    found = run(yard, database, Comparison(error=30))
    assert (found.state, found.rollout) == (VerdictState.REFUSED, None)
    assert "worse than the champion" in found.words
    assert found.numbers is not None
    assert yard.rollouts.active(MODEL) is None


def test_without_a_rollout_a_version_is_judged_alone(yard: Registry, database: Database) -> None:
    yard.gates.ask(MODEL, 2, ROWS, by="anna", rolls_out=False)
    assert run(yard, database, Comparison()).state is VerdictState.PASSED
    assert yard.rollouts.active(MODEL) is None


def test_what_cannot_be_judged_is_refused_at_once(yard: Registry) -> None:
    yard.gates.ask(MODEL, 2, ROWS, by="anna")
    for number, error, words in (
        (1, ConflictError, "champion already"),
        (2, ConflictError, "waits to be judged already"),
        (9, NotFoundError, "no version 9"),
    ):
        with pytest.raises(error, match=words):
            yard.gates.ask(MODEL, number, ROWS, by="anna")
    for call in (lambda: yard.gates.of_model("finance/none"), lambda: yard.gates.verdict("finance/none", 1)):
        with pytest.raises(NotFoundError):
            call()


def test_a_verdict_waits_for_the_rollout_that_goes_on(yard: Registry, database: Database) -> None:
    publish(yard, "three")
    yard.rollouts.start(MODEL, 3, Promote().rules(), by="anna")
    yard.gates.ask(MODEL, 2, ROWS, by="anna")
    compare = Comparison()
    found = run(yard, database, compare)
    assert (found.state, found.words) == (
        VerdictState.WAITING,
        "It is judged once the rollout of version 3 has ended.",
    )
    assert compare.seen == []


def test_a_verdict_waits_for_the_form_that_will_answer(yard: Registry, database: Database) -> None:
    yard.gates.ask(MODEL, 2, ROWS, by="anna")
    assert "portable form" in run(yard, database, Comparison(), settled=False).words


def test_a_candidate_that_refuses_what_callers_send_is_not_even_compared(
    yard: Registry, database: Database
) -> None:
    other = Signature((Column("weight", ColumnType.FLOAT64),), SIGNATURE.outputs)
    stranger = publish(yard, "three", other)
    yard.gates.ask(MODEL, stranger, ROWS, by="anna")
    compare = Comparison()
    found = run(yard, database, compare)
    assert found.state is VerdictState.REFUSED
    assert "cannot answer the champion's callers: it needs the column 'weight'" in found.words
    assert compare.seen == []


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (FailsError("It takes no rows."), VerdictState.REFUSED),
        (CannotCompareError("The hold-out has no rows."), VerdictState.UNDECIDED),
    ],
)
def test_what_goes_wrong_is_a_verdict_in_words(
    yard: Registry, database: Database, error: Exception, state: VerdictState
) -> None:
    yard.gates.ask(MODEL, 2, ROWS, by="anna")
    found = run(yard, database, Comparison(raises=error))
    assert (found.state, found.numbers) == (state, None)
    assert str(error) in found.words


def test_a_champion_that_no_longer_loads_is_tried_again_and_then_left_to_a_person(
    yard: Registry, database: Database
) -> None:
    yard.gates.ask(MODEL, 2, ROWS, by="anna")
    compare = Comparison(raises=WorkerStartError("Version 1 does not start: no such package."))
    moments = iter(datetime.now(UTC) + timedelta(minutes=m) for m in range(100))
    step = GateStep(yard.gates, compare, lambda _: True, lambda: None, lambda: next(moments))
    tick = Tick(database, "one", {"gate": step}, lambda: next(moments))
    tick.run_due()
    found = yard.gates.of_model(MODEL)[0]
    assert compare.seen == [1, 1]
    assert found.state is VerdictState.UNDECIDED
    assert "no such package" in found.words
    assert yard.model(MODEL).champion == 1


def test_where_the_champion_changed_meanwhile_it_is_compared_again(
    yard: Registry, database: Database
) -> None:
    publish(yard, "three")
    yard.gates.ask(MODEL, 2, ROWS, by="anna")

    class Slow(Comparison):
        def __call__(self, *told: object) -> Compared:
            if not self.seen:
                yard.set_alias(MODEL, CHAMPION, 3, by="anna")
            return super().__call__(*told)  # type: ignore[arg-type]

    compare = Slow()
    found = run(yard, database, compare)
    assert compare.seen == [1, 3]
    assert (found.state, found.champion) == (VerdictState.PASSED, 3)


def test_an_engine_that_lost_its_lease_writes_no_verdict(yard: Registry, database: Database) -> None:
    yard.gates.ask(MODEL, 2, ROWS, by="anna")
    case = yard.gates.case(f"{MODEL}/2")
    assert case is not None
    judged = Judged(VerdictState.PASSED, "good", (), None, Promote().rules())
    old = _claimed(database, "one")
    new = _claimed(database, "two", timedelta(minutes=2))
    with pytest.raises(LostLeaseError):
        yard.gates.settle(old, case, judged, datetime.now(UTC))
    assert yard.rollouts.active(MODEL) is None
    assert yard.gates.settle(new, case, judged, datetime.now(UTC))
    assert not yard.gates.settle(new, case, judged, datetime.now(UTC))  # repeated after a crash
    assert len(yard.rollouts.of_model(MODEL)) == 1


def test_one_that_is_champion_by_now_is_compared_with_guessing(yard: Registry, database: Database) -> None:
    yard.gates.ask(MODEL, 2, ROWS, by="anna")
    yard.set_alias(MODEL, CHAMPION, 2, by="anna")
    compare = Comparison()
    found = run(yard, database, compare)
    assert compare.seen == [None]
    assert (found.state, found.champion, found.rollout) == (VerdictState.PASSED, None, None)
    assert "always guessing the same" in found.words


def _claimed(database: Database, by: str, later: timedelta = timedelta()) -> Duty:
    with database.write() as connection:
        moment = datetime.now(UTC) + later
        duty = duties.claim(connection, ["gate"], by, moment, timedelta(minutes=1))
    assert duty is not None
    return duty
