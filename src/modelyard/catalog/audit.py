"""The audit: searched, verified against its checkpoint, exported, and noted where nothing else is changed."""

from __future__ import annotations

import csv
import io
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from modelyard.catalog.past import answering
from modelyard.records.audit import BEGINNING, Chain, Entry, Fault, Mark, Query, Verified
from modelyard.records.errors import UnavailableError
from modelyard.records.history import Answering
from modelyard.records.references import Reference
from modelyard.store import audit
from modelyard.store.database import Database

log = logging.getLogger(__name__)

MOST = 1_000  # entries of one listing
_PAGE = 5_000  # entries read in one transaction: on SQLite a reader holds writers up
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Audit:
    """The audit of a yard.

    Args:
        database: upgraded already.
        checkpoint: the file of this node in which the end of the chain is noted, outside the database. So
            whoever can write to the database alone cannot cut the chain's end, or write it anew, unseen.
    """

    def __init__(self, database: Database, checkpoint: Path) -> None:
        self._database = database
        self._checkpoint = checkpoint

    def note(self, *, by: str, action: str, subject: str, after: object = None) -> None:
        """Write an entry about what changes nothing: a download."""
        with self._database.write() as connection:
            audit.append(connection, by=by, action=action, subject=subject, after=after)

    def note_refused(self, refused: Iterable[tuple[audit.Origin, str, str, object]]) -> None:
        """Write entries about attempts that were refused: where from, by whom, on what, and what is known."""
        with self._database.write() as connection:
            for origin, by, subject, after in refused:
                audit.came_from(origin)
                audit.append(connection, by=by, action="request.refuse", subject=subject, after=after)

    def entries(self, query: Query, below: int | None = None, most: int = MOST) -> list[Entry]:
        """The entries asked for, newest first: those under a number, and at most so many."""
        with self._database.read() as connection:
            return audit.found(connection, query, below, min(most, MOST))

    def answering(self, reference: Reference, at: datetime) -> Answering:
        """What a reference meant at a time; see `catalog.past`."""
        return answering(self._database, reference, at)

    def every(self, query: Query) -> Iterator[Entry]:
        """All entries asked for, newest first, read in pages."""
        below: int | None = None
        while page := self.entries(query, below):
            yield from page
            below = page[-1].number

    def verify(self, marks: Iterable[Mark] = ()) -> Verified:
        """Follow the whole chain and compare it with the checkpoint and with these marks.

        Entries that are written meanwhile are not looked at.

        Raises:
            UnavailableError: the database does not answer, or the checkpoint file is damaged.
        """
        own = self.checkpoint()
        compared = (*([own] if own else []), *marks)
        with self._database.read() as connection:
            head = audit.head(connection)
        faults = self._follow(Chain(marks=compared), 0, head)
        return Verified(head.number, head.hash, datetime.now(UTC), compared, faults)

    def checkpoint(self) -> Mark | None:
        """What this node's checkpoint file says; None where there is none yet.

        Raises:
            UnavailableError: the file is damaged.
        """
        try:
            return msgspec.json.decode(self._checkpoint.read_bytes(), type=Mark)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise UnavailableError(
                f"The audit's checkpoint {self._checkpoint} cannot be read: {error}.",
                "Restore it, or move it aside; then only checkpoints kept elsewhere show a cut end.",
            ) from error

    def advance(self) -> tuple[Fault, ...]:
        """Move the checkpoint to the chain's end, where the chain goes on from it unbroken.

        Returns:
            Why it does not: the file stays as it is then, so that `verify` shows it, too.
        """
        mark = self.checkpoint() or Mark(0, BEGINNING)
        with self._database.read() as connection:
            head = audit.head(connection)
        if (head.number, head.hash) == (mark.number, mark.hash):
            return ()
        faults = self._follow(Chain(mark, (mark,)), mark.number, head)
        if not faults:
            self._write(Mark(head.number, head.hash, datetime.now(UTC)))
        return faults

    def _follow(self, chain: Chain, number: int, head: Mark) -> tuple[Fault, ...]:
        while number < head.number:
            with self._database.read() as connection:
                page = audit.following(connection, number, _PAGE)
            for entry in page:
                if entry.number > head.number:
                    return chain.faults(head)
                chain.feed(entry)
            if not page:
                break
            number = page[-1].number
        return chain.faults(head)

    def _write(self, mark: Mark) -> None:
        new = self._checkpoint.with_name(f".{self._checkpoint.name}-{os.getpid()}")
        with new.open("wb") as file:
            file.write(msgspec.json.encode(mark))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._checkpoint)


class Checkpoints:
    """Moves the checkpoint on, in a thread of the engine, as long as it runs.

    What was written in the last `every` seconds before the yard is killed is not in it: that much could be
    cut from the end without being seen.
    """

    def __init__(self, audit: Audit, every: float = 1.0) -> None:
        self._audit = audit
        self._every = every
        self._stopping = threading.Event()
        self._told: tuple[Fault, ...] = ()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Move it on for the last time, and end."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            self._advance()
        self._advance()

    def _advance(self) -> None:
        try:
            faults = self._audit.advance()
        except Exception as error:  # noqa: BLE001 - the database may be away, or not brought up to date yet
            log.warning("the audit's checkpoint cannot be moved on: %s", error)
            return
        if faults and faults != self._told:
            log.error("THE AUDIT IS NOT WHAT WAS WRITTEN: entry %s %s", faults[0].number, faults[0].words)
        self._told = faults


def to_csv(entries: Iterable[Entry]) -> Iterator[str]:
    """The entries as CSV, in pieces, a header first.

    A cell that a spreadsheet would take for a formula has an apostrophe in front (OWASP, CSV injection).
    """
    yield _line(Entry.__struct_fields__)
    for entry in entries:
        yield _line(escaped(_cell(getattr(entry, name))) for name in Entry.__struct_fields__)


def escaped(cell: str) -> str:
    """The cell, harmless in a spreadsheet.

    >>> escaped("=1+1"), escaped("anna")
    ("'=1+1", 'anna')
    """
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else str(value)


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
