"""How good answers were on labelled rows: metrics with 95 % intervals, for all rows and by slice. Pure.

Intervals of means are by the normal law; of shares Wilson's ("Probable inference", JASA 22, 1927); of the AUC
Hanley and McNeil's ("The meaning and use of the area under a ROC curve", Radiology 143, 1982). They take rows
as independent; rows of one storm are not, so they are rather too narrow than too wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

import numpy as np
import polars as pl
from msgspec import Struct

from modelyard.catalog.expressions import evaluated, own_table
from modelyard.loop.scores import Answers, Doubles, label_text, score
from modelyard.records.errors import InvalidError
from modelyard.records.metrics import Metric, OwnMetric
from modelyard.records.outcomes import ACTUAL
from modelyard.records.predictions import INPUT, OUTPUT, Performance
from modelyard.records.quantiles import point_of, quantiles_of
from modelyard.records.signatures import LABEL, PROBABILITY, Signature, Task

BIAS, CALIBRATION, PRECISION, RECALL = "bias", "calibration", "precision", "recall"
QUANTILE_LOSS, COVERAGE, INTERVAL_WIDTH = "quantile-loss", "coverage", "interval-width"
_HALF = 0.5
_GROUPS = 20  # of rows, each of which is left out once
_NORMAL = 1.959964
_MOST_VALUES = 20  # of a column whose slices are measured
_FEWEST = 30  # rows of a slice
_BINS = 10  # of the calibration error


class Interval(Struct, frozen=True):
    """A metric's value and its 95 % interval."""

    value: float
    low: float
    high: float


def measured(
    rows: pl.DataFrame,
    signature: Signature,
    key: tuple[str, int, datetime],
    slices: Sequence[str] = (),
    own: Sequence[OwnMetric] = (),
) -> list[Performance]:
    """The metrics of one version on one day.

    Args:
        rows: labelled, under the names of the frames.
        key: model, version and day.
        slices: input columns by whose values the metrics are taken as well.
        own: metrics of the model's own.
    """
    found = []
    for name, part in [("", rows), *_sliced(rows, slices)]:
        for metric, interval in [*metrics_of(part, signature), *_own(part, signature, own)]:
            numbers = (interval.value, interval.low, interval.high)
            if all(map(math.isfinite, numbers)):
                found.append(Performance(*key, metric, name, *numbers, part.height))
    return found


def metrics_of(rows: pl.DataFrame, signature: Signature) -> Iterator[tuple[str, Interval]]:
    """Every metric that the answers of such a model have."""
    if not rows.height:
        return
    answers, came = answers_of(rows, signature)
    if signature.task is Task.REGRESSION:
        assert isinstance(came, np.ndarray)  # noqa: S101 - it is, of numbers
        yield Metric.MAE, _mean(score(Metric.MAE, answers, came).rows)
        yield Metric.RMSE, _root(_mean(score(Metric.RMSE, answers, came).rows))
        yield BIAS, _mean(answers.values - came)
        yield from _of_quantiles(rows, came, signature)
        return
    right = score(Metric.ACCURACY, answers, came).rows
    yield Metric.ACCURACY, wilson(float(right.sum()), len(right))
    if not signature.classes:
        return
    yield Metric.LOGLOSS, _mean(score(Metric.LOGLOSS, answers, came).rows)
    yield Metric.BRIER, _mean(score(Metric.BRIER, answers, came).rows)
    if len(signature.classes) == 2:  # noqa: PLR2004 - of two classes
        yield from _of_two(answers, came)


def _own(
    rows: pl.DataFrame, signature: Signature, own: Sequence[OwnMetric]
) -> Iterator[tuple[str, Interval]]:
    """Metrics of the model's own; one that this version's columns do not have is left out."""
    table = own_table(rows, signature) if own and rows.height else pl.DataFrame()
    for metric in own if table.height else ():
        with suppress(InvalidError):
            found = own_interval(metric.expression, table)
            if found is not None:
                yield metric.name, found


def own_interval(expression: str, table: pl.DataFrame) -> Interval | None:
    """The value of an expression over rows: the mean of its values, or the one value that sums rows up.

    Of the latter the interval is by the jackknife that leaves out one of twenty groups of rows (Quenouille,
    "Notes on bias in estimation", Biometrika 43, 1956). None where nothing is left to say.

    Raises:
        InvalidError: it cannot be computed on such rows.
    """
    values = evaluated(expression, table)
    if len(values) == table.height > 1:
        known = values.drop_nulls().drop_nans().to_numpy()
        return _mean(known) if len(known) else None
    if values[0] is None or table.height < 2:  # noqa: PLR2004 - of one row nothing can be left out
        return None if values[0] is None else Interval(values[0], values[0], values[0])
    value, groups = float(values[0]), min(_GROUPS, table.height)
    places = np.arange(table.height) % groups
    left = [evaluated(expression, table.filter(pl.Series(places != g)))[0] for g in range(groups)]
    without = np.array([x for x in left if x is not None], float)
    spread = math.sqrt(max(1, groups - 1) * float(without.var())) if len(without) > 1 else 0.0
    return Interval(value, value - _NORMAL * spread, value + _NORMAL * spread)


def answers_of(rows: pl.DataFrame, signature: Signature) -> tuple[Answers, list[str] | Doubles]:
    """A version's answers and what came, of rows under the names of the frames.

    Rows whose answer is missing count as they are: NaN, which no metric hides.
    """
    if signature.task is Task.REGRESSION:
        name = OUTPUT + point_of(signature)
        values = rows[name].cast(pl.Float64).to_numpy()
        return Answers(values), rows[ACTUAL].cast(pl.Float64).to_numpy()
    labels = tuple(label_text(v) for v in rows[OUTPUT + LABEL].to_list())
    classes = tuple(label_text(c) for c in signature.classes)
    chances = [rows[OUTPUT + PROBABILITY + c].cast(pl.Float64).to_numpy() for c in signature.classes]
    table = np.column_stack(chances) if chances else np.empty((rows.height, 0))
    came = [label_text(v) for v in rows[ACTUAL].to_list()]
    return Answers(np.empty(0), labels, classes, table), came


def _of_quantiles(rows: pl.DataFrame, came: Doubles, signature: Signature) -> Iterator[tuple[str, Interval]]:
    """The quantile loss (Koenker & Bassett, "Regression Quantiles", Econometrica 46, 1978), the mean of all
    quantiles there are; of the widest pair how often what came lies between, and how wide it is.
    """
    shares = {n: s for n, s in quantiles_of(signature).items() if OUTPUT + n in rows.columns}
    if not shares:
        return
    said = {n: rows[OUTPUT + n].cast(pl.Float64).to_numpy() for n in shares}
    losses = [np.maximum(s * (came - said[n]), (s - 1) * (came - said[n])) for n, s in shares.items()]
    yield QUANTILE_LOSS, _mean(np.mean(losses, axis=0))
    (low, least), (high, most) = next(iter(shares.items())), list(shares.items())[-1]
    if least < _HALF < most:
        inside = (said[low] <= came) & (came <= said[high])
        yield f"{COVERAGE}:{most - least:.6g}", wilson(float(inside.sum()), len(inside))
        yield INTERVAL_WIDTH, _mean(said[high] - said[low])


def _of_two(answers: Answers, came: Sequence[str] | Doubles) -> Iterator[tuple[str, Interval]]:
    """Metrics of two classes; the second is the one that is looked for."""
    wanted = answers.classes[1]
    is_it = np.array([c == wanted for c in came])
    said = np.array([label == wanted for label in answers.labels])
    chance = answers.probabilities[:, 1]
    hits = float((said & is_it).sum())
    if said.any():
        yield PRECISION, wilson(hits, int(said.sum()))
    if is_it.any():
        yield RECALL, wilson(hits, int(is_it.sum()))
    if is_it.any() and not is_it.all():
        area = score(Metric.AUC, answers, came).value
        yield Metric.AUC, area_interval(area, int(is_it.sum()), int((~is_it).sum()))
    yield CALIBRATION, _calibration(chance, is_it)


def _calibration(chance: Doubles, came: np.ndarray) -> Interval:
    """The expected calibration error: how far shares and probabilities are apart in ten bins of equal size
    (Naeini, Cooper & Hauskrecht, AAAI 2015), with the standard error of that many binomials.
    """
    order = np.argsort(chance, kind="stable")
    bins = [b for b in np.array_split(order, _BINS) if len(b)]
    gaps = [abs(float(chance[b].mean() - came[b].mean())) * len(b) for b in bins]
    errors = [float((chance[b] * (1 - chance[b])).sum()) for b in bins]
    value, spread = sum(gaps) / len(chance), math.sqrt(sum(errors)) / len(chance)
    return Interval(value, max(0.0, value - _NORMAL * spread), value + _NORMAL * spread)


def _mean(values: Doubles) -> Interval:
    value = float(values.mean())
    spread = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Interval(value, value - _NORMAL * spread, value + _NORMAL * spread)


def _root(of: Interval) -> Interval:
    return Interval(math.sqrt(of.value), math.sqrt(max(0.0, of.low)), math.sqrt(of.high))


def wilson(hits: float, count: int) -> Interval:
    """A share and its interval, which lies within 0 and 1 and is right for few rows as well.

    >>> [round(x, 3) for x in (wilson(9, 10).value, wilson(9, 10).low, wilson(9, 10).high)]
    [0.9, 0.596, 0.982]
    """
    share, z = hits / count, _NORMAL**2 / count
    middle = (share + z / 2) / (1 + z)
    half = _NORMAL / (1 + z) * math.sqrt(share * (1 - share) / count + z / (4 * count))
    return Interval(share, min(share, middle - half), max(share, middle + half))


def area_interval(area: float, hits: int, misses: int) -> Interval:
    """An AUC over so many rows whose class came and did not, with its interval."""
    one, two = area / (2 - area), 2 * area * area / (1 + area)
    variance = area * (1 - area) + (hits - 1) * (one - area**2) + (misses - 1) * (two - area**2)
    spread = _NORMAL * math.sqrt(max(0.0, variance) / (hits * misses))
    return Interval(area, max(0.0, area - spread), min(1.0, area + spread))


def _sliced(rows: pl.DataFrame, slices: Sequence[str]) -> Iterator[tuple[str, pl.DataFrame]]:
    for name in slices:
        if INPUT + name not in rows.columns:
            continue
        counted = rows[INPUT + name].value_counts(sort=True, name="n").drop_nulls()
        for value, count in counted.head(_MOST_VALUES).iter_rows():
            if count >= _FEWEST:
                yield f"{name}={value}", rows.filter(pl.col(INPUT + name) == value)
