"""What the watch keeps, on both databases: labels, performance by day, findings that open, grow and end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from modelyard.records.policies import Level
from modelyard.records.predictions import Finding, Labelled, Performance
from modelyard.store import watch
from modelyard.store.database import Database

MODEL = "finance/fuel-cost"
DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def finding(level: Level = Level.LOW, at: datetime = DAY, column: str = "x", version: int = 1) -> Finding:
    return Finding(
        MODEL, version, "drift", level, "It moved.", at - HOUR, at, noticed_at=at, seen_at=at, column=column
    )


def day(version: int, at: datetime, value: float, *, slice: str = "", estimated: bool = False) -> Performance:  # noqa: A002
    return Performance(MODEL, version, at, "mae", slice, value, value - 1, value + 1, 10, estimated)


def test_labels_are_counted_from_a_time_on(database: Database) -> None:
    with database.write() as connection:
        watch.count_labels(connection, MODEL, DAY, 5)
        watch.count_labels(connection, MODEL, DAY + HOUR, 7)
        watch.count_labels(connection, "finance/other", DAY + HOUR, 100)
        watch.count_labels(connection, MODEL, DAY + HOUR, 0)
    with database.read() as connection:
        assert watch.labelled_since(connection, MODEL, DAY - HOUR) == 12
        assert watch.labelled_since(connection, MODEL, DAY) == 7
        assert watch.labelled_since(connection, MODEL, DAY + HOUR) == 0
        assert watch.labelled_since(connection, "finance/none", DAY) == 0


def test_a_day_of_labels_is_replaced_whole(database: Database) -> None:
    first = Labelled(MODEL, 1, DAY, 5, "a" * 64, DAY)
    later = Labelled(MODEL, 1, DAY, 9, "b" * 64, DAY + HOUR)
    with database.write() as connection:
        assert watch.put_labelled(connection, first) == ""
        assert watch.put_labelled(connection, later) == "a" * 64
        watch.put_labelled(connection, Labelled(MODEL, 2, DAY, 1, "c" * 64, DAY))
    with database.read() as connection:
        assert watch.labelled_days(connection, MODEL, 1) == [later]
        assert len(watch.labelled_days(connection, MODEL)) == 2


def test_performance_of_a_day_is_replaced_and_estimates_stand_beside(database: Database) -> None:
    key = (MODEL, 1, DAY)
    with database.write() as connection:
        watch.put_performance(connection, key, [day(1, DAY, 3.0), day(1, DAY, 9.0, slice="carrier=UA")])
        watch.put_performance(connection, key, [day(1, DAY, 4.0, estimated=True)], estimated=True)
        watch.put_performance(connection, key, [day(1, DAY, 2.0)])
        watch.put_performance(connection, (MODEL, 2, DAY), [day(2, DAY, 7.0)])
    with database.read() as connection:
        found = watch.performances(connection, MODEL, 1)
        assert {(p.value, p.estimated) for p in found} == {(2.0, False), (4.0, True)}
        assert len(watch.performances(connection, MODEL)) == 3
        assert watch.performances(connection, MODEL, metric="rmse") == []
        assert watch.performances(connection, MODEL, since=DAY + HOUR) == []
        assert watch.performances(connection, MODEL, 1, slices=True) == found  # the slice went with its day


def test_a_finding_opens_once_grows_and_ends(database: Database) -> None:
    with database.write() as connection:
        first = watch.notice(connection, finding())
        watch.acknowledge(connection, first.id, "anna")
        same = watch.notice(connection, finding(at=DAY + HOUR))
        assert (same.id, same.noticed_at, same.acknowledged_by) == (first.id, DAY, "anna")
        graver = watch.notice(connection, finding(Level.HIGH, DAY + 2 * HOUR))
        assert (graver.id, graver.acknowledged_by) == (first.id, "")
        watch.notice(connection, finding(Level.MEDIUM, DAY, column="y"))
    with database.read() as connection:
        assert [f.column for f in watch.open_findings(connection, MODEL)] == ["x", "y"]
        assert watch.finding(connection, first.id) == graver
        assert watch.finding(connection, 999) is None
    with database.write() as connection:
        assert watch.close_others(connection, MODEL, 1, ["drift:y"], DAY + 3 * HOUR) == 1
        again = watch.notice(connection, finding(at=DAY + 4 * HOUR))
        assert again.id != first.id
    with database.read() as connection:
        over = watch.finding(connection, first.id)
        assert over is not None
        assert over.closed_at == DAY + 3 * HOUR
        assert next(f.id for f in watch.findings_of(connection, [MODEL])) == again.id
        assert watch.findings_of(connection, ["finance/other"]) == []
        assert len(watch.findings_of(connection, limit=2)) == 2


def test_a_new_version_ends_the_findings_of_the_old(database: Database) -> None:
    with database.write() as connection:
        watch.notice(connection, finding())
        assert watch.close_others(connection, MODEL, 2, ["drift:x"], DAY) == 1
    with database.read() as connection:
        assert watch.open_findings(connection, MODEL) == []
