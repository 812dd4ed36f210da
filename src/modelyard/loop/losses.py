"""The loss to be expected of a row, learned from rows whose outcomes came. Pure.

It says what a regression's error is before outcomes come, and what a moved column costs. A second model
learns the first one's loss from its inputs and answers: direct loss estimation, as NannyML calls it. The idea
is that of loss prediction (Yoo & Kweon, "Learning Loss for Active Learning", CVPR 2019) and of the scale
model of locally weighted conformal regression (Papadopoulos, Gammerman & Vovk, "Normalized nonconformity
measures for regression conformal prediction", 2008). It sees where inputs move to rows that the model is
worse at, and not where the same inputs come to mean something else.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from msgspec import Struct

from modelyard.loop import boosting
from modelyard.loop.boosting import Boosted
from modelyard.loop.measures import answers_of
from modelyard.loop.scores import Doubles, score
from modelyard.records.metrics import Metric
from modelyard.records.predictions import INPUT, OUTPUT
from modelyard.records.signatures import Signature

FEWEST = 500  # labelled rows that a loss is learned from
_MOST = 100_000  # rows, the newest
_DONORS = 20_000  # rows that a column is drawn from
_SEED = 20_130_101  # the same rows give the same answer


class LossModel(Struct, frozen=True):
    """What a row's loss is expected to be.

    Attributes:
        metric: whose mean over rows it is the loss of; of RMSE the square.
        variance: of a row's loss around it.
        rows: it was made of.
    """

    metric: Metric
    model: Boosted
    variance: float
    rows: int

    def __call__(self, rows: pl.DataFrame) -> Doubles:
        """The expected loss of each row, never less than none."""
        return np.maximum(self.model(rows), 0.0)


def loss_model(labelled: pl.DataFrame, signature: Signature, metric: Metric) -> LossModel | None:
    """Learn a metric's loss from labelled rows, oldest first; None for fewer than 500.

    Args:
        metric: one whose value is a mean over rows.
    """
    some = labelled.tail(_MOST)
    losses = losses_of(some, signature, metric)
    known = np.isfinite(losses)
    if known.sum() < FEWEST:
        return None
    some, losses = some.filter(pl.Series(known)), losses[known]
    model = boosting.fit(some, losses, columns_of(some, signature))
    variance = float(np.square(losses - model(some)).mean())
    return LossModel(metric, model, variance, len(losses))


def losses_of(rows: pl.DataFrame, signature: Signature, metric: Metric) -> Doubles:
    """The loss of each labelled row, whose mean the metric is."""
    return score(metric, *answers_of(rows, signature)).rows


def columns_of(rows: pl.DataFrame, signature: Signature) -> list[str]:
    """The inputs and answers of a signature that rows have, under the names of the frames."""
    every = [INPUT + c.name for c in signature.inputs] + [OUTPUT + c.name for c in signature.outputs]
    return [name for name in every if name in rows.columns]


class Cost(Struct, frozen=True):
    """What a moved column does to a metric: `cost` in its unit (positive is worse), and as a share of what it
    would be without.
    """

    cost: float
    share: float


def cost_of(model: LossModel, window: pl.DataFrame, before: pl.DataFrame, column: str) -> Cost | None:
    """What it does to the metric that a column's values are those of the window and not those of before.

    The expected loss of the window's rows, less that of the same rows with values drawn from before (what
    would have been had the column not moved, and the answers stayed). Positive is worse.
    """
    if column not in before.columns or column not in window.columns or not window.height:
        return None
    chance = np.random.default_rng(_SEED)
    donors = before[column].tail(_DONORS)
    drawn = donors.gather(chance.integers(0, len(donors), window.height))
    put_back = window.with_columns(drawn.alias(column))
    now, then = float(model(window).mean()), float(model(put_back).mean())
    cost = then - now if model.metric.higher_is_better else now - then
    return Cost(cost, cost / then if then else 0.0)
