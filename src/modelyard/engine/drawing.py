"""Values that a column is known to have or could have: of single rows for a proof, and of many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from modelyard.records.signatures import Column, ColumnType
from modelyard.workers.wire import ColumnData, Value, from_values

_ROOM = 0.2  # of the range seen, beyond either end of it
_KNOWN = 0.2  # of the numbers drawn are known ones; the others lie between and around these
_GAPS = 0.05
_LARGEST = 2.0**62


def pool_of(column: Column, seen: Sequence[Value]) -> list[Value]:
    """Values this column is known to have."""
    if column.type is ColumnType.BOOL:
        return [False, True]
    known: list[Value] = [value for value in seen if not _is_gap(value)]
    if column.type is ColumnType.STRING:
        known += [*(column.levels or ()), *(column.categories or ())]
    else:
        kind = float if column.type is ColumnType.FLOAT64 else int
        known += [
            kind(edge) for edge in (column.low, column.high) if edge is not None and math.isfinite(edge)
        ]
    unknown: dict[ColumnType, Value] = {ColumnType.STRING: "", ColumnType.INT64: 0, ColumnType.FLOAT64: 0.0}
    return list(dict.fromkeys(known)) or [unknown[column.type]]


def _is_gap(value: Value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def span_of(pool: Sequence[Value]) -> tuple[float, float]:
    """The range of a column's known numbers, and some room around it.

    >>> span_of([1.0, 2.0])
    (0.8, 2.2)
    """
    numbers = [float(v) for v in pool if not isinstance(v, str) and v is not None and math.isfinite(v)]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)
    room = max((high - low) * _ROOM, abs(low) * 1e-3, 1e-3)
    return low - room, high + room


def drawn_columns(
    inputs: Sequence[Column], pools: Sequence[list[Value]], rows: int, chance: np.random.Generator
) -> tuple[ColumnData, ...]:
    """So many rows, each value drawn by itself: no unseen category, but missing values where they may be."""
    return tuple(_drawn(column, pool, rows, chance) for column, pool in zip(inputs, pools, strict=True))


def _drawn(column: Column, pool: list[Value], rows: int, chance: np.random.Generator) -> ColumnData:
    gaps = chance.random(rows) < _GAPS if column.missing else None
    if column.type in (ColumnType.BOOL, ColumnType.STRING):
        texts: list[Value] = [pool[i] for i in chance.integers(0, len(pool), rows).tolist()]
        if gaps is not None:
            texts = [None if gap else text for text, gap in zip(texts, gaps.tolist(), strict=True)]
        return from_values(column.name, column.type, texts)
    numbers = _numbers(pool, rows, chance)
    if column.type is ColumnType.FLOAT64:
        if gaps is not None:
            numbers[gaps] = math.nan
        return ColumnData(column.name, column.type, numbers.astype("<f8").tobytes())
    whole = np.clip(np.rint(numbers), -_LARGEST, _LARGEST).astype("<i8")
    if gaps is None:
        return ColumnData(column.name, column.type, whole.tobytes())
    return ColumnData(
        column.name, column.type, np.where(gaps, 0, whole).astype("<i8").tobytes(), (~gaps).tobytes()
    )


def _numbers(pool: list[Value], rows: int, chance: np.random.Generator) -> np.ndarray:
    known = np.array([float(v) for v in pool if v is not None and not isinstance(v, str)])
    low, high = span_of(pool)
    with np.errstate(over="ignore", invalid="ignore"):
        between = low + (high - low) * chance.random(rows)
    is_known = (chance.random(rows) < _KNOWN) | ~np.isfinite(between)
    return np.where(is_known, known[chance.integers(0, len(known), rows)], between)
