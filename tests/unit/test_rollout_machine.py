"""The rollout machine: what it decides, on which evidence, and how seldom it stops what is good."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from modelyard.loop import sequential
from modelyard.loop.rollout import Facts, decide, fault
from modelyard.records.policies import read_stages
from modelyard.records.rollouts import Decision, Evidence, Rollout, RolloutState, Rules, Tally

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STAGES = read_stages(("shadow 10m", "canary 10% 10m", "canary 50% 10m"))
RULES = Rules(STAGES)
MINUTE = timedelta(minutes=1)


def rollout(evidence: Evidence | None = None, **changed: Any) -> Rollout:
    found = Rollout(
        id=1,
        model="finance/fuel-cost",
        candidate=2,
        champion=1,
        state=RolloutState.RUNNING,
        rules=RULES,
        stage=0,
        stage_began_at=NOW,
        stage_asked=0,
        approved_by="",
        words="",
        why="",
        began_at=NOW,
        began_by="anna",
        ended_at=None,
        evidence=evidence or Evidence(),
    )
    return msgspec.structs.replace(found, **changed)


def decided(found: Rollout, after: timedelta = MINUTE, facts: Facts | None = None) -> Decision:
    return decide(found, facts or Facts(champion=1), NOW + after)


def seen(asked: int = 100, **others: Any) -> Evidence:
    return Evidence(
        Tally(asked=asked, seconds=asked * 0.01, **others), Tally(asked=asked, seconds=asked * 0.01)
    )


def test_a_stage_lasts_its_time() -> None:
    found = decided(rollout(seen()))
    assert (found.state, found.stage) == (RolloutState.RUNNING, 0)
    assert found.look_at is not None
    assert found.look_at <= NOW + MINUTE + timedelta(seconds=2)


def test_the_last_look_of_a_stage_is_at_its_end() -> None:
    assert decided(rollout(seen()), 10 * MINUTE - timedelta(seconds=1)).look_at == NOW + 10 * MINUTE


@pytest.mark.parametrize("stage", [0, 1])
def test_the_next_stage_follows(stage: int) -> None:
    found = decided(rollout(seen(), stage=stage), 10 * MINUTE)
    assert (found.state, found.stage) == (RolloutState.RUNNING, stage + 1)
    assert STAGES[stage + 1].words in found.words


def test_after_the_last_stage_it_is_champion() -> None:
    found = decided(rollout(seen(), stage=2), 10 * MINUTE)
    assert (found.state, found.look_at) == (RolloutState.PROMOTED, None)


def test_without_stages_it_is_champion_at_once() -> None:
    assert decided(rollout(rules=Rules(()))).state is RolloutState.PROMOTED


def test_a_stage_waits_for_requests_but_not_for_ever() -> None:
    few = rollout(seen(5))
    found = decided(few, 10 * MINUTE)
    assert (found.state, found.stage) == (RolloutState.RUNNING, 0)
    assert "5 requests" in found.words
    assert decided(few, 100 * MINUTE).stage == 1


def test_requests_of_the_stage_before_do_not_count_for_this_one() -> None:
    assert decided(rollout(seen(105), stage=1, stage_asked=100), 10 * MINUTE).stage == 1


class TestApproval:
    def test_it_waits_after_the_last_stage(self) -> None:
        waits = rollout(seen(), stage=2, rules=Rules(STAGES, needs_approval=True))
        found = decided(waits, 10 * MINUTE)
        assert found.state is RolloutState.WAITING
        assert "yard rollout approve finance/fuel-cost" in found.words
        again = msgspec.structs.replace(waits, state=found.state, words=found.words)
        assert decided(again, 20 * MINUTE).state is RolloutState.WAITING

    def test_who_agreed_is_named(self) -> None:
        waits = rollout(seen(), stage=2, state=RolloutState.WAITING, rules=Rules(STAGES, needs_approval=True))
        found = decided(msgspec.structs.replace(waits, approved_by="anna"))
        assert found.state is RolloutState.PROMOTED
        assert "anna approved it" in found.words

    def test_an_early_approval_shortens_no_stage(self) -> None:
        early = rollout(seen(), rules=Rules(STAGES, needs_approval=True), approved_by="anna")
        assert decided(early).state is RolloutState.RUNNING

    def test_while_it_waits_it_is_still_watched(self) -> None:
        waits = rollout(seen(failed=50), stage=2, state=RolloutState.WAITING)
        assert decided(waits).state is RolloutState.ROLLED_BACK


class TestFaults:
    @pytest.mark.parametrize(
        ("evidence", "words"),
        [
            (seen(50, failed=3, words="no thirteens"), "failed 3 of 50 requests.*no thirteens"),
            (seen(timed=20, slow=15), "15 of 20 answers took longer than 2 times"),
            (seen(paired=100, far=90), "90 of 100 answers differ a lot"),
        ],
    )
    def test_each_is_rolled_back_and_said(self, evidence: Evidence, words: str) -> None:
        found = decided(rollout(evidence))
        assert found.state is RolloutState.ROLLED_BACK
        assert re.search(words, found.words)

    @pytest.mark.parametrize(
        "evidence",
        [
            seen(1000, failed=1),
            seen(timed=100, slow=8),
            seen(paired=200, far=90),
            seen(10, failed=0),
        ],
    )
    def test_what_may_be_chance_is_not(self, evidence: Evidence) -> None:
        assert decided(rollout(evidence)).state is RolloutState.RUNNING

    def test_outputs_that_left_those_of_the_held_out_rows(self) -> None:
        rules = Rules(STAGES, edges=(0.0,), expected=(0.5, 0.5), champion_expected=(0.5, 0.5))
        moved = Evidence(Tally(asked=200, bins=(190, 10)), Tally(asked=200, bins=(100, 100)))
        assert "moved by 45%" in fault(rules, moved, Facts(1))

    def test_a_world_that_moved_is_not_the_candidates_fault(self) -> None:
        rules = Rules(STAGES, edges=(0.0,), expected=(0.5, 0.5), champion_expected=(0.5, 0.5))
        moved = Evidence(Tally(asked=200, bins=(190, 10)), Tally(asked=200, bins=(185, 15)))
        assert fault(rules, moved, Facts(1)) == ""

    def test_outcomes_that_show_it_worse(self) -> None:
        assert "rows whose outcomes have come" in fault(RULES, Evidence(), Facts(1, (0.3, 0.1) * 100))
        assert fault(RULES, Evidence(), Facts(1, (0.3, -0.3) * 100)) == ""


def test_a_person_who_promotes_ends_it() -> None:
    for champion, words in ((2, "made it champion"), (3, "version 3 now"), (None, "None now")):
        found = decided(rollout(seen()), facts=Facts(champion))
        assert found.state is RolloutState.STOPPED
        assert words in found.words


def test_many_looks_stop_what_is_good_in_a_few_cases_only() -> None:
    """At the very limits, with a look after each request: all tests together would stop 5 % at most."""
    draw = random.Random(1)  # noqa: S311 - a simulation
    stopped = 0
    for _ in range(200):
        failed = slow = 0
        for asked in range(1, 301):
            failed += draw.random() < 0.001
            slow += draw.random() < 0.10
            tally = Tally(asked=asked, failed=failed, timed=asked, slow=slow, seconds=1.0)
            if fault(RULES, Evidence(tally), Facts(1)):
                stopped += 1
                break
    assert stopped <= 10


@pytest.mark.parametrize(
    ("rate", "limit", "soon"),
    [(0.01, 0.001, 2500), (0.05, 0.001, 400), (1.0, 0.10, 8), (0.9, 0.5, 60)],
)
def test_what_is_bad_is_found_soon(rate: float, limit: float, soon: int) -> None:
    draw = random.Random(2)  # noqa: S311 - a simulation
    events = trials = 0
    while sequential.chance(events, trials, limit) < 4.61:
        trials += 1
        events += draw.random() < rate
    assert trials <= soon
