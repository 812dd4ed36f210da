"""Intervals of metrics hold what they are meant to hold, of few rows as well."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from modelyard.loop.measures import area_interval, measured, metrics_of
from modelyard.records.signatures import Column, ColumnType, Signature

KEY = ("finance/fuel-cost", 1, datetime(2026, 3, 1, tzinfo=UTC))
NUMBERS = Signature((), (Column("prediction", ColumnType.FLOAT64),))
CLASSES = Signature(
    (),
    (
        Column("label", ColumnType.STRING),
        Column("probability:no", ColumnType.FLOAT64),
        Column("probability:yes", ColumnType.FLOAT64),
    ),
)


def answered(chances: np.ndarray, came: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "out:label": np.where(chances > 0.5, "yes", "no"),
            "out:probability:no": 1 - chances,
            "out:probability:yes": chances,
            "actual": np.where(came, "yes", "no"),
        }
    )


@pytest.mark.parametrize("count", [3, 12])
def test_means_of_few_rows(count: int) -> None:
    chance = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        rows = pl.DataFrame({"out:prediction": chance.normal(0, 1, count), "actual": np.zeros(count)})
        bias = dict(metrics_of(rows, NUMBERS))["bias"]
        held += bias.low <= 0 <= bias.high
    assert 370 <= held <= 392  # 95 % are 380, with a standard deviation of 4.4


def test_one_row_alone_says_little() -> None:
    """Its interval is wide, and holds the mean all the same, wherever that is."""
    chance = np.random.default_rng(1)
    for mean in (0.0, 1.0, 10.0):
        found = [
            dict(metrics_of(pl.DataFrame({"out:prediction": [x], "actual": [0.0]}), NUMBERS))["bias"]
            for x in chance.normal(mean, 1, 300).tolist()
        ]
        assert sum(b.low <= mean <= b.high for b in found) >= 276
    said = measured(answered(np.array([0.9]), np.array([True])), CLASSES, KEY)
    assert {p.metric for p in said} == {"accuracy", "logloss", "brier", "precision", "recall", "calibration"}
    nothing = pl.DataFrame(schema={"out:prediction": pl.Float64, "actual": pl.Float64})
    assert measured(nothing, NUMBERS, KEY) == []


def test_rows_without_an_answer_hide_no_others() -> None:
    rows = pl.DataFrame({"out:prediction": [1.0, math.nan, 3.0, None], "actual": [2.0, 2.0, 2.0, 2.0]})
    found = {p.metric: p for p in measured(rows, NUMBERS, KEY)}
    assert (found["mae"].value, found["mae"].labels) == (1.0, 2)
    said = answered(np.array([0.2, math.nan, 0.9]), np.array([False, True, True]))
    assert {p.labels for p in measured(said, CLASSES, KEY)} == {2}


def test_an_area_of_few_rows_is_not_sure() -> None:
    """By the normal law it would be where all rows happen to be ranked right; and often they are."""
    chance, hits, misses = np.random.default_rng(1), 6, 25
    truth, held = 0.5 * math.erfc(-2 / 2), 0
    for _ in range(1000):
        one, other = chance.normal(2, 1, hits), chance.normal(0, 1, misses)
        found = area_interval(float((one[:, None] > other).mean()), hits, misses)
        held += found.low <= truth <= found.high
    assert held >= 930
    assert area_interval(1.0, 1, 1).low < 0.3
    assert area_interval(0.0, 1, 1).high > 0.7
    assert area_interval(0.8, 10**6, 10**6).high - 0.8 < 0.002


def test_calibration_that_is_perfect_or_off_by_a_tenth() -> None:
    chance = np.random.default_rng(1)
    held = dict.fromkeys((0.0, 0.1), 0)
    for off in held:
        for _ in range(100):
            said = chance.uniform(0.2, 0.8, 400)
            found = dict(metrics_of(answered(said, chance.random(400) < said + off), CLASSES))["calibration"]
            held[off] += found.low <= off <= found.high
    assert min(held.values()) >= 93


def test_a_class_that_never_came_has_no_area_and_no_recall() -> None:
    rows = answered(np.linspace(0.1, 0.9, 40), np.zeros(40, bool))
    found = {p.metric: p for p in measured(rows, CLASSES, KEY)}
    assert set(found) == {"accuracy", "logloss", "brier", "precision", "calibration"}
    assert found["precision"].value == 0
    assert 0 == found["precision"].low < found["precision"].high < 0.2


def test_many_classes_have_the_means_over_them() -> None:
    names = ("air", "rail", "road")
    outputs = tuple(Column(f"probability:{n}", ColumnType.FLOAT64) for n in names)
    signature = Signature((), (Column("label", ColumnType.STRING), *outputs))
    chance = np.random.default_rng(1)
    true = chance.dirichlet((2.0, 2.0, 1.0), 3_000)
    came = [names[chance.choice(3, p=p)] for p in true]
    labels = [names[k] for k in true.argmax(axis=1)]
    columns = {f"out:probability:{n}": true[:, k] for k, n in enumerate(names)}
    rows = pl.DataFrame({"out:label": labels, **columns, "actual": came})
    found = {p.metric: p for p in measured(rows, signature, KEY)}
    assert set(found) == {"accuracy", "logloss", "brier", "precision", "recall", "auc", "calibration"}
    pairs = list(zip(labels, came, strict=True))
    for metric, side in (("precision", 0), ("recall", 1)):
        shares = [pairs.count((n, n)) / sum(pair[side] == n for pair in pairs) for n in names]
        assert found[metric].value == pytest.approx(sum(shares) / 3)
    assert found["calibration"].low == 0, "the probabilities are the true ones"
    assert 0.6 < found["auc"].low < found["auc"].value < found["auc"].high < 0.9
    plain = Signature((), (Column("label", ColumnType.STRING),))
    without = {p.metric: p.value for p in measured(rows.select("out:label", "actual"), plain, KEY)}
    assert without == {n: found[n].value for n in ("accuracy", "precision", "recall")}
