"""Estimates of days whose predictions have come and whose outcomes have not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from modelyard.catalog.registry import Registry
from modelyard.loop.estimates import Estimator, can_estimate, estimator, performances
from modelyard.loop.kept import Kept, drop_old
from modelyard.loop.labelled import Rows, newest, tenths
from modelyard.loop.losses import FEWEST
from modelyard.records.errors import NotFoundError
from modelyard.records.estimates import past_errors
from modelyard.records.predictions import Kind, day_of
from modelyard.records.signatures import Signature
from modelyard.store import duties, segments, watch
from modelyard.store.database import Database
from modelyard.store.duties import Duty

_MOST_ROWS = 100_000  # of a day, the newest
_EVERY = timedelta(minutes=10)  # a day that goes on is estimated anew
_LEARNED = 128  # estimators that are kept in memory, of some 200 kB each


class Estimating:
    """Estimates days of classifiers with probabilities and of regressions.

    Args:
        rows: reads labelled rows and segments.
        clock: what time it is.
    """

    def __init__(
        self, database: Database, rows: Rows, registry: Registry, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._rows = rows
        self._registry = registry
        self._clock = clock
        self._done: dict[tuple[str, int, datetime], datetime] = {}
        self._learned: Kept[tuple[str, int, datetime, int], Estimator | None] = Kept(_LEARNED)

    def __call__(self, duty: Duty, days: Iterable[tuple[int, datetime]]) -> None:
        """Estimate these days (version and beginning) of the duty's model.

        Raises:
            LostLeaseError: another engine looks at it now.
        """
        now = self._clock()
        drop_old(self._done, now - _EVERY, lambda at: at)
        for version, day in days:
            key = (duty.subject, version, day)
            if key not in self._done:
                self._done[key] = now
                self._estimate(duty, key)

    def _estimate(self, duty: Duty, key: tuple[str, int, datetime]) -> None:
        model, number, day = key
        try:
            signature = self._registry.version(model, number).bundle.signature
        except NotFoundError:  # the database is an older backup
            return
        if not can_estimate(signature):  # before its rows are read
            return
        learned = self._estimator(key, signature)
        if learned is None:
            return
        with self._database.read() as connection:
            until = day + timedelta(days=1)
            every = segments.of_model(connection, model, Kind.PREDICTIONS, since=day, until=until)
            known = watch.performances(connection, model, number)
        mine = [s for s in every if s.version == number and day_of(s.first_at) == day]
        rows = self._rows.read(newest(mine, _MOST_ROWS))
        if rows is None:
            return
        excess = {p.metric: p.excess for p in past_errors(p for p in known if p.day < day)}
        found = performances(learned(rows), key, rows.height, lambda metric: excess.get(metric, 0.0))
        with self._database.write(unaudited="what is estimated is a record itself") as connection:
            duties.hold(connection, duty)
            watch.put_performance(connection, key, found, estimated=True)

    def _estimator(self, key: tuple[str, int, datetime], signature: Signature) -> Estimator | None:
        """Of labelled rows from days before, so that an estimate knows nothing of its own day.

        It takes seconds, and outcomes come all day: it is made anew for each day, and with a tenth more rows.
        """
        model, number, day = key
        earlier = self._rows.labelled_days(model, number, before=day)
        if sum(d.rows for d in earlier) < FEWEST:
            return None

        def learn() -> Estimator | None:
            labelled = self._rows.read(earlier)
            return None if labelled is None else estimator(labelled, signature)

        return self._learned.of((*key, tenths(earlier)), learn)
