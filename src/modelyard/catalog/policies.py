"""Policies: what a model's owner wants the yard to do by itself."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from modelyard.catalog import clock, looked_up
from modelyard.records.metrics import AnyMetric, Metric, OwnMetric, metric_for, metric_or_default, no_metric
from modelyard.records.policies import Policy, Promote, Retrain
from modelyard.records.signatures import Signature
from modelyard.store import audit, duties, models, own_metrics, policies
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
        """Set a model's policy; the same one again changes nothing.

        Raises:
            InvalidError: no candidate can be judged by the metric it names.
        """
        with self._database.write() as connection:
            if not models.lock(connection, model):
                raise looked_up.unknown(model)
            check_metric(connection, model, promote)
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


def own_metric(connection: Connection, model: str, promote: Promote) -> list[OwnMetric]:
    """The metric of the model's own that its policy names, alone; none where it names a usual one."""
    if promote.metric in ("", *Metric):
        return []
    return [m for m in own_metrics.of_model(connection, model) if m.name == promote.metric]


def metric_of(connection: Connection, policy: Policy, signature: Signature) -> AnyMetric:
    """The metric by which a model is judged: that of its policy; the usual one where that does not fit."""
    own = own_metric(connection, policy.model, policy.promote)
    return metric_or_default(policy.promote.metric, signature, own)


def check_metric(connection: Connection, model: str, promote: Promote) -> None:
    """See that candidates of a model, which need not be there yet, can be judged as `[promote]` says.

    Raises:
        InvalidError: there is no such metric, or it does not fit what the model answers.
    """
    is_there = models.get(connection, model) is not None
    own = own_metric(connection, model, promote) if is_there else []
    signature = looked_up.signature(connection, model) if is_there else None
    if signature is not None:
        metric_for(promote.metric, signature, own)
    elif promote.metric not in ("", *Metric) and not own:
        raise no_metric(promote.metric)


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
