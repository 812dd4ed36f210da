"""Signatures and rows of all kinds, for tests of everything that reads or writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl
from hypothesis import strategies as st

from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.workers.wire import ColumnData, Value, to_values

FLOAT64, INT64, BOOL, STRING = ColumnType
POLARS = {FLOAT64: pl.Float64, INT64: pl.Int64, BOOL: pl.Boolean, STRING: pl.String}
PREDICTION = (Column("prediction", FLOAT64),)

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
NAMES = st.one_of(
    TEXT.filter(bool),
    st.sampled_from(["x", 'a"b', "tab\there", "x_duplicated_0", "=1+1", "prediction", "in:x"]),
)
VALUES: dict[ColumnType, st.SearchStrategy[Value]] = {
    FLOAT64: st.floats(allow_nan=False, allow_infinity=False),
    INT64: st.integers(-(2**63), 2**63 - 1),
    BOOL: st.booleans(),
    STRING: TEXT,
}


@st.composite
def columns(draw: st.DrawFn) -> Column:
    """A column of any type; a string one may have levels."""
    kind = draw(st.sampled_from(ColumnType))
    levels = draw(st.none() | st.lists(TEXT, min_size=1, max_size=4, unique=True)) if kind is STRING else None
    return Column(draw(NAMES), kind, missing=draw(st.booleans()), levels=tuple(levels) if levels else None)


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    """One to five inputs; one output."""
    inputs = draw(st.lists(columns(), min_size=1, max_size=5, unique_by=lambda c: c.name))
    return Signature(tuple(inputs), PREDICTION)


def rows_of(inputs: Sequence[Column], most: int = 6) -> st.SearchStrategy[list[tuple[Value, ...]]]:
    """Rows that fit these columns."""
    cells = [_cells(c) for c in inputs]
    return st.lists(st.tuples(*cells), max_size=most)


def _cells(column: Column) -> st.SearchStrategy[Value]:
    there: st.SearchStrategy[Value] = (
        VALUES[column.type] if column.levels is None else st.sampled_from(column.levels)
    )
    return st.one_of(there, st.none()) if column.missing else there


def frame_of(inputs: Sequence[Column], rows: Sequence[Sequence[Value]]) -> pl.DataFrame:
    """The rows as a data frame of the columns' own types."""
    return pl.DataFrame(
        [pl.Series(c.name, [row[i] for row in rows], dtype=POLARS[c.type]) for i, c in enumerate(inputs)]
    )


def values_of(data: Sequence[ColumnData]) -> list[list[Value]]:
    """What a worker would read: NaN, which equals nothing, becomes None."""
    return [
        [None if isinstance(v, float) and math.isnan(v) else v for v in to_values(column)] for column in data
    ]
