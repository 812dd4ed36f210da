"""The last good day of a version: what its newest predictions are compared with beside the reference."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

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
    troubled = watch.troubled(connection, model, version, until - _BACK)
    return [
        day
        for day, number, rows in counted
        if number == version
        and rows >= _FEWEST
        and day + _DAY <= until
        and not any(begin < day + _DAY and (end is None or end > day) for begin, end in troubled)
    ]
