"""A look at a champion: its newest predictions beside what it was made on and beside its last good day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from modelyard.catalog.facts import measured
from modelyard.catalog.good import last_good_days
from modelyard.catalog.history import History
from modelyard.catalog.policies import metric_of
from modelyard.catalog.registry import Registry
from modelyard.catalog.summaries import Summary
from modelyard.catalog.yardsticks import Yardstick
from modelyard.loop.behind import Looker
from modelyard.loop.discretion import discreet
from modelyard.loop.drift import Usual, noticed, since_good, usual_changes, with_good
from modelyard.loop.labelled import Rows
from modelyard.loop.noticing import FEWEST, Noticed
from modelyard.loop.reference import References
from modelyard.loop.volume import DAYS, HOUR, Hours
from modelyard.loop.worse import worse
from modelyard.records.estimates import Judgement, past_errors
from modelyard.records.models import Version
from modelyard.records.predictions import VOLUME, Finding, day_of, hour_of
from modelyard.records.references import CHAMPION
from modelyard.store import aliases, duties, segments, versions, watch
from modelyard.store.database import Database
from modelyard.store.duties import Duty

_ENOUGH = 2_000  # rows of a window, which is made of the last hours that have so many, or of
_LONGEST = timedelta(days=3)  # all of these
_LATE = timedelta(minutes=5)  # until an hour's predictions have been shipped by all nodes

_Days = tuple[int, tuple[datetime, ...]]  # a version's


class _Day(NamedTuple):
    """The last 24 hours: since when, what was asked, the last good day, and what has moved since that."""

    since: datetime
    window: Summary
    good: Summary | None = None
    found: Sequence[Noticed] = ()


class Looking:
    """Looks at champions.

    Args:
        rows: reads labelled rows and segments.
        scratch: a folder for what is only needed for a moment.
        clock: what time it is.
    """

    def __init__(
        self,
        database: Database,
        history: History,
        rows: Rows,
        registry: Registry,
        scratch: Path,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._history = history
        self._registry = registry
        self._clock = clock
        self._references = References(database, history, registry, scratch)
        self._looker = Looker(database, rows, registry, clock)
        self._usual: dict[str, tuple[_Days, Usual]] = {}  # the last of each model

    def look(self, duty: Duty) -> list[Finding]:
        """Look at the champion of the duty's model, and write down what is noticed and what is over.

        Raises:
            LostLeaseError: another engine looks at it now.
        """
        model, now = duty.subject, self._clock()
        with self._database.read() as connection:
            number = aliases.of_model(connection, model).get(CHAMPION)
            version = versions.get(connection, model, number) if number is not None else None
        reference = self._references(version, now) if version is not None else None
        if version is None or reference is None:
            return []
        since, until = self._span(version, now)
        window = self._history.window(model, version.version, since, until)
        if window.rows < FEWEST:  # nothing can be said, so nothing is over either
            return []
        findings = self._findings(version, reference, window, (since, min(until, now)))
        marked = self._registry.datasets.marks_of_model(model)
        findings = [discreet(finding, marked) for finding in findings]
        with self._database.write(unaudited="findings are a record themselves") as connection:
            duties.hold(connection, duty)
            kept = [watch.notice(connection, finding) for finding in findings]
            watch.close_others(connection, model, version.version, [f.subject for f in kept], now)
        return kept

    def next_look(self, model: str) -> datetime | None:
        """When another hour is over, which may lack its rows; None where nothing was asked for three days:
        such a model is looked at when something is.
        """
        now = self._clock()
        with self._database.read() as connection:
            asked = segments.counts(connection, model, segments.HOUR, now - _LONGEST)
        return hour_of(now) + HOUR + _LATE if asked else None

    def _findings(
        self, version: Version, reference: Yardstick, window: Summary, span: tuple[datetime, datetime]
    ) -> list[Finding]:
        now = self._clock()
        last = self._day(version, now)
        found = with_good(noticed(reference.summary, window), last.found)
        if few := self._few(version.model, now):
            found.append(few)
        day = (last.since, now)
        ours = [
            self._finding(version, f, reference.source, window.rows, span) for f in found if not f.against
        ]
        made = self._looker(ours, version, reference.summary, window)
        if last.good is not None:  # what only the last good day shows is behind its rows and no others
            fresh = [self._finding(version, f, f.against, last.window.rows, day) for f in found if f.against]
            made += self._looker(fresh, version, last.good, last.window)
        return [*made, *self._worse(version, now)]

    def _day(self, version: Version, now: datetime) -> _Day:
        """What has moved in the last 24 hours, compared with the last good day."""
        until = hour_of(now) + HOUR
        since = until - timedelta(days=1)
        with self._database.read() as connection:
            days = last_good_days(connection, version.model, version.version, since)
        window = self._history.window(version.model, version.version, since, until)
        if not days or window.rows < FEWEST:
            return _Day(since, window)
        against = f"the last good day, {days[-1]:%Y-%m-%d}"
        good = self._whole_day(version, days[-1])
        usual = self._usual_changes(version, tuple(days[-DAYS:]))
        return _Day(since, window, good, since_good(good, window, usual, against))

    def _usual_changes(self, version: Version, days: tuple[datetime, ...]) -> Usual:
        """What is usual in these days. They are read when others are the good ones, which is once a day, and
        not at each look: they are over, and what comes late of them changes little.
        """
        made_of = version.version, days
        known = self._usual.get(version.model)
        if known is None or known[0] != made_of:
            usual = usual_changes([self._whole_day(version, day) for day in days])
            known = self._usual[version.model] = made_of, usual
        return known[1]

    def _whole_day(self, version: Version, day: datetime) -> Summary:
        return self._history.window(version.model, version.version, day, day + timedelta(days=1))

    def _worse(self, version: Version, now: datetime) -> list[Finding]:
        """Whether the version has become worse than in its first month: measured, or estimated by estimates
        that have earned trust.
        """
        policy = self._registry.policies.policy(version.model)
        with self._database.read() as connection:
            metric = metric_of(connection, policy, version.bundle.signature)
            every = watch.performances(connection, version.model, version.version, str(metric))
        trusted = any(p.judgement is Judgement.TRUSTED for p in past_errors(every))
        for estimated in (False, True) if trusted else (False,):
            known = measured([p for p in every if p.estimated is estimated], metric, now)
            if known is None:
                continue
            found = worse(known)
            span = (day_of(now) - timedelta(days=7), now)
            return [self._finding(version, found, "its first month", known.labels, span)] if found else []
        return []

    def _span(self, version: Version, now: datetime) -> tuple[datetime, datetime]:
        """The last whole hours that have enough rows, with that which goes on."""
        until = hour_of(now) + HOUR
        with self._database.read() as connection:
            hours = segments.counts(connection, version.model, segments.HOUR, until - _LONGEST)
        rows, since = 0, until
        for at, number, count in reversed(hours):
            if number == version.version and at < until and rows < _ENOUGH:
                rows, since = rows + count, at
        return since, until

    def _few(self, model: str, now: datetime) -> Noticed | None:
        since = hour_of(now) - timedelta(days=DAYS + 1)
        with self._database.read() as connection:
            counted = segments.counts(connection, model, segments.HOUR, since)
            told = [f.noticed_at for f in watch.open_findings(connection, model) if f.kind == VOLUME]
        rows: dict[datetime, int] = {}
        for at, _, some in counted:
            rows[at] = rows.get(at, 0) + some
        return Hours(rows, hour_of(min(told)) - HOUR if told else None).few(now)

    def _finding(
        self, version: Version, found: Noticed, against: str, rows: int, span: tuple[datetime, datetime]
    ) -> Finding:
        now = self._clock()
        return Finding(
            model=version.model,
            version=version.version,
            kind=found.kind,
            level=found.level,
            words=found.words,
            since=span[0],
            until=span[1],
            noticed_at=now,
            seen_at=now,
            column=found.column,
            effect=found.effect,
            measure=found.measure,
            rows=rows,
            share=found.share,
            against=against,
            good_effect=found.good_effect,
        )
