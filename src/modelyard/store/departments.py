"""Departments: what owns models, data and people's roles."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

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


def names(connection: Connection) -> list[str]:
    """All departments, by name."""
    return sorted(connection.scalars(select(departments.c.name)))
