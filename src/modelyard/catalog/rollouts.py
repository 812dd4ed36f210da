"""Rollouts: begun, approved, stopped by a person, and settled by the loop. A model has one at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from modelyard.catalog import clock, looked_up, words
from modelyard.records.audit import YARD
from modelyard.records.compatibility import refusal
from modelyard.records.errors import ConflictError, NotFoundError
from modelyard.records.models import AliasChange
from modelyard.records.references import CHAMPION
from modelyard.records.rollouts import Decision, Evidence, Rollout, RolloutState, RolloutStep, Rules
from modelyard.store import aliases, audit, duties, models, rollouts, state, versions
from modelyard.store.aliases import Cause
from modelyard.store.database import Database
from modelyard.store.duties import Duty

DUTY = "rollout"

_VERBS = {
    RolloutState.RUNNING: "advance",
    RolloutState.WAITING: "wait",
    RolloutState.PROMOTED: "promote",
    RolloutState.ROLLED_BACK: "roll-back",
    RolloutState.STOPPED: "stop",
}

Judge = Callable[[Rollout, int | None], Decision]


class Rollouts:
    """Rollouts by model. Every method is one transaction.

    Methods raise NotFoundError for an unknown model.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, model: str, candidate: int, rules: Rules, *, by: str, why: str = "") -> Rollout:
        """Begin to roll a checked version out.

        Raises:
            ConflictError: it is not checked, is champion, there is no champion, or a rollout goes on.
        """
        line = words.reason(why)
        with self._database.write() as connection:
            _lock(connection, model)
            return begin(connection, model, candidate, rules, by=by, why=line)

    def approve(self, model: str, *, by: str, why: str = "") -> Rollout:
        """Agree that the candidate becomes champion once its stages are through; at once if they are.

        Raises:
            ConflictError: no rollout goes on, or it needs no approval.
        """
        with self._database.write() as connection:
            rollout = _going_on(connection, model)
            if not rollout.rules.needs_approval:
                message = (
                    f"The rollout of {model}/{rollout.candidate} needs no approval: it goes on by itself."
                )
                raise ConflictError(message, f"To end it now: yard promote {model}/{rollout.candidate}.")
            told = f"Approved by {by}. {words.reason(why)}".strip()
            after = msgspec.structs.replace(rollout, approved_by=by, words=told)
            return _kept(connection, after, "approve", by=by, now=clock.now())

    def stop(self, model: str, *, by: str, why: str = "") -> Rollout:
        """End a rollout; the champion stays what it is.

        Raises:
            ConflictError: no rollout goes on.
        """
        with self._database.write() as connection:
            rollout = _going_on(connection, model)
            told = f"Stopped by {by}. {words.reason(why)}".strip()
            decision = Decision(RolloutState.STOPPED, rollout.stage, told)
            return _moved(connection, rollout, decision, by=by, now=clock.now())

    def settle(self, duty: Duty, judge: Judge, now: datetime) -> tuple[Decision, bool] | None:
        """Let the loop decide about a model's rollout and write it down, under its duty's fence.

        Returns:
            The decision, and whether the routes changed; None if no rollout goes on.

        Raises:
            LostLeaseError: another engine has taken the duty over.
        """
        with self._database.write() as connection:
            models.lock(connection, duty.subject)
            duties.hold(connection, duty)
            rollout = rollouts.active(connection, duty.subject)
            if rollout is None:
                return None
            decision = judge(rollout, aliases.of_model(connection, rollout.model).get(CHAMPION))
            if (decision.state, decision.stage) == (rollout.state, rollout.stage):
                if decision.words != rollout.words:
                    rollouts.change(connection, msgspec.structs.replace(rollout, words=decision.words))
                return decision, False
            _moved(connection, rollout, decision, by=YARD, now=now)
            return decision, True

    def count(self, rollout: int, evidence: Evidence) -> None:
        """Add to what a rollout has shown; nothing where it has ended."""
        with self._database.write(unaudited="counts") as connection:
            rollouts.count(connection, rollout, evidence)

    def active(self, model: str) -> Rollout | None:
        """The rollout of a model that goes on, or None; without its steps."""
        with self._database.read() as connection:
            return rollouts.active(connection, model)

    def of_model(self, model: str) -> list[Rollout]:
        """All rollouts of a model with their steps, newest first."""
        with self._database.read() as connection:
            looked_up.known(connection, model)
            return rollouts.of_model(connection, model)

    def going_on(self, departments: frozenset[str] | None = None) -> list[Rollout]:
        """The rollouts that go on in these departments (None: in all), by model."""
        with self._database.read() as connection:
            return rollouts.of_departments(connection, departments)


def begin(  # what is rolled out how, who wants it and why
    connection: Connection, model: str, candidate: int, rules: Rules, *, by: str, why: str
) -> Rollout:
    """Begin a rollout of a locked model, in the caller's transaction; see `Rollouts.start`."""
    champion = aliases.of_model(connection, model).get(CHAMPION)
    _check(connection, model, candidate, champion)
    assert champion is not None  # noqa: S101 - `_check` has refused that
    now = clock.now()
    first = rules.stages[0].words if rules.stages else "no stages"
    rollout = Rollout(
        id=0,
        model=model,
        candidate=candidate,
        champion=champion,
        state=RolloutState.RUNNING,
        rules=rules,
        stage=0,
        stage_began_at=now,
        stage_asked=0,
        approved_by="",
        words=f"Begins: {first}.",
        why=why,
        began_at=now,
        began_by=by,
        ended_at=None,
    )
    number = rollouts.add(connection, rollout)
    return _kept(connection, msgspec.structs.replace(rollout, id=number), "begin", by=by, now=now)


def _moved(
    connection: Connection, rollout: Rollout, decision: Decision, *, by: str, now: datetime
) -> Rollout:
    """The rollout in its new state; where that makes the candidate champion, it is so from this on."""
    after = msgspec.structs.replace(rollout, state=decision.state, stage=decision.stage, words=decision.words)
    if decision.stage != rollout.stage:
        asked = rollout.evidence.candidate.asked
        after = msgspec.structs.replace(after, stage_began_at=now, stage_asked=asked)
    if not decision.state.goes_on:
        after = msgspec.structs.replace(after, ended_at=now)
    if decision.state is RolloutState.PROMOTED:
        model, before = rollout.model, rollout.champion
        change = AliasChange(model, CHAMPION, before, rollout.candidate, now, by, decision.words)
        aliases.change(connection, change, cause=Cause.ROLLOUT)
    return _kept(connection, after, _VERBS[decision.state], by=by, now=now)


def _kept(connection: Connection, rollout: Rollout, verb: str, *, by: str, now: datetime) -> Rollout:
    """Write a rollout, a step of its story, and see that the loop looks at it."""
    rollouts.change(connection, rollout)
    step = RolloutStep(now, rollout.state, rollout.stage, by, rollout.words)
    rollouts.tell(connection, rollout.id, step)
    _tell_audit(connection, rollout, verb, by)
    duties.ensure(connection, DUTY, rollout.model, now)
    state.bump_generation(connection)
    return rollout


def _tell_audit(connection: Connection, rollout: Rollout, verb: str, by: str) -> None:
    audit.append(
        connection,
        by=by,
        action=f"rollout.{verb}",
        subject=f"{rollout.model}/{rollout.candidate}",
        before={"champion": rollout.champion},
        after={"state": rollout.state, "stage": rollout.stage, "words": rollout.words, "why": rollout.why},
    )


def _check(connection: Connection, model: str, candidate: int, champion: int | None) -> None:
    name = f"{model}/{candidate}"
    if not versions.is_checked(connection, model, candidate):
        if versions.get(connection, model, candidate) is None:
            raise NotFoundError(
                f"{model} has no version {candidate}.", f"See what there is: yard show {model}."
            )
        message = f"{name} is not checked, so it cannot be rolled out."
        raise ConflictError(message, f"See where its check stands: yard show {name}.")
    if champion is None:
        raise ConflictError(f"{model} has no champion to compare with.", f"Promote it: yard promote {name}.")
    if champion == candidate:
        raise ConflictError(f"{name} is champion already.", "Roll out another version.")
    _check_signatures(connection, model, candidate, champion)
    if other := rollouts.active(connection, model):
        raise ConflictError(
            f"{model}/{other.candidate} is being rolled out already.",
            f"Wait for its end, or stop it: yard rollout stop {model}.",
        )


def _check_signatures(connection: Connection, model: str, candidate: int, champion: int) -> None:
    now, new = versions.get(connection, model, champion), versions.get(connection, model, candidate)
    assert now is not None  # noqa: S101 - aliases point to versions that are there
    assert new is not None  # noqa: S101 - it is checked
    if found := refusal(now.bundle.signature, new.bundle.signature):
        raise ConflictError(
            f"{model}/{candidate} cannot answer the champion's callers: {found}.",
            f"Publish it as a model of its own, or move all at once: yard promote {model}/{candidate}.",
        )


def _going_on(connection: Connection, model: str) -> Rollout:
    _lock(connection, model)
    found = rollouts.active(connection, model)
    if found is None:
        hint = f"Start one: yard rollout start {model}/NUMBER."
        raise ConflictError(f"No rollout of {model} goes on.", hint)
    return found


def _lock(connection: Connection, model: str) -> None:
    if not models.lock(connection, model):
        raise looked_up.unknown(model)
