"""Principals: persons and services, and the roles they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, and_, delete, exists, insert, or_, select, update

from modelyard.records.people import Held, Principal, PrincipalKind, Role
from modelyard.store.database import insert_missing
from modelyard.store.schema import memberships, passwords, principals, state, tokens

HAND, OIDC = "hand", "oidc"  # who gave a role: a person here, or the identity provider


def lock(connection: Connection) -> None:
    """Changes of people go one after another from here to the end of the transaction.

    First in the transaction: two administrators who remove each other would else both see the other.
    """
    connection.execute(select(state.c.value).where(state.c.key == "people").with_for_update())


def add(connection: Connection, name: str, kind: PrincipalKind, *, by: str, at: datetime) -> bool:
    """Make a principal; False where it is there already (also where another transaction makes it now)."""
    values = {"name": name, "created_at": at, "created_by": by, "kind": kind}
    return insert_missing(connection, principals, values)


def get(connection: Connection, name: str) -> Principal | None:
    """One principal, or None."""
    found = listed(connection, [name])
    return found[0] if found else None


def listed(connection: Connection, names: Iterable[str] | None = None) -> list[Principal]:
    """These principals (None: all), by name."""
    query = select(principals, passwords.c.principal.is_not(None).label("has_password")).outerjoin(passwords)
    if names is not None:
        query = query.where(principals.c.name.in_(sorted(names)))
    held = all_held(connection)
    found = []
    for row in connection.execute(query):
        own = held.get(row.name, Held())
        found.append(
            Principal(
                name=row.name,
                kind=PrincipalKind(row.kind),
                role=own.yard,
                departments=dict(sorted(own.departments.items())),
                created_at=row.created_at,
                created_by=row.created_by,
                disabled_at=row.disabled_at,
                has_password=bool(row.has_password),
            )
        )
    return sorted(found, key=lambda p: p.name)


def all_held(connection: Connection) -> dict[str, Held]:
    """What each principal holds, disabled ones too."""
    found: defaultdict[str, Held] = defaultdict(Held)
    for row in connection.execute(select(memberships)):
        found[row.principal] = found[row.principal].plus(row.department or None, Role(row.role))
    return dict(found)


def disabled(connection: Connection) -> frozenset[str]:
    """The names of those who may not come in."""
    query = select(principals.c.name).where(principals.c.disabled_at.is_not(None))
    return frozenset(connection.scalars(query))


def set_disabled(connection: Connection, name: str, at: datetime | None) -> None:
    """Keep a principal out from now on, or (None) let it in again."""
    connection.execute(update(principals).where(principals.c.name == name).values(disabled_at=at))


def give(  # a role, where, to whom, and how it came
    connection: Connection,
    name: str,
    department: str | None,
    role: Role,
    *,
    by: str,
    at: datetime,
    source: str = HAND,
) -> None:
    """Have a principal hold this role there (None: in the whole yard) in place of the one of that source."""
    take(connection, name, department, source=source)
    values = {"principal": name, "department": department or "", "source": source, "role": role}
    connection.execute(insert(memberships).values(values | {"created_at": at, "created_by": by}))


def take(connection: Connection, name: str, department: str | None, *, source: str | None = None) -> None:
    """Take a role away; of one source only, or (None) of all."""
    own = and_(memberships.c.principal == name, memberships.c.department == (department or ""))
    query = delete(memberships).where(own)
    connection.execute(query if source is None else query.where(memberships.c.source == source))


def take_all(connection: Connection, name: str, *, source: str) -> None:
    """Take all roles of one source away."""
    connection.execute(
        delete(memberships).where(memberships.c.principal == name, memberships.c.source == source)
    )


def administrators(connection: Connection, at: datetime) -> list[str]:
    """Who can come in as an administrator: not disabled, with a password or a valid token for it.

    Roles that an identity provider gives do not count: it could be gone tomorrow.
    """
    later = or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > at)
    token = exists().where(
        tokens.c.principal == principals.c.name,
        tokens.c.role == Role.ADMINISTRATOR,
        tokens.c.revoked_at.is_(None),
        later,
    )
    password = exists().where(passwords.c.principal == principals.c.name)
    query = (
        select(principals.c.name)
        .join(memberships)
        .where(
            memberships.c.department == "",
            memberships.c.role == Role.ADMINISTRATOR,
            memberships.c.source == HAND,
            principals.c.disabled_at.is_(None),
            or_(token, password),
        )
    )
    return sorted(connection.scalars(query))
