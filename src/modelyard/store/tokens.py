"""Principals and their tokens; of a token's secret only the sha256 is here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, or_, select, update

from modelyard.records.people import Grant, Role, Token
from modelyard.store.database import insert_missing
from modelyard.store.schema import principals, tokens


def add_principal(connection: Connection, name: str, *, by: str, at: datetime) -> bool:
    """Make a principal; False where it is there already (also where another transaction makes it now)."""
    return insert_missing(connection, principals, {"name": name, "created_at": at, "created_by": by})


def add(connection: Connection, token: Token, digest: str) -> int:
    """Keep a token under the sha256 of its secret, and its new id (`token.id` is not read)."""
    row = {
        "name": token.name,
        "principal": token.principal,
        "role": token.role,
        "department": token.department,
        "digest": digest,
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at,
    }
    key = connection.execute(insert(tokens).values(row)).inserted_primary_key
    assert key is not None  # noqa: S101 - one row was inserted
    return int(key[0])


def get(connection: Connection, token_id: int) -> Token | None:
    """One token, or None."""
    row = connection.execute(select(tokens).where(tokens.c.id == token_id)).first()
    return None if row is None else _record(row)


def of_departments(connection: Connection, departments: Iterable[str] | None) -> list[Token]:
    """The tokens of these departments (None: all there are), newest first."""
    query = select(tokens).order_by(tokens.c.id.desc())
    if departments is not None:
        query = query.where(tokens.c.department.in_(sorted(departments)))
    return [_record(row) for row in connection.execute(query)]


def lock_administrators(connection: Connection, at: datetime) -> list[int]:
    """The ids of the administrators' valid tokens, held until the transaction ends.

    In the order of ids, so that two transactions never wait for each other.
    """
    valid = and_(tokens.c.role == Role.ADMINISTRATOR, _is_valid(at))
    query = select(tokens.c.id).where(valid).order_by(tokens.c.id).with_for_update()
    return list(connection.scalars(query))


def revoke(connection: Connection, token_id: int, at: datetime) -> None:
    """End a token."""
    connection.execute(update(tokens).where(tokens.c.id == token_id).values(revoked_at=at))


def grants(connection: Connection, at: datetime) -> dict[str, Grant]:
    """What each valid token may do, by the sha256 of its secret."""
    found = {}
    for row in connection.execute(select(tokens).where(_is_valid(at))):
        expires = None if row.expires_at is None else row.expires_at.timestamp()
        found[row.digest] = Grant(row.principal, Role(row.role), row.department, row.id, expires)
    return found


def _is_valid(at: datetime) -> ColumnElement[bool]:
    later = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > at)
    return and_(tokens.c.revoked_at.is_(None), later)


def _record(row: Row[tuple[object, ...]]) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        principal=row.principal,
        role=Role(row.role),
        department=row.department,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
