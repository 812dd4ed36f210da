"""What the watch knows of a model, for people: outcomes, performance, findings, and how rows are kept."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from modelyard.catalog import looked_up
from modelyard.catalog.good import last_good_days
from modelyard.catalog.own_metrics import OwnMetrics
from modelyard.catalog.sightings import Sightings
from modelyard.records.errors import NotFoundError
from modelyard.records.estimates import PastError, past_errors
from modelyard.records.predictions import Finding, Keeping, Labelled, Performance, hour_of
from modelyard.records.references import CHAMPION
from modelyard.store import aliases, audit, segments, watch
from modelyard.store.database import Database

_SHOWN = timedelta(days=60)
_JUDGED = timedelta(days=180)  # that estimates are judged by


class OutcomesState(Struct, frozen=True):
    """The outcomes of a model.

    Attributes:
        labelled: predictions whose outcome is known.
        waiting: outcomes that no prediction was found for yet.
        waiting_since: when the oldest of these came.
        last: when outcomes were matched last.
    """

    model: str
    labelled: int
    waiting: int
    waiting_since: datetime | None
    last: datetime | None


class Window(Struct, frozen=True):
    """One day of a version: its predictions, and how many of them have outcomes."""

    day: datetime
    version: int
    rows: int
    labels: int


class Watched(Struct, frozen=True):
    """A model at sea: its days, how well it did, and what is noticed now.

    Attributes:
        windows: by day, of the last sixty, oldest first.
        metrics: by day, of the same days; estimates are among them.
        estimates: how far each version's estimates were from what came, over the last 180 days.
        findings: those that are not over, the gravest first.
        reference: what the champion's predictions are compared with, in words, or empty.
        last_good: the last day of the champion without a finding above low that nobody has seen, which they
            are compared with, too; None where there is none yet.
    """

    model: str
    champion: int | None
    windows: list[Window]
    metrics: list[Performance]
    estimates: list[PastError]
    findings: list[Finding]
    outcomes: OutcomesState
    reference: str
    last_good: datetime | None


class Watching:
    """What the watch knows. Every method is one transaction; NotFoundError is for an unknown model.

    Attributes:
        own: metrics of a model's own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.sightings = Sightings(database)
        self.own = OwnMetrics(database)

    def watched(self, model: str, now: datetime | None = None) -> Watched:
        """A model at sea."""
        now = now or datetime.now(UTC)
        since = now - _SHOWN
        with self._database.read() as connection:
            looked_up.known(connection, model)
            champion = aliases.of_model(connection, model).get(CHAMPION)
            counts = segments.counts(connection, model, segments.DAY, since)
            days = watch.labelled_days(connection, model)
            labelled = {(d.version, d.day): d.rows for d in days}
            profile = segments.profile(connection, model, champion) if champion is not None else None
            every = watch.performances(connection, model, since=now - _JUDGED)
            until = hour_of(now) - timedelta(hours=23)
            good = last_good_days(connection, model, champion, until) if champion is not None else []
            return Watched(
                model=model,
                champion=champion,
                windows=[Window(at, v, rows, labelled.get((v, at), 0)) for at, v, rows in counts],
                metrics=[p for p in every if p.day >= since],
                estimates=past_errors(every),
                findings=watch.open_findings(connection, model),
                outcomes=_outcomes(connection, model, days),
                reference=profile[0] if profile else "",
                last_good=good[-1] if good else None,
            )

    def outcomes(self, model: str) -> OutcomesState:
        """How many outcomes came, and how many wait for their prediction."""
        with self._database.read() as connection:
            looked_up.known(connection, model)
            return _outcomes(connection, model, watch.labelled_days(connection, model))

    def performance(
        self, model: str, version: int | None = None, metric: str = "", *, slices: bool = False
    ) -> list[Performance]:
        """Performance by day, oldest first; see `store.watch.performances`."""
        with self._database.read() as connection:
            looked_up.known(connection, model)
            return watch.performances(connection, model, version, metric, slices=slices)

    def findings(self, model: str) -> list[Finding]:
        """All findings of a model, those that are over as well, newest first."""
        with self._database.read() as connection:
            looked_up.known(connection, model)
            return watch.findings_of(connection, [model])

    def acknowledge(self, model: str, number: int, *, by: str) -> Finding:
        """Write down that a person has seen a finding."""
        with self._database.write() as connection:
            found = watch.finding(connection, number)
            if found is None or found.model != model:
                hint = f"See what there is: yard watch {model}."
                raise NotFoundError(f"{model} has no finding {number}.", hint)
            watch.acknowledge(connection, number, by)
            audit.append(connection, by=by, action="finding.acknowledge", subject=model, after=number)
            return msgspec.structs.replace(found, acknowledged_by=by)

    def keeping(self, model: str) -> Keeping:
        """How a model's rows are kept."""
        with self._database.read() as connection:
            looked_up.known(connection, model)
            return segments.rules(connection).get(model, (Keeping(), b""))[0]

    def keep(self, model: str, rule: Keeping, *, by: str) -> Keeping:
        """Set how a model's rows are kept; `hash` holds for what is shipped from now on."""
        with self._database.write() as connection:
            looked_up.known(connection, model)
            before = segments.rules(connection).get(model, (Keeping(), b""))[0]
            segments.put_rule(
                connection, model, rule, salt=secrets.token_bytes(32), by=by, at=datetime.now(UTC)
            )
            audit.append(connection, by=by, action="keeping.set", subject=model, before=before, after=rule)
            return rule


def _outcomes(connection: Connection, model: str, days: list[Labelled]) -> OutcomesState:
    waits = watch.waiting(connection, model)
    return OutcomesState(
        model=model,
        labelled=sum(day.rows for day in days),
        waiting=waits.rows if waits else 0,
        waiting_since=waits.first_at if waits else None,
        last=max((day.changed_at for day in days), default=None),
    )
