"""Passwords (their hashes alone), links to set one, identities at providers, browsers that are known."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from modelyard.store.schema import browsers, identities, links, passwords

BROWSERS = 20  # of one person that are remembered


class Link(Struct, frozen=True):
    """A link that lets somebody set a password, once; `digest` is that of its code."""

    digest: str
    principal: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    used_at: datetime | None = None


def get(connection: Connection, principal: str) -> str | None:
    """The hash of somebody's password, or None."""
    query = select(passwords.c.hash).where(passwords.c.principal == principal)
    return connection.scalars(query).first()


def put(connection: Connection, principal: str, hashed: str, at: datetime) -> None:
    """Keep the hash of somebody's password in place of the one before."""
    connection.execute(delete(passwords).where(passwords.c.principal == principal))
    row = {"principal": principal, "hash": hashed, "changed_at": at}
    connection.execute(insert(passwords).values(row))


def add_link(connection: Connection, link: Link) -> None:
    """Keep a link; others of the same person end."""
    connection.execute(delete(links).where(links.c.principal == link.principal))
    row = {name: getattr(link, name) for name in link.__struct_fields__}
    connection.execute(insert(links).values(row))


def valid_link(connection: Connection, digest: str, at: datetime, *, locks: bool = False) -> Link | None:
    """A link that was not used and has not ended.

    Args:
        locks: hold it until the transaction ends.
    """
    query = select(links).where(links.c.digest == digest, links.c.used_at.is_(None), links.c.expires_at > at)
    row = connection.execute(query.with_for_update() if locks else query).first()
    return None if row is None else Link(*row)


def use_link(connection: Connection, digest: str, at: datetime) -> None:
    """Say that a link was used."""
    connection.execute(update(links).where(links.c.digest == digest).values(used_at=at))


def identified(connection: Connection, issuer: str, subject: str) -> str | None:
    """Who somebody is whom a provider knows, or None."""
    query = select(identities.c.principal).where(
        identities.c.issuer == issuer, identities.c.subject == subject
    )
    return connection.scalars(query).first()


def identify(connection: Connection, issuer: str, subject: str, principal: str, at: datetime) -> None:
    """Remember who somebody is whom a provider knows."""
    row = {"issuer": issuer, "subject": subject, "principal": principal, "created_at": at}
    connection.execute(insert(identities).values(row))


def is_known_browser(connection: Connection, digest: str, principal: str) -> bool:
    """Whether this person has signed in from this browser before."""
    query = select(browsers.c.digest).where(browsers.c.digest == digest, browsers.c.principal == principal)
    return connection.execute(query).first() is not None


def remember_browser(connection: Connection, digest: str, principal: str, at: datetime) -> None:
    """Know a browser from now on; the oldest of too many are forgotten."""
    own = select(browsers.c.digest).where(browsers.c.principal == principal)
    old = list(connection.scalars(own.order_by(browsers.c.seen_at.desc()).offset(BROWSERS - 1)))
    connection.execute(delete(browsers).where(browsers.c.digest.in_([*old, digest])))
    connection.execute(insert(browsers).values({"digest": digest, "principal": principal, "seen_at": at}))


def forget_browsers(connection: Connection, principal: str) -> None:
    """Know no browser of this person any longer."""
    connection.execute(delete(browsers).where(browsers.c.principal == principal))
