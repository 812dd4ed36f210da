"""How far a version's estimates were from what came: whether the next one is to be trusted. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from modelyard.records.predictions import Performance

FEWEST_DAYS = 3
_FEWEST_LABELS = 30  # of a day; what fewer say is chance
_NORMAL = 1.959964
_NOISE = math.sqrt(2 / math.pi)  # the mean distance of a normal law, in standard deviations
_SOME = 1.25  # times the error that labels alone explain, which no estimate can be blamed for


class Judgement(StrEnum):
    """Whether an estimate is to be trusted, by what its forerunners were worth.

    TRUSTED: they were nearer to what came than saying "as before", or as near as so few labels can tell.
    DOUBTFUL: saying "as before" was nearer. UNKNOWN: fewer than three days have both.
    """

    TRUSTED = "trusted"
    DOUBTFUL = "doubtful"
    UNKNOWN = "unknown"


class Compared(Struct, frozen=True):
    """A day that has both: what was estimated before outcomes came, and what was measured then.

    Attributes:
        day: its beginning, UTC.
        low, high: the 95 % interval of the estimate; `measured_low`, `measured_high` of what was measured.
        before: what was measured over all earlier days, which is what one would say without an estimate.
        labels: outcomes behind `measured`.
    """

    day: datetime
    estimated: float
    low: float
    high: float
    measured: float
    measured_low: float
    measured_high: float
    before: float
    labels: int

    @property
    def error(self) -> float:
        """How far the estimate lay above what came."""
        return self.estimated - self.measured

    @property
    def noise(self) -> float:
        """The standard error of what was measured."""
        return (self.measured_high - self.measured_low) / (2 * _NORMAL)


class PastError(Struct, frozen=True):
    """How far a version's estimates of one metric were from what came.

    Attributes:
        days: those that have both, oldest first.
        error: the mean distance of the estimate from what came, in the metric's unit; None of no day.
        bias: the mean of estimate less what came.
        naive: the mean distance that saying "as before" would have had.
        covered: the share of days on which what came lay in the estimate's interval (95 % are meant to).
        judgement, words: whether to trust the next one, and why.
    """

    model: str
    version: int
    metric: str
    days: tuple[Compared, ...]
    error: float | None
    bias: float | None
    naive: float | None
    covered: float | None
    judgement: Judgement
    words: str

    @property
    def excess(self) -> float:
        """The standard deviation of the estimates' own error, without that of what was measured; 0 for too
        few days.
        """
        if len(self.days) < FEWEST_DAYS:
            return 0.0
        squares = sum(d.error**2 - d.noise**2 for d in self.days) / len(self.days)
        return math.sqrt(max(0.0, squares))


def past_errors(performances: Iterable[Performance]) -> list[PastError]:
    """The past error of each version and metric that was ever estimated.

    Args:
        performances: of one model by day, those of slices are left out.
    """
    groups: dict[tuple[str, int, str], list[Performance]] = {}
    for each in performances:
        if not each.slice:
            groups.setdefault((each.model, each.version, each.metric), []).append(each)
    return [_past(key, days) for key, days in sorted(groups.items()) if any(d.estimated for d in days)]


def _past(key: tuple[str, int, str], every: Sequence[Performance]) -> PastError:
    measured = sorted((p for p in every if not p.estimated), key=lambda p: p.day)
    estimates = {p.day: p for p in every if p.estimated}
    days = []
    for place, came in enumerate(measured):
        said = estimates.get(came.day)
        if said is None or not place or came.labels < _FEWEST_LABELS:
            continue
        span = (said.value, said.low, said.high, came.value, came.low, came.high)
        days.append(Compared(came.day, *span, _pooled(measured[:place]), came.labels))
    if not days:
        words = "No outcomes have come yet for a day that was estimated."
        return PastError(*key, (), None, None, None, None, Judgement.UNKNOWN, words)
    count = len(days)
    error = sum(abs(d.error) for d in days) / count
    naive = sum(abs(d.before - d.measured) for d in days) / count
    noise = _NOISE * sum(d.noise for d in days) / count
    judgement = _judged(count, error, naive, noise)
    return PastError(
        *key,
        tuple(days),
        error,
        sum(d.error for d in days) / count,
        naive,
        sum(d.low <= d.measured <= d.high for d in days) / count,
        judgement,
        _words(judgement, count, error, naive),
    )


def _pooled(days: Sequence[Performance]) -> float:
    return sum(d.value * d.labels for d in days) / sum(d.labels for d in days)


def _judged(count: int, error: float, naive: float, noise: float) -> Judgement:
    if count < FEWEST_DAYS:
        return Judgement.UNKNOWN
    return Judgement.TRUSTED if error <= naive or error <= _SOME * noise else Judgement.DOUBTFUL


def _words(judgement: Judgement, count: int, error: float, naive: float) -> str:
    days = "day" if count == 1 else "days"
    found = (
        f"On {count} {days} the estimate was off by {error:.3g} on average, saying `as before` by {naive:.3g}"
    )
    if judgement is Judgement.UNKNOWN:
        return f"{found}: too few days to say more."
    if judgement is Judgement.TRUSTED:
        return f"{found}: it has earned trust."
    return f"{found}: do not rely on it."
