"""How many rows are asked for in an hour, and whether they lack. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from modelyard.loop.noticing import Noticed
from modelyard.loop.quality import few_rows, is_usual
from modelyard.records.predictions import hour_of

HOUR = timedelta(hours=1)
DAYS = 14


class Hours(Struct, frozen=True):
    """What is known of a model's hours.

    Attributes:
        rows: of each hour of two weeks that had any.
        quiet: the hour since which it is told that there are too few, or None. What is missed does not become
            usual by being missed again.
    """

    rows: Mapping[datetime, int]
    quiet: datetime | None = None

    def before(self, hour: datetime) -> list[int]:
        """The rows of the same hour of days before, since the first that is known: 0 where nobody asked."""
        first = min(self.rows, default=hour)
        until = hour if self.quiet is None else self.quiet
        days = (hour - timedelta(days=n) for n in range(1, DAYS + 1))
        return [self.rows.get(at, 0) for at in days if first <= at < until]

    def few(self, now: datetime) -> Noticed | None:
        """Whether the last hour that is over, and usually has rows, had far fewer."""
        last = hour_of(now) - HOUR
        hour = self._usual(last - n * HOUR for n in range(24))
        return None if hour is None else few_rows(self.rows.get(hour, 0), self.before(hour))

    def _usual(self, hours: Iterable[datetime]) -> datetime | None:
        return next((hour for hour in hours if is_usual(self.before(hour))), None)
