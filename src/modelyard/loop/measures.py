"""How good answers were on labelled rows: metrics with 95 % intervals, for all rows and by slice. Pure.

Intervals of means are by Student's law; of shares Wilson's ("Probable inference", JASA 22, 1927); of the AUC
Newcombe's, in the same spirit. They take rows as independent; rows of one storm are not, so they are rather
too narrow than too wide.
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
from modelyard.loop.scores import Answers, Doubles, Score, label_text, score
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
NORMAL = 1.959964
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)  # of 1 to 9 degrees
_NOISE = math.sqrt(2 / math.pi)  # the mean distance of a normal law, in standard deviations
_ONE_ROW = 9.68  # times the value
_HALVINGS = 40
_MOST_VALUES = 20  # of a column whose slices are measured
_FEWEST = 30  # rows of a slice
_BINS = 10  # of the calibration error
_MOST_CLASSES = 100  # whose own metrics are averaged


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
        rows: labelled, under the names of the frames; those without an answer are left out.
        key: model, version and day.
        slices: input columns by whose values the metrics are taken as well.
        own: metrics of the model's own.
    """
    found = []
    rows = answered(rows, signature)
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
        yield from _of_labels(answers, came)
        return
    yield Metric.LOGLOSS, _mean(score(Metric.LOGLOSS, answers, came).rows)
    yield Metric.BRIER, _mean(score(Metric.BRIER, answers, came).rows)
    if len(signature.classes) == 2:  # noqa: PLR2004 - of two classes
        yield from _of_two(answers, came)
    else:
        yield from _of_labels(answers, came)
        yield from _of_many(answers, came, right)


def answered(rows: pl.DataFrame, signature: Signature) -> pl.DataFrame:
    """Rows that have an answer: one that is missing would leave the day without any metric. That answers are
    missing is a finding of its own.
    """
    if signature.task is Task.REGRESSION:
        names = [OUTPUT + point_of(signature)]
    else:
        names = [OUTPUT + PROBABILITY + c for c in signature.classes]
    there = [pl.col(name).cast(pl.Float64).is_finite() for name in names]
    return rows.filter(pl.all_horizontal(there)) if there else rows


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
        return None if values[0] is None else _alone(values[0])
    value, groups = float(values[0]), min(_GROUPS, table.height)
    places = np.arange(table.height) % groups
    left = [evaluated(expression, table.filter(pl.Series(places != g)))[0] for g in range(groups)]
    without = np.array([x for x in left if x is not None], float)
    if len(without) <= 1:
        return _alone(value)
    half = student(len(without)) * math.sqrt((len(without) - 1) * float(without.var()))
    return Interval(value, value - half, value + half)


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


def _of_labels(answers: Answers, came: Sequence[str] | Doubles) -> Iterator[tuple[str, Interval]]:
    """Precision and recall of many classes: the means over those that were answered, and that came."""
    said, truth = np.array(answers.labels, object), np.array(came, object)
    precise, found = [], []
    for name in sorted({*said, *truth})[:_MOST_CLASSES]:
        hits = float(((said == name) & (truth == name)).sum())
        precise += [wilson(hits, n)] if (n := int((said == name).sum())) else []
        found += [wilson(hits, n)] if (n := int((truth == name).sum())) else []
    yield PRECISION, _averaged(precise)
    yield RECALL, _averaged(found)


def _of_many(
    answers: Answers, came: Sequence[str] | Doubles, right: Doubles
) -> Iterator[tuple[str, Interval]]:
    """The AUC of many classes, each against all others and averaged; how sure answers were and should be."""
    truth, areas = np.array(came, object), []
    for place, name in enumerate(answers.classes[:_MOST_CLASSES]):
        is_it = truth == name
        if is_it.any() and not is_it.all():
            area = Score(Metric.AUC, answers.probabilities[:, place], is_it).value
            areas.append(area_interval(area, int(is_it.sum()), int((~is_it).sum())))
    if areas:
        yield Metric.AUC, _averaged(areas)
    places = {name: place for place, name in enumerate(answers.classes)}
    best = answers.probabilities.argmax(axis=1)
    own = np.array([places.get(label, k) for label, k in zip(answers.labels, best, strict=True)])
    yield CALIBRATION, _calibration(answers.probabilities[np.arange(len(own)), own], right > 0)


def _averaged(every: Sequence[Interval]) -> Interval:
    """A mean of intervals, each of another class: as wide as if all were wrong to one side together."""
    count = len(every)
    ends = (sum(i.value for i in every), sum(i.low for i in every), sum(i.high for i in every))
    return Interval(*(end / count for end in ends))


def _calibration(chance: Doubles, came: np.ndarray) -> Interval:
    """The expected calibration error: how far shares and probabilities are apart in ten bins of equal size
    (Naeini, Cooper & Hauskrecht, AAAI 2015).

    Chance alone sets shares apart from the best of probabilities, so it is never less than that on average:
    the interval goes down by the mean distance of that many binomials and by how far this may be off.
    """
    order = np.argsort(chance, kind="stable")
    bins = [b for b in np.array_split(order, _BINS) if len(b)]
    value = sum(abs(float(chance[b].mean() - came[b].mean())) * len(b) for b in bins) / len(chance)
    shares = [(float(came[b].sum()) + 1, len(b) + 2) for b in bins]
    errors = [math.sqrt(len(b) * hits * (of - hits)) / of for b, (hits, of) in zip(bins, shares, strict=True)]
    spread, alone = math.hypot(*errors) / len(chance), _NOISE * sum(errors) / len(chance)
    down = max(NORMAL * spread, alone + NORMAL * math.sqrt(1 - _NOISE**2) * spread)
    return Interval(value, max(0.0, value - down), value + NORMAL * spread)


def _mean(values: Doubles) -> Interval:
    value = float(values.mean())
    if len(values) <= 1:
        return _alone(value)
    half = student(len(values)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(value, value - half, value + half)


def _alone(value: float) -> Interval:
    """Of one row: wide, but an interval of 95 % for the mean of a normal law (Wall, Boen & Tweedie, "An
    effective confidence interval for the mean with samples of size one and two", Am. Statistician 55, 2001).
    """
    return Interval(value, value - _ONE_ROW * abs(value), value + _ONE_ROW * abs(value))


def student(rows: int) -> float:
    """How many standard errors are on each side of 95 %: from ten degrees of freedom on by the first terms of
    Fisher's expansion, which is right to a thousandth.
    """
    degrees, z = rows - 1, NORMAL
    if degrees <= len(_STUDENT):
        return _STUDENT[degrees - 1]
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def _root(of: Interval) -> Interval:
    return Interval(math.sqrt(of.value), math.sqrt(max(0.0, of.low)), math.sqrt(of.high))


def wilson(hits: float, count: int) -> Interval:
    """A share and its interval, which lies within 0 and 1 and is right for few rows as well.

    >>> [round(x, 3) for x in (wilson(9, 10).value, wilson(9, 10).low, wilson(9, 10).high)]
    [0.9, 0.596, 0.982]
    """
    share, z = hits / count, NORMAL**2 / count
    middle = (share + z / 2) / (1 + z)
    half = NORMAL / (1 + z) * math.sqrt(share * (1 - share) / count + z / (4 * count))
    return Interval(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def area_interval(area: float, hits: int, misses: int) -> Interval:
    """An AUC over so many rows whose class came and did not, with its interval.

    It ends where an AUC is that would just not be measured so, by the spread that it would have itself
    (Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2",
    Statistics in Medicine 25, 2006, method 5), so rows that are all ranked right do not make it sure.

    >>> [round(x, 3) for x in (area_interval(1.0, 5, 5).low, area_interval(1.0, 5, 5).high)]
    [0.643, 1.0]
    """
    more = (hits + misses) / 2 - 1

    def is_beyond(bound: float) -> bool:
        shape = 1 + more * ((1 - bound) / (2 - bound) + bound / (1 + bound))
        spread = math.sqrt(max(0.0, bound * (1 - bound)) * shape / (hits * misses))
        return abs(area - bound) > NORMAL * spread

    ends = []
    for end in (0.0, 1.0):
        beyond, within = end, area
        for _ in range(_HALVINGS):
            middle = (beyond + within) / 2
            beyond, within = (middle, within) if is_beyond(middle) else (beyond, middle)
        ends.append(within)
    return Interval(area, ends[0], ends[1])


def _sliced(rows: pl.DataFrame, slices: Sequence[str]) -> Iterator[tuple[str, pl.DataFrame]]:
    for name in slices:
        if INPUT + name not in rows.columns:
            continue
        counted = rows[INPUT + name].value_counts(sort=True, name="n").drop_nulls()
        for value, count in counted.head(_MOST_VALUES).iter_rows():
            if count >= _FEWEST:
                yield f"{name}={value}", rows.filter(pl.col(INPUT + name) == value)
