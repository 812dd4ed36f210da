"""[retrain] and [promote]: each kind of mistake is refused by a message that names the key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from modelyard.records.errors import InvalidError
from modelyard.records.metrics import Metric, OwnMetric, default_metric, metric_for
from modelyard.records.policies import Level, Promote, Retrain, read_promote, read_retrain, read_stages
from modelyard.records.rollouts import StageKind
from modelyard.records.schedules import check_schedule, next_fire
from modelyard.records.signatures import Column, ColumnType, Signature

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBER = Signature((Column("x", ColumnType.FLOAT64),), (Column("prediction", ColumnType.FLOAT64),))
LABEL = Signature(NUMBER.inputs, (Column("label", ColumnType.STRING),))
PROBABLE = Signature(NUMBER.inputs, (*LABEL.outputs, Column("probability:late", ColumnType.FLOAT64)))


def test_the_example_of_the_design_is_read() -> None:
    retrain = read_retrain(
        {
            "schedule": "0 3 * * 1",
            "new_rows": 20000,
            "drift": "high",
            "worse_by": "5%",
            "max_age": "30d",
            "cooldown": "6h",
            "budget": "2 cpu-hours / day",
        }
    )
    assert (retrain.drift, retrain.worse_share, retrain.max_age_seconds) == (Level.HIGH, 0.05, 30 * 86400)
    assert (retrain.cooldown_seconds, retrain.budget_seconds) == (6 * 3600, 7200.0)
    promote = read_promote(
        {
            "metric": "mae",
            "holdout": "newest 20%",
            "must_beat": "champion",
            "slices": ["carrier", "origin"],
            "slice_tolerance": "5%",
            "rollout": ["shadow 30m", "canary 10% 30m", "canary 50% 30m"],
            "approval": "auto",
        }
    )
    assert [(s.kind, s.share, s.seconds) for s in promote.stages] == [
        (StageKind.SHADOW, 0.0, 1800),
        (StageKind.CANARY, 0.1, 1800),
        (StageKind.CANARY, 0.5, 1800),
    ]
    assert (promote.tolerance, promote.latency_times, promote.held_out(1000)) == (0.05, 2.0, 200)


def test_an_empty_table_is_a_policy_that_starts_nothing() -> None:
    assert read_retrain({}) == Retrain()
    assert read_promote({}) == Promote()
    assert read_promote({"rollout": []}).stages == ()


@pytest.mark.parametrize("record", [Retrain(schedule="0 3 * * 1", drift=Level.LOW), Promote(size="5 MB")])
def test_a_policy_survives_being_stored(record: Retrain | Promote) -> None:
    assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schedule", "0 0 31 2 *"),
        ("schedule", 3),
        ("new_rows", 0),
        ("new_rows", -1),
        ("new_rows", "many"),
        ("new_rows", 2.5),
        ("new_rows", 10**12),
        ("drift", "huge"),
        ("worse_by", "5"),
        ("worse_by", 5),
        ("max_age", "a month"),
        ("cooldown", ""),
        ("cooldown", "-1h"),
        ("budget", "2 hours"),
        ("new_data", "yes"),
        ("upstream", ["flights"]),
        ("upstream", ["finance/fuel-cost/3"]),
        ("upstream", "finance/fuel-cost"),
        ("shedule", "0 3 * * 1"),
    ],
)
def test_a_mistake_in_retrain_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(InvalidError) as caught:
        read_retrain({key: value})
    assert caught.value.fields["key"] == f"retrain.{key}"
    assert key in str(caught.value) or "schedule" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("metric", "Goodness"),
        ("holdout", "20%"),
        ("holdout", "newest 0%"),
        ("holdout", "oldest 5 rows"),
        ("must_beat", "everyone"),
        ("slices", "carrier"),
        ("slices", [""]),
        ("slices", ["a"] * 21),
        ("slice_tolerance", "small"),
        ("latency", "fast"),
        ("latency", "0x"),
        ("size", "big"),
        ("rollout", ["canary 30m"]),
        ("rollout", ["canary 0% 30m"]),
        ("rollout", ["canary 100% 30m"]),
        ("rollout", ["shadow"]),
        ("rollout", ["canary 50% 1m", "canary 10% 1m"]),
        ("rollout", ["canary 10% 1m", "shadow 1m"]),
        ("rollout", ["shadow 1m"] * 13),
        ("rollout", "shadow 30m"),
        ("approval", "nobody"),
        ("differ", "all"),
        ("stages", []),
    ],
)
def test_a_mistake_in_promote_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(InvalidError) as caught:
        read_promote({key: value})
    assert caught.value.fields["key"] == f"promote.{key}"


# HARDENING 34
@pytest.mark.parametrize(
    "text",
    [
        "0 0 31 2 *",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "* * * * * *",
        "*/1 * * * * *",
        "*/0 * * * *",
        "* */00 * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "@every_second",
        "@reboot",
        "",
        "     ",
        "0  3 * * 1",
        "0 3 * * 1\n",
        "R R * * *",
        "H * * * *",
        "0 0 l * *",
        "0 0 * * 1#2",
        "0 0 * * abc",
        "1-2-3 * * * *",
        "," * 400,
        "1," * 99 + "1 * * * *",
        "٣ * * * *",
    ],
)
def test_a_schedule_that_is_none_or_never_fires_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        check_schedule(text)


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("0 3 * * 1", datetime(2026, 3, 2, 3, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 3, 1, 12, 15, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("30 6 * jan-mar mon,fri", datetime(2026, 3, 2, 6, 30, tzinfo=UTC)),
    ],
)
def test_a_schedule_fires_when_it_says(text: str, due: datetime) -> None:
    assert next_fire(check_schedule(text), NOON) == due


def test_a_schedule_fires_after_the_moment_and_not_at_it() -> None:
    assert next_fire("0 12 * * *", NOON) == NOON + timedelta(days=1)


def test_stages_are_said_in_words() -> None:
    stages = read_stages(("shadow 90m", "canary 2.5% 45s"))
    assert [stage.words for stage in stages] == ["shadow for 1 h 30 min", "canary with 2.5 % for 45 s"]


def test_the_metric_fits_the_model() -> None:
    assert [default_metric(s) for s in (NUMBER, LABEL, PROBABLE)] == ["mae", "accuracy", "logloss"]
    assert metric_for("auc", PROBABLE) is Metric.AUC
    for name, signature in (("auc", NUMBER), ("logloss", LABEL), ("mae", PROBABLE)):
        with pytest.raises(InvalidError, match="does not fit"):
            metric_for(name, signature)
    own = OwnMetric("a/b", "over", "prediction > actual", False, NOON, "anna")  # noqa: FBT003 - its places
    assert metric_for("over", NUMBER, [own]) is own
    assert f"{metric_for('over', NUMBER, [own])}" == "over"
    with pytest.raises(InvalidError, match="'over', and the model has no such metric"):
        metric_for("over", NUMBER)
