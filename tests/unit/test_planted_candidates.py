"""Planted bad candidates are stopped before full traffic, good ones seldom: gate and rollout, simulated."""

from __future__ import annotations

import pytest
from bench.planted import PLANTED, needless, stopped


def test_planted_bad_candidates_are_stopped_before_full_traffic() -> None:
    assert len(PLANTED) == 20
    where = {name: stopped(candidate, seed=1) for name, candidate in PLANTED.items()}
    free = [name for name, found in where.items() if not found]
    assert len(free) <= 1, free
    assert list(where.values()).count("rollout") >= 4  # what no hold-out shows


@pytest.mark.parametrize("step", [0.5, 1.0])
def test_good_candidates_are_seldom_stopped(step: float) -> None:
    """200 refits in both: the candidate has learned half of what the champion is off, or all."""
    found = needless(100, step)
    assert len(found) <= 5, found
