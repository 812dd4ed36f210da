"""Scales of charts: round numbers and round days along an axis. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from modelyard.records.predictions import day_of

_STEPS = (1, 2, 2.5, 5, 10)
_DAYS = (1, 2, 3, 7, 14, 30, 61, 91, 182, 365)
_LARGEST = 1e150
_ABOUT = 0.75  # of the step that would be exact
_MOST_BEYOND = 1.5  # of the values' own span, that intervals may add above and below


def can_be_drawn(*values: float) -> bool:
    """Whether all are numbers that a chart has a place for."""
    return all(math.isfinite(value) and abs(value) < _LARGEST for value in values)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers from `low` to `high`, about so many.

    >>> ticks(0.51, 0.62), ticks(0, 100)
    ([0.525, 0.55, 0.575, 0.6], [0.0, 20.0, 40.0, 60.0, 80.0, 100.0])
    """
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in _STEPS if s * power >= rough * _ABOUT)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def room(values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """From where to where an axis goes: all values with some room, and of wide intervals not too much.

    >>> room([1.0, 2.0], [(0.9, 50.0)])
    (0.77, 3.63)
    """
    known = [value for value in values if can_be_drawn(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    span = (high - low) or abs(high) * 0.1 or 1.0
    lows = [a for a, _ in intervals if can_be_drawn(a)]
    highs = [b for _, b in intervals if can_be_drawn(b)]
    bottom = max(min([low, *lows]), low - _MOST_BEYOND * span)
    top = min(max([high, *highs]), high + _MOST_BEYOND * span)
    pad = 0.05 * ((top - bottom) or span)
    return round(bottom - pad, 12), round(top + pad, 12)


def days(first: datetime, last: datetime, most: int = 6) -> list[datetime]:
    """Days from `first` to `last`, evenly apart, at most so many; the last one is the last day.

    >>> from datetime import UTC
    >>> begin = datetime(2026, 1, 1, tzinfo=UTC)
    >>> [day.day for day in days(begin, begin + timedelta(days=10))]
    [1, 3, 5, 7, 9, 11]
    """
    whole = (last - first).days
    step = next((d for d in _DAYS if whole / d <= most - 1), _DAYS[-1])
    count = whole // step
    return [day_of(last) - timedelta(days=step * n) for n in range(count, -1, -1)]
