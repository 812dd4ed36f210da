"""How a model did, as its page draws it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from modelyard.records.predictions import Performance
from modelyard.web.course import by_day

DAY = datetime(2026, 11, 26, tzinfo=UTC)


def measured(version: int, labels: int, day: datetime = DAY) -> Performance:
    return Performance("finance/fuel", version, day, "mae", "", 1.0 * version, 0.0, 9.0, labels)


def test_a_day_on_which_a_version_took_over_is_told_by_the_one_that_goes_on() -> None:
    later = DAY + timedelta(days=1)
    days = [measured(1, 751), measured(2, 749), measured(2, 90, later), measured(3, 10, later)]
    assert [(day.day, day.version) for day in by_day(days)] == [(DAY, 2), (later, 2)]
    assert by_day([]) == ()
