"""Triggers: whether a model is to be retrained now, and why, in words. A pure decision, and the step of it.

Many causes at once are one training. A cause that cannot be followed now (a training runs, the cooldown, the
budget) is not lost: the facts still show it at the next look. A schedule that was missed many times while the
yard was down is one cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from modelyard.catalog.refits import Refits
from modelyard.records.policies import Retrain
from modelyard.records.schedules import next_fire
from modelyard.records.spans import span
from modelyard.records.triggers import NORMAL, Cause, Decision, Facts, Measured
from modelyard.store.duties import Duty

_LOOK_EVERY = timedelta(minutes=1)
_LOOK_SOON = timedelta(seconds=5)  # at something that ends by itself, while a cause waits for it


_ASKED = (Cause.PERSON, Cause.WEBHOOK)


def decide(policy: Retrain, facts: Facts, now: datetime, *, paused: bool = False) -> Decision:
    """Whether a model is to be retrained now.

    A person and a webhook pass the cooldown and a pause, for they asked for it; nobody passes a training
    that runs, and the budget holds for all but a person.
    """
    found = list(_causes(policy, facts, now))
    causes = tuple(cause for cause, _ in found)
    if not found:
        return Decision(
            (), begins=False, words="Nothing leads to a training.", look_at=_next_look(policy, now)
        )
    why = " ".join(words for _, words in found)
    if against := _against(policy, facts, causes, now, paused=paused):
        words, look_at = against
        return Decision(causes, begins=False, words=f"{why} {words}", look_at=look_at)
    return Decision(causes, begins=True, words=why, look_at=now + _LOOK_EVERY)


def _against(
    policy: Retrain, facts: Facts, causes: tuple[Cause, ...], now: datetime, *, paused: bool
) -> tuple[str, datetime] | None:
    """What stands against a training now, and when to look again."""
    later = now + _LOOK_EVERY
    if facts.running:
        return "It waits: one training or rollout of the model is going on.", now + _LOOK_SOON
    if Cause.PERSON not in causes and policy.budget_seconds is not None:
        used = facts.cpu_seconds
        if used >= policy.budget_seconds:
            spent = f"{span(used)} of CPU time in 24 hours, of {policy.budget}"
            return f"It waits: the budget is used up ({spent}).", later
    if any(cause in _ASKED for cause in causes):
        return None
    if paused:
        return "It waits: the policy is paused.", later
    if facts.automatic_at is not None:
        free = facts.automatic_at + timedelta(seconds=policy.cooldown_seconds)
        if now < free:
            left = span((free - now).total_seconds())
            return f"It waits: the cooldown of {policy.cooldown} lasts {left} more.", free
    return None


def _causes(policy: Retrain, facts: Facts, now: datetime) -> Iterator[tuple[Cause, str]]:
    for request in facts.requests:
        why = f": {request.why}" if request.why else ""
        yield request.cause, f"{request.by} asked for it{why}."
    if policy.schedule:
        due = next_fire(policy.schedule, facts.trained_at)
        if due <= now:
            yield Cause.SCHEDULE, f"The schedule `{policy.schedule}` was due at {_when(due)}."
    if policy.new_rows is not None and facts.labelled >= policy.new_rows:
        rows = f"{facts.labelled:,} labelled rows came since the last training"
        yield Cause.NEW_ROWS, f"{rows}; {policy.new_rows:,} are enough."
    yield from _watched(policy, facts)
    limit = policy.max_age_seconds
    age = (now - facts.trained_at).total_seconds()
    if limit is not None and age >= limit:
        yield Cause.AGE, f"The last training is {span(age)} old; the policy allows {span(limit)}."
    if policy.new_data:
        for name, number in facts.new_data:
            yield Cause.NEW_DATA, f"The dataset {name} has a new version {number}."
    for name, number in facts.upstream:
        if name in policy.upstream:
            yield Cause.UPSTREAM, f"{name}, which it builds on, has the new champion {number}."


def _watched(policy: Retrain, facts: Facts) -> Iterator[tuple[Cause, str]]:
    if policy.drift is not None:
        grave = [f for f in facts.findings if f.level.rank >= policy.drift.rank]
        if grave:
            worst = max(grave, key=lambda f: f.level.rank)
            more = f" (and {len(grave) - 1} more)" if len(grave) > 1 else ""
            yield Cause.DRIFT, f"A finding of level {worst.level}{more}: {worst.words}"
    measured, limit = facts.performance, policy.worse_share
    if measured is None or limit is None:
        return
    worse, sure = _worse_by(measured)
    if worse >= limit and sure:
        how = "estimated" if measured.estimated else f"measured on {measured.labels:,} rows"
        fell = f"is {measured.now:.4g}, {worse:.1%} worse than {measured.first:.4g}"
        yield Cause.PERFORMANCE, f"The {measured.metric} ({how}) {fell} in the champion's first month."


def _worse_by(measured: Measured) -> tuple[float, bool]:
    """How much worse, as a share of the first value, and whether the errors of both leave no doubt of it.

    NaN is neither worse nor better: nothing is decided on it.
    """
    sign = -1.0 if measured.metric.higher_is_better else 1.0
    if not measured.first > 0:
        return 0.0, False
    worse = sign * (measured.now - measured.first) / measured.first
    return worse, sign * (measured.now - measured.first) > measured.doubt(NORMAL)


def _next_look(policy: Retrain, now: datetime) -> datetime:
    """A schedule is looked at when it fires; everything else once a minute."""
    soon = now + _LOOK_EVERY
    return min(soon, next_fire(policy.schedule, now)) if policy.schedule else soon


def _when(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


class TriggerStep:
    """The step of the duty `trigger`, whose subject is a model.

    Args:
        clock: what time it is.
    """

    def __init__(self, refits: Refits, clock: Callable[[], datetime]) -> None:
        self._refits = refits
        self._clock = clock

    def __call__(self, duty: Duty) -> datetime | None:
        """Begin a training if one is due; when to look again, None if nothing can lead to one by itself."""
        now = self._clock()
        return self._refits.settle(duty, lambda p, facts: decide(p.retrain, facts, now, paused=p.paused), now)
