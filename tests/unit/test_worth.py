"""What is stated fits or is refused; what is measured is counted right, with an interval that holds."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from modelyard.loop.value import Part, measure, spread
from modelyard.records.errors import InvalidError
from modelyard.records.signatures import LABEL, PROBABILITY, Column, ColumnType, Signature
from modelyard.records.worth import Cell, Pair, Worth, WorthKind, check_worth

X = (Column("x", ColumnType.FLOAT64),)
NUMBERS = Signature(X, (Column("prediction", ColumnType.FLOAT64),))
CLASSES = Signature(
    X,
    (
        Column(LABEL, ColumnType.STRING),
        Column(f"{PROBABILITY}late", ColumnType.FLOAT64),
        Column(f"{PROBABILITY}on-time", ColumnType.FLOAT64),
    ),
)
DAY = datetime(2026, 11, 1, 6, tzinfo=UTC)


def by_class(**more: Any) -> Worth:
    told: dict[str, Any] = {"currency": "EUR", "baseline": "majority", "wrong": "-10"}
    return Worth(WorthKind.CLASSES, **told | more)


def by_error(**more: Any) -> Worth:
    told: dict[str, Any] = {"currency": "EUR", "baseline": "mean", "over": "-1", "under": "-2"}
    return Worth(WorthKind.ERROR, **told | more)


@pytest.mark.parametrize(
    ("worth", "signature", "why"),
    [
        (by_class(currency="EURO"), CLASSES, "is no currency"),
        (by_class(wrong="NaN"), CLASSES, "is no amount"),
        (by_class(), NUMBERS, "answers numbers"),
        (by_error(), CLASSES, "answers classes"),
        (by_class(baseline="mean"), CLASSES, "is no baseline"),
        (by_class(baseline=""), CLASSES, "Nothing is no baseline"),
        (by_class(baseline="version:0"), CLASSES, "is no baseline"),
        (by_class(baseline="constant:lost"), CLASSES, "no class 'lost'"),
        (by_error(baseline="constant:NaN"), NUMBERS, "is not a number"),
        (by_error(baseline="constant:soon"), NUMBERS, "is not a number"),
        (by_class(pairs=(Pair("late", "lost", "-5"),)), CLASSES, "no class 'lost'"),
        (by_class(pairs=(Pair("late", "late", "1"),) * 2), CLASSES, "stated twice"),
        (Worth(WorthKind.TIME, "EUR", minutes="-1", hour="40"), NUMBERS, "not negative"),
        (Worth(WorthKind.TIME, "EUR", hour="40"), NUMBERS, "No minutes"),
        (Worth(WorthKind.TIME, "EUR", "mean", minutes="1", hour="4"), NUMBERS, "have no baseline"),
    ],
)
def test_what_does_not_fit_is_refused(worth: Worth, signature: Signature, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        check_worth(worth, signature)


@pytest.mark.parametrize("baseline", ["majority", "constant:late", "version:3"])
def test_what_fits_is_kept(baseline: str) -> None:
    worth = by_class(baseline=baseline, pairs=(Pair("late", "on-time", "-50"),))
    assert check_worth(worth, CLASSES) is worth
    of = worth.by_pair()
    assert of("late", "on-time") == -50
    assert of("on-time", "late") == -10
    assert of("late", "late") == 0


def labels(pairs: list[tuple[str, str]], route: str = "champion") -> Part:
    """Labelled rows: what came, what was said; a day each hundred."""
    rows = pl.DataFrame(
        {
            "request": [f"r-{n}" for n in range(len(pairs))],
            "row": [0] * len(pairs),
            "at": [DAY + timedelta(days=n // 100) for n in range(len(pairs))],
            "route": [route] * len(pairs),
            "actual": [came for came, _ in pairs],
            "out:label": [said for _, said in pairs],
            "out:probability:late": [0.5] * len(pairs),
            "out:probability:on-time": [0.5] * len(pairs),
        }
    )
    return Part(CLASSES, rows)


def numbers(came: list[float], said: list[float]) -> Part:
    rows = pl.DataFrame(
        {
            "request": [f"r-{n}" for n in range(len(came))],
            "row": [0] * len(came),
            "at": [DAY + timedelta(hours=n) for n in range(len(came))],
            "route": ["champion"] * len(came),
            "actual": came,
            "out:prediction": said,
        }
    )
    return Part(NUMBERS, rows)


def test_classes_are_counted_against_the_most_frequent() -> None:
    pairs = [("on-time", "on-time")] * 60 + [("late", "late")] * 30 + [("late", "on-time")] * 10
    found = measure([labels(pairs)], by_class())
    assert found.labelled == 100
    assert found.model.cells == (
        Cell("on-time", "on-time", 60), Cell("late", "late", 30), Cell("late", "on-time", 10),
    )  # fmt: skip
    assert found.baseline.cells == (Cell("on-time", "on-time", 60), Cell("late", "on-time", 40))
    assert found.against == "always on-time, what came most often in the month"
    assert found.model.worth(by_class()) - found.baseline.worth(by_class()) == 300
    alone = np.repeat([0.0, 10.0], [70, 30])
    assert found.spread == pytest.approx(np.std(alone, ddof=1) * 10)


def test_numbers_are_summed_above_and_below() -> None:
    came = [float(n) for n in range(40)]
    said = [c + (2.0 if c % 2 else -1.0) for c in came]
    found = measure([numbers(came, said)], by_error())
    assert (found.model.over, found.model.under) == (40, 20)
    assert found.against == "always 19.5, the mean of what came in the month"
    assert found.baseline.over == found.baseline.under == 200
    assert found.model.worth(by_error()) == Decimal(-80)
    constant = measure([numbers(came, said)], by_error(baseline="constant:0"))
    assert (constant.baseline.over, constant.baseline.under) == (0, 780)


def test_copies_that_nobody_got_and_rows_without_a_number_do_not_count() -> None:
    pairs = [("late", "late")] * 50
    shadow = labels(pairs, route="shadow")
    assert measure([shadow], by_class()).why.startswith("No outcomes have come")
    assert measure([labels(pairs), shadow], by_class()).labelled == 50
    came = [1.0] * 40
    assert measure([numbers(came, [float("nan")] * 10 + [1.0] * 30)], by_error()).labelled == 30


def test_too_few_outcomes_give_no_value_and_say_so() -> None:
    found = measure([labels([("late", "late")] * 29)], by_class())
    assert found.why == "Outcomes have come for 29 answers of this month; 30 are needed."
    assert measure([], by_class()).why.startswith("No outcomes")
    assert measure([], by_error()).labelled == 0


def test_an_older_version_is_compared_on_the_rows_that_both_answered() -> None:
    mine = labels([("late", "late")] * 80)
    other = labels([("late", "on-time")] * 50, route="shadow")
    found = measure([mine], by_class(baseline="version:1"), [other])
    assert (found.labelled, found.baseline.cells) == (50, (Cell("late", "on-time", 50),))
    assert "version 1, on the 50 rows" in found.against
    assert "needed" in measure([mine], by_class(baseline="version:1"), []).why


@pytest.mark.parametrize("count", [7, 20])
def test_the_interval_holds_the_truth_where_days_are_alike(count: int) -> None:
    """In 300 months of so many days whose rows share a day's luck, about 95 % hold the true sum."""
    draw, held, rows = np.random.default_rng(1), 0, count * 50
    days = np.repeat(np.arange(float(count)), 50)
    for _ in range(300):
        gains = 1.0 + np.repeat(draw.normal(0, 1, count), 50) + draw.normal(0, 1, rows)
        half = 1.96 * spread(gains, np.ones(rows), days)
        held += abs(gains.sum() - rows) <= half
    assert 0.92 <= held / 300 <= 0.98


def test_what_is_the_same_in_all_rows_has_no_spread() -> None:
    rows = [measure([labels(list(itertools.repeat(("late", "late"), 30)))], by_class()).spread]
    assert rows == [0.0]
