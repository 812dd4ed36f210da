"""Capacity: one a model, where one was set."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, insert, select

from modelyard.records.capacity import Capacity, Demand
from modelyard.store.schema import capacities

_demand = msgspec.json.Decoder(Demand)


def get(connection: Connection, model: str) -> Capacity | None:
    """A model's capacity, or None if none was set."""
    row = connection.execute(select(capacities).where(capacities.c.model == model)).first()
    if row is None:
        return None
    return Capacity(row.model, _demand.decode(row.serve), row.source, row.changed_at, row.changed_by)


def demands(connection: Connection) -> dict[str, Demand]:
    """What was set, by model."""
    rows = connection.execute(select(capacities.c.model, capacities.c.serve))
    return {row.model: _demand.decode(row.serve) for row in rows}


def put(connection: Connection, capacity: Capacity) -> None:
    """Keep a model's capacity in place of the one before."""
    connection.execute(delete(capacities).where(capacities.c.model == capacity.model))
    row = {
        "model": capacity.model,
        "serve": msgspec.json.encode(capacity.serve).decode(),
        "source": capacity.source,
        "changed_at": capacity.changed_at,
        "changed_by": capacity.changed_by,
    }
    connection.execute(insert(capacities), row)
