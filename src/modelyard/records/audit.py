"""Audit entries: who did what to what, from where. Each is chained to the one before by its hash.

The hash of an entry is the sha256 of the JSON array of all its own fields, in the order in which `Entry` has
them, with the hash of the entry before it in front. So whoever has one hash that was noted elsewhere can tell
whether any entry up to it was changed, taken out, put in or moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct

YARD = "yard"  # who acts when the yard does so by itself; also the subject of what concerns all of it
BEGINNING = "0" * 64  # stands for the entry before the first


class Entry(Struct, frozen=True):
    """One entry.

    Attributes:
        number: 1, 2, 3 … without a gap.
        at: when it was written, UTC, in microseconds.
        by: the principal; `yard` where the yard acted by itself; empty where nobody knows who it was.
        action: `noun.verb`, as `version.publish`.
        subject: what it was done to, beginning with the department (`finance/fuel-cost/3`), or `yard`.
        before, after: JSON texts, None where there is nothing to say.
        origin: the address it came from, empty for the yard itself.
        request: the id of the request (`X-Request-Id`), empty for the yard itself.
        via: what they showed to come in, as `token 7`.
        hash: see above.
    """

    number: int
    at: datetime
    by: str
    action: str
    subject: str
    before: str | None
    after: str | None
    origin: str
    request: str
    via: str
    hash: str = ""


def chained(entry: Entry, previous: str) -> Entry:
    """The entry with its hash.

    Args:
        entry: its own `hash` is not read.
        previous: the hash of the entry before it; BEGINNING for the first.
    """
    fields = [getattr(entry, name) for name in Entry.__struct_fields__[:-1]]
    return msgspec.structs.replace(
        entry, hash=hashlib.sha256(msgspec.json.encode([previous, *fields])).hexdigest()
    )


class Mark(Struct, frozen=True):
    """How far the chain went at a time, noted where the database's owner cannot change it."""

    number: int
    hash: str
    at: datetime | None = None


class Fault(Struct, frozen=True):
    """Something that is wrong with the chain, at an entry."""

    number: int
    words: str


class Verified(Struct, frozen=True):
    """What a verification found.

    Attributes:
        entries: how many there are, and `hash` that of the last: note both elsewhere to prove it later.
        marks: the checkpoints it was compared with.
        faults: none where all is as it was written; at most `MAX_FAULTS` of them.
    """

    entries: int
    hash: str
    at: datetime
    marks: tuple[Mark, ...] = ()
    faults: tuple[Fault, ...] = ()


MAX_FAULTS = 100


class Chain:
    """Follows a chain entry by entry and notes what is wrong.

    Args:
        begin: where it begins: by default before the first entry.
        marks: what was noted of it elsewhere.

    >>> chain = Chain()
    >>> chain.faults(Mark(0, BEGINNING))
    ()
    """

    def __init__(self, begin: Mark | None = None, marks: Iterable[Mark] = ()) -> None:
        self._last = begin or Mark(0, BEGINNING)
        self._marks: dict[int, list[Mark]] = {}
        self._found: list[Fault] = []
        for mark in marks:
            self._marks.setdefault(mark.number, []).append(mark)

    def feed(self, entry: Entry) -> None:
        """Follow the next entry, in the order of numbers."""
        due = self._last.number + 1
        if entry.number != due:
            missing = str(due) if entry.number == due + 1 else f"{due} to {entry.number - 1}"
            self._note(due, f"missing: {missing}" if entry.number > due else f"twice: {entry.number}")
        elif chained(entry, self._last.hash).hash != entry.hash:
            self._note(entry.number, "is not what was written, or not where")
        for mark in self._marks.get(entry.number, ()):
            if mark.hash != entry.hash:
                self._note(entry.number, "is another than a checkpoint says: the chain was written anew")
        self._last = Mark(entry.number, entry.hash)

    def faults(self, head: Mark) -> tuple[Fault, ...]:
        """What was found, when the end is reached.

        Args:
            head: the end that the database itself notes.
        """
        last = self._last
        if (head.number, head.hash) != (last.number, last.hash):
            self._note(last.number, f"is the last entry, but the database noted {head.number} as the last")
        beyond = max((number for number in self._marks if number > last.number), default=None)
        if beyond is not None:
            self._note(last.number, f"is the last entry, but a checkpoint has seen {beyond}: the end is cut")
        return tuple(self._found)

    def _note(self, number: int, words: str) -> None:
        if len(self._found) < MAX_FAULTS:
            self._found.append(Fault(number, words))


class Query(Struct, frozen=True):
    """Which entries are asked for; what is left empty does not count.

    Attributes:
        subject: it, or what begins with it and a `/` or `@` after it.
        action: `noun.verb`, or `noun.` for all of a noun.
        since, until: from and up to and without a time.
    """

    by: str = ""
    action: str = ""
    subject: str = ""
    request: str = ""
    since: datetime | None = None
    until: datetime | None = None
