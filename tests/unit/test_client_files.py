"""CSV and TOML as the SDK writes them, read by the yard's parsers; and a person's CSV as the SDK reads it."""

from __future__ import annotations

import io
import math
import tomllib
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.client.csvfile import read_csv, write_csv
from modelyard.client.tables import Value
from modelyard.client.tomlfile import write_toml
from modelyard.records.errors import InvalidError, MalformedError
from modelyard.records.signatures import ColumnType

_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
_schema = {"x": pl.Float64, "n": pl.Int64, "b": pl.Boolean, "s": pl.String}
_rows = st.lists(
    st.tuples(
        st.none() | st.floats(allow_nan=False),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
        st.none() | _text,
    ),
    min_size=1,
)


def csv_of(rows: list[tuple[Value, ...]]) -> str:
    return write_csv([(name, [row[i] for row in rows]) for i, name in enumerate(_schema)])


@given(_rows)
def test_polars_reads_what_we_write(rows: list[tuple[Value, ...]]) -> None:
    found = pl.read_csv(io.BytesIO(csv_of(rows).encode()), schema=_schema)
    assert found.rows() == rows


@given(_rows)
def test_we_read_what_we_write(rows: list[tuple[Value, ...]]) -> None:
    full: tuple[Value, ...] = (0.5, 1, True, "x")  # so that each column's type is known
    columns = read_csv(csv_of([*rows, full]))
    assert [column.type for column in columns] == list(ColumnType)
    assert list(zip(*(column.values for column in columns), strict=True)) == [*rows, full]


@given(st.lists(st.none() | st.floats(allow_nan=False), min_size=1))
def test_one_column_of_missing_values_keeps_its_rows(values: list[Value]) -> None:
    found = pl.read_csv(io.BytesIO(write_csv([("x", values)]).encode()), schema={"x": pl.Float64})
    assert found["x"].to_list() == values


def test_numbers_are_written_to_the_last_digit() -> None:
    values: list[Value] = [0.1, 5e-324, 1e23, -0.0, math.inf, -math.inf, math.nan]
    text = write_csv([("x", values)])
    assert text == '"x"\n0.1\n5e-324\n1e+23\n-0.0\nInf\n-Inf\n\n'


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("a\n1\n\n3\n", ColumnType.INT64, [1, None, 3]),
        ("a\r\n1\r\n-2\r\n", ColumnType.INT64, [1, -2]),
        ("\ufeffa\n1", ColumnType.INT64, [1]),
        ("a\n1\nNA\n", ColumnType.INT64, [1, None]),
        ("a\n9223372036854775808\n", ColumnType.FLOAT64, [2.0**63]),
        ("a\n1\n2.5e3\n", ColumnType.FLOAT64, [1.0, 2500.0]),
        ("a\nInf\n-inf\nNaN\n1\n", ColumnType.FLOAT64, [math.inf, -math.inf, math.nan, 1.0]),
        ("a\nTRUE\nfalse\n\n", ColumnType.BOOL, [True, False, None]),
        ("a\n1\nx\n", ColumnType.STRING, ["1", "x"]),
        ('a\n"1"\n"NA"\n""\n', ColumnType.STRING, ["1", "NA", ""]),
        ('a\n"line\nend ""q"", comma"\nx', ColumnType.STRING, ['line\nend "q", comma', "x"]),
        ("a\n1_000\n", ColumnType.STRING, ["1_000"]),
        ("a\n0x10\n٣\n", ColumnType.STRING, ["0x10", "٣"]),
    ],
)
def test_types_of_a_persons_csv(text: str, kind: ColumnType, values: list[Value]) -> None:
    (column,) = read_csv(text)
    assert column.type is kind
    assert str(list(column.values)) == str(values)


def test_a_trailing_comma_is_an_empty_field() -> None:
    first, second = read_csv('a,b\n1,"x"\n2,')
    assert list(first.values) == [1, 2]
    assert list(second.values) == ["x", None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n3\n", "Line 3 .* 1 fields, the header has 2"),
        ('a\n"x\n', "Line 2 .* a quote that does not fit"),
        ('a\n"x"y\n', "a quote that does not fit"),
        ("a,b\n1,\n2,NA\n", "'b' has no value at all"),
    ],
)
def test_a_csv_that_cannot_be_used(text: str, words: str) -> None:
    with pytest.raises((MalformedError, InvalidError), match=words):
        read_csv(text)


_leaf = (
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _text | st.lists(_text)
)
_documents = st.dictionaries(
    _text,
    _leaf | st.dictionaries(_text, _leaf) | st.lists(st.dictionaries(_text, _leaf), min_size=1, max_size=3),
)


@given(_documents)
def test_toml_comes_back_as_it_was(document: dict[str, Any]) -> None:
    text = write_toml(document)
    assert tomllib.loads(text) == document
    assert msgspec.toml.decode(text) == document


def test_toml_of_nested_tables_and_what_is_left_out() -> None:
    document = {"a": None, "signature": {"inputs": [{"name": "x", "low": None}], "outputs": [{"name": "y"}]}}
    assert tomllib.loads(write_toml(document)) == {
        "signature": {"inputs": [{"name": "x"}], "outputs": [{"name": "y"}]}
    }


def test_toml_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(InvalidError, match="lone surrogate"):
        write_toml({"a": "\ud800"})
    with pytest.raises(InvalidError, match="object cannot be written"):
        write_toml({"a": object()})
