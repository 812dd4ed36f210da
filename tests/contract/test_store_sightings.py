"""What pages ask of the watch, on both databases: findings by department, level, state; how models stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from modelyard.catalog.sightings import Answering, Sightings, limit_of
from modelyard.records.errors import NotFoundError
from modelyard.records.findings import Asked, FindingState
from modelyard.records.metrics import Metric
from modelyard.records.policies import Level, Policy, Promote, Retrain
from modelyard.records.predictions import Finding, Performance
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.store import departments, models, policies, segments, sightings, watch
from modelyard.store.database import Database

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FUEL, DELAY, OTHER = "finance/fuel-cost", "operations/delay", "finance-two/x"
NUMBERS = Signature((Column("x", ColumnType.FLOAT64),), (Column("prediction", ColumnType.FLOAT64),))


def noticed(model: str, column: str, level: Level) -> Finding:
    return Finding(model, 1, "drift", level, "It moved.", NOW - DAY, NOW, NOW, NOW, column)


@pytest.fixture
def filled(database: Database) -> Database:
    """Four findings of three models: one that somebody looks at, one that is over."""
    with database.write(unaudited="a test") as connection:
        for model, column, level in (
            (FUEL, "a", Level.LOW),
            (FUEL, "b", Level.HIGH),
            (DELAY, "c", Level.MEDIUM),
            (OTHER, "d", Level.HIGH),
        ):
            watch.notice(connection, noticed(model, column, level))
        watch.acknowledge(connection, 3, "anna")
        watch.close_others(connection, OTHER, 1, [], NOW)
    return database


def columns(database: Database, asked: Asked) -> list[str]:
    with database.read() as connection:
        return [finding.column for finding in sightings.find(connection, asked)]


def test_findings_are_those_of_departments_and_of_single_models(filled: Database) -> None:
    assert columns(filled, Asked(None)) == ["d", "c", "b", "a"]
    assert columns(filled, Asked(frozenset({"finance"}))) == ["b", "a"]  # and not of finance-two
    assert columns(filled, Asked(frozenset({"finance"}), also=frozenset({DELAY}))) == ["c", "b", "a"]
    assert columns(filled, Asked(frozenset())) == []
    assert columns(filled, Asked(frozenset({"finance"}), department="operations")) == []
    assert columns(filled, Asked(None, model=FUEL)) == ["b", "a"]
    assert columns(filled, Asked(None, department="fin%")) == []


def test_open_ones_come_gravest_first_and_each_state_is_counted(filled: Database) -> None:
    assert columns(filled, Asked(None, state=FindingState.OPEN)) == ["b", "a"]
    assert columns(filled, Asked(None, state=FindingState.SEEN)) == ["c"]
    assert columns(filled, Asked(None, state=FindingState.OVER)) == ["d"]
    assert columns(filled, Asked(None, level=Level.MEDIUM)) == ["d", "c", "b"]
    assert columns(filled, Asked(None, start=1, most=2)) == ["c", "b"]
    with filled.read() as connection:
        counted = sightings.count(connection, Asked(None, level=Level.MEDIUM, state=FindingState.OVER))
    assert counted == {"open": 1, "seen": 1, "over": 1, "all": 3}


def test_a_finding_is_not_found_under_another_model(filled: Database) -> None:
    seen = Sightings(filled)
    assert seen.finding(FUEL, 1).column == "a"
    for model, number in ((DELAY, 1), (FUEL, 99)):
        with pytest.raises(NotFoundError, match="has no finding"):
            seen.finding(model, number)


def days(version: int, first: int, last: int, value: float, *, estimated: bool = False) -> list[Performance]:
    return [
        Performance(FUEL, version, _day(ago), "mae", "", value, value - 0.1, value + 0.1, 200, estimated)
        for ago in range(first, last, -1)
    ]


def _day(ago: int) -> datetime:
    return datetime(2026, 3, 31, tzinfo=UTC) - DAY * ago


def put(database: Database, every: list[Performance], *, estimated: bool = False) -> None:
    with database.write(unaudited="a test") as connection:
        for day in every:
            watch.put_performance(connection, (FUEL, day.version, day.day), [day], estimated=estimated)


def test_a_model_stands_beside_its_first_month_and_its_limit(database: Database) -> None:
    put(database, days(2, 200, 150, 10.0) + days(2, 20, 0, 12.0) + days(1, 200, 150, 3.0))
    policy = Policy(FUEL, Retrain(worse_by="5%"), Promote(), False, "", NOW, "anna")  # noqa: FBT003
    with database.write(unaudited="a test") as connection:
        departments.add(connection, "finance", by="anna", at=NOW)
        models.add(connection, FUEL, by="anna", at=NOW)
        policies.put(connection, policy)
    standing = Sightings(database).standings({FUEL: Answering(2, NUMBERS)}, NOW, 30)[FUEL]
    assert standing.metric is Metric.MAE
    assert len(standing.days) == 20
    assert standing.measured is not None
    assert (standing.measured.first, standing.measured.now) == (10.0, 12.0)
    assert standing.limit == 10.5
    assert standing.is_beyond
    assert limit_of(Metric.AUC, 0.8, 0.05) < 0.8


def test_a_model_without_days_has_no_standing_and_one_without_a_policy_no_limit(database: Database) -> None:
    seen = Sightings(database)
    assert seen.standings({FUEL: Answering(2, NUMBERS)}, NOW, 30) == {}
    put(database, days(2, 20, 0, 12.0, estimated=True), estimated=True)
    standing = seen.standings({FUEL: Answering(2, NUMBERS)}, NOW, 30)[FUEL]
    assert standing.limit is None
    assert not standing.is_beyond
    assert all(day.estimated for day in standing.days)


def test_a_course_has_all_versions_and_slices_of_its_own_metric(database: Database) -> None:
    put(database, days(1, 50, 40, 3.0) + days(2, 20, 0, 12.0))
    course = Sightings(database).course(FUEL, Answering(2, NUMBERS), NOW - 30 * DAY, NOW)
    assert {day.version for day in course.days} == {2}
    course = Sightings(database).course(FUEL, Answering(2, NUMBERS), NOW - 90 * DAY, NOW)
    assert {day.version for day in course.days} == {1, 2}
    assert course.standing is not None
    assert course.estimates == ()
    assert course.standing.limit is None
    assert Sightings(database).course(FUEL, None, NOW - 90 * DAY, NOW).standing is None


def test_estimates_that_were_worth_nothing_are_not_what_a_model_stands_by(database: Database) -> None:
    """Measured a month ago; the week is estimated, and earlier estimates were far off."""
    put(database, days(2, 90, 20, 10.0))
    put(database, days(2, 30, 0, 15.0, estimated=True), estimated=True)
    course = Sightings(database).course(FUEL, Answering(2, NUMBERS), NOW - 90 * DAY, NOW)
    assert course.standing is not None
    assert course.standing.measured is None
    assert [past.judgement for past in course.estimates] == ["doubtful"]
    put(database, days(2, 30, 0, 10.01, estimated=True), estimated=True)
    course = Sightings(database).course(FUEL, Answering(2, NUMBERS), NOW - 90 * DAY, NOW)
    assert [past.judgement for past in course.estimates] == ["trusted"]
    assert course.standing is not None
    assert course.standing.measured is not None
    assert course.standing.measured.estimated


def test_the_last_good_day_is_one_on_which_nothing_was_noticed(database: Database) -> None:
    with database.write(unaudited="a test") as connection:
        for ago in range(1, 8):
            key = (FUEL, 2, segments.DAY, _day(ago))
            segments.merge_summary(connection, key, 500, lambda _: b"x")
    assert Sightings(database).last_good(FUEL, 2, NOW) == _day(1)
    with database.write(unaudited="a test") as connection:
        moved = noticed(FUEL, "a", Level.HIGH)
        since = msgspec.structs.replace(moved, version=2, noticed_at=_day(4) + DAY / 2)
        watch.notice(connection, since)
    assert Sightings(database).last_good(FUEL, 2, NOW) == _day(5)
    assert Sightings(database).last_good(DELAY, 1, NOW) is None
