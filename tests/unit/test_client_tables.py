"""Examples of every kind as typed columns, and the signatures inferred from them."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.client.runtime import load_runtime, to_batch
from modelyard.client.signature import MOST_CATEGORIES, infer_signature
from modelyard.client.tables import TableColumn, Value, head, read_table
from modelyard.records.errors import InvalidError
from modelyard.records.signatures import Column, ColumnType

F, I, B, S = ColumnType.FLOAT64, ColumnType.INT64, ColumnType.BOOL, ColumnType.STRING  # noqa: E741  # short here


def only(data: Any) -> TableColumn:
    """The one column of a table."""
    (column,) = read_table(data).columns
    return column


@pytest.mark.parametrize(
    ("series", "kind", "values", "options"),
    [
        (pd.Series([1.5, np.nan]), F, [1.5, None], {}),
        (pd.Series([1.5], dtype="float32"), F, [1.5], {"dtype:c": "float32"}),
        (pd.Series([1, 2], dtype="uint8"), I, [1, 2], {}),
        (pd.Series([1, None], dtype="Int64"), I, [1, None], {"dtype:c": "Int64"}),
        (pd.Series([1.5, None], dtype="Float64"), F, [1.5, None], {"dtype:c": "Float64"}),
        (pd.Series([True, False]), B, [True, False], {}),
        (pd.Series([True, None], dtype="boolean"), B, [True, None], {"dtype:c": "boolean"}),
        (pd.Series(["a", None], dtype="str"), S, ["a", None], {"dtype:c": "str"}),
        (pd.Series([None, None], dtype="str"), S, [None, None], {"dtype:c": "str"}),
        (pd.Series(["a", None], dtype="string"), S, ["a", None], {"dtype:c": "string"}),
        (pd.Series(["a", np.nan], dtype=object), S, ["a", None], {}),
        (pd.Series(["a", None], dtype=object), S, ["a", None], {"dtype:c": "object-none"}),
        (pd.Series([True, np.nan], dtype=object), B, [True, None], {"dtype:c": "object"}),
        (pd.Series([1, 2.5], dtype=object), F, [1.0, 2.5], {"dtype:c": "object"}),
        (pd.Series([1, 2], dtype="int64[pyarrow]"), I, [1, 2], {"dtype:c": "int64[pyarrow]"}),
    ],
)
def test_pandas_columns(series: Any, kind: ColumnType, values: list[Value], options: dict[str, str]) -> None:
    column = only(pd.DataFrame({"c": series}))
    assert (column.type, list(column.values), column.options) == (kind, values, options)


@pytest.mark.parametrize(
    ("categories", "kind", "levels", "options"),
    [
        (["b", "a"], S, ("b", "a"), {}),
        ([3, 1], I, None, {"dtype:c": "category", "categories:c": "[3, 1]"}),
        ([0.5, 1.5], F, None, {"dtype:c": "category", "categories:c": "[0.5, 1.5]"}),
    ],
)
def test_pandas_categories_keep_their_order(
    categories: list[Any], kind: ColumnType, levels: tuple[str, ...] | None, options: dict[str, str]
) -> None:
    series = pd.Series(pd.Categorical([categories[1], None], categories=categories))
    column = only(pd.DataFrame({"c": series}))
    assert (column.type, column.levels, column.options) == (kind, levels, options)
    assert list(column.values) == [categories[1], None]
    ordered = only(pd.DataFrame({"c": series.cat.as_ordered()}))
    assert ordered.options["dtype:c"] == "category-ordered"


def test_numpy_columns_are_named_by_place() -> None:
    table = read_table(np.array([[1.5, np.nan], [2.5, 3.5]], dtype="float32"))
    assert [c.name for c in table.columns] == ["x0", "x1"]
    assert list(table.columns[1].values) == [None, 3.5]
    assert table.options == {"input": "numpy", "dtype": "float32"}
    assert read_table(np.array([["a", 1], [None, 2]], dtype=object)).options["missing"] == "none"
    assert only(np.array([["a"]])).type is S
    assert only(np.array([[True]])).type is B


def test_polars_columns() -> None:
    frame = pl.DataFrame(
        {"f": [1.5, None], "i": [1, None], "s": ["a", None], "b": [True, None]},
        schema_overrides={"f": pl.Float32, "i": pl.Int8},
    ).with_columns(e=pl.Series(["x", None], dtype=pl.Enum(["x", "y"])))
    table = read_table(frame)
    assert [c.type for c in table.columns] == [F, I, S, B, S]
    assert table.columns[4].levels == ("x", "y")
    assert table.options == {"input": "polars", "dtype:f": "Float32", "dtype:i": "Int8", "dtype:e": "Enum"}


def test_dicts_and_records() -> None:
    table = read_table({"a": [1, None], "b": np.array([1.5, 2.5], dtype="float32"), "c": ["x", ""]})
    assert [(c.type, list(c.values)) for c in table.columns] == [
        (I, [1, None]),
        (F, [1.5, 2.5]),
        (S, ["x", ""]),
    ]
    assert table.options == {"input": "columns", "dtype:b": "float32"}
    table = read_table(
        [{"a": 1, "b": True}, {"a": 2.5}, {"c": np.float64("nan"), "a": np.int64(3), "b": None}, {"c": 1}]
    )
    assert [(c.type, list(c.values)) for c in table.columns] == [
        (F, [1.0, 2.5, 3.0, None]),
        (B, [True, None, None, None]),
        (I, [None, None, None, 1]),
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pd.DataFrame({"when": [pd.Timestamp("2013-01-01")]}), "'when' holds datetime64"),
        (pd.DataFrame({"z": [1j]}), "'z' holds complex"),
        (pd.DataFrame({"p": pd.arrays.SparseArray([0.0, 1.0])}), "'p' holds Sparse"),
        (pd.DataFrame({"d": [dt.date(2013, 1, 1)]}), "'d' holds date"),
        (pd.DataFrame({"d": [decimal.Decimal(1)]}), "'d' holds Decimal"),
        (pd.DataFrame({"l": [[1, 2]]}), "'l' holds list"),
        (pd.DataFrame({"m": ["a", 1]}), "'m' holds int and str"),
        (pd.DataFrame({"m": [True, 1.5]}, dtype=object), "'m' holds bool and float"),
        (pd.DataFrame({"e": [None, None]}), "'e' has no value at all"),
        (pd.DataFrame({"e": pd.cut([1, 2], 2)}), "'e' holds Interval"),
        (pd.DataFrame({("a", "b"): [1]}), "not by text"),
        (pd.DataFrame({"a": []}), "no rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a' is twice"),
        (pd.Series([1]), r"Series is no table.*to_frame"),
        (pl.LazyFrame({"a": [1]}), "Collect it first"),
        (pl.DataFrame({"when": [dt.date(2013, 1, 1)]}), "'when' holds Date"),
        (np.zeros(3), r"shape \(3,\) is no table"),
        (np.zeros((2, 2, 2)), "no table"),
        (np.array([[np.datetime64("2013")]]), "holds datetime64"),
        ({"a": [1, 2], "b": [1]}, "not of one length"),
        ({"a": 1}, "'a' is a int, not a list"),
        ({"a": ["x\0"]}, "NUL"),
        ({"a": ["\ud800"]}, "not Unicode"),
        ({"a": [2**63]}, "beyond 64 bits"),
        ({}, "no rows or no columns"),
        ([], "no table"),
        ([{1: 2}], "keys that are not text"),
        ("rows.csv", "str is no table"),
        (7, "int is no table"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_in_words(data: Any, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        infer_signature(read_table(data))


def test_columns_named_by_whole_numbers_keep_them() -> None:
    table = read_table(pd.DataFrame(np.ones((1, 2))))
    assert [c.name for c in table.columns] == ["0", "1"]
    assert table.options["names"] == "integers"


def test_the_first_rows_of_each_kind() -> None:
    kinds: list[Any] = [
        pd.DataFrame({"a": [1, 2, 3]}), pl.DataFrame({"a": [1, 2, 3]}), np.ones((3, 1)),
        {"a": [1, 2, 3]}, [{"a": 1}] * 3,
    ]  # fmt: skip
    for data in kinds:
        assert read_table(head(data, 2)).rows == 2


def test_a_signature_says_what_was_seen() -> None:
    frame = {"x": [1.5, math.inf, None], "n": [7, 3, 5], "s": ["b", "a", "b"], "b": [True, True, False]}
    signature = infer_signature(read_table(frame))
    assert signature.inputs == (
        Column("x", F, missing=True, low=1.5, high=1.5, example="1.5"),
        Column("n", I, low=3.0, high=7.0, example="7"),
        Column("s", S, categories=("a", "b"), example="b"),
        Column("b", B, example="true"),
    )


def test_free_text_is_no_category() -> None:
    many = {
        "s": [f"text {i}" for i in range(MOST_CATEGORIES + 1)],
        "long": ["x" * 300] * (MOST_CATEGORIES + 1),
    }
    first, second = infer_signature(read_table(many)).inputs
    assert first.categories is None
    assert second.categories is None
    assert second.example is not None
    assert len(second.example) == 200


def test_missing_may_be_said() -> None:
    table = read_table({"a": [1], "b": [2]})
    assert [c.missing for c in infer_signature(table, ["b"]).inputs] == [False, True]
    assert [c.missing for c in infer_signature(table, missing=True).inputs] == [True, True]
    with pytest.raises(InvalidError, match=r"`missing` names \['c'\], which are no columns"):
        infer_signature(table, ["c"])


_cells: dict[str, st.SearchStrategy[Value]] = {
    "float": st.none() | st.floats(allow_nan=False),
    "int": st.none() | st.integers(-(2**63), 2**63 - 1),
    "bool": st.none() | st.booleans(),
    "text": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
}


@given(st.data(), st.sampled_from(sorted(_cells)))
def test_records_come_out_of_the_runtime_as_they_went_in(data: st.DataObject, kind: str) -> None:
    cells = data.draw(st.lists(_cells[kind], min_size=1).filter(lambda v: any(x is not None for x in v)))
    rows = [{"c": cell} for cell in cells]
    assert made_again(rows) == rows


@given(
    st.data(),
    st.sampled_from(["float64", "float32", "int64", "Int64", "boolean", "bool", "str", "object", "category"]),
)
def test_pandas_columns_come_out_of_the_runtime_with_their_type(data: st.DataObject, dtype: str) -> None:
    bits = st.floats(width=32, allow_nan=False) if dtype == "float32" else st.floats(allow_nan=False)
    values: st.SearchStrategy[Any] = {
        "float64": st.none() | bits, "float32": st.none() | bits, "int64": st.integers(-(2**63), 2**63 - 1),
        "Int64": _cells["int"], "boolean": _cells["bool"], "bool": st.booleans(),
        "category": st.none() | st.sampled_from(["x", "y", ""]),
    }.get(dtype, _cells["text"])  # fmt: skip
    cells = data.draw(st.lists(values, min_size=1).filter(lambda v: any(x is not None for x in v)))
    frame = pd.DataFrame({"c": pd.Series(cells, dtype=dtype)})
    pd.testing.assert_frame_equal(made_again(frame), frame)


@given(st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=1))
def test_arrays_come_out_of_the_runtime_as_they_went_in(rows: list[list[float]]) -> None:
    array = np.array(rows)
    np.testing.assert_array_equal(made_again(array), array)


def made_again(data: Any) -> Any:
    """What a model in the runtime is given for these rows."""
    table = read_table(data)
    inputs = load_runtime("inputs")
    columns = [inputs.Input(c.name, c.type.value, True, c.levels or ()) for c in table.columns]  # noqa: FBT003
    return inputs.maker(table.options, columns)(to_batch(table.columns))


def test_missing_values_where_the_example_had_none() -> None:
    """What pandas would do by itself: whole numbers become doubles, bool becomes object."""
    inputs = load_runtime("inputs")
    table = read_table(pd.DataFrame({"n": [1, 2], "b": [True, False], "s": ["a", "b"]}, dtype=None))
    columns = [inputs.Input(c.name, c.type.value, True) for c in table.columns]  # noqa: FBT003
    gone = to_batch([TableColumn(c.name, c.type, [next(iter(c.values)), None]) for c in table.columns])
    frame = inputs.maker(table.options, columns)(gone)
    assert frame["n"].tolist()[0] == 1.0
    assert frame.isna().iloc[1].all()
    assert str(frame["n"].dtype) == "float64"
    array = inputs.maker({"input": "numpy", "dtype": "int64"}, columns[:1])(
        to_batch([TableColumn("n", ColumnType.INT64, [1, None])])
    )
    np.testing.assert_array_equal(array, [[1.0], [np.nan]])


def test_polars_frames_come_out_of_the_runtime_with_their_types() -> None:
    frame = pl.DataFrame({"f": [1.5, None], "s": ["a", None]}).with_columns(
        e=pl.Series(["x", None], dtype=pl.Enum(["x", "y"])), i=pl.Series([1, None], dtype=pl.Int16)
    )
    assert made_again(frame).equals(frame)
    assert made_again(frame).schema == frame.schema
