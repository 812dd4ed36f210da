"""Quantiles among the outputs of a regression, known by their names."""

from __future__ import annotations

import re

from modelyard.records.signatures import PREDICTION, Signature

_SHARE = re.compile(r"(?:quantile|q|p)[:_ ]?(0?\.[0-9]{1,6})", re.ASCII | re.IGNORECASE)
_PERCENT = re.compile(r"(?:(?:quantile|q|p)[:_ ]?)?([0-9]{2}(?:\.[0-9]{1,4})?)", re.ASCII | re.IGNORECASE)
_SIGN = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,4})?) ?%", re.ASCII)
_R = {"lwr": 0.025, "upr": 0.975}  # the names and the level of R's predict(interval =)
_POINTS = (PREDICTION, "fit", "mean", "median")
_HALF = 0.5


def quantiles_of(signature: Signature) -> dict[str, float]:
    """The outputs that are quantiles, with their shares, from low to high; none of a classifier.

    >>> from modelyard.records.signatures import Column, ColumnType
    >>> outputs = [Column(n, ColumnType.FLOAT64) for n in ("fit", "q90", "quantile:0.1", "upr")]
    >>> quantiles_of(Signature((), tuple(outputs)))
    {'quantile:0.1': 0.1, 'q90': 0.9, 'upr': 0.975}
    """
    found = {c.name: share for c in signature.outputs if (share := _share_of(c.name)) is not None}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def point_of(signature: Signature) -> str:
    """The output that is the prediction itself: the one so called, the median, else the first."""
    names = [column.name for column in signature.outputs]
    if known := next((name for name in _POINTS if name in names), None):
        return known
    quantiles = quantiles_of(signature)
    middle = [name for name, share in quantiles.items() if share == _HALF]
    others = [name for name in names if name not in quantiles]
    return (middle or others or names or [PREDICTION])[0]


def _share_of(name: str) -> float | None:
    if name in _R:
        return _R[name]
    if found := _SHARE.fullmatch(name):
        share = float(found[1])
    elif (found := _SIGN.fullmatch(name)) or (found := _PERCENT.fullmatch(name)):
        share = float(found[1]) / 100
    else:
        return None
    return share if 0 < share < 1 else None
