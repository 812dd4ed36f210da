"""Grants on single models and datasets."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, Row, insert, or_, select, update

from modelyard.records.people import Kind, Need, Share
from modelyard.store.schema import shares


def add(connection: Connection, share: Share) -> int:
    """Keep a grant, and its new id (`share.id` is not read)."""
    row = {
        "kind": share.kind,
        "name": share.name,
        "department": share.department,
        "need": share.right,
        "to_department": share.to_department,
        "to_principal": share.to_principal,
        "created_at": share.created_at,
        "created_by": share.created_by,
        "expires_at": share.expires_at,
    }
    key = connection.execute(insert(shares).values(row)).inserted_primary_key
    assert key is not None  # noqa: S101 - one row was inserted
    return int(key[0])


def get(connection: Connection, share_id: int) -> Share | None:
    """One grant, or None."""
    row = connection.execute(select(shares).where(shares.c.id == share_id)).first()
    return None if row is None else _record(row)


def of_departments(connection: Connection, departments: Iterable[str] | None) -> list[Share]:
    """The grants on what these departments (None: all) own, newest first; ended ones too."""
    query = select(shares).order_by(shares.c.id.desc())
    if departments is not None:
        query = query.where(shares.c.department.in_(sorted(departments)))
    return [_record(row) for row in connection.execute(query)]


def valid(connection: Connection, at: datetime) -> list[Share]:
    """All grants that hold."""
    later = or_(shares.c.expires_at.is_(None), shares.c.expires_at > at)
    query = select(shares).where(shares.c.revoked_at.is_(None), later).order_by(shares.c.id)
    return [_record(row) for row in connection.execute(query)]


def revoke(connection: Connection, share_id: int, at: datetime) -> None:
    """End a grant."""
    connection.execute(update(shares).where(shares.c.id == share_id).values(revoked_at=at))


def _record(row: Row[tuple[object, ...]]) -> Share:
    return Share(
        id=row.id,
        kind=Kind(row.kind),
        name=row.name,
        right=Need(row.need),
        to_department=row.to_department,
        to_principal=row.to_principal,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
