"""Frames of any shape, for the tests of codecs."""

from __future__ import annotations

from hypothesis import strategies as st

from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import ColumnData, Frame, Value, from_values

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_VALUES: dict[ColumnType, st.SearchStrategy[Value]] = {
    ColumnType.FLOAT64: st.floats(),
    ColumnType.INT64: st.integers(-(2**63), 2**63 - 1),
    ColumnType.BOOL: st.booleans(),
    ColumnType.STRING: texts,
}


@st.composite
def columns(draw: st.DrawFn, rows: int) -> ColumnData:
    """A column, often with missing values."""
    kind = draw(st.sampled_from(ColumnType))
    value = _VALUES[kind] if draw(st.booleans()) else st.none() | _VALUES[kind]
    values = draw(st.lists(value, min_size=rows, max_size=rows))
    return from_values(draw(texts), kind, values)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """A frame as the yard writes one: the id first, then fields, then columns."""
    fields = draw(st.lists(st.lists(texts, min_size=1, max_size=3).map(tuple), max_size=4))
    told = [field for field in fields if field[0] not in ("id", "rows", "column")]
    verb = draw(texts)
    rows = draw(st.none() | st.integers(0, 5))
    made = draw(st.lists(columns(rows), max_size=4)) if rows is not None else []
    return Frame(verb, (("id", draw(texts)), *told), rows, tuple(made))
