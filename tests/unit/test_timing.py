"""Timing both forms: what is asked, what is decided, what is said."""

from __future__ import annotations

import pytest

from modelyard.engine.proof import Ask
from modelyard.engine.timing import SIZES, Speed, native_from, time_forms, words_of
from modelyard.records.signatures import Column, ColumnType
from modelyard.workers.wire import ColumnData, Frame, to_values

X = Column("x", ColumnType.FLOAT64)


class Clock:
    """Moves on only when a form answers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[tuple[str, int]] = []

    def __call__(self) -> float:
        return self.now

    def form(self, name: str, once: float, a_row: float) -> Ask:
        def ask(columns: tuple[ColumnData, ...], rows: int) -> Frame:
            assert to_values(columns[0]) == [float(i % 2) for i in range(rows)], "the example, repeated"
            self.asked.append((name, rows))
            self.now += once + a_row * rows
            return Frame("answer")

        return ask


def timed(seconds: float, *forms: tuple[float, float]) -> tuple[list[Speed], Clock]:
    clock = Clock()
    native, portable = (clock.form(n, *f) for n, f in zip(("native", "portable"), forms, strict=True))
    return time_forms(native, portable, [X], [(0.0,), (1.0,)], seconds, clock), clock


def test_both_forms_are_asked_in_turn_at_every_size() -> None:
    speeds, clock = timed(100.0, (0.005, 1e-6), (0.0001, 1e-5))
    assert [s.rows for s in speeds] == list(SIZES)
    assert clock.asked[:4] == [("native", 1), ("portable", 1)] * 2
    assert speeds[-1].native == pytest.approx(0.015)
    assert speeds[-1].portable == pytest.approx(0.1001)
    assert native_from(speeds) == 1_000
    assert words_of(speeds) == (
        "a request of 10,000 rows: 100 ms, natively 15 ms; "
        "so those of 1,000 rows and more go to native workers"
    )


def test_sizes_that_would_take_too_long_are_left_out() -> None:
    speeds, clock = timed(5.0, (0.0, 0.01), (0.0, 0.001))
    assert [s.rows for s in speeds] == [1, 100]
    assert clock.now < 7.0
    assert words_of(speeds) == "a request of 100 rows: 100 ms, natively 1.0 s"
    assert [s.rows for s in timed(0.001, (9.0, 0.0), (9.0, 0.0))[0]] == [1], "one size at least"


@pytest.mark.parametrize(
    ("times", "rows"),
    [
        ([(5, 1), (5, 2), (5, 4), (5, 5)], 0),
        ([(5, 1), (5, 2), (5, 4), (5, 6)], 0),
        ([(5, 1), (5, 2), (5, 4), (5, 7)], 10_000),
        ([(5, 1), (5, 9), (5, 4), (5, 9)], 10_000),
        ([(5, 9), (5, 9), (5, 9), (5, 9)], 1),
    ],
)
def test_the_native_form_must_be_faster_by_far_from_some_size_on(
    times: list[tuple[int, int]], rows: int
) -> None:
    assert native_from([Speed(size, *pair) for size, pair in zip(SIZES, times, strict=True)]) == rows
