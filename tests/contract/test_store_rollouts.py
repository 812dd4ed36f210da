"""Rollouts and policies on both databases: one a model, always one champion, nothing by a fenced engine."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from modelyard.catalog.registry import Registry
from modelyard.loop.rollout import RolloutStep
from modelyard.loop.tick import Tick
from modelyard.records.errors import ConflictError, InvalidError, NotFoundError
from modelyard.records.policies import Promote, Retrain, read_stages
from modelyard.records.rollouts import (
    Decision,
    Evidence,
    Rollout,
    RolloutState,
    Rules,
    StageKind,
    Tally,
)
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.store import duties
from modelyard.store.database import Database
from modelyard.store.duties import Duty, LostLeaseError
from tests.bundles import SIGNATURE, TAR, bundle_tar

MODEL = "finance/fuel-cost"
RULES = Rules(read_stages(("shadow 10m", "canary 10% 10m")))


def publish(registry: Registry, content: str, signature: Signature = SIGNATURE) -> int:
    version, _ = registry.publish(
        MODEL, [bundle_tar(content.encode())], TAR, by="test", may_create_department=True
    )
    registry.checks.start(MODEL, version.version)
    return registry.checks.passed(MODEL, version.version, signature).version


@pytest.fixture
def yard(registry: Registry) -> Registry:
    """A registry with three checked versions, of which the first is champion."""
    for content in ("one", "two", "three"):
        publish(registry, content)
    return registry


def claimed(database: Database, by: str = "one", later: timedelta = timedelta()) -> Duty:
    with database.write() as connection:
        moment = datetime.now(UTC) + later
        duty = duties.claim(connection, ["rollout"], by, moment, timedelta(minutes=1))
    assert duty is not None
    return duty


def promote(rollout: Rollout, _: int | None) -> Decision:
    return Decision(RolloutState.PROMOTED, rollout.stage, "no fault")


def champion(registry: Registry) -> int | None:
    return registry.model(MODEL).champion


def test_a_rollout_is_in_the_routes_until_it_ends(yard: Registry) -> None:
    before = yard.generation()
    begun = yard.rollouts.start(MODEL, 2, RULES, by="anna", why="fewer surprises")
    assert (begun.champion, begun.candidate, begun.state) == (1, 2, RolloutState.RUNNING)
    trial = yard.route_table().models[MODEL].rollout
    assert trial is not None
    assert (trial.candidate, trial.kind, trial.share) == (2, StageKind.SHADOW, 0.0)
    yard.rollouts.stop(MODEL, by="anna", why="a mistake")
    assert yard.route_table().models[MODEL].rollout is None
    assert yard.generation() == before + 2
    assert champion(yard) == 1
    (story,) = yard.rollouts.of_model(MODEL)
    assert [(s.state, s.by, s.words) for s in story.steps] == [
        (RolloutState.RUNNING, "anna", "Begins: shadow for 10 min."),
        (RolloutState.STOPPED, "anna", "Stopped by anna. a mistake"),
    ]


def test_a_model_has_one_rollout_at_a_time(yard: Registry) -> None:
    yard.rollouts.start(MODEL, 2, RULES, by="anna")
    with pytest.raises(ConflictError, match="being rolled out already"):
        yard.rollouts.start(MODEL, 3, RULES, by="anna")
    assert [r.candidate for r in yard.rollouts.going_on()] == [2]
    assert yard.rollouts.going_on(frozenset({"operations"})) == []


def test_two_that_begin_at_once_are_one(yard: Registry) -> None:
    outcomes: list[object] = []

    def start(number: int) -> None:
        try:
            outcomes.append(yard.rollouts.start(MODEL, number, RULES, by="anna"))
        except ConflictError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert sorted(type(found).__name__ for found in outcomes) == ["ConflictError", "Rollout"]


def test_what_cannot_be_rolled_out_is_refused(yard: Registry) -> None:
    other = Signature((Column("weight", ColumnType.FLOAT64),), SIGNATURE.outputs)
    stranger = publish(yard, "four", other)
    for number, error, words in (
        (1, ConflictError, "champion already"),
        (9, NotFoundError, "no version 9"),
        (stranger, ConflictError, "needs the column 'weight'"),
    ):
        with pytest.raises(error, match=words):
            yard.rollouts.start(MODEL, number, RULES, by="anna")
    with pytest.raises(ConflictError, match="No rollout"):
        yard.rollouts.stop(MODEL, by="anna")
    with pytest.raises(NotFoundError):
        yard.rollouts.of_model("finance/none")


def test_the_loop_promotes_under_its_fence(yard: Registry, database: Database) -> None:
    yard.rollouts.start(MODEL, 2, RULES, by="anna")
    old = claimed(database)
    new = claimed(database, "two", timedelta(minutes=2))
    with pytest.raises(LostLeaseError):
        yard.rollouts.settle(old, promote, datetime.now(UTC))
    assert champion(yard) == 1
    assert yard.rollouts.settle(new, promote, datetime.now(UTC)) is not None
    assert champion(yard) == 2
    change = yard.history(MODEL)[0]
    assert (change.before, change.after, change.by, change.why) == (1, 2, "yard", "no fault")
    assert yard.rollouts.settle(new, promote, datetime.now(UTC)) is None  # repeated after a crash: nothing


def test_evidence_adds_up_and_ends_with_the_rollout(yard: Registry) -> None:
    begun = yard.rollouts.start(MODEL, 2, RULES, by="anna")
    for bins in ((1, 2), (3, 4)):
        yard.rollouts.count(begun.id, Evidence(Tally(asked=5, failed=1, bins=bins), Tally(asked=7)))
    active = yard.rollouts.active(MODEL)
    assert active is not None
    assert active.evidence == Evidence(Tally(asked=10, failed=2, bins=(4, 6)), Tally(asked=14))
    yard.rollouts.stop(MODEL, by="anna")
    yard.rollouts.count(begun.id, Evidence(Tally(asked=5)))
    assert yard.rollouts.of_model(MODEL)[0].evidence.candidate.asked == 10


def test_the_step_drives_a_rollout_to_its_end(yard: Registry, database: Database) -> None:
    times = [datetime.now(UTC)]
    changes: list[int] = []
    step = RolloutStep(yard.rollouts, lambda _: (), lambda: changes.append(1), lambda: times[0])
    tick = Tick(database, "one", {"rollout": step}, lambda: times[0])
    begun = yard.rollouts.start(MODEL, 2, RULES, by="anna")
    for _ in range(40):
        times[0] += timedelta(minutes=1)
        yard.rollouts.count(begun.id, Evidence(Tally(asked=20), Tally(asked=20)))
        tick.run_due()
    assert champion(yard) == 2
    (story,) = yard.rollouts.of_model(MODEL)
    assert [s.state for s in story.steps] == ["running", "running", "promoted"]
    assert len(changes) == 2
    with database.read() as connection:
        duty = duties.get(connection, "rollout", MODEL)
    assert duty is not None
    assert duty.due_at is None


def test_an_approval_is_kept_and_needed(yard: Registry) -> None:
    yard.rollouts.start(MODEL, 2, RULES, by="anna")
    with pytest.raises(ConflictError, match="needs no approval"):
        yard.rollouts.approve(MODEL, by="olga")
    yard.rollouts.stop(MODEL, by="anna")
    yard.rollouts.start(MODEL, 2, Rules(RULES.stages, needs_approval=True), by="anna")
    assert yard.rollouts.approve(MODEL, by="olga", why="it is right").approved_by == "olga"
    assert yard.rollouts.of_model(MODEL)[0].steps[-1].words == "Approved by olga. it is right"


def test_a_rollback_after_a_promotion_goes_back(yard: Registry, database: Database) -> None:
    yard.rollouts.start(MODEL, 2, RULES, by="anna")
    yard.rollouts.settle(claimed(database), promote, datetime.now(UTC))
    assert yard.rollback(MODEL, by="anna").after == 1


def test_a_policy_is_the_default_until_it_is_set(yard: Registry, database: Database) -> None:
    assert yard.policies.policy(MODEL).source == "the default"
    retrain, own = Retrain(schedule="0 3 * * 1"), Promote(slices=("carrier",))
    kept = yard.policies.put(MODEL, retrain, own, by="olga")
    assert yard.policies.policy(MODEL) == kept
    assert yard.policies.put(MODEL, retrain, own, by="anna").changed_by == "olga"  # the same: nothing changed
    with database.read() as connection:
        assert duties.get(connection, "trigger", MODEL) is not None
    assert yard.policies.pause(MODEL, paused=True, by="anna").paused
    assert yard.policies.put(MODEL, Retrain(), Promote(), by="olga").paused
    for call in (yard.policies.policy, lambda m: yard.policies.pause(m, paused=True, by="anna")):
        with pytest.raises(NotFoundError):
            call("finance/none")
    with pytest.raises(InvalidError):
        yard.policies.put(MODEL, Retrain(schedule="* * * * * *"), Promote(), by="olga")
