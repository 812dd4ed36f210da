"""Charts drawn by the server: what is on them, to be told apart without colour, and no name breaks out."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records.predictions import Performance
from modelyard.web import charts, scales
from modelyard.web.timeline import Mark, Timeline, describe, draw

DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)


def day(number: int, value: float, *, estimated: bool = False, version: int = 1) -> Performance:
    at = BEGIN + DAY * number
    return Performance("a/b", version, at, "mae", "", value, value - 1, value + 1, 100, estimated)


def line(*days: Performance, limit: float | None = None, marks: tuple[Mark, ...] = ()) -> Timeline:
    measured = tuple(d for d in days if not d.estimated)
    estimated = tuple(d for d in days if d.estimated)
    until = BEGIN + DAY * 30
    return Timeline("mae", measured, estimated, marks, BEGIN, until, limit, "a refit beyond")


def test_measured_and_estimated_differ_in_shape_and_not_in_colour_alone() -> None:
    drawn = str(draw(line(day(1, 3.0), day(2, 4.0), day(3, 5.0, estimated=True)), "words"))
    assert drawn.count("<circle") == 2
    assert drawn.count("<rect") == 1
    assert drawn.count('class="whisker"') == 1
    assert drawn.count('class="band"') == 1
    assert "2026-01-04, version 1: 5 (4 to 6), estimated, 100 rows" in drawn


def test_versions_are_marked_where_they_became_champion_and_words_keep_their_distance() -> None:
    marks = tuple(Mark(BEGIN + DAY * n, number) for number, n in ((1, -5), (2, 10), (3, 10), (4, 20)))
    drawn = str(draw(line(day(1, 3.0), marks=marks), "words"))
    assert re.findall(r">v(\d)<", drawn) == ["2", "4"]
    assert drawn.count('class="mark"') == 3
    assert "Version 3 in use from 2026-01-11" in drawn


def test_a_gap_interrupts_the_line() -> None:
    drawn = str(draw(line(day(1, 3.0), day(2, 3.0), day(20, 3.0)), "words"))
    assert drawn.count('<polyline class="course measured"') == 2


def test_many_days_are_drawn_as_a_line_and_a_band_alone() -> None:
    every = [day(n, float(n), estimated=kind) for n in range(400) for kind in (False, True)]
    made = msgspec.structs.replace(line(*every), until=BEGIN + DAY * 400)
    drawn = str(draw(made, "words"))
    assert "<circle" not in drawn
    assert 'class="band estimated"' in drawn
    alone = str(draw(msgspec.structs.replace(made, measured=(day(7, 1.0),)), "words"))
    assert alone.count("<circle") == 1


def test_a_limit_is_on_the_chart_and_in_its_words() -> None:
    made = line(day(1, 3.0), limit=9.5)
    drawn = str(draw(made, describe(made)))
    assert drawn.count('class="limit"') == 1
    assert "<title>a refit beyond 9.5</title>" in drawn
    assert describe(made).endswith("a refit beyond 9.5")
    assert "measured on 1 days, last 3 on 2026-01-02 by version 1" in describe(made)


def test_50_no_name_breaks_out_of_a_chart() -> None:
    words = '"><script>alert(1)</script>'
    for drawn in (
        draw(line(day(1, 3.0)), words),
        charts.trend([1.0, 2.0], words),
        charts.sparkline([1.0], words),
        charts.bars([1.0], words),
        charts.two_distributions([1.0], [1.0], words),
        charts.curves([charts.Curve(words, 0, [(0, 1), (1, 2)])], words),
    ):
        assert "<script" not in str(drawn)


@given(st.lists(numbers, max_size=40), st.none() | st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_was_measured_can_be_drawn(values: list[float], limit: float | None) -> None:
    days = [day(n % 30, value, estimated=n % 3 == 0) for n, value in enumerate(values)]
    drawn = str(draw(line(*days, limit=limit), "words"))
    for percent in re.findall(r'[xy][12]?="(-?[0-9.e+]+)%"', drawn):
        assert -1 <= float(percent) <= 101
    assert "nan" not in drawn
    assert "inf" not in drawn


@given(numbers, numbers)
def test_ticks_are_few_and_within(low: float, high: float) -> None:
    found = scales.ticks(low, high)
    assert 0 <= len(found) <= 12
    if math.isfinite(low) and math.isfinite(high) and low < high and math.isfinite(high - low):
        span = high - low
        assert all(low - 0.01 * span <= tick <= high + 0.01 * span for tick in found)
