"""What the values of a column are like."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from modelyard.records.datasets import QUANTILES, Category, Profile

_BINS = 20
_TOP = 20
_SHOWN = 200  # characters of a category


def profile(series: pl.Series) -> Profile:
    """Counts, range, histogram or categories of a column of one of the six types."""
    missing = series.null_count()
    present = series.drop_nulls()
    distinct = present.n_unique() if len(present) else 0
    if not len(present):
        return Profile(missing)
    if present.dtype == pl.String:
        return Profile(missing, distinct, top=_top(present))
    if present.dtype == pl.Boolean:
        return Profile(missing, distinct, mean=_number(present.mean()))
    if present.dtype.is_temporal():
        return _of_times(present, missing, distinct)
    return _of_numbers(present, missing, distinct)


def _top(present: pl.Series) -> tuple[Category, ...]:
    counts = present.value_counts(name="count").sort(["count", present.name], descending=[True, False])
    return tuple(Category(value[:_SHOWN], count) for value, count in counts.head(_TOP).iter_rows())


def _of_times(present: pl.Series, missing: int, distinct: int) -> Profile:
    low, high = present.min(), present.max()
    edges, counts = _histogram(present.to_physical().cast(pl.Float64))
    return Profile(missing, distinct, as_text(low), as_text(high), edges=edges, counts=counts)


def as_text(moment: object) -> str | None:
    """A date or time as ISO 8601."""
    return None if moment is None else moment.isoformat()  # type: ignore[attr-defined]


def _of_numbers(present: pl.Series, missing: int, distinct: int) -> Profile:
    values = present.cast(pl.Float64)
    finite = values.filter(values.is_finite())
    if not len(finite):
        return Profile(missing, distinct)
    edges, counts = _histogram(finite)
    return Profile(
        missing,
        distinct,
        _number(finite.min()),
        _number(finite.max()),
        _number(finite.mean()),
        _number(finite.std()),
        tuple(float(finite.quantile(q, "linear") or 0.0) for q in QUANTILES),
        edges,
        counts,
    )


def _histogram(values: pl.Series) -> tuple[tuple[float, ...], tuple[int, ...]]:
    numbers = values.to_numpy()
    low, high = float(numbers.min()), float(numbers.max())
    if not math.isfinite(high - low) or low + (high - low) / _BINS == low:  # too wide, or (nearly) constant
        return (low, high), (len(numbers),)
    counts, edges = np.histogram(numbers, _BINS, (low, high))
    return tuple(float(e) for e in edges), tuple(int(c) for c in counts)


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
