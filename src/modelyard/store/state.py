"""Numbers of the whole yard; `generation` grows with each change of routes or tokens."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from modelyard.store.schema import state

GENERATION = "generation"
_SERVES_FROM = "serves_from"


def generation(connection: Connection) -> int:
    """The generation of routes and tokens."""
    return int(connection.execute(select(state.c.value).where(state.c.key == GENERATION)).scalar_one())


def bump_generation(connection: Connection) -> None:
    """Say that routes or tokens changed, in the transaction that changes them.

    Last in the transaction: on PostgreSQL it is a lock that all such changes pass one after another.
    """
    connection.execute(update(state).where(state.c.key == GENERATION).values(value=state.c.value + 1))


def serves_from(connection: Connection) -> int | None:
    """The oldest schema whose code may go on with this database; None where no release has said so."""
    query = select(state.c.value).where(state.c.key == _SERVES_FROM)
    return connection.execute(query).scalar_one_or_none()


def keep_serves_from(connection: Connection, revision: int) -> None:
    """Say which is the oldest schema whose code may go on with this database."""
    connection.execute(delete(state).where(state.c.key == _SERVES_FROM))
    connection.execute(insert(state).values(key=_SERVES_FROM, value=revision))
