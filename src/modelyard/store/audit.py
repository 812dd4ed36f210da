"""The audit: entries written in the transaction of the change itself, so that without an entry there is none.

`append` only notes an entry; `Database.write` chains what was noted as the last thing before it commits
(`recording`). Writers pass the row of `audit_head` one after another there, so numbers have no gap and each
entry is chained to the one committed before it: on PostgreSQL they wait for that row's lock, and read it
anew once they have it; on SQLite a writing transaction is alone from its beginning. Because it is the last
lock of every transaction, two that write to the audit never wait for each other in a circle, and it is held
only while the entries are inserted and the transaction commits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Connection, insert, or_, select, update

from modelyard.records.audit import Entry, Mark, Query, chained
from modelyard.store.schema import audit, audit_head

MAX_WORDS = 500  # characters of a subject, a principal
MAX_VALUE = 16_384  # characters of `before` and `after`; of longer ones the begin and the digest are kept
_BEGIN = 1_000
_ACTION = re.compile(r"[a-z][a-z-]*\.[a-z][a-z-]*")
_NOTED = "modelyard.audit"


class Origin(Struct, frozen=True):
    """Where a change comes from: an address, a request's id, and what was shown to come in (`token 7`)."""

    address: str = ""
    request: str = ""
    via: str = ""


_HERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=_HERE)


def came_from(origin: Origin) -> None:
    """Say where what follows in this task comes from, also in the threads that it starts."""
    _origin.set(origin)


def append(  # a caller names all of them
    connection: Connection,
    *,
    by: str,
    action: str,
    subject: str,
    before: object = None,
    after: object = None,
) -> None:
    """Note an entry in a transaction of `Database.write`; it is kept when, and only if, that commits.

    Args:
        connection: of the change's own transaction.
        by: the principal, or `yard`.
        action: `noun.verb`, as `version.publish`.
        subject: begins with the department (`finance/fuel-cost/3`), or is `yard`.
        before, after: what is worth knowing of both, any value that becomes JSON. Never a secret.

    Raises:
        RuntimeError: not in such a transaction, or an action that is no `noun.verb`: a fault of ours.
    """
    noted: list[Entry] | None = connection.info.get(_NOTED)
    if noted is None or not _ACTION.fullmatch(action):
        message = f"the audit entry {action!r} is no noun.verb, or not in a transaction of Database.write"
        raise RuntimeError(message)
    origin = _origin.get()
    entry = Entry(
        number=0,
        at=datetime.now(UTC),
        by=_line(by),
        action=action,
        subject=_line(subject),
        before=None if before is None else _value(before),
        after=None if after is None else _value(after),
        origin=_line(origin.address),
        request=origin.request,
        via=_line(origin.via),
    )
    noted.append(entry)


@contextmanager
def recording(connection: Connection) -> Iterator[None]:
    """What is appended inside is chained at the end, and forgotten with an exception."""
    info = connection.info  # of the pooled connection, so it must not be left there
    noted: list[Entry] = []
    info[_NOTED] = noted
    try:
        yield
        if noted:
            _chain(connection, noted)
    finally:
        info.pop(_NOTED, None)


def _chain(connection: Connection, noted: list[Entry]) -> None:
    head = connection.execute(select(audit_head).with_for_update()).one()
    number, previous, now = head.number, head.hash, datetime.now(UTC)
    rows = []
    for number, noting in enumerate(noted, number + 1):  # noqa: B020 - goes on from there
        entry = chained(msgspec.structs.replace(noting, number=number, at=now), previous)
        previous = entry.hash
        rows.append(msgspec.structs.asdict(entry))
    connection.execute(insert(audit), rows)
    connection.execute(update(audit_head).values(number=number, hash=previous))


def _line(text: str) -> str:
    """One line that any database holds and any terminal shows."""
    cut = text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"
    return (
        cut
        if cut.isprintable()
        else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)
    )


def _value(value: object) -> str:
    text = msgspec.json.encode(value, enc_hook=str).decode()
    if len(text) > MAX_VALUE:
        digest = hashlib.sha256(text.encode()).hexdigest()
        cut = {"characters": len(text), "sha256": digest, "begins": text[:_BEGIN]}
        text = msgspec.json.encode(cut).decode()
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def head(connection: Connection) -> Mark:
    """The end of the chain, as the database notes it."""
    row = connection.execute(select(audit_head)).one()
    return Mark(row.number, row.hash)


def following(connection: Connection, number: int, most: int) -> list[Entry]:
    """The entries after a number, in their order, at most so many."""
    query = select(audit).where(audit.c.number > number).order_by(audit.c.number).limit(most)
    return [Entry(**row) for row in connection.execute(query).mappings()]


def found(connection: Connection, query: Query, below: int | None, most: int) -> list[Entry]:
    """The entries that a query asks for, newest first: those under a number, and at most so many."""
    where = [audit.c.number < below] if below is not None else []
    if query.by:
        where.append(audit.c.by == query.by)
    if query.request:
        where.append(audit.c.request == query.request)
    if query.action:
        exact = not query.action.endswith(".")
        where.append(audit.c.action == query.action if exact else _begins(audit.c.action, query.action))
    if query.subject:
        below_it = (_begins(audit.c.subject, query.subject + mark) for mark in "/@")
        where.append(or_(audit.c.subject == query.subject, *below_it))
    if query.since is not None:
        where.append(audit.c.at >= query.since)
    if query.until is not None:
        where.append(audit.c.at < query.until)
    rows = select(audit).where(*where).order_by(audit.c.number.desc()).limit(most)
    return [Entry(**row) for row in connection.execute(rows).mappings()]


def _begins(column: Column[str], text: str) -> ColumnElement[bool]:
    return column.startswith(text, autoescape=True)
