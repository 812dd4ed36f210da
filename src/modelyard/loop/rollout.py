"""Rollouts: shadow, canary by steps, champion. A pure machine, and the step that drives it.

All tests are sequential (`loop.sequential`): the machine looks every few seconds, and a good candidate is
stopped by all looks of a rollout together with a chance of 5 % at most, shared out among the five tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from modelyard.catalog.rollouts import Rollouts
from modelyard.loop import sequential
from modelyard.records.rollouts import Decision, Evidence, Rollout, RolloutState, Rules, Stage, Tally
from modelyard.store.duties import Duty

FAILED = 0.001  # the share of requests that a candidate may fail where the champion answers
SLOW = 0.10  # the share of answers that may be slow; 5 % of the champion's own are over its 95th percentile
MOVED = 0.25  # how much farther than the champion's the outputs may move from those on the held-out rows
WORSE = 0.02  # how much worse, of the range of losses, outcomes may show a candidate
ALPHA = 0.05
_TESTS = 5
_ENOUGH = math.log(_TESTS / ALPHA)
_FEW = 20  # requests a stage waits for,
_PATIENCE = 10  # but for so many times its length at most
_LOOK_EVERY = timedelta(seconds=2)
_WAITING_LOOK = timedelta(seconds=5)


class Facts(Struct, frozen=True):
    """What the machine knows beside the counts.

    Attributes:
        champion: the version that is champion now.
        losses: for rows whose outcome is known, the candidate's loss less the champion's, each scaled to
            -1 to 1. In the order in which the outcomes came.
    """

    champion: int | None
    losses: tuple[float, ...] = ()


def decide(rollout: Rollout, facts: Facts, now: datetime) -> Decision:
    """What becomes of a rollout that goes on. Pure: the same facts give the same decision."""
    if facts.champion == rollout.candidate:
        return _end(rollout, RolloutState.STOPPED, "A person made it champion before the rollout ended.")
    if facts.champion != rollout.champion:
        words = f"The champion is version {facts.champion} now, no longer {rollout.champion}: start again."
        return _end(rollout, RolloutState.STOPPED, words)
    if found := fault(rollout.rules, rollout.evidence, facts):
        return _end(rollout, RolloutState.ROLLED_BACK, found)
    stage = rollout.now
    if stage is None or rollout.state is RolloutState.WAITING:
        return _at_the_end(rollout, now)
    return _in_stage(rollout, stage, now)


def _in_stage(rollout: Rollout, stage: Stage, now: datetime) -> Decision:
    ends = rollout.stage_began_at + timedelta(seconds=stage.seconds)
    last = rollout.stage_began_at + timedelta(seconds=stage.seconds * _PATIENCE)
    seen = rollout.evidence.candidate.asked - rollout.stage_asked
    if now < ends:
        return _stay(rollout, _so_far(rollout), min(ends, now + _LOOK_EVERY))
    if seen < _FEW and now < last:
        words = f"Only {seen} requests came in this stage; it goes on until {_FEW} have."
        return _stay(rollout, words, min(last, now + _LOOK_EVERY))
    if rollout.stage + 1 == len(rollout.rules.stages):
        return _at_the_end(rollout, now)
    after = rollout.rules.stages[rollout.stage + 1]
    words = f"{_so_far(rollout)} Next: {after.words}."
    return Decision(RolloutState.RUNNING, rollout.stage + 1, words, now + _LOOK_EVERY)


def _at_the_end(rollout: Rollout, now: datetime) -> Decision:
    if rollout.rules.needs_approval and not rollout.approved_by:
        words = f"{_so_far(rollout)} It waits for an owner: `yard rollout approve {rollout.model}`."
        return Decision(RolloutState.WAITING, rollout.stage, words, now + _WAITING_LOOK)
    by = f" {rollout.approved_by} approved it." if rollout.approved_by else ""
    return _end(rollout, RolloutState.PROMOTED, f"{_so_far(rollout)}{by} It is champion now.")


def _stay(rollout: Rollout, words: str, look_at: datetime) -> Decision:
    return Decision(rollout.state, rollout.stage, words, look_at)


def _end(rollout: Rollout, state: RolloutState, words: str) -> Decision:
    return Decision(state, rollout.stage, words)


def fault(rules: Rules, evidence: Evidence, facts: Facts) -> str:
    """What is wrong with the candidate, in words, or an empty string as long as nothing is proved."""
    tests: Sequence[Iterator[str]] = (
        _failures(evidence.candidate),
        _slowness(rules, evidence),
        _differences(rules, evidence.candidate),
        _movement(rules, evidence),
        _losses(facts.losses),
    )
    return next((words for test in tests for words in test), "")


def _failures(candidate: Tally) -> Iterator[str]:
    if sequential.chance(candidate.failed, candidate.asked, FAILED) > _ENOUGH:
        last = f" The last failure said: {candidate.words}" if candidate.words else ""
        yield (
            f"It failed {candidate.failed} of {candidate.asked} requests that the champion answered; "
            f"at most {FAILED:.1%} is accepted.{last}"
        )


def _slowness(rules: Rules, evidence: Evidence) -> Iterator[str]:
    candidate, champion = evidence.candidate, evidence.champion
    if sequential.chance(candidate.slow, candidate.timed, SLOW) > _ENOUGH:
        limit = (
            f"{1000 * rules.latency_seconds:g} ms"
            if rules.latency_seconds
            else f"{rules.latency_times:g} times the champion's 95th percentile"
        )
        yield (
            f"{candidate.slow} of {candidate.timed} answers took longer than {limit}: on average "
            f"{_milliseconds(candidate)} ms, the champion {_milliseconds(champion)} ms."
        )


def _differences(rules: Rules, candidate: Tally) -> Iterator[str]:
    limit = min(rules.differ, 0.99)
    if limit and sequential.chance(candidate.far, candidate.paired, limit) > _ENOUGH:
        yield (
            f"{candidate.far} of {candidate.paired} answers differ a lot from the champion's to these rows; "
            f"at most {rules.differ:.0%} may."
        )


def _movement(rules: Rules, evidence: Evidence) -> Iterator[str]:
    """The candidate's outputs live, against its own on the held-out rows, less what the champion's moved."""
    counts, others = evidence.candidate.bins, evidence.champion.bins
    if not rules.expected or not counts:
        return
    moved = sequential.distance(counts, rules.expected)
    with_the_world = sequential.distance(others, rules.champion_expected) if others else 0.0
    is_sure = sequential.multinomial(counts, rules.expected) > _ENOUGH
    if is_sure and moved > with_the_world + MOVED:
        yield (
            f"Its live outputs are not those it gave on the held-out rows: they moved by {moved:.0%} "
            f"(the champion's by {with_the_world:.0%})."
        )


def _losses(losses: tuple[float, ...]) -> Iterator[str]:
    if losses and sequential.mean(losses, WORSE) > _ENOUGH:
        yield (
            f"On {len(losses)} rows whose outcomes have come it is worse than the champion, by "
            f"{sum(losses) / len(losses):.1%} of the range of losses."
        )


def _so_far(rollout: Rollout) -> str:
    candidate, stage = rollout.evidence.candidate, rollout.now
    if stage is None:
        return "The policy has no stages."
    took = f", {_milliseconds(candidate)} ms on average" if candidate.asked > candidate.failed else ""
    return f"No fault so far ({stage.kind}): {candidate.asked} requests, {candidate.failed} failed{took}."


def _milliseconds(tally: Tally) -> str:
    return f"{1000 * tally.seconds / max(1, tally.asked - tally.failed):.3g}"


class RolloutStep:
    """The step of the duty `rollout`, whose subject is a model.

    Args:
        losses: of a rollout, see `Facts`.
        changed: called after the routes have changed.
        clock: what time it is.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        losses: Callable[[Rollout], tuple[float, ...]],
        changed: Callable[[], object],
        clock: Callable[[], datetime],
    ) -> None:
        self._rollouts = rollouts
        self._losses = losses
        self._changed = changed
        self._clock = clock

    def __call__(self, duty: Duty) -> datetime | None:
        """Look at the model's rollout once; when to look again, None if it has ended."""
        seen = self._rollouts.active(duty.subject)
        losses = self._losses(seen) if seen else ()

        def judge(rollout: Rollout, champion: int | None) -> Decision:
            return decide(rollout, Facts(champion, losses), self._clock())

        settled = self._rollouts.settle(duty, judge, self._clock())
        if settled is None:
            return None
        decision, is_changed = settled
        if is_changed:
            self._changed()
        return decision.look_at
