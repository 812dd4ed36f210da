"""Grants on one model or dataset: what a department lets others see, ask or read, until when."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from sqlalchemy import Connection

from modelyard.catalog import clock, looked_up
from modelyard.catalog.people import changing, checked_time, known, need_department, tell
from modelyard.records.errors import InvalidError, NotFoundError
from modelyard.records.people import RIGHTS, Kind, Need, Share
from modelyard.records.references import check_name
from modelyard.store import datasets, shares
from modelyard.store.database import Database

_MAX_ID = 2**31 - 1


class Sharing:
    """Grants on single things. Every method is one transaction.

    Args:
        database: upgraded already.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def shares(self, departments: frozenset[str] | None = None) -> list[Share]:
        """Grants on what these departments (None: all) own, newest first; ended ones too."""
        with self._database.read() as connection:
            return shares.of_departments(connection, departments)

    def give(  # what, how far, to whom (one of the two), for how long, and who does it
        self,
        kind: Kind,
        name: str,
        right: Need,
        *,
        to_department: str | None = None,
        to_principal: str | None = None,
        expires_in: timedelta | None = None,
        by: str,
    ) -> Share:
        """Let a department, or one person or service, see, ask or read one model or dataset.

        Args:
            name: `department/name`.
            right: SEE, PREDICT (of models) or READ_DATA.

        Raises:
            InvalidError: another right; both or neither of the two; its own department; a wrong time.
            NotFoundError: no such model, dataset, department or principal.
        """
        _check_right(kind, right)
        if (to_department is None) == (to_principal is None):
            raise InvalidError("A grant is either to a department or to one person.", "Give one of the two.")
        at = clock.now()
        draft = Share(
            id=0,
            kind=kind,
            name=name,
            right=right,
            to_department=to_department,
            to_principal=to_principal,
            created_at=at,
            created_by=by,
            expires_at=None if expires_in is None else at + checked_time(expires_in, "grant"),
        )
        with changing(self._database) as connection:
            _check_thing(connection, kind, name)
            _check_receiver(connection, draft)
            made = msgspec.structs.replace(draft, id=shares.add(connection, draft))
            tell(connection, "grant.give", name, by=by, after=made)
            return made

    def revoke(self, share_id: int, department: str, *, by: str) -> Share:
        """End a grant on something of this department now. Nothing happens where it has ended by hand.

        Raises:
            NotFoundError: the department has given no such grant.
        """
        with self._database.read() as connection:
            before = _found(connection, share_id, department)
        if before.revoked_at is not None:
            return before
        with changing(self._database) as connection:
            shares.revoke(connection, share_id, clock.now())
            after = _found(connection, share_id, department)
            tell(connection, "grant.revoke", after.name, by=by, before=before, after=after)
            return after


def _check_right(kind: Kind, right: Need) -> None:
    if right not in RIGHTS or (kind is Kind.DATASET and right is Need.PREDICT):
        allowed = [r.value for r in RIGHTS if kind is Kind.MODEL or r is not Need.PREDICT]
        raise InvalidError(
            f"{right} cannot be granted on one {kind}.", f"Grant {' or '.join(allowed)}.", field="right"
        )


def _check_thing(connection: Connection, kind: Kind, name: str) -> None:
    department, _, own = name.partition("/")
    check_name(department, "department")
    check_name(own, f"{kind} name")
    if kind is Kind.MODEL:
        looked_up.known(connection, name)
    if kind is Kind.DATASET and datasets.get(connection, name) is None:
        raise NotFoundError(f"There is no dataset {name}.", "See what there is: yard data list.")


def _check_receiver(connection: Connection, draft: Share) -> None:
    if draft.to_department == draft.department:
        message = f"{draft.name} is {draft.department}'s own."
        raise InvalidError(message, "Give its members a role instead: yard users role.", field="to")
    if draft.to_department is not None:
        need_department(connection, draft.to_department)
    if draft.to_principal is not None:
        known(connection, draft.to_principal)


def _found(connection: Connection, share_id: int, department: str) -> Share:
    share = shares.get(connection, share_id) if 0 < share_id <= _MAX_ID else None
    if share is None or share.department != department:
        raise NotFoundError(f"{department} has given no grant {share_id}.", "See: yard grant list.")
    return share
