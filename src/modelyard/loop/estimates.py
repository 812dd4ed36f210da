"""How well a version does before outcomes come. Pure.

Of a classifier out of its own probabilities: one that is calibrated says how often its class comes, so the
expected loss of a row is known without its outcome (confidence-based estimation: Guillory et al., "Predicting
with Confidence on Unseen Distributions", ICCV 2021). Probabilities are calibrated on earlier labelled rows,
each class by isotonic regression and then scaled to sum to one (Zadrozny & Elkan, "Transforming classifier
scores into accurate multiclass probability estimates", KDD 2002). Of numbers by a model of their loss, see
`loop.losses`. Both hold where the inputs move and not where the same inputs come to mean something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import numpy as np
import polars as pl
from msgspec import Struct
from scipy.optimize import isotonic_regression

from modelyard.loop.losses import FEWEST, LossModel, loss_model
from modelyard.loop.measures import answered, answers_of, area_interval
from modelyard.loop.scores import Doubles, label_text
from modelyard.records.metrics import Metric
from modelyard.records.predictions import OUTPUT, Performance
from modelyard.records.signatures import LABEL, PROBABILITY, Signature, Task

_NORMAL = 1.959964
_LEAST = 1e-15
_TWO = 2


class Expected(Struct, frozen=True):
    """A metric as it is expected to be measured.

    Attributes:
        spread: the standard error of what will be measured around it, so far as chance goes.
    """

    metric: Metric
    value: float
    spread: float


Estimator = Callable[[pl.DataFrame], list[Expected]]


def can_estimate(signature: Signature) -> bool:
    """Whether a model's answers can be estimated: numbers, and labels that come with probabilities."""
    return signature.task is Task.REGRESSION or len(signature.classes) >= _TWO


def estimator(labelled: pl.DataFrame, signature: Signature) -> Estimator | None:
    """What estimates rows without outcomes, made of labelled rows, oldest first.

    None for fewer than 500 of them that have an answer, and for labels without probabilities.
    """
    if labelled.height < FEWEST or not can_estimate(signature):
        return None
    labelled = answered(labelled, signature)
    if labelled.height < FEWEST:
        return None
    if signature.task is Task.REGRESSION:
        models = [loss_model(labelled, signature, metric) for metric in (Metric.MAE, Metric.RMSE)]
        known = tuple(m for m in models if m is not None)
        return _Numbers(known) if known else None
    return calibrated(labelled, signature)


def performances(
    found: Sequence[Expected], key: tuple[str, int, datetime], rows: int, excess: Callable[[str], float]
) -> list[Performance]:
    """Estimates as they are kept, in intervals that also hold how far earlier ones were off.

    Args:
        key: model, version and day.
        rows: they were made for.
        excess: of a metric, the standard deviation of earlier estimates' own error.
    """
    kept = []
    for each in found:
        half = _NORMAL * math.hypot(each.spread, excess(each.metric))
        numbers = (each.value, each.value - half, each.value + half)
        kept.append(Performance(*key, each.metric, "", *numbers, rows, estimated=True))
    return kept


class Curve(Struct, frozen=True):
    """How often a class came where so much was said.

    Attributes:
        edges: of the steps of probabilities, ascending.
        came: the share of each step, of which there is one more.
    """

    edges: tuple[float, ...]
    came: tuple[float, ...]

    def __call__(self, chances: Doubles) -> Doubles:
        """The calibrated probabilities."""
        found: Doubles = np.array(self.came)[np.searchsorted(np.array(self.edges), chances, side="left")]
        return found


class Calibrated(Struct, frozen=True):
    """Estimates a classifier of `classes` by its calibrated probabilities.

    Attributes:
        curves: one a class; of two classes that of the second alone.
        rows: they were made of.
    """

    classes: tuple[str, ...]
    curves: tuple[Curve, ...]
    rows: int

    def __call__(self, rows: pl.DataFrame) -> list[Expected]:
        """Log-loss, Brier score, accuracy and for two classes AUC, of rows under the names of the frames."""
        said = np.column_stack(
            [rows[OUTPUT + PROBABILITY + c].cast(pl.Float64).to_numpy() for c in self.classes]
        )
        there = np.isfinite(said).all(axis=1)
        said = said[there]
        if not len(said):
            return []
        true = self.true(said)
        labels = [label_text(v) for v in rows[OUTPUT + LABEL].filter(pl.Series(there)).to_list()]
        right = np.column_stack([[label == label_text(c) for label in labels] for c in self.classes])
        squares = (said**2).sum(axis=1, keepdims=True)
        losses = {
            Metric.LOGLOSS: -np.log(np.maximum(said, _LEAST)),
            Metric.BRIER: squares - said**2 + (1 - said) ** 2,
            Metric.ACCURACY: right.astype(float),
        }
        found = [self._expected(metric, each, true) for metric, each in losses.items()]
        return [*found, *(_area(said[:, 1], true[:, 1]) if len(self.classes) == _TWO else ())]

    def true(self, said: Doubles) -> Doubles:
        """The calibrated probabilities of n rows, n by classes."""
        if len(self.classes) == _TWO:
            second = self.curves[0](said[:, 1])
            return np.column_stack([1 - second, second])
        each = np.column_stack([curve(said[:, k]) for k, curve in enumerate(self.curves)])
        scaled: Doubles = each / each.sum(axis=1, keepdims=True)
        return scaled

    def _expected(self, metric: Metric, losses: Doubles, true: Doubles) -> Expected:
        """The expected mean, with the spread of outcomes around it, here and in the calibration."""
        means = (true * losses).sum(axis=1)
        variance = float(((true * losses**2).sum(axis=1) - means**2).mean())
        spread = math.sqrt(max(0.0, variance) * (1 / len(means) + 1 / self.rows))
        return Expected(metric, float(means.mean()), spread)


def calibrated(labelled: pl.DataFrame, signature: Signature) -> Calibrated:
    """An estimator of labelled rows of a classifier with probabilities."""
    answers, came = answers_of(labelled, signature)
    wanted = range(1, _TWO) if len(answers.classes) == _TWO else range(len(answers.classes))
    texts = np.array(list(came), object)
    curves = tuple(curve_of(answers.probabilities[:, k], texts == answers.classes[k]) for k in wanted)
    return Calibrated(signature.classes, curves, labelled.height)


def curve_of(said: Doubles, came: np.ndarray) -> Curve:
    """How often a class came by how probable it was said to be: the more probable, the more often.

    No step is quite sure: it might have had one row more, of the usual share.
    """
    there = np.isfinite(said)
    chances, places = np.unique(said[there], return_inverse=True)
    counts = np.bincount(places).astype(float)
    hits = np.bincount(places, came[there].astype(float))
    blocks = isotonic_regression(hits / counts, weights=counts).blocks
    counts, hits = (np.add.reduceat(each, blocks[:-1]) for each in (counts, hits))
    unsure = 1 / (len(came) + 1)
    shares = np.clip(hits / counts, unsure * came.mean(), 1 - unsure * (1 - came.mean()))
    return Curve(tuple(chances[blocks[1:-1] - 1].tolist()), tuple(shares.tolist()))


def _area(said: Doubles, true: Doubles) -> Iterator[Expected]:
    """The chance that a row whose class comes was said to be more probable than one whose class does not."""
    hits, misses = float(true.sum()), float((1 - true).sum())
    if min(hits, misses) < 1:
        return
    _, places = np.unique(said, return_inverse=True)
    came, not_came = np.bincount(places, true), np.bincount(places, 1 - true)
    below = np.cumsum(not_came) - not_came
    value = float((came * (below + not_came / 2)).sum() / (hits * misses))
    found = area_interval(value, round(hits), round(misses))
    yield Expected(Metric.AUC, value, (found.high - found.low) / (2 * _NORMAL))


class _Numbers:
    """Estimates MAE and RMSE by models of the absolute and the squared error."""

    def __init__(self, models: Sequence[LossModel]) -> None:
        self._models = models

    def __call__(self, rows: pl.DataFrame) -> list[Expected]:
        if not rows.height:
            return []
        return [_of_losses(model, model(rows)) for model in self._models]


def _of_losses(model: LossModel, losses: Doubles) -> Expected:
    value = float(losses.mean())
    spread = math.sqrt(model.variance * (1 / len(losses) + 1 / model.rows))
    if model.metric is not Metric.RMSE:
        return Expected(model.metric, value, spread)
    root = math.sqrt(value)
    return Expected(Metric.RMSE, root, spread / (2 * root) if root else 0.0)
