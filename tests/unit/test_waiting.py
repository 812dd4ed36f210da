"""Whose turn it is, who may queue, and how long batches may be."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.inputs import Inputs
from modelyard.serving.tap import Asked
from modelyard.serving.waiting import Ask, Pace, Waiting


def ask(caller: str, rows: int = 1, *, gone: bool = False) -> Ask:
    asked = Asked("id", caller, "champion", rows, 0.0)
    return Ask(Inputs(rows, rows=[(1.0,)] * rows), asked, lambda _: None, lambda: gone, 1.0, 1.0)


def callers(queue: Waiting) -> list[str]:
    return [queue.take().asked.caller for _ in range(len(list(queue)))]


def test_a_flood_waits_behind_itself() -> None:
    queue = Waiting(100)
    for _ in range(50):
        queue.add(ask("flood"))
    queue.add(ask("anna"))
    queue.add(ask("bert"))
    assert {"anna", "bert"} < set(callers(queue)[:3])


def test_who_asks_for_many_rows_waits_for_who_asks_for_few() -> None:
    queue = Waiting(1000)
    for _ in range(5):
        queue.add(ask("tables", 100))
        queue.add(ask("rows"))
    assert callers(queue)[:6].count("rows") == 5


def test_who_comes_back_has_no_credit_for_having_been_away() -> None:
    queue = Waiting(1000)
    for _ in range(100):
        queue.add(ask("busy"))
        queue.take()
    for _ in range(10):
        queue.add(ask("busy"))
        queue.add(ask("new"))
    assert callers(queue)[:10].count("new") <= 6


def test_a_full_queue_has_room_for_who_is_not_in_it() -> None:
    queue = Waiting(10)
    assert queue.has_room("flood", 1000)  # nothing waits
    for _ in range(10):
        queue.add(ask("flood"))
    assert not queue.has_room("flood", 1)
    assert queue.has_room("anna", 5)
    assert not queue.has_room("anna", 6)  # half is hers
    queue.add(ask("anna", 5))
    assert not queue.has_room("anna", 1)
    queue.add(ask("bert", 3))
    assert not queue.has_room("carl", 3)  # twice the limit is the end


def test_a_flood_keeps_its_turn_when_others_are_dropped() -> None:
    """Who has had more rows waits longer, however often the queue is looked through."""
    taken = []
    for looks in (False, True):
        queue = Waiting(100_000)
        for _ in range(5):
            queue.add(ask("tables", 1000))
        for _ in range(3000):
            queue.add(ask("rows"))
        order = []
        for turn in range(600):
            if looks and turn % 100 == 0:
                queue.drop(lambda a: a.done)
            order.append(queue.take().asked.caller)
        taken.append(order)
    assert taken[0] == taken[1]


def test_what_comes_back_is_first() -> None:
    queue = Waiting(10)
    queue.add(ask("anna"))
    queue.put_back(ask("bert"))
    assert callers(queue) == ["bert", "anna"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans(), st.booleans()), max_size=40),
)
def test_nothing_is_lost_or_counted_twice(steps: list[tuple[str, int, bool, bool]]) -> None:
    queue, there = Waiting(20), []
    for caller, rows, again, gone in steps:
        one = ask(caller, rows, gone=gone)
        there.append(one)
        (queue.put_back if again else queue.add)(one)
    assert queue.rows == sum(a.inputs.count for a in there)
    queue.drop(lambda a: a.done)
    kept = [a for a in there if not a.done]
    assert Counter(map(id, queue)) == Counter(map(id, kept))
    assert queue.rows == sum(a.inputs.count for a in kept)
    taken = []
    while (first := queue.first()) is not None:
        assert queue.take() is first
        taken.append(first)
    assert Counter(map(id, taken)) == Counter(map(id, kept))
    assert not queue
    assert queue.rows == 0


def test_batches_of_a_slow_model_get_small_and_of_a_quick_one_large_again() -> None:
    pace = Pace(1024)
    rows = 1024
    for _ in range(20):
        rows = pace.rows
        pace.took(rows, rows * 0.05)  # 50 ms a row
    assert pace.rows <= 4
    assert 0.05 <= pace.wait(100, 1) / 100 <= 0.1
    for _ in range(20):
        pace.took(pace.rows, pace.rows * 1e-5)
    assert pace.rows == 1024


def test_one_slow_row_is_no_reason_for_smaller_batches() -> None:
    pace = Pace(8)
    pace.took(1, 30.0)
    assert pace.rows == 8


def test_a_table_is_taken_for_the_batches_it_stands_for() -> None:
    pace = Pace(1000)
    pace.took(100_000, 1.0)
    assert (pace.rows, round(pace.seconds, 6)) == (1000, 0.01)


def test_how_long_one_waits_falls_with_more_workers() -> None:
    pace = Pace(10)
    assert pace.wait(100, 1) == 0.0  # nothing known yet
    pace.took(10, 0.1)
    assert round(pace.wait(100, 1), 6) == 1.0
    assert round(pace.wait(100, 2), 6) == 0.5
