"""Sessions of browsers; of a session's secret only the sha256 is here."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from modelyard.store.schema import sessions


class Session(Struct, frozen=True):
    """Somebody signed in from a browser.

    Attributes:
        digest: sha256 of the cookie's secret.
        token: the id of the token that was pasted, or None; its rights are the session's, and its end.
        how: `password`, `oidc` or `token`.
    """

    digest: str
    principal: str
    token: int | None
    how: str
    created_at: datetime
    expires_at: datetime


def add(connection: Connection, session: Session) -> None:
    """Keep a session; those that have ended go."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= session.created_at))
    row = {name: getattr(session, name) for name in session.__struct_fields__}
    connection.execute(insert(sessions).values(row))


def valid(connection: Connection, at: datetime) -> list[Session]:
    """All sessions that have not ended."""
    found = connection.execute(select(sessions).where(sessions.c.expires_at > at))
    return [
        Session(row.digest, row.principal, row.token, row.how, row.created_at, row.expires_at)
        for row in found
    ]


def get(connection: Connection, digest: str) -> str | None:
    """Whose session it is, or None."""
    query = select(sessions.c.principal).where(sessions.c.digest == digest)
    return connection.scalars(query).first()


def end(connection: Connection, digest: str) -> None:
    """End one session."""
    connection.execute(delete(sessions).where(sessions.c.digest == digest))


def end_all(connection: Connection, principal: str) -> None:
    """End all sessions of a principal."""
    connection.execute(delete(sessions).where(sessions.c.principal == principal))
