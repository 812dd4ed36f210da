"""Metrics of a model's own, on both databases: set, measured on days that were and that come, removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelyard.catalog.facts import facts_of
from modelyard.catalog.own_metrics import OwnMetrics
from modelyard.catalog.registry import Registry
from modelyard.records.audit import Query
from modelyard.records.errors import ConflictError, InvalidError, NotFoundError
from modelyard.records.policies import Promote, Retrain
from modelyard.records.predictions import day_of
from modelyard.store import audit, own_metrics, watch
from modelyard.store.database import Database
from tests.contract.recording import MODEL
from tests.contract.test_outcomes import DAY, NUMBERS, Yard


@pytest.fixture
def yard(database: Database, registry: Registry, tmp_path: Path) -> Iterator[Yard]:
    made = Yard(database, registry, tmp_path, NUMBERS)
    yield made
    made.outcomes.close()


def day(yard: Yard, number: int) -> None:
    one = yard.answer(1.0, 2.0, 3.0, at=DAY + timedelta(days=number))
    yard.say(*({"request_id": one, "row": i, "actual": 2.0} for i in range(3)))
    yard.look()


def test_it_is_measured_on_days_that_were_and_on_those_that_come(yard: Yard) -> None:
    day(yard, 0)
    own = OwnMetrics(yard.database)
    yard.now = DAY + timedelta(hours=1)
    metric = own.put(MODEL, "over", "prediction > actual", by="anna")
    assert own.of_model(MODEL) == [metric]
    with yard.database.read() as connection:
        assert own_metrics.is_new(connection, MODEL)
    yard.now = metric.changed_at
    yard.look()
    day(yard, 1)
    assert [(p.day, p.labels) for p in yard.metric("over")] == [(DAY, 3), (DAY + timedelta(days=1), 3)]
    assert [p.value for p in yard.metric("over")] == pytest.approx([1 / 3, 1 / 3])
    assert len(yard.metric("mae")) == 2
    with yard.database.read() as connection:
        assert not own_metrics.is_new(connection, MODEL)
    again = own.put(MODEL, "over", "prediction > actual", by="ben")
    assert again == metric  # the same again is no change
    own.put(MODEL, "over", "sum(prediction) / sum(actual)", by="ben")
    assert yard.metric("over") == []
    assert own.remove(MODEL, "over", by="ben").expression == "sum(prediction) / sum(actual)"
    assert own.of_model(MODEL) == []
    with yard.database.read() as connection:
        entries = audit.found(connection, Query(subject=f"{MODEL} over"), None, 100)
    actions = [e.action for e in entries]
    assert sorted(actions) == ["metric.remove", "metric.set", "metric.set"]


def test_slices_have_it_too(yard: Yard) -> None:
    yard.registry.policies.put(MODEL, Retrain(), Promote(slices=("x",)), by="test")
    OwnMetrics(yard.database).put(MODEL, "over", "prediction > actual", by="anna")
    one = yard.answer(*([1.0] * 40))
    yard.say(*({"request_id": one, "row": i, "actual": 0.0} for i in range(40)))
    yard.look()
    assert [(p.value, p.labels) for p in yard.metric("over", "x=1.0")] == [(1.0, 40)]


@pytest.mark.parametrize(
    ("name", "expression", "words"),
    [
        ("mae", "actual", "a usual metric"),
        ("Over", "actual", "no name of a metric"),
        ("over", "actual > nowhere", "'nowhere' is not known"),
    ],
)
def test_what_is_refused_leaves_nothing(yard: Yard, name: str, expression: str, words: str) -> None:
    own = OwnMetrics(yard.database)
    with pytest.raises(InvalidError, match=words):
        own.put(MODEL, name, expression, by="anna")
    assert own.of_model(MODEL) == []
    with pytest.raises(NotFoundError, match="has no metric"):
        own.remove(MODEL, "over", by="anna")
    with pytest.raises(NotFoundError, match="no model"):
        own.put("finance/none", "over", "actual", by="anna")


def test_a_policy_may_name_one_that_is_there(yard: Yard) -> None:
    own, policies = OwnMetrics(yard.database), yard.registry.policies
    by_over = Promote(metric="over")
    with pytest.raises(InvalidError, match="'over', and the model has no such metric"):
        policies.put(MODEL, Retrain(), by_over, by="anna")
    with pytest.raises(InvalidError, match="'auc' does not fit"):
        policies.put(MODEL, Retrain(), Promote(metric="auc"), by="anna")
    assert policies.policy(MODEL).promote == Promote()
    own.put(MODEL, "over", "prediction > actual", by="anna")
    policies.put(MODEL, Retrain(), by_over, by="anna")
    with pytest.raises(ConflictError, match="judged by over"):
        own.remove(MODEL, "over", by="anna")
    policies.put(MODEL, Retrain(), Promote(metric="mae"), by="anna")
    own.remove(MODEL, "over", by="anna")


def test_the_metric_of_the_policy_is_what_is_watched(yard: Yard) -> None:
    """Errors stay as they are, and ever more of them are too high."""
    OwnMetrics(yard.database).put(MODEL, "over", "prediction > actual", by="anna")
    retrain = Retrain(worse_by="5%")
    yard.registry.policies.put(MODEL, retrain, Promote(metric="over"), by="anna")
    first = day_of(datetime.now(UTC)) + timedelta(days=1)
    for number, over in ((0, 300), (1, 300), (10, 800)):
        yard.now = first + timedelta(days=number, hours=12, minutes=30)
        one = yard.answer(*[5.0] * 1000, at=yard.now)
        came = (4.0 if row < over else 6.0 for row in range(1000))
        yard.say(*({"request_id": one, "row": row, "actual": value} for row, value in enumerate(came)))
        yard.look()
    with yard.database.read() as connection:
        facts = facts_of(connection, MODEL, yard.now + timedelta(hours=1))
        found = watch.open_findings(connection, MODEL)
    assert facts.performance is not None
    assert str(facts.performance.metric) == "over"
    assert [facts.performance.first, facts.performance.now] == pytest.approx([0.3, 0.8])
    (worse,) = [f for f in found if f.kind == "performance"]
    assert "The over of the last seven days is 0.8" in worse.words


def test_there_are_twenty_at_most(yard: Yard) -> None:
    own = OwnMetrics(yard.database)
    for number in range(20):
        own.put(MODEL, f"own-{number}", "actual", by="anna")
    with pytest.raises(InvalidError, match="20 metrics"):
        own.put(MODEL, "one-more", "actual", by="anna")
    own.put(MODEL, "own-3", "actual * 2", by="anna")
