"""How good answers were, and how sure that is: metrics over rows, and a paired bootstrap of two versions.

The rows of a hold-out come in the order of time and are not independent (a storm delays a whole day), so
blocks of neighbouring rows are drawn, not single rows: the circular block bootstrap of Politis and Romano
("A circular block-resampling procedure for stationary data", 1992) with blocks of about the cube root of the
number of rows (Künsch, Ann. Statist. 17, 1989). Both versions are measured on the same draws (paired).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from modelyard.catalog.expressions import compiled, computed
from modelyard.records.metrics import AnyMetric, Metric, OwnMetric
from modelyard.records.signatures import LABEL, PREDICTION, PROBABILITY, Signature, Task

Doubles = NDArray[np.float64]

DRAWS = 2_000
SURE = 0.95
_AT_ONCE = 100  # draws; more would take hundreds of megabytes for the largest hold-out
_COSTLY_DRAWS = 500  # of the AUC, each of which ranks all rows, and of sums of expressions
_LEAST_CHANCE = 1e-15  # a class that came and was given no chance costs 34.5, not infinity


class Answers(Struct, frozen=True):
    """What a version answered to n rows.

    Attributes:
        values: n numbers, for regression; else none.
        labels: n labels as `label_text` gives them, for classification; else none.
        classes: those with probabilities, as texts, and
        probabilities: n by classes.
    """

    values: Doubles
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    probabilities: Doubles = np.empty((0, 0))

    def at(self, rows: NDArray[np.bool_]) -> Answers:
        """Those to some of the rows."""
        labels = tuple(label for label, keep in zip(self.labels, rows, strict=False) if keep)
        chances = self.probabilities[rows] if self.classes else self.probabilities
        return Answers(self.values[rows] if len(self.values) else self.values, labels, self.classes, chances)


class Score(Struct, frozen=True):
    """One version's metric over n rows: per-row values whose mean it is, or what ranks them.

    Attributes:
        rows: per-row values; for AUC the probability of the second class.
        came: for AUC whether that class came; else empty.
    """

    metric: AnyMetric
    rows: Doubles
    came: NDArray[np.bool_] = np.empty(0, np.bool_)

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.rows)

    @property
    def draws(self) -> int:
        """Of how many draws it takes the time."""
        return _COSTLY_DRAWS if self.metric is Metric.AUC else DRAWS

    @property
    def value(self) -> float:
        """The metric; NaN where it means nothing."""
        if not len(self.rows):
            return float("nan")
        if self.metric is Metric.AUC:
            return float(_areas(self, np.ones((1, len(self.rows))))[0])
        mean = float(self.rows.mean())
        return mean**0.5 if self.metric is Metric.RMSE else mean

    def drawn(self, starts: NDArray[np.int64], length: int) -> Doubles:
        """The metric on each draw of blocks."""
        if self.metric is Metric.AUC:
            return _areas(self, _weights(starts, len(self.rows), length))
        around = np.concatenate([self.rows, self.rows[: length - 1]])
        sums = np.concatenate([[0.0], np.cumsum(around)])
        blocks = sums[length:] - sums[:-length]
        means: Doubles = blocks[starts].mean(axis=1) / length
        return np.sqrt(np.maximum(means, 0.0)) if self.metric is Metric.RMSE else means


class Summed(Struct, frozen=True):
    """One version's metric of the model's own over n rows, where it sums rows up or leaves some out.

    Attributes:
        by: the expression, and
        table: the columns of it; see `catalog.expressions.own_table`.
    """

    metric: AnyMetric
    by: pl.Expr
    table: pl.DataFrame

    @property
    def count(self) -> int:
        """How many rows."""
        return self.table.height

    @property
    def draws(self) -> int:
        """Of how many draws it takes the time: each is computed by itself."""
        return _COSTLY_DRAWS

    @property
    def value(self) -> float:
        """The metric; NaN where it means nothing."""
        return _mean_of(computed(self.by, self.table))

    def drawn(self, starts: NDArray[np.int64], length: int) -> Doubles:
        """The metric on each draw of blocks."""
        steps = np.arange(length)
        places = ((begins[:, None] + steps).ravel() % self.count for begins in starts)
        return np.array([_mean_of(computed(self.by, self.table[rows])) for rows in places])


def own_score(metric: OwnMetric, table: pl.DataFrame) -> Score | Summed:
    """How good answers were by a metric of the model's own.

    Args:
        table: n labelled rows; see `catalog.expressions.own_table`.

    Raises:
        InvalidError: it cannot be computed on such rows.
    """
    by = compiled(metric.expression, table.columns)
    values = computed(by, table)
    known = values.drop_nulls().drop_nans()
    if len(known) == table.height > 1:
        return Score(metric, known.to_numpy())
    used = [*dict.fromkeys(by.meta.root_names())] or table.columns[:1]
    return Summed(metric, by, table.select(used))


def _mean_of(values: pl.Series) -> float:
    mean = values.drop_nans().mean()
    return mean if isinstance(mean, float) else float("nan")


class Interval(Struct, frozen=True):
    """How much better one version is than another, and between what that lies.

    Attributes:
        spread: the standard deviation of the draws.
    """

    better: float
    low: float
    high: float
    spread: float

    def is_worse(self, places: int) -> bool:
        """Whether it is surely worse, one of so many places looked at (Bonferroni)."""
        surely = NormalDist().inv_cdf(1 - (1 - SURE) / max(1, places))
        return self.better < 0 and self.better + surely * self.spread < 0


def label_text(value: object) -> str:
    """A label or an outcome as text, the same for all languages and file formats.

    >>> label_text(True), label_text("TRUE"), label_text(2.0), label_text("2"), label_text("late")
    ('true', 'true', '2', '2', 'late')
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text.lower() if text.lower() in ("true", "false") else text


def score(metric: Metric, answers: Answers, came: Sequence[str] | Doubles) -> Score:
    """How good answers were.

    Args:
        came: n outcomes: numbers, or texts as `label_text` gives them.

    >>> score(Metric.MAE, Answers(np.array([1.0, 2.0])), np.array([1.5, 4.0])).value
    1.25
    """
    if isinstance(came, np.ndarray):
        errors = np.abs(answers.values - came)
        return Score(metric, errors**2 if metric is Metric.RMSE else errors)
    if metric is Metric.ACCURACY:
        return Score(metric, np.array([a == b for a, b in zip(answers.labels, came, strict=True)], float))
    places = {name: place for place, name in enumerate(answers.classes)}
    found = np.array([places.get(text, -1) for text in came], np.intp)
    if metric is Metric.AUC:
        last = len(answers.classes) - 1
        return Score(metric, answers.probabilities[:, last], found == last)
    known = found >= 0
    given = np.zeros(len(found))
    given[known] = answers.probabilities[known, found[known]]
    if metric is Metric.LOGLOSS:
        return Score(metric, -np.log(np.maximum(given, _LEAST_CHANCE)))
    # (1 - p)² for the class that came and p² for each other; a class nobody knows was given 0.
    squares = (answers.probabilities**2).sum(axis=1) - given**2
    return Score(metric, squares + (1 - given) ** 2)


def constant(metric: AnyMetric, came: Sequence[str] | Doubles) -> Answers:
    """What guesses the same for every row, as well as one guess can: what a first version must beat."""
    count = len(came)
    if isinstance(came, np.ndarray):
        guess = np.mean(came) if metric is Metric.RMSE else np.median(came)
        return Answers(np.full(count, float(guess)))
    classes, counts = np.unique(np.array(came, object).astype(str), return_counts=True)
    common = str(classes[counts.argmax()])
    return Answers(
        np.empty(0), (common,) * count, tuple(map(str, classes)), np.tile(counts / count, (count, 1))
    )


def answering(table: pl.DataFrame, signature: Signature, answers: Answers) -> pl.DataFrame:
    """Labelled rows as they were if these had been the answers to them.

    Args:
        table: see `catalog.expressions.own_table`.
    """
    if signature.task is Task.REGRESSION:
        names = {PREDICTION, *(column.name for column in signature.outputs)} & {*table.columns}
        return table.with_columns(pl.Series(name, answers.values) for name in sorted(names))
    chances = dict(zip(answers.classes, answers.probabilities.T, strict=True))
    given = [
        pl.Series(PROBABILITY + name, chances.get(label_text(name), np.zeros(table.height)))
        for name in signature.classes
    ]
    labels = pl.Series(LABEL, answers.labels)
    kind = table[LABEL].dtype
    said = labels == "true" if kind == pl.Boolean else labels.cast(kind)
    return table.with_columns(said, *given)


def compare(candidate: Score | Summed, champion: Score | Summed, seed: int) -> Interval:
    """How much better the candidate is, in the metric's unit; the same for the same seed.

    >>> better = compare(Score(Metric.MAE, np.ones(500)), Score(Metric.MAE, np.full(500, 3.0)), 1)
    >>> (better.better, better.low, better.high)
    (2.0, 2.0, 2.0)
    """
    sign = 1.0 if candidate.metric.higher_is_better else -1.0
    point = sign * (candidate.value - champion.value)
    count = candidate.count
    length = max(1, round(count ** (1 / 3)))
    chance = np.random.default_rng(seed)
    draws = []
    for _ in range(0, min(candidate.draws, champion.draws), _AT_ONCE):
        starts = chance.integers(0, count, (_AT_ONCE, -(-count // length)))
        draws.append(candidate.drawn(starts, length) - champion.drawn(starts, length))
    found = sign * np.concatenate(draws)
    found = found[np.isfinite(found)]
    if not len(found):
        return Interval(point, float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(found, ((1 - SURE) / 2, (1 + SURE) / 2))
    return Interval(point, float(low), float(high), float(found.std()))


def _weights(starts: NDArray[np.int64], count: int, length: int) -> Doubles:
    """How often each row is in each draw."""
    found = np.zeros((len(starts), count))
    for draw, begins in enumerate(starts):
        counts = np.bincount(begins, minlength=count).astype(float)
        around = np.cumsum(np.concatenate([counts[count - length + 1 :], counts]))
        found[draw] = around[length - 1 :] - np.concatenate([[0.0], around])[: len(around) - length + 1]
    return found


def _areas(score: Score, weights: Doubles) -> Doubles:
    """The chance that a row whose class came ranks above one whose class did not; ties count half."""
    order = np.argsort(score.rows, kind="stable")
    ranked, came = score.rows[order], score.came[order]
    begins = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    hits = np.add.reduceat(weights[:, order] * came, begins, axis=1)
    misses = np.add.reduceat(weights[:, order] * ~came, begins, axis=1)
    below = np.cumsum(misses, axis=1) - misses
    with np.errstate(invalid="ignore"):
        areas: Doubles = (hits * (below + misses / 2)).sum(axis=1) / (hits.sum(axis=1) * misses.sum(axis=1))
    return areas
