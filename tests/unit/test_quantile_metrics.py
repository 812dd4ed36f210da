"""Metrics of models that answer quantiles: their loss, and how often what came lies between."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from modelyard.loop.measures import measured
from modelyard.records.quantiles import point_of, quantiles_of
from modelyard.records.signatures import Column, ColumnType, Signature

KEY = ("finance/fuel-cost", 1, datetime(2026, 3, 1, tzinfo=UTC))


def answering(*names: str) -> Signature:
    return Signature((), tuple(Column(name, ColumnType.FLOAT64) for name in names))


@pytest.mark.parametrize(
    ("names", "shares", "point"),
    [
        (("fit", "lwr", "upr"), {"lwr": 0.025, "upr": 0.975}, "fit"),
        (("q05", "q50", "q95"), {"q05": 0.05, "q50": 0.5, "q95": 0.95}, "q50"),
        (("quantile_0.9", "cost"), {"quantile_0.9": 0.9}, "cost"),
        (("2.5%", "97.5 %"), {"2.5%": 0.025, "97.5 %": 0.975}, "2.5%"),
        (("q1", "p2", "q", "upper", "100%"), {}, "q1"),
        (("prediction",), {}, "prediction"),
    ],
)
def test_they_are_known_by_name(names: tuple[str, ...], shares: dict[str, float], point: str) -> None:
    assert quantiles_of(answering(*names)) == shares
    assert point_of(answering(*names)) == point


def test_their_loss_and_coverage() -> None:
    chance = np.random.default_rng(1)
    count = 5000
    rows = pl.DataFrame(
        {
            "out:q10": np.full(count, -1.2816),
            "out:q50": np.zeros(count),
            "out:q90": np.full(count, 1.2816),
            "actual": chance.normal(size=count),
        }
    )
    found = {p.metric: p for p in measured(rows, answering("q10", "q50", "q90"), KEY)}
    assert set(found) == {"mae", "rmse", "bias", "quantile-loss", "coverage:0.8", "interval-width"}
    coverage = found["coverage:0.8"]
    assert coverage.low < 0.8 < coverage.high
    assert coverage.labels == count
    assert found["interval-width"].value == pytest.approx(2.5632)
    # Of a standard normal law the expected losses are the densities at the quantiles: 0.1755, 0.3989, 0.1755.
    assert found["quantile-loss"].value == pytest.approx((0.1755 * 2 + 0.3989) / 3, rel=0.03)


def test_one_quantile_covers_nothing() -> None:
    rows = pl.DataFrame({"out:q90": [2.0] * 9, "out:prediction": [1.0] * 9, "actual": [1.0] * 9})
    found = {p.metric: p.value for p in measured(rows, answering("prediction", "q90"), KEY)}
    assert found == {"mae": 0, "rmse": 0, "bias": 0, "quantile-loss": pytest.approx(0.1)}
