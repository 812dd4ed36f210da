"""Estimated performance: near what outcomes say later, of two classes, of many and of numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from modelyard.loop import sequential
from modelyard.loop.estimates import Estimator, curve_of, estimator, performances
from modelyard.loop.measures import measured
from modelyard.loop.watch import differences
from modelyard.records.signatures import Column, ColumnType, Signature

KEY = ("finance/fuel-cost", 1, datetime(2026, 3, 1, tzinfo=UTC))
X = (Column("x", ColumnType.FLOAT64),)


def classes(*names: str) -> Signature:
    chances = [Column(f"probability:{name}", ColumnType.FLOAT64) for name in names]
    return Signature(X, (Column("label", ColumnType.STRING), *chances))


TWO, THREE = classes("no", "yes"), classes("air", "rail", "road")
NUMBERS = Signature((*X, Column("carrier", ColumnType.STRING)), (Column("prediction", ColumnType.FLOAT64),))


def of_classes(signature: Signature, count: int, seed: int, centre: float, sureness: float) -> pl.DataFrame:
    """Answers whose logits are so many times what they should be; `centre` moves the last class."""
    chance = np.random.default_rng(seed)
    names = signature.classes
    logits = chance.normal(0, 1.2, (count, len(names)))
    logits[:, -1] += centre
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = np.exp(sureness * logits) / np.exp(sureness * logits).sum(axis=1, keepdims=True)
    came = (chance.random((count, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(0, len(names) - 1)
    chances = {f"out:probability:{name}": said[:, k] for k, name in enumerate(names)}
    labels = np.array(names)[said.argmax(axis=1)]
    return pl.DataFrame({"out:label": labels, **chances, "actual": np.array(names)[came]})


def of_numbers(count: int, seed: int, centre: float) -> pl.DataFrame:
    """Errors grow with x, and are three times as large for AA."""
    chance = np.random.default_rng(seed)
    x = chance.normal(centre, 1.0, count)
    carrier = chance.choice(["UA", "AA"], count)
    size = (1 + np.abs(x)) * np.where(carrier == "AA", 3.0, 1.0)
    actual = 10 * x + chance.normal(0, size)
    return pl.DataFrame({"in:x": x, "in:carrier": carrier, "out:prediction": 10 * x, "actual": actual})


def near(found: Estimator, later: pl.DataFrame, signature: Signature, tolerance: float) -> list[str]:
    truth = {p.metric: p for p in measured(later, signature, KEY)}
    estimates = performances(found(later), KEY, later.height, lambda _: 0.0)
    for each in estimates:
        assert each.estimated
        assert each.value == pytest.approx(truth[each.metric].value, rel=tolerance)
        assert each.low < each.value < each.high
    return [each.metric for each in estimates]


@pytest.mark.parametrize("sureness", [1.0, 2.5, 0.4])
@pytest.mark.parametrize("signature", [TWO, THREE], ids=["two", "three"])
def test_of_classes_it_is_near_what_outcomes_say(signature: Signature, sureness: float) -> None:
    """Also for a model that is too sure of itself, and where the classes are shared otherwise."""
    known = estimator(of_classes(signature, 20_000, 1, 0.0, sureness), signature)
    assert known is not None
    for centre in (-0.5, 0.5):
        names = near(known, of_classes(signature, 20_000, 2, centre, sureness), signature, 0.05)
        assert names == ["logloss", "brier", "accuracy", *(["auc"] if signature is TWO else [])]


def test_of_numbers_it_follows_the_inputs() -> None:
    known = estimator(of_numbers(10_000, 1, 0.0), NUMBERS)
    assert known is not None
    assert near(known, of_numbers(10_000, 2, 1.0), NUMBERS, 0.07) == ["mae", "rmse"]
    still, moved = (known(of_numbers(10_000, 3, centre))[0].value for centre in (0.0, 1.5))
    assert moved > 1.25 * still


def test_an_interval_holds_how_far_earlier_ones_were_off() -> None:
    known = estimator(of_numbers(2_000, 1, 0.0), NUMBERS)
    assert known is not None
    later = of_numbers(2_000, 2, 0.0)

    def of(error: float) -> Callable[[str], float]:
        return lambda _: error

    narrow, wide = (performances(known(later), KEY, 2_000, of(error))[0] for error in (0.0, 1.0))
    assert wide.value == narrow.value
    assert wide.high - wide.value == pytest.approx(np.hypot(narrow.high - narrow.value, 1.959964))


def test_nothing_is_estimated_out_of_little() -> None:
    assert estimator(of_classes(TWO, 499, 1, 0.0, 1.0), TWO) is None
    assert estimator(of_numbers(499, 1, 0.0), NUMBERS) is None
    labels = Signature(X, TWO.outputs[:1])
    assert estimator(of_classes(TWO, 5000, 1, 0.0, 1.0), labels) is None
    for some, signature in ((of_classes(TWO, 500, 1, 0.0, 1.0), TWO), (of_numbers(500, 1, 0.0), NUMBERS)):
        known = estimator(some, signature)
        assert known is not None
        assert known(some.head(0)) == []


def test_one_class_alone_and_answers_that_are_missing() -> None:
    some = of_classes(TWO, 1000, 1, 0.0, 1.0)
    known = estimator(some.with_columns(pl.lit("no").alias("actual")), TWO)
    assert known is not None
    later = some.with_columns(pl.lit(float("nan")).alias("out:probability:yes"))
    assert known(later) == []
    assert all(np.isfinite([e.value, e.spread]).all() for e in known(some))


def test_nothing_is_learned_of_rows_without_an_answer() -> None:
    some = of_classes(TWO, 1000, 1, 0.0, 1.0)
    missing = pl.lit(float("nan")).alias("out:probability:yes")
    assert estimator(some.with_columns(missing), TWO) is None
    both = pl.concat([some, some.with_columns(missing)])
    alone, mixed = estimator(some, TWO), estimator(both, TWO)
    assert alone is not None
    assert mixed is not None
    assert mixed(some) == alone(some)


@pytest.mark.parametrize("signature", [TWO, NUMBERS], ids=["classes", "numbers"])
def test_a_candidate_that_answers_nothing_is_as_bad_as_any(signature: Signature) -> None:
    """Its missing answers are no reason to look away from what outcomes say of it."""
    some = of_classes(TWO, 300, 1, 0.0, 1.0) if signature is TWO else of_numbers(300, 1, 0.0)
    names = [name for name in some.columns if name.startswith("out:") and name != "out:label"]
    nothing = some.with_columns(pl.lit(float("nan")).alias(name) for name in names)
    found = differences(nothing, some, signature)
    assert np.isfinite(found).all()
    assert sequential.mean(found, 0.02) > 10
    assert set(differences(some, some, signature)) == {0.0}


def test_a_curve_never_falls() -> None:
    chance = np.random.default_rng(1)
    said = chance.random(2000)
    found = curve_of(said, chance.random(2000) < said**2)
    grid = found(np.linspace(0, 1, 200))
    assert (np.diff(grid) >= 0).all()
    assert found(np.array([0.5]))[0] == pytest.approx(0.25, abs=0.08)
