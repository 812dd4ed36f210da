"""What leads to a training: the facts of a model at one moment, and what is decided on them."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from modelyard.records.metrics import AnyMetric
from modelyard.records.policies import Level

NORMAL = 1.96  # standard errors on each side of a 95 % interval


class Cause(StrEnum):
    """What led to a training."""

    PERSON = "person"
    WEBHOOK = "webhook"
    SCHEDULE = "schedule"
    NEW_ROWS = "new-rows"
    DRIFT = "drift"
    PERFORMANCE = "performance"
    AGE = "age"
    NEW_DATA = "new-data"
    UPSTREAM = "upstream"


class Request(Struct, frozen=True):
    """A training that was asked for: by a person or a webhook, who, and why."""

    cause: Cause
    by: str
    why: str = ""


class Noticed(Struct, frozen=True):
    """A finding of the watch since the last training."""

    level: Level
    words: str


class Measured(Struct, frozen=True):
    """The champion's performance now and in its first month.

    Attributes:
        low, high: of the interval around `now`; a change within it is no change.
        first_error: the standard error of `first`.
        estimated: without outcomes, from the champion's own probabilities.
    """

    metric: AnyMetric
    first: float
    now: float
    low: float
    high: float
    labels: int
    estimated: bool = False
    first_error: float = 0.0

    def doubt(self, deviations: float) -> float:
        """How far `now` and `first` may be apart by chance: so many standard errors of their difference."""
        return deviations * math.hypot((self.high - self.low) / (2 * NORMAL), self.first_error)


class Facts(Struct, frozen=True):
    """What is known of a model at one moment.

    Attributes:
        trained_at: when the last training began, whoever asked for it (else when the champion was published).
        automatic_at: when the yard began one by itself the last time, or None.
        running: whether a training runs, or a candidate is being compared or rolled out.
        labelled: rows with outcomes since `trained_at`.
        new_data: input datasets with a newer version than the last training read, with that version.
        upstream: models of the policy's list that got a new champion since, with that version.
        cpu_seconds: of trainings of the model in the last 24 hours.
    """

    trained_at: datetime
    automatic_at: datetime | None = None
    running: bool = False
    requests: tuple[Request, ...] = ()
    labelled: int = 0
    findings: tuple[Noticed, ...] = ()
    performance: Measured | None = None
    new_data: tuple[tuple[str, int], ...] = ()
    upstream: tuple[tuple[str, int], ...] = ()
    cpu_seconds: float = 0.0


class Decision(Struct, frozen=True):
    """Whether a training begins now.

    Attributes:
        causes: all that lead to it; empty where nothing does.
        begins: whether it begins now; False with causes where something stands against it.
        words: why, or why not, for a person.
        look_at: when to look again at the latest.
    """

    causes: tuple[Cause, ...]
    begins: bool
    words: str
    look_at: datetime


class Outlook(Struct, frozen=True):
    """What the yard decided last about retraining a model.

    Attributes:
        words: why a training began, or why not.
        at: when that was first decided so.
        next_at: when it looks again; None where nothing is looked at until it is asked for.
    """

    words: str
    at: datetime
    next_at: datetime | None = None
