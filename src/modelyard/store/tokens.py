"""Tokens; of a token's secret only the sha256 is here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, or_, select, update

from modelyard.records.people import Grant, Role, Token
from modelyard.store.schema import tokens


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
        "rows_per_second": token.rows_per_second,
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


def revoke(connection: Connection, token_id: int, at: datetime) -> None:
    """End a token."""
    connection.execute(update(tokens).where(tokens.c.id == token_id).values(revoked_at=at))


def of_principal(connection: Connection, principal: str) -> list[Token]:
    """A principal's tokens, newest first."""
    query = select(tokens).where(tokens.c.principal == principal).order_by(tokens.c.id.desc())
    return [_record(row) for row in connection.execute(query)]


def mark_used(connection: Connection, token_ids: Iterable[int], at: datetime) -> None:
    """Say that these tokens were used up to this time."""
    query = update(tokens).where(tokens.c.id.in_(sorted(token_ids)))
    connection.execute(query.where(or_(tokens.c.used_at.is_(None), tokens.c.used_at < at)).values(used_at=at))


def scopes(connection: Connection, at: datetime) -> dict[str, Grant]:
    """What each valid token was made for, by the sha256 of its secret; its holder may hold less by now."""
    found = {}
    for row in connection.execute(select(tokens).where(_is_valid(at))):
        expires = None if row.expires_at is None else row.expires_at.timestamp()
        found[row.digest] = Grant(
            row.principal,
            Role(row.role),
            row.department,
            row.id,
            expires,
            bound=expires,
            rows_per_second=row.rows_per_second,
        )
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
        used_at=row.used_at,
        rows_per_second=row.rows_per_second,
    )
