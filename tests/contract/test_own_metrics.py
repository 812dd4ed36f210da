"""Metrics of a model's own, on both databases: set, measured on days that were and that come, removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from modelyard.catalog.own_metrics import OwnMetrics
from modelyard.catalog.registry import Registry
from modelyard.records.audit import Query
from modelyard.records.errors import InvalidError, NotFoundError
from modelyard.records.policies import Promote, Retrain
from modelyard.store import audit, own_metrics
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


def test_there_are_twenty_at_most(yard: Yard) -> None:
    own = OwnMetrics(yard.database)
    for number in range(20):
        own.put(MODEL, f"own-{number}", "actual", by="anna")
    with pytest.raises(InvalidError, match="20 metrics"):
        own.put(MODEL, "one-more", "actual", by="anna")
    own.put(MODEL, "own-3", "actual * 2", by="anna")
