"""A column then and now: what is compared, in which order, and what is kept back."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.catalog import summaries
from modelyard.catalog.summaries import Summary
from modelyard.web.distributions import compare

values = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60)
texts = st.lists(st.text(max_size=12), min_size=1, max_size=60)


def summary(numbers: list[float], words: list[str] | None = None) -> Summary:
    columns: dict[str, object] = {"in:x": numbers, "seconds": [0.1] * len(numbers)}
    if words is not None:
        columns["in:word"] = words
    return summaries.summarise(pl.DataFrame(columns))


def test_what_has_moved_most_stands_first_and_hidden_columns_are_left_out() -> None:
    chance = np.random.default_rng(1)
    means = {"in:still": 0.0, "in:moved": 2.0, "out:p": 1.0, "in:secret": 9.0}
    before, now = (
        summaries.summarise(
            pl.DataFrame({name: chance.normal(by * mean, 1, 500) for name, mean in means.items()})
        )
        for by in (0, 1)
    )
    found = compare(summaries.binned_on_itself(before), now, {"secret"})
    assert [(c.name, c.side) for c in found] == [("moved", "input"), ("p", "output"), ("still", "input")]
    assert found[0].moved is not None
    assert 1.7 < found[0].moved < 2.3
    assert found[0].apart > 0.4
    assert found[2].apart < 0.25


def test_texts_show_the_most_frequent_values_and_the_rest_as_one() -> None:
    before = summary([1.0] * 40, [f"v{n}" for n in range(20)] * 2)
    now = summary([1.0] * 40, ["new"] * 40)
    word = next(c for c in compare(before, now) if c.name == "word")
    assert word.bins[0].name == "new"
    assert (word.bins[0].before, word.bins[0].now) == (0.0, 1.0)
    assert word.bins[-1].name == "all others"
    assert len(word.bins) == 13
    assert word.apart == 1.0
    assert word.now == "new 100%"


@settings(max_examples=60, deadline=None)
@given(values, values, texts, texts)
def test_shares_are_whole_whatever_came(
    a: list[float], b: list[float], one: list[str], two: list[str]
) -> None:
    size_a, size_b = min(len(a), len(one)), min(len(b), len(two))
    before = summaries.binned_on_itself(summary(a[:size_a], one[:size_a]))
    for column in compare(before, summary(b[:size_b], two[:size_b])):
        assert abs(sum(each.before for each in column.bins) - 1) < 1e-6
        assert abs(sum(each.now for each in column.bins) - 1) < 1e-6
        assert -1e-9 <= column.apart <= 1 + 1e-9


@settings(max_examples=30, deadline=None)
@given(values)
def test_the_same_is_not_apart(a: list[float]) -> None:
    before = summary(a)
    assert compare(before, before)[0].apart < 1e-6
