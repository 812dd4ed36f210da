"""Tables of CSV and Parquet: the same rows as in JSON, and nothing that unfolds without end."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import math
import zlib
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import BOOL, FLOAT64, INT64, STRING, frame_of, rows_of, signatures, values_of

from modelyard.records.errors import (
    InvalidError,
    MalformedError,
    TooLargeError,
    UnsupportedError,
    YardError,
)
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.serving import tables
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.tables import from_table, read_csv, read_parquet
from modelyard.workers.wire import Value, to_values

COLUMNS = (
    Column("x", FLOAT64),
    Column("n", INT64),
    Column("b", BOOL),
    Column("s", STRING),
    Column("level", STRING, levels=("AA", "UA")),
)
PLAN = InputPlan(Signature(COLUMNS), max_rows=10)
ANY = InputPlan(Signature(tuple(Column(c.name, c.type, missing=True) for c in COLUMNS)), max_rows=10)
X, N, B, S = (
    InputPlan(Signature((Column(name, kind, missing=True),)), 10)
    for name, kind in zip("xnbs", ColumnType, strict=True)
)


def csv(text: str | bytes, plan: InputPlan) -> Inputs:
    return from_table(plan, read_csv(text.encode() if isinstance(text, str) else text, plan.numbers))


@pytest.mark.parametrize(
    "fields",
    [
        ["1", "2.5", "-0", "+1", ".5", "1.", "1e5", "1E-5"],
        ["1", "", "2"],
        ["1", '""', "2"],
        ["1", "NA", " 2 ", "null"],
        ["nan", "NaN", "inf", "-Inf", "infinity", "1e400", "-1e400"],
        ['"2.5"', "2"],
        ["0x10"],
        ["1_0"],
        ["1,5"],
        ["true"],
        ["123456789012345678901234567890", "5e-324"],
        [" 1"],
        ["1 "],
        ["\t1"],
    ],
)
@pytest.mark.parametrize("missing", [True, False])
def test_numbers_read_at_once_are_those_read_by_way_of_text(fields: list[str], missing: bool) -> None:
    plan = InputPlan(Signature((Column("x", FLOAT64, missing=missing), Column("s", STRING))), 10)
    body = ("x,s\n" + "".join(f"{field},t\n" for field in fields)).encode()

    def outcome(numbers: frozenset[str]) -> str:
        try:
            inputs = from_table(plan, read_csv(body, numbers))
            return repr([to_values(column) for column in inputs.columns or ()])
        except YardError as error:
            return f"{error.code}: {error.message}"

    assert outcome(plan.numbers) == outcome(frozenset())


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def parquet(plan: InputPlan, **columns: Any) -> Inputs:
    return from_table(plan, read_parquet(parquet_bytes(pl.DataFrame(columns)), plan.max_rows))


def values(inputs: Inputs, plan: InputPlan) -> list[list[Value]]:
    return values_of(plan.columns_of([inputs]))


@given(data=st.data(), signature=signatures())
def test_json_csv_and_parquet_of_the_same_rows_are_the_same(
    data: st.DataObject, signature: Signature
) -> None:
    inputs = signature.inputs
    rows = data.draw(rows_of(inputs))
    plan = InputPlan(signature, 10)
    names = [c.name for c in inputs]
    body = json.dumps([dict(zip(names, row, strict=True)) for row in rows]).encode()
    frame = frame_of(inputs, rows)
    expected = values(plan.from_json(body), plan)
    assert expected == [list(column) for column in zip(*rows, strict=True)] or not rows
    assert values(from_table(plan, read_parquet(parquet_bytes(frame), 10)), plan) == expected
    # Polars writes what `contract/bundle.md` asks for: quoted strings, empty fields for what is missing.
    text = frame.write_csv(quote_style="non_numeric")
    assert values(csv(text, plan), plan) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x\n1\n-2.5\n1e3\n", [1.0, -2.5, 1000.0]),
        ("x\nInf\n-inf\n1e999\n", [math.inf, -math.inf, math.inf]),
        ("x\nNaN\nNA\nnan\nnull\n\n", [None] * 5),
        ("x\n 1 \n", [1.0]),
        ("\ufeffx\r\n1\r\n2\r\n", [1.0, 2.0]),
        ('"x"\n"1"', [1.0]),
        ("y,x\n1,2\n1\n", [2.0, None]),
    ],
    ids=ascii,
)
def test_numbers_in_csv(text: str, expected: list[float | None]) -> None:
    assert values(csv(text, X), X) == [expected]


def test_whole_numbers_in_csv() -> None:
    """`3.0` is how pandas writes them where one of the column is missing."""
    inputs = csv("n\n3\n-4.0\n5.\n9223372036854775807\n9007199254740993.00\n\n", N)
    assert values(inputs, N) == [[3, -4, 5, 2**63 - 1, 2**53 + 1, None]]


def test_booleans_in_csv() -> None:
    inputs = csv("b\ntrue\nTRUE\nT\n1\nfalse\nF\n 0 \nNA\n\n", B)
    assert values(inputs, B) == [[True] * 4 + [False] * 3 + [None] * 2]


def test_strings_in_csv_are_kept_as_they_are() -> None:
    inputs = csv('s,k\n"",1\n,1\nNA,1\n NaN ,1\n"a ""b"", c",1\n"two\nlines",1\n', S)
    assert values(inputs, S) == [["", None, "NA", " NaN ", 'a "b", c', "two\nlines"]]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("x", "1_0"),
        ("x", "0x10"),
        ("x", "1,5"),
        ("x", "one"),
        ("n", "1.5"),
        ("n", "1.0.0"),
        ("n", "."),
        ("n", "9223372036854775808"),
        ("n", "Inf"),
        ("b", "yes"),
        ("b", "2"),
        ("s", "a\0b"),
        ("level", "ZZ"),
        ("x", ""),
        ("n", "NA"),
        ("level", ""),
    ],
)
def test_csv_cells_that_do_not_fit_are_named(name: str, cell: str) -> None:
    good = {"x": "1", "n": "2", "b": "true", "s": "s", "level": "AA"}
    text = "x,n,b,s,level\n"
    for row in (good, {**good, name: cell}):
        text += ",".join(f'"{v}"' if "," in v else v for v in row.values()) + "\n"
    with pytest.raises(InvalidError) as caught:
        csv(text, PLAN)
    assert caught.value.fields == {"column": name, "row": 1}
    assert "Row 1" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"s\n\xff\n",
        b"x,n\n1,2,3\n",
        b's\n"abc\n',
        b"\xff\xfes\0\n\0",
        b"x,x,x\n1,2,3\n",
        b"x\r1\r",
        b'a"b,c\n1,2\n',
        b"\xff,x\n1,2\n",
    ],
)
def test_what_is_no_csv_is_refused(body: bytes) -> None:
    with pytest.raises((MalformedError, InvalidError)):
        csv(body, ANY)


def test_a_column_twice_in_the_header_is_refused() -> None:
    with pytest.raises(InvalidError, match="'x' is twice") as caught:
        csv("x,n,x\n1,2,3\n", ANY)
    assert caught.value.fields == {"column": "x"}
    with pytest.raises(InvalidError, match="is twice"):
        csv('"a\nb",k,"a\nb"\n1,2,3\n', ANY)


def test_a_column_that_only_looks_doubled_is_not_refused() -> None:
    inputs = csv("x,x_duplicated_0\n1,2\n", X)
    assert (values(inputs, X), inputs.keys) == ([[1.0]], ['{"x_duplicated_0":"2"}'])


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "zlib"])
def test_compressed_csv_is_not_unpacked(pack: Any) -> None:
    """HARDENING 12: Polars would unpack it without asking, a bomb included."""
    with pytest.raises(UnsupportedError, match="compressed"):
        read_csv(pack(b"x\n" + b"1\n" * 10_000))


def test_a_header_alone_has_no_rows() -> None:
    assert csv("x,n,b,s,level\n", PLAN).count == 0


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidError, match=r"'n' .* is not there") as caught:
        csv("x,b,s,level\n1,true,s,AA\n", PLAN)
    assert caught.value.fields["column"] == "n"
    for text, words in (
        ("lvel,x,n,b,s\nAA,1,1,true,s\n", "Is it 'lvel'?"),
        ("x;n;b\n1;2;true\n", "put commas"),
    ):
        with pytest.raises(InvalidError) as caught:
            csv(text, PLAN)
        assert words in caught.value.hint
    assert values(csv("x,y\n1,2\n", ANY), ANY) == [[1.0], [None], [None], [None], [None]]


def test_parquet_types_that_fit() -> None:
    days = pl.Series(["AA", None, "UA"], dtype=pl.Categorical)
    assert values(parquet(S, s=days), S) == [["AA", None, "UA"]]
    assert values(parquet(S, s=days.cast(pl.Enum(["AA", "UA"]))), S) == [["AA", None, "UA"]]
    assert values(parquet(X, x=[Decimal("1.50"), None]), X) == [[1.5, None]]
    assert values(parquet(X, x=pl.Series([1, 2], dtype=pl.UInt8)), X) == [[1.0, 2.0]]
    assert values(parquet(X, x=[math.nan, math.inf, None]), X) == [[None, math.inf, None]]
    assert values(parquet(N, n=[2.0, math.nan, None]), N) == [[2, None, None]]
    assert values(parquet(N, n=[2**53 + 1, 2**63 - 1]), N) == [[2**53 + 1, 2**63 - 1]]
    assert values(parquet(N, n=[Decimal("2.00")]), N) == [[2]]
    assert values(parquet(ANY, x=[None], n=[None], b=[None], s=[None]), ANY) == [[None]] * 5
    assert parquet(ANY).count == 0


@pytest.mark.parametrize(
    "column",
    [
        {"x": [dt.date(2020, 1, 1)]},
        {"x": [True]},
        {"x": [[1.0]]},
        {"x": [{"a": 1.0}]},
        {"x": [dt.timedelta(1)]},
        {"x": ["one"]},
        {"n": [1.5]},
        {"n": [math.inf]},
        {"n": [2.0**63]},
        {"n": [Decimal("1.5")]},
        {"n": pl.Series([2**64 - 1], dtype=pl.UInt64)},
        {"n": pl.Series([2**70], dtype=pl.Int128)},
        {"b": [1]},
        {"s": [1]},
        {"s": [b"a"]},
        {"s": ["a\0b"]},
        {"s": [dt.datetime(2020, 1, 1)]},  # noqa: DTZ001 - Parquet has times without zone
        {"level": ["ZZ"]},
        {"level": [None]},
    ],
    ids=str,
)
def test_parquet_columns_that_do_not_fit_are_named(column: dict[str, Any]) -> None:
    good = {"x": [1.0], "n": [1], "b": [True], "s": ["s"], "level": ["AA"]}
    with pytest.raises(InvalidError) as caught:
        parquet(PLAN, **{**good, **column})
    (name,) = column
    assert caught.value.fields["column"] == name
    assert f"'{name}'" in caught.value.message
    assert caught.value.fields.get("row", 0) == 0


def test_other_columns_become_keys() -> None:
    day = dt.date(2020, 1, 2)
    inputs = parquet(X, x=[1.0], day=[day], text=['"\0'], n=[1], f=[math.nan], dec=[Decimal("1.5")])
    assert inputs.keys is not None
    assert [json.loads(key or "") for key in inputs.keys] == [
        {"day": "2020-01-02", "text": '"\0', "n": 1, "f": None, "dec": "1.5"}
    ]
    assert parquet(X, x=pl.Series([], dtype=pl.Float64), k=pl.Series([], dtype=pl.String)).keys is None


@pytest.mark.parametrize("key", [[b"\xff"], [[1, 2]], [{"a": b"x"}], [[b"x"]]], ids=str)
def test_other_columns_that_cannot_be_kept_are_refused(key: Any) -> None:
    """Polars panics, which is no `Exception`, on bytes in JSON."""
    with pytest.raises(InvalidError, match="cannot be kept") as caught:
        parquet(X, x=[1.0], key=key)
    assert caught.value.fields == {"column": "key"}


def test_a_small_file_of_very_many_rows_is_refused_before_it_is_read() -> None:
    """HARDENING 12, 28."""
    body = parquet_bytes(pl.DataFrame({"x": pl.repeat(1.0, 10_000_000, eager=True)}))
    assert len(body) < 200_000
    with pytest.raises(TooLargeError, match="10000000 rows; the limit is 10"):
        read_parquet(body, 10)


def test_a_small_file_of_very_much_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_TEXT", 1 << 20)
    text = pl.Series(["y" * 1_000_000] * 3)
    assert len(parquet_bytes(pl.DataFrame({"s": text}))) < 3000
    for columns in ({"s": text}, {"s": ["a"] * 3, "key": text}):
        with pytest.raises(TooLargeError, match="2 MiB of text"):
            parquet(S, **columns)


def test_too_many_rows() -> None:
    with pytest.raises(TooLargeError):
        csv("x\n" + "1\n" * 11, X)


@pytest.mark.parametrize(
    "body", [b"", b"PAR1", b"PAR1abcdPAR1", b"PAR1" + b"\0" * 100 + b"\xff\xff\xff\x7fPAR1", b"x\n1\n"]
)
def test_what_is_no_parquet_file_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError, match="not a Parquet file"):
        read_parquet(body, 10)


@given(body=st.binary() | st.text(st.sampled_from('xnb,s"\n\r\t \0é1.-=ENA')).map(str.encode))
def test_whatever_comes_as_csv_only_errors_of_ours_leave(body: bytes) -> None:
    try:
        inputs = csv(body, ANY)
    except YardError:
        return
    assert len(values(inputs, ANY)[0]) == inputs.count
