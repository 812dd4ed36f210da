"""Drift: quiet where nothing moved, sure where something did, and never about a handful of rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from modelyard.catalog.summaries import Summary, binned_on_itself, merge, summarise
from modelyard.loop.drift import noticed, since_good, usual_changes, with_good
from modelyard.loop.noticing import Noticed
from modelyard.loop.quality import few_rows
from modelyard.loop.volume import Hours
from modelyard.records.policies import Level

COLUMNS = 20


def rows(count: int, seed: int, **changed: Any) -> pl.DataFrame:
    chance = np.random.default_rng(seed)
    numbers = {f"in:x{i}": chance.normal(i, 2.0, count) for i in range(COLUMNS - 4)}
    more = {
        "in:skewed": chance.exponential(3.0, count),
        "in:carrier": chance.choice(["UA", "AA", "DL", "B6"], count, p=[0.4, 0.3, 0.2, 0.1]),
        "in:whole": chance.integers(0, 9, count).astype(float),
        "out:prediction": chance.normal(0, 1, count),
    }
    return pl.DataFrame({**numbers, **more, **changed})


@pytest.fixture(scope="module")
def reference() -> Summary:
    return binned_on_itself(summarise(rows(20_000, 0)))


def window(table: pl.DataFrame, reference: Summary) -> Summary:
    """As it is shipped: in parts, on the reference's bins."""
    edges = {name: n.edges for name, n in reference.numbers.items()}
    return merge([summarise(table[: table.height // 3], edges), summarise(table[table.height // 3 :], edges)])


def look(reference: Summary, **changed: Any) -> list[Noticed]:
    return noticed(reference, window(rows(5000, 7, **changed), reference))


def test_nothing_where_nothing_moved(reference: Summary) -> None:
    alarms = [seed for seed in range(60) if noticed(reference, window(rows(5000, seed + 1), reference))]
    assert alarms == []


def test_a_fifth_of_a_standard_deviation_is_found(reference: Summary) -> None:
    for seed in range(20):
        moved = np.random.default_rng(seed).normal(5 + 0.4, 2.0, 5000)
        (found,) = look(reference, **{"in:x5": moved})
        assert (found.kind, found.column, found.level) == ("drift", "x5", Level.LOW)
        assert found.effect == pytest.approx(0.2, abs=0.1)
        assert "x5 moved by +0.2" in found.words or "x5 moved by +0.1" in found.words


@pytest.mark.parametrize(
    ("changed", "kind", "level"),
    [
        ({"in:x1": np.full(5000, 1.5)}, "constant", Level.HIGH),
        ({"in:carrier": ["UA"] * 5000}, "constant", Level.HIGH),
        ({"in:carrier": ["UA", "AA", "DL", "XX"] * 1250}, "new-category", Level.HIGH),
        ({"in:x1": [None] * 500 + [1.0, 1.1] * 2250}, "missing", Level.MEDIUM),
        (
            {"in:x1": [99.0] * 500 + [1.0] * 2000 + [1.5] * 2500},
            "out-of-range",
            Level.MEDIUM,
        ),
        ({"out:prediction": np.random.default_rng(5).normal(1, 1, 5000)}, "outputs", Level.HIGH),
        ({"in:x1": np.random.default_rng(5).normal(1, 6, 5000)}, "drift", Level.MEDIUM),
        ({"in:carrier": ["UA", "AA", "DL", "12"] * 1250}, "type", Level.HIGH),
        ({"in:whole": np.random.default_rng(5).integers(0, 9, 5000) / 2}, "type", Level.HIGH),
        ({"in:x1": np.random.default_rng(5).normal(1, 2, 5000).round()}, "type", Level.MEDIUM),
    ],
    ids=lambda v: str(v)[:20],
)
def test_what_is_noticed(reference: Summary, changed: dict[str, Any], kind: str, level: Level) -> None:
    found = [f for f in look(reference, **changed) if f.kind == kind]
    assert len(found) == 1
    assert found[0].level.rank >= level.rank
    assert found[0].words.endswith(".")
    assert found[0].effect > 0


def test_the_gravest_comes_first(reference: Summary) -> None:
    found = look(reference, **{"in:x1": np.full(5000, 1.5), "in:x2": rows(5000, 3)["in:x2"] + 0.5})
    assert [f.level.rank for f in found] == sorted((f.level.rank for f in found), reverse=True)


def test_nothing_is_said_of_three_rows(reference: Summary) -> None:
    assert noticed(reference, window(rows(3, 1), reference)) == []
    assert noticed(summarise(rows(3, 1)), summarise(rows(5000, 1))) == []
    assert noticed(Summary(), Summary()) == []


def test_a_reference_without_variance() -> None:
    table = pl.DataFrame({"in:x": np.ones(1000), "in:c": ["a"] * 1000})
    still = binned_on_itself(summarise(table))
    assert noticed(still, summarise(table)) == []
    for value in (0.0, 2.0):
        found = noticed(still, summarise(table.with_columns(pl.lit(value).alias("in:x"))))
        assert {(f.kind, f.column) for f in found} == {("drift", "x"), ("out-of-range", "x")}


@pytest.mark.parametrize("value", [3.0, 5.0])
def test_answers_that_were_always_the_same_and_are_others_now(value: float) -> None:
    always = pl.DataFrame({"out:prediction": np.full(1000, 4.0)})
    still = binned_on_itself(summarise(always))
    other = always.with_columns(pl.lit(value).alias("out:prediction"))
    (found,) = noticed(still, summarise(other))
    assert (found.kind, found.level, found.effect) == ("outputs", Level.HIGH, 1.0)


def seldom(count: int, seed: int) -> Summary:
    """Columns of which a few rows cannot know all: long tails, rare values, rarely missing ones."""
    chance = np.random.default_rng(seed)
    shares = 1 / np.arange(1, 151) ** 1.2
    table = {f"in:n{i}": chance.normal(0, 1, count) for i in range(8)}
    table |= {f"in:e{i}": chance.lognormal(0, 1.5, count) for i in range(4)}
    table |= {f"in:z{i}": np.where(chance.random(count) < 0.02, 3.0, 0.0) for i in range(4)}
    texts = {
        f"in:t{i}": chance.choice([f"v{n}" for n in range(150)], count, p=shares / shares.sum())
        for i in range(3)
    }
    gaps = [None if gap else 1.5 for gap in (chance.random(count) < 0.002).tolist()]
    return summarise(pl.DataFrame({**table, **texts, "in:gaps": pl.Series(gaps, dtype=pl.Float64)}))


@pytest.mark.parametrize("count", [200, 2000])
def test_few_rows_raise_nothing_by_chance(count: int) -> None:
    """Values beyond all that were seen, new ones, one alone: of few rows that is no news."""
    still = binned_on_itself(seldom(2000, 0))
    alarms = [f.words for seed in range(15) for f in noticed(still, seldom(count, 1000 + seed))]
    assert alarms == []


def test_few_rows_that_have_moved_are_found() -> None:
    still = binned_on_itself(seldom(2000, 0))
    count = 300
    moved = {
        "in:n0": np.full(count, 9.0),
        "in:n1": np.random.default_rng(1).normal(6, 1, count),
        "in:t0": ["v0", "new"] * (count // 2),
        "in:gaps": pl.Series([None, 1.5] * (count // 2), dtype=pl.Float64),
    }
    found = {(f.kind, f.column) for f in noticed(still, summarise(pl.DataFrame(moved)))}
    assert {("constant", "n0"), ("out-of-range", "n1"), ("new-category", "t0"), ("missing", "gaps")} <= found


def test_infinities_and_nothing_at_all(reference: Summary) -> None:
    (found,) = look(reference, **{"in:x1": [float("inf")] * 2500 + [None] * 2500})
    assert (found.kind, found.share) == ("missing", 1.0)


def test_fewer_rows_than_usual() -> None:
    assert few_rows(50, [100] * 6) is None  # too few days
    assert few_rows(0, [10] * 7) is None  # too few rows
    assert few_rows(60, [100, 50, 100, 100, 100, 100, 100]) is None  # it has been so before
    found = few_rows(10, [100] * 7)
    assert found is not None
    assert (found.level, found.kind) == (Level.MEDIUM, "volume")


def test_hours_that_nobody_asks_in_are_known() -> None:
    """Weekends without rows are usual once one was seen; the first week says nothing."""
    monday = datetime(2026, 3, 2, 9, tzinfo=UTC)
    hours = Hours({monday + timedelta(days=n): 100 for n in range(14) if n % 7 < 5})
    later = timedelta(hours=1, minutes=5)
    saturday = monday + timedelta(days=12)
    assert hours.few(saturday + later) is None
    assert hours.few(saturday - timedelta(days=7) + later) is None
    assert hours.few(monday + timedelta(days=14) + later) is None, "it has been so on the weekend"
    assert Hours({}).few(saturday) is None
    without = Hours({monday + timedelta(days=n): 100 for n in range(10)})
    found = without.few(monday + timedelta(days=10) + later)
    assert found is not None
    assert (found.kind, found.level, found.effect) == ("volume", Level.HIGH, 1.0)
    silent = msgspec.structs.replace(without, quiet=monday + timedelta(days=10))
    for days, hour in ((10, 12), (11, 0), (11, 2), (12, 1)):  # it stays, and does not become usual
        assert silent.few(monday + timedelta(days=days, hours=hour, minutes=5)) == found
    back = msgspec.structs.replace(silent, rows={**without.rows, monday + timedelta(days=11): 90})
    assert back.few(monday + timedelta(days=11) + later) is None


def test_thousands_of_values_that_have_not_moved() -> None:
    """A summary keeps the most frequent ones alone, in each window others: that is no drift."""
    names = [f"N{i}" for i in range(4000)]
    shares = np.linspace(2, 1, 4000) / np.linspace(2, 1, 4000).sum()

    def planes(count: int, seed: int) -> Summary:
        return summarise(
            pl.DataFrame({"in:tail": np.random.default_rng(seed).choice(names, count, p=shares)})
        )

    still = planes(50_000, 0)
    assert [seed for seed in range(20) if noticed(still, planes(5000, seed + 1))] == []


def days(reference: Summary, count: int, **changed: Any) -> list[Summary]:
    return [window(rows(1000, 100 + n, **changed), reference) for n in range(count)]


def test_what_is_new_since_the_last_good_day(reference: Summary) -> None:
    good = days(reference, 8)
    moved = window(rows(5000, 7, **{"in:x3": np.random.default_rng(1).normal(3 + 2, 2.0, 5000)}), reference)
    (found,) = since_good(good[-1], moved, usual_changes(good), "the last good day, 2026-03-01")
    assert (found.kind, found.column, found.level) == ("drift", "x3", Level.HIGH)
    both = with_good(noticed(reference, moved), [found])
    assert [f.column for f in both] == ["x3"]
    assert both[0].good_effect == found.effect
    assert "It is new since the last good day, 2026-03-01" in both[0].words
    (alone,) = with_good([], [found])
    assert alone.words.startswith("Since the last good day, 2026-03-01: x3 moved")


def test_what_is_usual_from_day_to_day_is_not_new(reference: Summary) -> None:
    """A column that jumps by a standard deviation each second day does so again."""
    jumps = [
        *days(reference, 4),
        *days(reference, 4, **{"in:x3": np.random.default_rng(1).normal(6, 2, 1000)}),
    ]
    good = [jumps[n] for n in (0, 4, 1, 5, 2, 6, 3)]
    moved = window(rows(5000, 7, **{"in:x3": np.random.default_rng(2).normal(5, 2.0, 5000)}), reference)
    usual, still = usual_changes(good), usual_changes(days(reference, 8))
    assert usual.changes["x3", "standard deviations"] > 1.2
    assert since_good(good[-1], moved, usual, "the last good day") == []
    assert [f.column for f in since_good(jumps[0], moved, still, "the last good day")] == ["x3"]


def test_a_new_value_that_is_an_old_one_written_otherwise(reference: Summary) -> None:
    (found,) = [
        f
        for f in look(reference, **{"in:carrier": ["UA", "AA", "DL", "ua "] * 1250})
        if f.kind == "new-category"
    ]
    assert "'ua ' may be 'UA', written otherwise" in found.words
