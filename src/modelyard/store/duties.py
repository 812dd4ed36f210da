"""Duties: rows that say what is to be looked at and when; one engine at a time holds one, by a lease.

A claim raises the duty's fence. Whoever writes under an older fence has lost the duty, however long it slept,
and its writes are refused. A duty that is asked for again while it is being done is done again afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, not_, or_, select, update

from modelyard.records.errors import ConflictError
from modelyard.store.database import insert_missing
from modelyard.store.schema import duties

_MAX_NOTE = 4_000  # characters of what a failure said


class LostLeaseError(ConflictError):
    """Another engine has taken this duty over, so what this one would write is refused."""


class Duty(Struct, frozen=True):
    """One duty.

    Attributes:
        kind: which step does it: `watch`, `trigger`, `train`, `rollout`, `alert`, `ledger`.
        subject: what it is about, as `department/name` or a job's number.
        due_at: when it is to be done next; None if it sleeps.
        fence: the number of its claims. A step hands the duty to `hold` before it writes.
        failures: how many times in a row its step has failed.
        note: what the last failure said; empty after a success.
    """

    kind: str
    subject: str
    due_at: datetime | None
    leased_by: str
    leased_until: datetime | None
    fence: int
    failures: int
    note: str


def ensure(connection: Connection, kind: str, subject: str, due_at: datetime) -> None:
    """See that a duty is done at this time at the latest; made if it is not there."""
    row = {"kind": kind, "subject": subject, "due_at": due_at, "leased_by": "", "leased_until": None}
    if insert_missing(connection, duties, row | {"fence": 0, "failures": 0, "note": ""}):
        return
    later = or_(duties.c.due_at.is_(None), duties.c.due_at > due_at)
    connection.execute(update(duties).where(_is(kind, subject), later).values(due_at=due_at))


def next_due(connection: Connection, kinds: Iterable[str]) -> datetime | None:
    """When the next duty of these kinds can be claimed; None if all sleep."""
    moment = func.coalesce(duties.c.leased_until, duties.c.due_at, type_=duties.c.due_at.type)
    query = select(func.min(moment, type_=duties.c.due_at.type)).where(duties.c.kind.in_(list(kinds)))
    found: datetime | None = connection.execute(query).scalar()
    return found


def claim(
    connection: Connection,
    kinds: Iterable[str],
    by: str,
    now: datetime,
    lease: timedelta,
    *,
    but: Iterable[tuple[str, str]] = (),
    takes_over: bool = True,
) -> Duty | None:
    """Take the duty due for longest, or one whose holder let its lease run out; None if there is none.

    On PostgreSQL rows that another engine is claiming at this moment are skipped, not waited for.

    Args:
        but: kind and subject of those to leave alone.
        takes_over: False leaves leases alone that ran out.
    """
    free = and_(duties.c.leased_until.is_(None), duties.c.due_at <= now)
    open_ = or_(free, duties.c.leased_until <= now) if takes_over else free
    due = and_(duties.c.kind.in_(list(kinds)), open_, *(not_(_is(*each)) for each in but))
    query = select(duties).where(due).order_by(duties.c.due_at, duties.c.kind, duties.c.subject).limit(1)
    row = connection.execute(query.with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    values = {"due_at": None, "leased_by": by, "leased_until": now + lease, "fence": row.fence + 1}
    connection.execute(update(duties).where(_is(row.kind, row.subject)).values(values))
    return _record(row, **values)


def hold(connection: Connection, duty: Duty) -> None:
    """Lock a claimed duty until the transaction ends: nobody else can take it before what is written here.

    Raises:
        LostLeaseError: it was taken over.
    """
    query = select(duties.c.fence).where(_is(duty.kind, duty.subject)).with_for_update()
    if connection.scalar(query) != duty.fence:
        raise LostLeaseError(
            f"The duty {duty.kind} of {duty.subject} has been taken over by another engine.",
            "Nothing is to be done: that one goes on with it.",
        )


def extend(connection: Connection, duty: Duty, until: datetime) -> None:
    """Keep a claimed duty for longer.

    Raises:
        LostLeaseError: it was taken over.
    """
    hold(connection, duty)
    connection.execute(update(duties).where(_is(duty.kind, duty.subject)).values(leased_until=until))


def finish(
    connection: Connection, duty: Duty, due_at: datetime | None, *, failures: int = 0, note: str = ""
) -> None:
    """Give a claimed duty back, due at this time, or earlier if it was asked for in the meantime.

    Args:
        due_at: None lets it sleep until `ensure`.
        failures: how many in a row; 0 if it went well.
        note: what the failure said.

    Raises:
        LostLeaseError: it was taken over.
    """
    hold(connection, duty)
    this = _is(duty.kind, duty.subject)
    asked = connection.scalar(select(duties.c.due_at).where(this))
    times = [moment for moment in (asked, due_at) if moment is not None]
    values = {"due_at": min(times, default=None), "leased_by": "", "leased_until": None}
    values |= {"failures": failures, "note": note[:_MAX_NOTE]}
    connection.execute(update(duties).where(this).values(values))


def release(connection: Connection, kinds: Iterable[str] | None, by: str, now: datetime) -> int:
    """Give back what an engine held in an earlier life, or before it died; how many. It is fenced out.

    Args:
        kinds: of these alone; None: all.
    """
    held = and_(duties.c.leased_by == by, duties.c.leased_until.is_not(None))
    mine = held if kinds is None else and_(duties.c.kind.in_(list(kinds)), held)
    values = {"due_at": now, "leased_by": "", "leased_until": None, "fence": duties.c.fence + 1}
    return connection.execute(update(duties).where(mine).values(values)).rowcount


def holders(connection: Connection) -> frozenset[str]:
    """The engines that hold duties."""
    query = select(duties.c.leased_by).where(duties.c.leased_until.is_not(None)).distinct()
    return frozenset(connection.scalars(query))


def take(
    connection: Connection, kind: str, subject: str, by: str, now: datetime, lease: timedelta
) -> Duty | None:
    """Take one duty, made if it is not there, whatever it is due; None where another engine holds it.

    It is `drop`ped when it is done: for work that rows of its own say is to be done.
    """
    row = {"kind": kind, "subject": subject, "due_at": None, "leased_by": "", "leased_until": None}
    insert_missing(connection, duties, row | {"fence": 0, "failures": 0, "note": ""})
    found = connection.execute(select(duties).where(_is(kind, subject)).with_for_update()).one()
    if found.leased_until is not None and found.leased_until > now and found.leased_by != by:
        return None
    values = {"due_at": None, "leased_by": by, "leased_until": now + lease, "fence": found.fence + 1}
    connection.execute(update(duties).where(_is(kind, subject)).values(values))
    return _record(found, **values)


def drop(connection: Connection, duty: Duty) -> None:
    """Let go of a duty that was taken; nothing happens where another engine has it by now."""
    mine = and_(_is(duty.kind, duty.subject), duties.c.fence == duty.fence)
    connection.execute(delete(duties).where(mine))


def get(connection: Connection, kind: str, subject: str) -> Duty | None:
    """One duty, or None."""
    row = connection.execute(select(duties).where(_is(kind, subject))).first()
    return None if row is None else _record(row)


def failing(connection: Connection) -> list[Duty]:
    """The duties whose last step failed, by kind and subject."""
    query = select(duties).where(duties.c.failures > 0)
    return sorted((_record(row) for row in connection.execute(query)), key=lambda d: (d.kind, d.subject))


def late(connection: Connection, now: datetime, most: int) -> list[Duty]:
    """Duties that fail or should have been begun by now, at most so many; those due for longest first."""
    idle = and_(duties.c.leased_until.is_(None), duties.c.due_at < now)
    query = select(duties).where(or_(duties.c.failures > 0, idle))
    rows = connection.execute(query.order_by(duties.c.due_at, duties.c.kind, duties.c.subject).limit(most))
    return [_record(row) for row in rows]


def _is(kind: str, subject: str) -> ColumnElement[bool]:
    return and_(duties.c.kind == kind, duties.c.subject == subject)


def _record(row: Row[tuple[object, ...]], **changed: object) -> Duty:
    return Duty(**(dict(row._mapping) | changed))  # noqa: SLF001 - its public name
