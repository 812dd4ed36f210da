"""The boosted model: it finds what depends on what, in numbers, texts and gaps, and keeps the mean."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from modelyard.loop import boosting

NAMES = ["x", "carrier", "gap", "noise"]


def rows(count: int, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """The target is 2 for far flights of UA, 5 where `gap` is missing, else 1; with noise."""
    chance = np.random.default_rng(seed)
    x = chance.uniform(0, 100, count)
    carrier = chance.choice(["UA", "AA", "DL"], count)
    gap = np.where(chance.random(count) < 0.2, np.nan, chance.normal(size=count))
    true = np.where(np.isnan(gap), 5.0, np.where((x > 50) & (carrier == "UA"), 2.0, 1.0))
    table = pl.DataFrame({"x": x, "carrier": carrier, "gap": gap, "noise": chance.normal(size=count)})
    return table, true


def test_it_finds_what_depends_on_what() -> None:
    table, true = rows(8_000, 1)
    noise = np.random.default_rng(2).normal(0, 0.5, len(true))
    model = boosting.fit(table, true + noise, NAMES)
    later, expected = rows(4_000, 3)
    assert np.abs(model(later) - expected).mean() < 0.1
    assert model(table).mean() == pytest.approx((true + noise).mean(), abs=0.01)


def test_rows_it_has_never_seen() -> None:
    """Columns that are not there, texts that are new, values far out: an answer within what is known."""
    table, true = rows(2_000, 1)
    model = boosting.fit(table, true, NAMES)
    odd = pl.DataFrame({"x": [1e300, -1e300, None], "carrier": ["ZZ", None, "UA"]})
    found = model(odd)
    assert np.isfinite(found).all()
    assert ((found > 0) & (found < 6)).all()


def test_a_target_that_is_all_the_same_and_no_columns() -> None:
    table, true = rows(500, 1)
    assert boosting.fit(table, np.full(500, 3.0), NAMES)(table) == pytest.approx(np.full(500, 3.0))
    assert boosting.fit(table, true, [])(table) == pytest.approx(np.full(500, true.mean()))
    empty = table.with_columns(pl.lit(None, pl.Float64).alias("x"), pl.lit(None, pl.String).alias("carrier"))
    assert np.isfinite(boosting.fit(empty, true, NAMES)(empty)).all()
