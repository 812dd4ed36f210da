"""Policies: one a model, where one was set."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select

from modelyard.records.policies import Policy, Promote, Retrain
from modelyard.store.schema import policies

_retrain = msgspec.json.Decoder(Retrain)
_promote = msgspec.json.Decoder(Promote)


def get(connection: Connection, model: str) -> Policy | None:
    """A model's policy, or None if none was set."""
    row = connection.execute(select(policies).where(policies.c.model == model)).first()
    return None if row is None else _record(row)


def of_all(connection: Connection) -> list[Policy]:
    """All policies that were set, by model."""
    return sorted((_record(row) for row in connection.execute(select(policies))), key=lambda p: p.model)


def put(connection: Connection, policy: Policy) -> None:
    """Keep a model's policy in place of the one before."""
    connection.execute(delete(policies).where(policies.c.model == policy.model))
    row = {
        "model": policy.model,
        "retrain": msgspec.json.encode(policy.retrain).decode(),
        "promote": msgspec.json.encode(policy.promote).decode(),
        "paused": policy.paused,
        "source": policy.source,
        "changed_at": policy.changed_at,
        "changed_by": policy.changed_by,
    }
    connection.execute(insert(policies), row)


def _record(row: Row[tuple[object, ...]]) -> Policy:
    return Policy(
        row.model,
        _retrain.decode(row.retrain),
        _promote.decode(row.promote),
        row.paused,
        row.source,
        row.changed_at,
        row.changed_by,
    )
