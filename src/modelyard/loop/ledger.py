"""The step that keeps the ledger: one duty for the yard, looked at every few seconds.

It writes down what is kept and what jobs took, measures what answers were worth where outcomes or statements
are new, and has budgets say what they have to say. All of it may be repeated.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from modelyard.catalog.ledger import KIND, SUBJECT, Ledgers
from modelyard.catalog.registry import Registry
from modelyard.loop.labelled import Rows
from modelyard.loop.value import Part, asked_again, measure
from modelyard.records.errors import NotFoundError
from modelyard.records.models import Version
from modelyard.records.months import Month
from modelyard.records.predictions import Labelled
from modelyard.records.worth import Measured, Statement, WorthKind
from modelyard.store import duties, ledger, watch
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty

__all__ = ["KIND", "SUBJECT", "LedgerStep", "Rhythm"]

_KEEPS = "the ledger: what stands elsewhere, added up"
_MARGIN = timedelta(minutes=10)  # transactions that began before a look may end after it; clocks differ
_REST = 100.0

Again = Callable[[Version, pl.DataFrame], tuple[pl.DataFrame | None, str]]


class Pace:
    """Has something that grows with the yard take a hundredth of a processor at most.

    Use it as a context manager around the work.

    Args:
        rest: how many times as long as the work took nothing is done.
    """

    def __init__(self, rest: float) -> None:
        self._rest = rest
        self._next = 0.0
        self._began = 0.0

    def is_due(self) -> bool:
        """Whether the work may be done again."""
        return time.monotonic() >= self._next

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        self._next = now + self._rest * (now - self._began)


class Rhythm(NamedTuple):
    """How often to look: seconds between two looks, and how long work that grows with the yard rests."""

    every: float
    rest: float = _REST


class LedgerStep:
    """The step of the duty `ledger`.

    Args:
        scratch: a folder for what is only needed for a moment.
        rhythm: how often to look.
        clock: what time it is.
        again: has a version answer recorded rows anew; what it answered, and why not to more.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        registry: Registry,
        scratch: Path,
        rhythm: Rhythm,
        clock: Callable[[], datetime],
        again: Again,
    ) -> None:
        self._database = database
        self._rows = Rows(database, blobs, scratch)
        self._registry = registry
        self._ledgers = Ledgers(database, clock)
        self._every = timedelta(seconds=rhythm.every)
        self._clock = clock
        self._seen: datetime | None = None  # all that changed before has been looked at
        self._again, self._rest = again, rhythm.rest
        self._storage, self._budgets = Pace(rhythm.rest), Pace(rhythm.rest)
        self._paces: dict[str, Pace] = {}  # of models whose baseline is asked again
        self._later: dict[str, set[Month]] = {}  # months that were left for their next turn

    def __call__(self, duty: Duty) -> datetime:
        """Look once; when to look again."""
        if self._storage.is_due():
            with self._storage:
                self._note_storage(duty)
        with self._database.write(unaudited=_KEEPS) as connection:
            duties.hold(connection, duty)
            while ledger.note_jobs(connection):
                pass
        self._measure(duty)
        if self._budgets.is_due():
            with self._budgets:
                self._ledgers.warn()
        return self._clock() + self._every

    def _note_storage(self, duty: Duty) -> None:
        with self._database.read() as connection:  # it may take a while, and holds up nobody
            found = ledger.kept(connection)
        with self._database.write(unaudited=_KEEPS) as connection:
            duties.hold(connection, duty)
            ledger.note_storage(connection, found, self._clock())

    def _measure(self, duty: Duty) -> None:
        now = self._clock()
        with self._database.read() as connection:
            stated = {
                model: statement
                for model, statement in ledger.statements(connection).items()
                if statement.worth.kind is not WorthKind.TIME
            }
            fresh = [m for m, s in stated.items() if self._seen is None or s.stated_at >= self._seen]
            months = ledger.labelled_months(connection, stated, self._seen)
            months |= ledger.labelled_months(connection, fresh, None)
        for model, statement in stated.items():
            for month in sorted(months.get(model, set()) | self._later.get(model, set())):
                if self._measure_month(duty, model, month, statement):
                    self._later.get(model, set()).discard(month)
        self._seen = now - _MARGIN

    def _measure_month(self, duty: Duty, model: str, month: Month, stated: Statement) -> bool:
        """Measure a month if it has changed; False where it is left for its next turn."""
        with self._database.read() as connection:
            days = watch.labelled_days(connection, model, since=month.begins, until=month.ends)
            known = ledger.made_of(connection, model, str(month))
        source = _made_of(stated, days)
        if source == known:
            return True
        pace = self._paces.setdefault(model, Pace(self._rest))
        if known and not pace.is_due():
            self._later.setdefault(model, set()).add(month)
            return False
        with pace:
            found = self._measured(model, stated, days)
        with self._database.write(unaudited=_KEEPS) as connection:
            duties.hold(connection, duty)
            if ledger.statements(connection, model).get(model) == stated:  # else the next look does it
                ledger.put_measured(connection, model, str(month), source, found)
        return True

    def _measured(self, model: str, stated: Statement, days: list[Labelled]) -> Measured:
        parts = {day: self._part(model, day) for day in days}
        baseline = stated.worth.version
        found = [part for day, part in parts.items() if part and day.version != baseline]
        older = [part for day, part in parts.items() if part and day.version == baseline]
        tasks = {part.signature.task for part in found}
        if len(tasks) > 1:
            return Measured(0, why="Versions of this month answer numbers and classes: nothing adds up.")
        failed = "" if baseline is None else self._ask_again(model, baseline, found, older)
        return measure(found, stated.worth, older, failed)

    def _ask_again(self, model: str, baseline: int, found: list[Part], older: list[Part]) -> str:
        """Add what the baseline answers to rows that it has not answered; why not to all."""
        rows = asked_again(found, older)
        if rows is None:
            return ""
        version = self._registry.version(model, baseline)
        answered, why = self._again(version, rows)
        if answered is not None:
            older.append(Part(version.bundle.signature, answered))
        return why

    def _part(self, model: str, day: Labelled) -> Part | None:
        try:
            signature = self._registry.version(model, day.version).bundle.signature
        except NotFoundError:  # the database is an older backup
            return None
        rows = self._rows.read([day])
        return None if rows is None else Part(signature, rows)


def _made_of(stated: Statement, days: list[Labelled]) -> str:
    """What a measurement depends on, as a digest."""
    told = [msgspec.json.encode(stated.worth), *(day.digest.encode() for day in days)]
    return hashlib.sha256(b"\n".join(told)).hexdigest()
