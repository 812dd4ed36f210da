"""The last good day of a version: what its newest predictions are compared with beside the reference."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from modelyard.records.policies import Level
from modelyard.records.predictions import Finding
from modelyard.store import segments, watch

_DAY = timedelta(days=1)
_FEWEST = 200  # rows
_BACK = timedelta(days=90)  # a day that is longer ago is another season


def last_good_days(connection: Connection, model: str, version: int, until: datetime) -> list[datetime]:
    """The good days of a version, oldest first.

    These are whole days that are over by `until`, have 200 rows, and on which no finding of level medium or
    high was open that nobody has acknowledged.
    """
    counted = segments.counts(connection, model, segments.DAY, until - _BACK)
    found = [f for f in watch.findings_of(connection, [model]) if f.version == version and _counts(f)]
    return [
        day
        for day, number, rows in counted
        if number == version
        and rows >= _FEWEST
        and day + _DAY <= until
        and not any(_on(f, day) for f in found)
    ]


def _counts(found: Finding) -> bool:
    return found.level is not Level.LOW and not found.acknowledged_by


def _on(found: Finding, day: datetime) -> bool:
    return found.noticed_at < day + _DAY and (found.closed_at is None or found.closed_at > day)
