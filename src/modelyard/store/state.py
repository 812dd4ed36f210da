"""Numbers of the whole yard; `generation` grows with each change of routes or tokens."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from modelyard.store.schema import state

GENERATION = "generation"


def generation(connection: Connection) -> int:
    """The generation of routes and tokens."""
    return int(connection.execute(select(state.c.value).where(state.c.key == GENERATION)).scalar_one())


def bump_generation(connection: Connection) -> None:
    """Say that routes or tokens changed, in the transaction that changes them.

    Last in the transaction: on PostgreSQL it is a lock that all such changes pass one after another.
    """
    connection.execute(update(state).where(state.c.key == GENERATION).values(value=state.c.value + 1))
