"""Whether a version has become worse than it was in its first month. Pure."""

from __future__ import annotations

from modelyard.loop.noticing import Noticed, level_of
from modelyard.records.policies import Level
from modelyard.records.triggers import Measured

_WORSE = ((0.25, Level.HIGH), (0.1, Level.MEDIUM), (0.05, Level.LOW))  # of the first month's value
# Standard errors. Seven days that slide on under ever new looks pass them by chance on one day in a thousand:
# 1/7 z φ(z) = 0.0008 (Pickands, Trans. AMS 145, 1969), and at the first look with 0.0005.
_SURE = 3.3
_SHARE = "share of the first month's value"


def worse(found: Measured) -> Noticed | None:
    """What is noticed of a metric, or None: it must be worse by 5 % and beyond doubt.

    >>> from modelyard.records.metrics import Metric
    >>> worse(Measured(Metric.MAE, 10.0, 12.0, 11.8, 12.2, 5000)).level
    <Level.MEDIUM: 'medium'>
    """
    sign = -1.0 if found.metric.higher_is_better else 1.0
    change = sign * (found.now - found.first)
    if found.first == 0 or change <= found.doubt(_SURE):
        return None
    effect = change / abs(found.first)
    level = level_of(_WORSE, effect)
    if level is None:
        return None
    kind = "estimated" if found.estimated else "performance"
    how = "is estimated at" if found.estimated else "is"
    rows = "predictions without outcomes" if found.estimated else "outcomes"
    span = f"({found.low:.4g} to {found.high:.4g}, {found.labels:,} {rows})"
    words = f"The {found.metric} of the last seven days {how} {found.now:.4g} {span}; "
    words += f"in the first month it was {found.first:.4g}."
    return Noticed(kind, "", level, effect, _SHARE, words)
