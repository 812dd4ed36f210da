"""Estimated performance: near what outcomes say later, also for a model that is too sure of itself."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from modelyard.loop.estimates import calibration, estimated
from modelyard.loop.measures import measured
from modelyard.records.signatures import Column, ColumnType, Signature

KEY = ("finance/fuel-cost", 1, datetime(2026, 3, 1, tzinfo=UTC))
SIGNATURE = Signature(
    (Column("x", ColumnType.FLOAT64),),
    (
        Column("label", ColumnType.STRING),
        Column("probability:no", ColumnType.FLOAT64),
        Column("probability:yes", ColumnType.FLOAT64),
    ),
)


def rows(count: int, seed: int, centre: float, sureness: float = 1.0) -> pl.DataFrame:
    """Answers whose logits are so many times what they should be."""
    chance = np.random.default_rng(seed)
    logit = chance.normal(centre, 1.5, count)
    said = 1 / (1 + np.exp(-sureness * logit))
    came = chance.random(count) < 1 / (1 + np.exp(-logit))
    return pl.DataFrame(
        {
            "out:label": np.where(said > 0.5, "yes", "no"),
            "out:probability:no": 1 - said,
            "out:probability:yes": said,
            "actual": np.where(came, "yes", "no"),
        }
    )


@pytest.mark.parametrize("sureness", [1.0, 2.5, 0.4])
@pytest.mark.parametrize("centre", [-0.5, 0.5])
def test_it_is_near_what_outcomes_say(sureness: float, centre: float) -> None:
    """Calibrated on other rows, whose classes are shared otherwise."""
    known = calibration(rows(20_000, 1, 0.0, sureness), SIGNATURE)
    assert known is not None
    later = rows(20_000, 2, centre, sureness)
    truth = {p.metric: p for p in measured(later, SIGNATURE, KEY)}
    for found in estimated(later, SIGNATURE, known, KEY):
        assert found.estimated
        assert found.value == pytest.approx(truth[found.metric].value, rel=0.04)
        assert found.low < found.value < found.high


def test_nothing_is_estimated_out_of_little() -> None:
    assert calibration(rows(499, 1, 0.0), SIGNATURE) is None
    other = Signature(SIGNATURE.inputs, SIGNATURE.outputs[:1])
    assert calibration(rows(5000, 1, 0.0), other) is None
    known = calibration(rows(500, 1, 0.0), SIGNATURE)
    assert known is not None
    assert estimated(rows(0, 1, 0.0), SIGNATURE, known, KEY) == []


def test_one_class_alone() -> None:
    known = calibration(rows(1000, 1, 0.0).with_columns(pl.lit("no").alias("actual")), SIGNATURE)
    assert known is not None
    (loss, *_) = estimated(rows(1000, 2, 0.0), SIGNATURE, known, KEY)
    assert np.isfinite([loss.value, loss.low, loss.high]).all()
