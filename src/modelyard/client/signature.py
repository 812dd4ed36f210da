"""The signature's input columns, inferred from an example."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from modelyard.client.tables import Table, TableColumn
from modelyard.records.errors import InvalidError
from modelyard.records.signatures import Column, ColumnType, Signature, check_signature

MOST_CATEGORIES = 50
LONGEST_CATEGORY = 200  # characters
_NUMBERS = (ColumnType.FLOAT64, ColumnType.INT64)


def infer_signature(table: Table, missing: bool | Iterable[str] | None = None) -> Signature:
    """The signature's inputs: types, levels or categories, the range seen, and where values may be missing.

    Args:
        table: the example's columns, all its rows.
        missing: True if any column may be missing values, or the names of those that may, beside the columns
            where the example misses some.

    Raises:
        InvalidError: a name in `missing` that is no column; names that cannot be served.

    >>> from modelyard.client.tables import read_table
    >>> infer_signature(read_table({"x": [1.5, None]})).inputs[0].missing
    True
    """
    names = {column.name for column in table.columns}
    named = names if missing is True else set(missing or ())
    if named - names:
        raise InvalidError(
            f"`missing` names {sorted(named - names)}, which are no columns of the example.",
            f"Its columns are {sorted(names)}.",
        )
    return check_signature(Signature(tuple(_column(c, c.name in named) for c in table.columns)))


def _column(column: TableColumn, may_miss: bool) -> Column:
    there = [value for value in column.values if value is not None]
    low, high = _range(column.type, there)
    return Column(
        column.name,
        column.type,
        missing=may_miss or len(there) < len(column.values),
        levels=column.levels,
        categories=None if column.levels is not None else _categories(column.type, there),
        low=low,
        high=high,
        example=_text(there[0]) if there else None,
    )


def _range(kind: ColumnType, there: Sequence[object]) -> tuple[float | None, float | None]:
    numbers = [value for value in there if isinstance(value, (int, float)) and math.isfinite(value)]
    if kind not in _NUMBERS or not numbers:
        return None, None
    return float(min(numbers)), float(max(numbers))


def _categories(kind: ColumnType, there: Sequence[object]) -> tuple[str, ...] | None:
    """The strings seen, where they are few and short enough to be categories and not free text."""
    found = {value for value in there if isinstance(value, str)}
    if kind is not ColumnType.STRING or len(found) > MOST_CATEGORIES:
        return None
    return tuple(sorted(found)) if all(len(text) <= LONGEST_CATEGORY for text in found) else None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value[:LONGEST_CATEGORY] if isinstance(value, str) else repr(value)
