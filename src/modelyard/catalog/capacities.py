"""Capacities: how many workers models may have, and what each asks of a machine."""

from __future__ import annotations

from sqlalchemy import Connection

from modelyard.catalog import clock, looked_up
from modelyard.records.capacity import Capacity, Demand
from modelyard.store import audit, capacities, models, state
from modelyard.store.database import Database

NOBODY = ""  # who set a capacity that was never set


class Capacities:
    """Capacities by model. Every method is one transaction.

    Methods raise NotFoundError for an unknown model.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def capacity(self, model: str) -> Capacity:
        """A model's capacity; where none was set, the default: one worker."""
        with self._database.read() as connection:
            return capacity_of(connection, model)

    def put(self, model: str, serve: Demand, *, by: str) -> Capacity:
        """Set a model's capacity; the same one again changes nothing."""
        with self._database.write() as connection:
            if not models.lock(connection, model):
                raise looked_up.unknown(model)
            return set_capacity(connection, model, serve, by=by, source="by hand")


def capacity_of(connection: Connection, model: str) -> Capacity:
    """A model's capacity, or the default.

    Raises:
        NotFoundError: there is no such model.
    """
    if found := capacities.get(connection, model):
        return found
    known = models.get(connection, model)
    if known is None:
        raise looked_up.unknown(model)
    return Capacity(model, Demand(), "the default", known.created_at, NOBODY)


def set_capacity(connection: Connection, model: str, serve: Demand, *, by: str, source: str) -> Capacity:
    """Set the capacity of a locked model, in the caller's transaction."""
    before = capacity_of(connection, model)
    if before.serve == serve:
        return before
    after = Capacity(model, serve, source, clock.now(), by)
    capacities.put(connection, after)
    audit.append(connection, by=by, action="capacity.set", subject=model, before=before, after=after)
    state.bump_generation(connection)
    return after
