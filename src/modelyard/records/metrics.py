"""Metrics: those a policy can name, with what each is of and which direction is better, and a model's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.references import shown
from modelyard.records.signatures import Signature, Task

OTHERS = ("bias", "calibration", "precision", "recall", "coverage", "interval-width", "quantile-loss")
MAX_EXPRESSION = 1_000  # characters
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)


class Metric(StrEnum):
    """How good predictions were, over rows whose outcomes are known.

    MAE, RMSE: of numbers, in the target's unit. LOGLOSS: mean -ln of the probability given to the class that
    came. BRIER: mean squared distance between the probabilities and what came, over all classes. ACCURACY:
    share of right labels. AUC: of two classes, the chance that one that came has the higher probability.
    """

    MAE = "mae"
    RMSE = "rmse"
    LOGLOSS = "logloss"
    BRIER = "brier"
    ACCURACY = "accuracy"
    AUC = "auc"

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is a better model."""
        return self in (Metric.ACCURACY, Metric.AUC)

    @property
    def task(self) -> Task:
        """The task whose predictions it is of."""
        return Task.REGRESSION if self in (Metric.MAE, Metric.RMSE) else Task.CLASSIFICATION

    @property
    def needs_probabilities(self) -> bool:
        """Whether labels alone are not enough for it."""
        return self in (Metric.LOGLOSS, Metric.BRIER, Metric.AUC)


class OwnMetric(Struct, frozen=True):
    """A metric of one model's own, measured on its labelled rows beside the usual ones.

    Attributes:
        expression: a SQL expression; see `catalog.expressions`.
        higher_is_better: which direction is better.
    """

    model: str
    name: str
    expression: str
    higher_is_better: bool
    changed_at: datetime
    changed_by: str

    def __str__(self) -> str:
        return self.name


AnyMetric = Metric | OwnMetric


def default_metric(signature: Signature) -> Metric:
    """The metric where a policy names none: MAE of numbers, log-loss of probabilities, accuracy of labels."""
    if signature.task is Task.REGRESSION:
        return Metric.MAE
    return Metric.LOGLOSS if signature.classes else Metric.ACCURACY


def can_name(name: str) -> bool:
    """Whether a policy can name it: a metric that candidates are judged by, or one of a model's own.

    >>> can_name("mae"), can_name("late-misses"), can_name("bias"), can_name("Mae")
    (True, True, False, False)
    """
    return name in list(Metric) or (name not in OTHERS and _NAME.fullmatch(name) is not None)


def metric_for(name: str, signature: Signature, own: Iterable[OwnMetric] = ()) -> AnyMetric:
    """The metric that a policy names, or the default if it names none.

    Args:
        own: the model's own metrics.

    Raises:
        InvalidError: there is no such metric, or none of this model's answers.
    """
    if not name:
        return default_metric(signature)
    if name not in list(Metric):
        found = next((metric for metric in own if metric.name == name), None)
        if found is None:
            raise no_metric(name)
        return found
    metric = Metric(name)
    if metric.task is not signature.task or (metric.needs_probabilities and not signature.classes):
        raise InvalidError(
            f"The metric {shown(name)} does not fit this model, which answers "
            f"{'numbers' if signature.task is Task.REGRESSION else 'labels'}"
            f"{' with probabilities' if signature.classes else ''}.",
            f"Set [promote] metric to another, as {default_metric(signature)!s}.",
            key="promote.metric",
        )
    return metric


def no_metric(name: str) -> InvalidError:
    """What is said of a name that no metric has."""
    return InvalidError(
        f"[promote] metric is {shown(name)}, and the model has no such metric.",
        f"Name one of {', '.join(Metric)}, or one of its own: yard metric MODEL NAME EXPRESSION.",
        key="promote.metric",
    )


def metric_or_default(name: str, signature: Signature, own: Iterable[OwnMetric] = ()) -> AnyMetric:
    """The metric that a policy names; the default where it names none, or one that does not fit."""
    try:
        return metric_for(name, signature, own)
    except InvalidError:
        return default_metric(signature)


def check_metric_name(name: str) -> str:
    """The name itself if a metric of a model's own may have it.

    Raises:
        InvalidError: it is none, or that of a usual metric.
    """
    if not _NAME.fullmatch(name):
        raise InvalidError(
            f"{shown(name)} is no name of a metric.", "Use a-z, 0-9 and -, from a letter on.", field="name"
        )
    if name in (*Metric, *OTHERS):
        raise InvalidError(f"{name} is a usual metric.", "Give yours another name.", field="name")
    return name
