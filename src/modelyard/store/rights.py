"""What everybody who can come in may do, for the route table, from one snapshot."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection

from modelyard.records.people import RIGHTS, Grant, Held, Kind, Need, thing_of, with_shares
from modelyard.store import principals, sessions, shares, tokens


def grants(connection: Connection, at: datetime) -> dict[str, Grant]:
    """What each valid token and session may do, by the sha256 of its secret.

    A token never carries more than its holder holds now; one whose holder holds nothing there any longer,
    or is disabled, is not there.
    """
    held = principals.all_held(connection)
    gone = principals.disabled(connection)
    given = shares.valid(connection, at)
    found: dict[str, Grant] = {}
    by_id: dict[int, Grant] = {}
    for digest, scope in tokens.scopes(connection, at).items():
        role = held.get(scope.principal, Held()).capped(scope.role, scope.department)
        if role is not None and scope.principal not in gone:
            found[digest] = by_id[scope.token_id] = with_shares(replace(scope, role=role), given)
    for session in sessions.valid(connection, at):
        if session.principal in gone:
            continue
        whole = held.get(session.principal, Held()).grant(session.principal)
        grant = with_shares(whole, given) if session.token is None else by_id.get(session.token)
        if grant is not None:
            ends = session.expires_at.timestamp()
            found[session.digest] = replace(grant, expires=min(ends, grant.expires or ends))
    return found


def may_read(connection: Connection, dataset: str, department: str, person: str, at: datetime) -> bool:
    """Whether a department's work may read a dataset now.

    Its own it may; of others those granted to the department, and those that the person may read whose work
    it is.
    """
    if dataset.partition("/")[0] == department:
        return True
    given, thing = shares.valid(connection, at), thing_of(Kind.DATASET, dataset)
    if any(
        share.thing == thing and share.to_department == department and Need.READ_DATA in RIGHTS[share.right]
        for share in given
    ):
        return True
    if person in principals.disabled(connection):
        return False
    held = principals.all_held(connection).get(person, Held())
    return with_shares(held.grant(person), given).allows_dataset(Need.READ_DATA, dataset)
