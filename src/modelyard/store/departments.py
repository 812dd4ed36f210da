"""Departments: what owns models, data and people's roles."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, update

from modelyard.records.errors import ForbiddenError
from modelyard.store import audit
from modelyard.store.database import insert_missing
from modelyard.store.schema import departments


def exists(connection: Connection, name: str) -> bool:
    """Whether there is such a department."""
    return (
        connection.execute(select(departments.c.name).where(departments.c.name == name)).first() is not None
    )


def add(connection: Connection, name: str, *, by: str, at: datetime) -> bool:
    """Make a department; False where it is there already."""
    made = insert_missing(connection, departments, {"name": name, "created_at": at, "created_by": by})
    if made:
        audit.append(connection, by=by, action="department.create", subject=name)
    return made


def set_trusted(connection: Connection, name: str, *, trusted: bool, by: str) -> None:
    """Say whether a department is trusted with code of its own."""
    was = departments.c.trusted != trusted
    change = update(departments).where(departments.c.name == name, was).values(trusted=trusted)
    if connection.execute(change.execution_options(preserve_rowcount=True)).rowcount:
        told = {"trusted": trusted}
        audit.append(connection, by=by, action="department.trust", subject=name, after=told)


def untrusted(connection: Connection) -> frozenset[str]:
    """The departments that are not."""
    return frozenset(connection.scalars(select(departments.c.name).where(~departments.c.trusted)))


def need_trust(connection: Connection, name: str) -> None:
    """Nothing, if a department's code may run.

    Raises:
        ForbiddenError: an administrator has said that it may not.
    """
    if connection.scalar(select(departments.c.trusted).where(departments.c.name == name)) is False:
        raise ForbiddenError(
            f"The department {name} is not trusted with code of its own: only models that are data alone "
            "(language portable) are taken and run.",
            f"An administrator decides: yard users trust {name}.",
        )


def set_grace(connection: Connection, name: str, grace: float | None, *, by: str) -> None:
    """Say for how many seconds a department's predictions go on without the database; None: as usual."""
    mine = departments.c.name == name
    before = connection.scalar(select(departments.c.grace).where(mine))
    if before != grace:
        connection.execute(update(departments).where(mine).values(grace=grace))
        told, was = {"seconds": grace}, {"seconds": before}
        audit.append(connection, by=by, action="department.grace", subject=name, before=was, after=told)


def graces(connection: Connection) -> dict[str, float]:
    """That of the departments where it is not as usual."""
    query = select(departments.c.name, departments.c.grace).where(departments.c.grace.is_not(None))
    return {row.name: row.grace for row in connection.execute(query)}


def names(connection: Connection) -> list[str]:
    """All departments, by name."""
    return sorted(connection.scalars(select(departments.c.name)))
