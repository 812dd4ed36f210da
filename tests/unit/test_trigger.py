"""Triggers: each cause with its words, what stands against a training, and no storm after downtime."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.loop.trigger import decide
from modelyard.records.metrics import Metric
from modelyard.records.policies import Level, Retrain
from modelyard.records.triggers import Cause, Decision, Facts, Measured, Noticed, Request

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ANNA = Request(Cause.PERSON, "anna", "the new engines")
HOOK = Request(Cause.WEBHOOK, "etl")
WORSE = Measured(Metric.MAE, 10.0, 11.0, 10.8, 11.2, 4000)


def facts(**told: Any) -> Facts:
    return Facts(**({"trained_at": NOW - DAY} | told))


def decided(policy: Retrain, found: Facts, *, paused: bool = False) -> Decision:
    return decide(policy, found, NOW, paused=paused)


@pytest.mark.parametrize(
    ("policy", "told", "cause", "words"),
    [
        (Retrain(), {"requests": (ANNA,)}, Cause.PERSON, "anna asked for it: the new engines."),
        (Retrain(), {"requests": (HOOK,)}, Cause.WEBHOOK, "etl asked for it."),
        (Retrain(schedule="0 3 * * *"), {}, Cause.SCHEDULE, "due at 2026-03-10 03:00 UTC"),
        (Retrain(new_rows=500), {"labelled": 500}, Cause.NEW_ROWS, "500 labelled rows"),
        (
            Retrain(drift=Level.MEDIUM),
            {"findings": (Noticed(Level.LOW, "a"), Noticed(Level.HIGH, "dep_delay has moved"))},
            Cause.DRIFT,
            "level high: dep_delay has moved",
        ),
        (Retrain(worse_by="5%"), {"performance": WORSE}, Cause.PERFORMANCE, "10.0% worse than 10"),
        (Retrain(max_age="1d"), {}, Cause.AGE, "is 1 d old"),
        (Retrain(new_data=True), {"new_data": (("ops/flights", 4),)}, Cause.NEW_DATA, "new version 4"),
        (Retrain(upstream=("ops/a",)), {"upstream": (("ops/a", 7),)}, Cause.UPSTREAM, "new champion 7"),
    ],
)
def test_each_cause_begins_a_training_and_says_why(
    policy: Retrain, told: dict[str, Any], cause: Cause, words: str
) -> None:
    found = decided(policy, facts(**told))
    assert (found.begins, found.causes) == (True, (cause,))
    assert words in found.words


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Retrain(), {"labelled": 10**6, "new_data": (("ops/flights", 4),), "performance": WORSE}),
        (Retrain(schedule="0 3 11 * *"), {}),
        (Retrain(new_rows=501), {"labelled": 500}),
        (Retrain(drift=Level.HIGH), {"findings": (Noticed(Level.MEDIUM, "a"),)}),
        (Retrain(max_age="2d"), {}),
        (Retrain(upstream=("ops/a",)), {"upstream": (("ops/b", 7),)}),
        (Retrain(worse_by="20%"), {"performance": WORSE}),
        (Retrain(worse_by="5%"), {"performance": msgspec.structs.replace(WORSE, low=9.0)}),
        (Retrain(worse_by="5%"), {"performance": msgspec.structs.replace(WORSE, now=math.nan)}),
        (Retrain(worse_by="5%"), {"performance": msgspec.structs.replace(WORSE, first=0.0)}),
        (Retrain(worse_by="5%"), {"performance": msgspec.structs.replace(WORSE, first=math.nan)}),
    ],
)
def test_what_is_not_enough_begins_nothing(policy: Retrain, told: dict[str, Any]) -> None:
    found = decided(policy, facts(**told))
    assert (found.begins, found.causes) == (False, ())
    assert NOW < found.look_at <= NOW + timedelta(minutes=1)


@pytest.mark.parametrize(("now", "high", "begins"), [(0.70, 0.72, True), (0.95, 0.96, False)])
def test_a_metric_whose_larger_is_better_falls(now: float, high: float, begins: bool) -> None:
    measured = Measured(Metric.ACCURACY, 0.9, now, now - 0.02, high, 900)
    assert decided(Retrain(worse_by="5%"), facts(performance=measured)).begins is begins


def test_an_estimate_says_that_it_is_one() -> None:
    found = decided(Retrain(worse_by="5%"), facts(performance=msgspec.structs.replace(WORSE, estimated=True)))
    assert "(estimated)" in found.words


def test_a_schedule_missed_for_a_month_runs_once() -> None:
    policy = Retrain(schedule="*/10 * * * *", cooldown="0s")
    missed = facts(trained_at=NOW - 30 * DAY, automatic_at=NOW - 30 * DAY)
    assert decided(policy, missed).causes == (Cause.SCHEDULE,)
    after = facts(trained_at=NOW, automatic_at=NOW)
    assert decided(policy, after).causes == ()
    assert decide(policy, after, NOW + timedelta(minutes=10)).begins


def test_many_causes_are_one_training() -> None:
    policy = Retrain(schedule="0 3 * * *", new_rows=5, max_age="1h")
    found = decided(policy, facts(labelled=9))
    assert found.begins
    assert found.causes == (Cause.SCHEDULE, Cause.NEW_ROWS, Cause.AGE)


class TestAgainst:
    DUE = Retrain(new_rows=5, cooldown="6h", budget="2 cpu-hours / day")

    def test_the_cooldown_is_kept_and_the_cause_is_not_lost(self) -> None:
        found = decided(self.DUE, facts(labelled=9, automatic_at=NOW - HOUR))
        assert (found.begins, found.causes) == (False, (Cause.NEW_ROWS,))
        assert "lasts 5 h more" in found.words
        assert found.look_at == NOW + 5 * HOUR
        assert decide(self.DUE, facts(labelled=9, automatic_at=NOW - HOUR), found.look_at).begins

    def test_one_training_a_model_even_for_a_person(self) -> None:
        found = decided(self.DUE, facts(requests=(ANNA,), running=True))
        assert not found.begins
        assert "going on" in found.words
        assert found.look_at < NOW + timedelta(seconds=10), "who waits for its end waits little longer"

    @pytest.mark.parametrize(("requests", "begins"), [((), False), ((HOOK,), False), ((ANNA,), True)])
    def test_the_budget_stops_all_but_a_person(self, requests: tuple[Request, ...], begins: bool) -> None:
        found = decided(self.DUE, facts(labelled=9, requests=requests, cpu_seconds=7200.0))
        assert found.begins is begins
        assert begins or "budget is used up (2 h" in found.words

    @pytest.mark.parametrize(("requests", "begins"), [((), False), ((HOOK,), True), ((ANNA,), True)])
    def test_who_asks_passes_a_pause_and_the_cooldown(
        self, requests: tuple[Request, ...], begins: bool
    ) -> None:
        found = decided(self.DUE, facts(labelled=9, requests=requests, automatic_at=NOW), paused=True)
        assert found.begins is begins


@given(
    minutes=st.lists(st.integers(1, 600), min_size=1, max_size=60),
    cooldown=st.sampled_from(["1h", "6h", "0s"]),
    schedule=st.sampled_from(["*/5 * * * *", "0 3 * * 1", ""]),
)
def test_whenever_one_looks_the_cooldown_lies_between_two_trainings(
    minutes: list[int], cooldown: str, schedule: str
) -> None:
    policy = Retrain(schedule=schedule, max_age="1h", cooldown=cooldown)
    now, state, begun = NOW, facts(), [NOW - DAY]
    for step in minutes:
        now += timedelta(minutes=step)
        found = decide(policy, state, now)
        assert found.look_at > now
        assert not found.begins or found.causes
        if found.begins:
            assert len(begun) == 1 or now - begun[-1] >= timedelta(seconds=policy.cooldown_seconds)
            begun.append(now)
            state = facts(trained_at=now, automatic_at=now)
