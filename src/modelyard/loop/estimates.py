"""How well a classifier of two classes does before outcomes come, out of its own probabilities. Pure.

A probability that is calibrated says how often its class comes, so the expected loss of a row is known
without its outcome (confidence-based estimation: Guillory et al., "Predicting with Confidence on Unseen
Distributions", ICCV 2021). Probabilities are calibrated on earlier labelled rows by histogram binning
(Zadrozny & Elkan, ICML 2001). It holds where the inputs move and not where the same inputs come to mean
something else.
"""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np
import polars as pl
from msgspec import Struct

from modelyard.loop.measures import answers_of
from modelyard.loop.scores import Doubles
from modelyard.records.metrics import Metric
from modelyard.records.predictions import Performance
from modelyard.records.signatures import PROBABILITY, Signature

FEWEST = 500  # labelled rows that probabilities are calibrated on
_BINS = 20
_NORMAL = 1.959964
_LEAST = 1e-15
_OUT = "out:"


class Calibration(Struct, frozen=True):
    """How often the second class came where so much was said.

    Attributes:
        edges: of the bins of probabilities, ascending.
        came: the share of each bin, of which there is one more.
        rows: it was made of.
    """

    edges: tuple[float, ...]
    came: tuple[float, ...]
    rows: int

    def __call__(self, chances: Doubles) -> Doubles:
        """The calibrated probabilities."""
        found: Doubles = np.array(self.came)[np.searchsorted(np.array(self.edges), chances, side="left")]
        return found


def calibration(labelled: pl.DataFrame, signature: Signature) -> Calibration | None:
    """A calibration of labelled rows; None for fewer than 500, or another kind of model."""
    if len(signature.classes) != 2 or labelled.height < FEWEST:  # noqa: PLR2004 - of two classes
        return None
    answers, came = answers_of(labelled, signature)
    is_it = np.array([text == answers.classes[1] for text in came], float)
    chances = answers.probabilities[:, 1]
    edges = tuple(dict.fromkeys(float(q) for q in np.quantile(chances, [n / _BINS for n in range(1, _BINS)])))
    places = np.searchsorted(np.array(edges), chances, side="left")
    counts = np.bincount(places, minlength=len(edges) + 1)
    hits = np.bincount(places, is_it, len(edges) + 1)
    shares = (hits + is_it.mean()) / (counts + 1)  # a row more, of the usual share: no bin is quite sure
    return Calibration(edges, tuple(float(s) for s in shares), labelled.height)


def estimated(
    rows: pl.DataFrame, signature: Signature, known: Calibration, key: tuple[str, int, datetime]
) -> list[Performance]:
    """The expected log-loss, Brier score and accuracy of rows whose outcomes have not come.

    Args:
        rows: under the names of the frames.
        key: model, version and day.
    """
    said = rows[_OUT + PROBABILITY + signature.classes[1]].cast(pl.Float64).to_numpy()
    said = np.clip(said[np.isfinite(said)], _LEAST, 1 - _LEAST)
    if not len(said):
        return []
    true = known(said)
    losses = {  # of a row where the second class comes, and where it does not
        Metric.LOGLOSS: (-np.log(said), -np.log(1 - said)),
        Metric.BRIER: (2 * (1 - said) ** 2, 2 * said**2),
        Metric.ACCURACY: ((said > 0.5).astype(float), (said <= 0.5).astype(float)),  # noqa: PLR2004
    }
    return [_performance(metric, *pair, true, key) for metric, pair in losses.items()]


def _performance(
    metric: Metric, hit: Doubles, miss: Doubles, true: Doubles, key: tuple[str, int, datetime]
) -> Performance:
    """The expected mean, with the spread that the outcomes will have around it."""
    value = float((true * hit + (1 - true) * miss).mean())
    spread = math.sqrt(float((true * (1 - true) * (hit - miss) ** 2).sum())) / len(true)
    low, high = value - _NORMAL * spread, value + _NORMAL * spread
    return Performance(*key, metric, "", value, low, high, len(true), estimated=True)
