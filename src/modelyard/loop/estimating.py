"""Estimates of days whose predictions have come and whose outcomes have not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from modelyard.catalog.registry import Registry
from modelyard.loop.estimates import FEWEST, Calibration, calibration, estimated
from modelyard.records.errors import NotFoundError
from modelyard.records.predictions import Kind, day_of
from modelyard.records.signatures import Signature
from modelyard.store import duties, segments, watch
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty

_MOST_ROWS = 100_000  # of a day, the newest, and of labelled ones
_EVERY = timedelta(minutes=10)  # a day that goes on is estimated anew


class Estimating:
    """Estimates days of classifiers.

    Args:
        scratch: a folder for what is only needed for a moment.
        clock: what time it is.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        registry: Registry,
        scratch: Path,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._registry = registry
        self._scratch = scratch
        self._clock = clock
        self._done: dict[tuple[str, int, datetime], datetime] = {}

    def __call__(self, duty: Duty, days: Iterable[tuple[int, datetime]]) -> None:
        """Estimate these days (version and beginning) of the duty's model.

        Raises:
            LostLeaseError: another engine looks at it now.
        """
        now = self._clock()
        self._done = {key: at for key, at in self._done.items() if now - at < _EVERY}
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
        known = self._calibration(key, signature)
        if known is None:
            return
        with self._database.read() as connection:
            every = segments.of_model(
                connection, model, Kind.PREDICTIONS, since=day, until=day + timedelta(days=1)
            )
        mine = [s for s in reversed(every) if s.version == number and day_of(s.first_at) == day]
        rows = _tall(self._read((s.digest, s.rows) for s in mine))
        if rows is None:
            return
        found = estimated(rows, signature, known, key)
        with self._database.write(unaudited="what is estimated is a record itself") as connection:
            duties.hold(connection, duty)
            watch.put_performance(connection, key, found, estimated=True)

    def _calibration(self, key: tuple[str, int, datetime], signature: Signature) -> Calibration | None:
        """Of labelled rows from days before, so that an estimate knows nothing of its own day."""
        model, number, day = key
        with self._database.read() as connection:
            days = watch.labelled_days(connection, model, number)
        earlier = [d for d in reversed(days) if d.day < day]
        if len(signature.classes) != 2 or sum(d.rows for d in earlier) < FEWEST:  # noqa: PLR2004
            return None
        labelled = _tall(self._read((d.digest, d.rows) for d in earlier))
        return None if labelled is None else calibration(labelled, signature)

    def _read(self, blobs: Iterable[tuple[str, int]]) -> Iterator[pl.DataFrame]:
        rows = 0
        with TemporaryDirectory(dir=self._scratch, prefix="estimate-") as folder:
            for digest, count in blobs:
                if rows and rows + count > _MOST_ROWS:
                    return
                rows += count
                self._blobs.fetch(digest, Path(folder) / digest)
                yield pl.read_parquet(Path(folder) / digest)


def _tall(tables: Iterable[pl.DataFrame]) -> pl.DataFrame | None:
    every = list(tables)
    return pl.concat(every, how="diagonal_relaxed") if every else None
