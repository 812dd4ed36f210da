"""The year's pure parts: which flights are known when, how good answers were, what the table says."""

from __future__ import annotations

import io
import math

import polars as pl
import pytest
from rich.console import Console

from modelyard.demo import flights, months
from modelyard.demo.months import LATENESS, MINUTES, Month, Side
from modelyard.records.projects import read_project

YEAR = [
    Month(
        2,
        0.22,
        100,
        Side(0.5, 0.2),
        Side(0.5, 0.2),
        Side(0.5, 0.2),
        1,
        "passed: better, so version 2 took over",
        0,
    ),
    Month(3, 0.23, 300, Side(0.6, 0.1), Side(0.52, 0.2), Side(0.5, 0.22), 2, "refused: a tie", 0),
]


def test_after_a_month_the_last_three_are_known() -> None:
    known = flights.flown(flights.read_tables(flights.data_folder()), 5).gather_every(50)
    april = months.of_month(known, LATENESS, 4)
    assert april.columns == [*LATENESS.columns, "late"]
    parts = [months.of_month(known, LATENESS, month) for month in (2, 3, 4)]
    assert months.until(known, LATENESS, 4).equals(pl.concat(parts))
    assert months.until(known, MINUTES, 1).equals(months.of_month(known, MINUTES, 1))


def test_losses_are_of_what_came() -> None:
    sure = {"label": True, "probabilities": {"false": 0.1, "true": 0.9}}
    found = months.side(LATENESS, [sure, sure], [True, False])
    assert found.loss == pytest.approx(-(math.log(0.9) + math.log(0.1)) / 2)
    assert found.said == pytest.approx(0.9)
    never = {"label": True, "probabilities": {"false": 0.0, "true": 1.0}}
    assert months.side(LATENESS, [never], [False]).loss == pytest.approx(34.54, abs=0.01)


def test_months_count_by_their_flights() -> None:
    assert months.totals(YEAR) == pytest.approx((0.575, 0.515, 0.5))
    told = months.summary(LATENESS, YEAR)
    assert "13.0% better than January's model left alone" in told
    assert "no better than the yard's own" in told
    assert "furthest off in March: 23% came late; it had said 10%, the yard's own 22%." in told


def test_the_table_fits_a_terminal() -> None:
    screen = io.StringIO()
    Console(file=screen, width=100).print(months.table(LATENESS, YEAR))
    assert "Feb" in screen.getvalue()
    assert "0.5750" in screen.getvalue()
    assert max(map(len, screen.getvalue().splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "due"),
    [
        ("Better than the champion: on 9 rows its mae is 1.", "passed: better"),
        ("Refused, on 9 rows. It is worse than the champion: its mae is 3.", "refused: worse"),
        ("Refused, on 9 rows. It failed 4 of 9 rows; at most 0.1% is accepted.", "refused: It failed 4 of 9"),
    ],
)
def test_a_verdict_is_told_in_a_few_words(words: str, due: str) -> None:
    assert months.short(words).startswith(due)


@pytest.mark.parametrize("model", [LATENESS, MINUTES])
def test_the_projects_are_of_these_models(model: months.Model) -> None:
    project = read_project((model.project / "yard.toml").read_text())
    assert project.model == model.model
    assert project.train.target == model.target
    assert project.train.data == {"flights": model.dataset}
