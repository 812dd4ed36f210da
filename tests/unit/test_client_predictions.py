"""Rows of every kind as JSON records, and predictions in the shape that fits the rows."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.client.predictions import shaped, to_records
from modelyard.records.errors import InvalidError

RECORDS = [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
LABELS = [
    {"label": "late", "probabilities": {"late": 0.75}},
    {"label": "late", "probabilities": {"late": 0.5}},
]


@pytest.mark.parametrize(
    "rows",
    [
        RECORDS,
        pd.DataFrame(RECORDS).astype({"a": "Int64"}),
        pd.DataFrame(RECORDS, dtype=object),
        pl.DataFrame(RECORDS),
        {"a": [1, None], "b": ["x", "y"]},
        {"a": pd.Series([1, None], dtype="Int64"), "b": np.array(["x", "y"])},
        tuple(RECORDS),
        [{"a": np.int64(1), "b": np.str_("x")}, {"a": math.nan, "b": "y"}],
    ],
)
def test_rows_of_every_kind_are_the_same_records(rows: Any) -> None:
    assert to_records(rows) == RECORDS


def test_one_record_and_no_rows() -> None:
    assert to_records({"a": 1, "b": "x"}) == [{"a": 1, "b": "x"}]
    assert to_records([]) == []
    assert to_records(pd.DataFrame({"a": []})) == []


def test_arrays_are_named_by_place() -> None:
    assert to_records(np.array([[1.5, np.nan]])) == [{"x0": 1.5, "x1": None}]
    with pytest.raises(InvalidError, match="reshape"):
        to_records(np.array([1.5, 2.5]))


def test_dates_are_keys_as_text_and_missing_ones_null() -> None:
    rows = pd.DataFrame({"at": [pd.Timestamp("2013-01-01T10:00"), pd.NaT]})
    assert to_records(rows) == [{"at": "2013-01-01T10:00:00"}, {"at": None}]
    assert to_records([{"on": dt.date(2013, 1, 1)}]) == [{"on": "2013-01-01"}]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"x": math.inf}], "'x' has an infinite number"),
        (np.array([[-np.inf]]), "'x0' has an infinite number"),
        ([{"x": [1]}], "'x' has a list"),
        ({"a": [1], "b": [1, 2]}, "not of one length"),
        (pd.Series([1]), "no table"),
        ("abc", "no table"),
    ],
)
def test_what_json_has_no_word_for(rows: Any, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        to_records(rows)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_travel_to_the_last_digit(values: list[float]) -> None:
    sent = msgspec.json.encode(to_records(np.array([[value] for value in values])))
    assert [record["x0"] for record in msgspec.json.decode(sent)] == values


def test_numbers_for_frames_and_arrays_are_an_array() -> None:
    for rows in (pd.DataFrame({"a": [1, 2]}), np.ones((2, 1))):
        found = shaped([1, None], rows)
        np.testing.assert_array_equal(found, [1.0, np.nan])
        assert found.dtype == np.float64


def test_labels_for_a_frame_are_a_frame_with_its_index() -> None:
    rows = pd.DataFrame({"a": [1, 2]}, index=[7, 9])
    found = shaped(LABELS, rows)
    assert list(found.columns) == ["label", "probability:late"]
    assert list(found.index) == [7, 9]
    assert found["probability:late"].tolist() == [0.75, 0.5]
    assert list(shaped([{"label": 1}, {"label": 0}], rows).columns) == ["label"]
    outputs = shaped([{"low": 1.0, "high": 2.0}] * 2, rows)
    assert outputs["high"].tolist() == [2.0, 2.0]


def test_all_else_stays_a_list() -> None:
    for rows in (RECORDS, {"a": [1, 2]}, {"a": 1}, pl.DataFrame({"a": [1, 2]})):
        assert shaped([1.5, 2.5], rows) == [1.5, 2.5]
        assert shaped(LABELS, rows) == LABELS
    assert shaped(LABELS, np.ones((2, 1))) == LABELS
    assert shaped([], []) == []
