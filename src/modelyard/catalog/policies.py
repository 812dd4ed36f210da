"""Policies: what a model's owner wants the yard to do by itself."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from modelyard.catalog import clock, looked_up
from modelyard.records.policies import Policy, Promote, Retrain
from modelyard.store import audit, duties, models, policies
from modelyard.store.database import Database

TRIGGER = "trigger"  # the duty that looks whether a model is to be trained anew
NOBODY = ""  # who set a policy that was never set


class Policies:
    """Policies by model. Every method is one transaction.

    Methods raise NotFoundError for an unknown model.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def policy(self, model: str) -> Policy:
        """A model's policy; where none was set, the default, which starts no training by itself."""
        with self._database.read() as connection:
            return policy_of(connection, model)

    def put(
        self, model: str, retrain: Retrain, promote: Promote, *, by: str, source: str = "by hand"
    ) -> Policy:
        """Set a model's policy; the same one again changes nothing."""
        with self._database.write() as connection:
            if not models.lock(connection, model):
                raise looked_up.unknown(model)
            return set_policy(connection, model, retrain, promote, by=by, source=source)

    def pause(self, model: str, *, paused: bool, by: str) -> Policy:
        """Let the yard start no training by itself, or let it again."""
        with self._database.write() as connection:
            if not models.lock(connection, model):
                raise looked_up.unknown(model)
            before = policy_of(connection, model)
            if before.paused == paused:
                return before
            after = msgspec.structs.replace(before, paused=paused, changed_at=clock.now(), changed_by=by)
            return _keep(connection, before, after)


def policy_of(connection: Connection, model: str) -> Policy:
    """A model's policy, or the default.

    Raises:
        NotFoundError: there is no such model.
    """
    if found := policies.get(connection, model):
        return found
    known = models.get(connection, model)
    if known is None:
        raise looked_up.unknown(model)
    return Policy(
        model=model,
        retrain=Retrain(),
        promote=Promote(),
        paused=False,
        source="the default",
        changed_at=known.created_at,
        changed_by=NOBODY,
    )


def set_policy(  # whose, the two tables of yard.toml, who and from where
    connection: Connection, model: str, retrain: Retrain, promote: Promote, *, by: str, source: str
) -> Policy:
    """Set the policy of a locked model, in the caller's transaction; a pause stays a pause."""
    before = policy_of(connection, model)
    if (before.retrain, before.promote) == (retrain, promote):
        return before
    return _keep(connection, before, Policy(model, retrain, promote, before.paused, source, clock.now(), by))


def _keep(connection: Connection, before: Policy, policy: Policy) -> Policy:
    policies.put(connection, policy)
    action = "policy.set" if before.paused == policy.paused else "policy.pause"
    subject, by = policy.model, policy.changed_by
    audit.append(connection, by=by, action=action, subject=subject, before=before, after=policy)
    duties.ensure(connection, TRIGGER, policy.model, policy.changed_at)
    return policy
