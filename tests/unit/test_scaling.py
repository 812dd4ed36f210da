"""How many workers a version has: the rule, its bounds, and that it comes to rest."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.engine.scaling import CALM_ROUNDS, TARGET_SECONDS, WINDOW, Scale, Scales, step

WAITS = st.floats(0, 1e6, allow_nan=False)


def rounds(scale: Scale, waits: list[float], least: int, most: int) -> list[Scale]:
    found = [scale]
    for wait in waits:
        found.append(step(found[-1], wait, least, most))
    return found


@given(waits=st.lists(WAITS, max_size=200), least=st.integers(1, 5), more=st.integers(0, 20))
def test_it_stays_within_its_bounds_and_never_more_than_doubles(
    waits: list[float], least: int, more: int
) -> None:
    found = rounds(Scale(least), waits, least, least + more)
    assert all(least <= scale.replicas <= least + more for scale in found)
    assert all(after.replicas <= 2 * before.replicas for before, after in pairwise(found))
    assert all(after.replicas >= before.replicas - 1 for before, after in pairwise(found))


def test_it_goes_up_only_when_the_queue_stays_deep() -> None:
    peak = rounds(Scale(1), [3.0] + [0.0] * 3, 1, 8)
    assert {scale.replicas for scale in peak} == {1}
    deep = rounds(Scale(1), [3.0] * WINDOW, 1, 8)
    assert [scale.replicas for scale in deep] == [1] * WINDOW + [2]


def test_it_goes_down_one_at_a_time_after_a_calm_while() -> None:
    found = rounds(Scale(3), [0.0] * (2 * CALM_ROUNDS), 1, 8)
    assert found[CALM_ROUNDS - 1].replicas == 3
    assert found[CALM_ROUNDS].replicas == 2
    assert found[2 * CALM_ROUNDS].replicas == 1


def test_one_busy_round_begins_the_calm_while_anew() -> None:
    waits = [0.0] * (CALM_ROUNDS - 1) + [TARGET_SECONDS * WINDOW] + [0.0] * (CALM_ROUNDS - 1)
    assert rounds(Scale(2), waits, 1, 8)[-1].replicas == 2


@given(backlog=st.floats(0.01, 100.0), most=st.integers(1, 64))
def test_under_a_steady_load_it_comes_to_rest_with_the_wait_at_its_target(backlog: float, most: int) -> None:
    """`backlog`: seconds of work for one worker that wait at any time, shared by those there are."""
    scale = Scale(1)
    history = []
    for _ in range(20 * CALM_ROUNDS):
        scale = step(scale, backlog / scale.replicas, 1, most)
        history.append(scale.replicas)
    assert len(set(history[-3 * CALM_ROUNDS :])) == 1, "it neither goes up nor down any more"
    assert scale.replicas == most or backlog / scale.replicas <= TARGET_SECONDS


@pytest.mark.parametrize(("least", "most", "due"), [(2, 4, 2), (1, 1, 1), (5, 9, 5)])
def test_new_limits_hold_at_once(least: int, most: int, due: int) -> None:
    assert step(Scale(1), 0.0, least, most).replicas == due
    assert step(Scale(12), 0.0, least, most).replicas == most


def test_the_scales_of_a_node() -> None:
    scales, limits = Scales(), {"a": (1, 4), "b": (2, 2)}
    assert scales.replicas("a", 1, 4) == 1
    assert scales.round({}, {"a": 1, "b": 1}, limits) == {"b": 2}
    for _ in range(WINDOW):
        changes = scales.round({"a": 2.0}, {"a": 1, "b": 2}, limits)
    assert changes == {"a": 2}
    assert scales.replicas("a", 1, 4) == 2
    assert scales.replicas("a", 1, 1) == 1, "the limits of now hold, whatever was decided before"
    for _ in range(3 * WINDOW):  # it says so again until they are there, and decides nothing more meanwhile
        assert scales.round({"a": 9.0}, {"a": 1, "b": 2}, limits) == {"a": 2}
    assert scales.round({}, {"b": 2}, limits) == {}
    assert scales.replicas("a", 1, 4) == 1, "one that was let go begins anew"
