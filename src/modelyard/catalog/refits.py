"""Refits: whether a model is trained anew, the training that begins, and the story of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection

from modelyard.catalog import clock, looked_up, words
from modelyard.catalog import jobs as training
from modelyard.catalog.facts import facts_of
from modelyard.catalog.jobs import Queue
from modelyard.catalog.policies import TRIGGER, policy_of
from modelyard.records.audit import YARD
from modelyard.records.errors import BusyError, ConflictError, ForbiddenError, NotFoundError
from modelyard.records.policies import Policy, Retrain
from modelyard.records.refits import Story, refits_of
from modelyard.records.triggers import Cause, Decision, Facts, Outlook, Request
from modelyard.store import audit, duties, jobs, models, refits, rollouts, verdicts
from modelyard.store.database import Database
from modelyard.store.duties import Duty

_LATER = timedelta(minutes=5)  # where a training cannot begin: a person must do something first

Decide = Callable[[Policy, Facts], Decision]


class Refits:
    """What leads to trainings. Methods raise NotFoundError for an unknown model.

    Args:
        queue: how many jobs a department may have.
    """

    def __init__(self, database: Database, queue: Queue | None = None) -> None:
        self._database = database
        self._queue = queue or Queue()

    def ask(self, model: str, *, by: str, why: str = "", cause: Cause = Cause.WEBHOOK) -> Outlook:
        """Have a model trained anew with its last project, as soon as nothing stands against it.

        Raises:
            ConflictError: no project has trained it yet.
        """
        line, now = words.reason(why), clock.now()
        with self._database.write() as connection:
            if not models.lock(connection, model):
                raise looked_up.unknown(model)
            if jobs.latest(connection, model) is None:
                message = f"No project has trained {model} yet, so there is nothing to train it with."
                raise ConflictError(message, "Send its project once: yard train DIR.")
            refits.ask(connection, model, Request(cause, by, line), now)
            audit.append(
                connection, by=by, action="refit.ask", subject=model, after={"cause": cause, "why": line}
            )
            duties.ensure(connection, TRIGGER, model, now)
            return Outlook(f"{by} asked for a training.", now, now)

    def story(self, model: str) -> Story:
        """The refits of a model, newest first, and what comes next."""
        with self._database.read() as connection:
            looked_up.known(connection, model)
            return Story(
                refits.outlook(connection, model),
                refits_of(
                    jobs.find(connection, None, model=model),
                    verdicts.of_model(connection, model),
                    rollouts.of_model(connection, model),
                ),
            )

    def settle(self, duty: Duty, decide: Decide, now: datetime) -> datetime | None:
        """Decide about a model; where a training is due, it is queued in the same transaction.

        Mostly nothing has changed: so they are only read first, and read anew in a transaction that writes.

        Returns:
            When to look again, None where nothing leads to a training by itself.

        Raises:
            LostLeaseError: another engine has taken the duty over.
        """
        model = duty.subject
        with self._database.read() as connection:
            if models.get(connection, model) is None:
                return None
            policy, facts = policy_of(connection, model), facts_of(connection, model, now)
            decision = decide(policy, facts)
            known = refits.outlook(connection, model)
            if not decision.begins and known is not None and known.words == decision.words:
                return _look_at(policy, decision)
        with self._database.write() as connection:
            models.lock(connection, model)
            duties.hold(connection, duty)
            policy = policy_of(connection, model)
            decision = decide(policy, facts_of(connection, model, now))
            told, look_at = self._followed(connection, model, decision, now)
            refits.decide(connection, model, told, now)
            return look_at or _look_at(policy, decision)

    def _followed(
        self, connection: Connection, model: str, decision: Decision, now: datetime
    ) -> tuple[str, datetime | None]:
        if not decision.begins:
            return decision.words, None
        cause = decision.causes[0]
        try:
            job = training.again(
                connection, model, self._queue, by=YARD, reason=decision.words, trigger=cause
            )
        except (NotFoundError, BusyError, ForbiddenError) as error:
            return f"{decision.words} It cannot begin: {error}", now + _LATER
        refits.follow(connection, model, job.id)
        told = {"job": job.id, "causes": decision.causes, "words": decision.words}
        audit.append(connection, by=YARD, action="refit.begin", subject=model, after=told)
        return f"{decision.words} Job {job.id} trains it.", None


def _look_at(policy: Policy, decision: Decision) -> datetime | None:
    """When to look again; a policy that names no condition is looked at when somebody asks."""
    unconditional = Retrain(cooldown=policy.retrain.cooldown, budget=policy.retrain.budget)
    return None if policy.retrain == unconditional and not decision.causes else decision.look_at
