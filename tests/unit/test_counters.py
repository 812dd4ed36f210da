"""Counters: every digit, cumulative buckets, and only the departments one may see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.counters import BUCKETS, Counters, exposition

FUEL = ("finance/fuel-cost", 3)


def samples(text: str) -> dict[str, float]:
    """As Prometheus reads them."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pairs = [line.rsplit(" ", 1) for line in lines]
    assert len(dict(pairs)) == len(pairs)
    return {name: float(value) for name, value in pairs}


def test_answers_and_failures_are_counted() -> None:
    counters = Counters()
    counters.answered(*FUEL, rows=3, seconds=0.002)
    counters.answered(*FUEL, rows=1, seconds=20.0)
    counters.failed(*FUEL, "busy")
    found = samples(exposition(counters.values, None))
    labels = 'model="finance/fuel-cost",version="3"'
    assert found[f'modelyard_predict_requests_total{{{labels},outcome="answered"}}'] == 2
    assert found[f'modelyard_predict_requests_total{{{labels},outcome="busy"}}'] == 1
    assert found[f"modelyard_predict_rows_total{{{labels}}}"] == 4
    assert found[f"modelyard_predict_seconds_sum{{{labels}}}"] == pytest.approx(20.002)
    assert found[f"modelyard_predict_seconds_count{{{labels}}}"] == 2
    assert found[f'modelyard_predict_seconds_bucket{{{labels},le="10.0"}}'] == 1
    assert found[f'modelyard_predict_seconds_bucket{{{labels},le="+Inf"}}'] == 2


@given(seconds=st.lists(st.floats(0, 30) | st.sampled_from(BUCKETS)))
def test_buckets_hold_all_that_took_at_most_so_long(seconds: list[float]) -> None:
    counters = Counters()
    for each in seconds:
        counters.answered(*FUEL, rows=1, seconds=each)
    found = samples(exposition(counters.values, None))
    for bound in BUCKETS if seconds else ():
        name = f'modelyard_predict_seconds_bucket{{model="finance/fuel-cost",version="3",le="{bound}"}}'
        assert found[name] == sum(each <= bound for each in seconds)


def test_large_counters_keep_their_digits() -> None:
    """Six digits, as `:g` writes them, would make a busy model's rate jump between zero and thousands."""
    counters = Counters()
    counters.answered(*FUEL, rows=123_456_789, seconds=0.1)
    assert 123_456_789.0 in samples(exposition(counters.values, None)).values()


def test_only_these_departments_are_shown() -> None:
    counters = Counters()
    for model in ("finance/fuel-cost", "fin/other", "operations/finance"):
        counters.answered(model, 1, 1, 0.1)
        counters.failed(model, 1, "busy")
    text = exposition(counters.values, ["fin"])
    assert "fin/other" in text
    assert "finance" not in text
    assert samples(exposition(counters.values, [])) == {}


def test_each_family_is_explained_once_and_before_its_samples() -> None:
    counters = Counters()
    counters.answered(*FUEL, 1, 0.1)
    lines = exposition(counters.values, None).splitlines()
    assert exposition(counters.values, None).endswith("\n")
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types)) == 3
    family = ""
    for line in lines:
        family = line.split()[2] if line.startswith("# TYPE") else family
        assert line.startswith(("#", family))
