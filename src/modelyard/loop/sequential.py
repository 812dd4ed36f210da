"""Tests that may be looked at any time: evidence that something is not good enough, valid at every look.

Each function gives the logarithm of an e-value: under its hypothesis the e-value's mean is at most 1 at any
time, so it ever reaches 1/a with probability at most a (Ville's inequality), however often one looks and
whenever one stops. They are mixtures of likelihood ratios or of bets, which are martingales from 1:

- Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Statist. 41 (1970):
  mixtures; Johari, Koomen, Pekelis, Walsh, "Always valid inference", Operations Research 70 (2022).
- Lindon, Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022: `multinomial`.
- Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024): `mean`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_ALTERNATIVES = 24
_BETS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)


def chance(events: int, trials: int, limit: float) -> float:
    """Log evidence that an event's chance is over `limit`, after so many events in so many trials.

    The mixture is over 24 larger chances, evenly spaced in log-odds up to 1 - limit/10, so that it is quick
    for a chance a little over the limit as well as for one near 1.

    >>> chance(2, 1000, 0.01) < 0 < math.log(100) < chance(20, 100, 0.01)
    True
    """
    low = _logit(limit)
    high = max(low + 1.0, _logit(0.99))
    logs = []
    for number in range(1, _ALTERNATIVES + 1):
        other = _expit(low + (high - low) * number / _ALTERNATIVES)
        hit, miss = math.log(other / limit), math.log1p(-other) - math.log1p(-limit)
        logs.append(events * hit + (trials - events) * miss)
    return _mean(logs)


def multinomial(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Log evidence that these counts do not come from these shares; a Dirichlet mixture around them.

    >>> multinomial((50, 50), (0.5, 0.5)) < 0 < math.log(100) < multinomial((90, 10), (0.5, 0.5))
    True
    """
    weight = float(len(shares))
    total = sum(counts)
    found = math.lgamma(weight) - math.lgamma(weight + total)
    for count, share in zip(counts, shares, strict=True):
        prior = weight * share
        found += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return found


def mean(values: Iterable[float], limit: float) -> float:
    """Log evidence that the mean of values in -1 to 1 is over `limit`; a mixture of bets.

    >>> mean([-0.1, 0.1] * 50, 0.0) < math.log(100) < mean([0.5] * 50, 0.0)
    True
    """
    found = list(values)
    logs = [math.fsum(math.log1p(bet / (1 + limit) * (value - limit)) for value in found) for bet in _BETS]
    return _mean(logs)


def distance(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Total variation distance between counts and shares: 0 the same, 1 nothing in common.

    >>> distance((90, 10), (0.5, 0.5))
    0.4
    """
    total = sum(counts) or 1
    return round(sum(abs(c / total - s) for c, s in zip(counts, shares, strict=True)) / 2, 12)


def _mean(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(math.fsum(math.exp(value - top) for value in logs) / len(logs))


def _logit(chance: float) -> float:
    return math.log(chance) - math.log1p(-chance)


def _expit(value: float) -> float:
    return 1 / (1 + math.exp(-value))
