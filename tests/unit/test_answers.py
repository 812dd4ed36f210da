"""Answers: what a worker may answer, and its forms in JSON, CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import polars as pl
import pytest
from tests.rows import BOOL, FLOAT64, INT64, PREDICTION, STRING

from modelyard.records.errors import ModelError
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.serving.answers import Answer, predictions, read_answer, to_csv, to_json, to_parquet
from modelyard.workers.wire import ColumnData, Frame, Value, from_values

REGRESSION = PREDICTION
SEVERAL = (Column("low", FLOAT64), Column("high", FLOAT64))
LABEL = (Column("label", STRING),)
CLASSES = (*LABEL, Column("probability:a", FLOAT64), Column("probability:b", FLOAT64))


def answer(
    outputs: tuple[Column, ...], *columns: list[Value], keys: list[str | None] | None = None
) -> Answer:
    signature = Signature((Column("x", FLOAT64),), outputs)
    return Answer("finance/fuel-cost", 3, "id-1", signature, list(columns), keys)


def label(kind: ColumnType) -> tuple[Column, ...]:
    return (Column("label", kind),)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(REGRESSION, [1.5, -0.1]), [1.5, -0.1]),
        (answer(REGRESSION, [math.nan, math.inf, 1e308]), [None, None, 1e308]),
        (answer(REGRESSION, []), []),
        (answer(SEVERAL, [1.0], [2.0]), [{"low": 1.0, "high": 2.0}]),
        (answer(LABEL, ["a", None]), [{"label": "a"}, {"label": None}]),
        (answer(label(BOOL), [True]), [{"label": True}]),
        (answer(label(INT64), [2**53 + 1]), [{"label": 2**53 + 1}]),
        (
            answer(CLASSES, ["b"], [0.25], [0.75]),
            [{"label": "b", "probabilities": {"a": 0.25, "b": 0.75}}],
        ),
        (answer(CLASSES, [], [], []), []),
    ],
)
def test_json(given: Answer, expected: list[Any]) -> None:
    assert json.loads(to_json(given)) == {
        "model": "finance/fuel-cost",
        "version": 3,
        "request_id": "id-1",
        "predictions": expected,
    }


def rows(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode(), newline="")))


def test_csv_has_a_header_and_all_digits() -> None:
    third = answer(REGRESSION, [1 / 3, -1.5, math.nan, math.inf])
    header, *cells = rows(to_csv(third))
    assert header == ["prediction"]
    assert [float(cell) for (cell,) in cells[:2]] == [1 / 3, -1.5]
    assert [cell for (cell,) in cells[2:]] == ["NaN", "inf"]
    assert to_csv(answer(CLASSES, ["a"], [0.5], [0.5])) == (b"label,probability:a,probability:b\na,0.5,0.5\n")
    assert to_csv(answer(SEVERAL, [], [])) == b"low,high\n"


def test_parquet_has_the_columns_of_the_signature() -> None:
    kinds = (Column("label", BOOL), Column("probability:true", FLOAT64))
    table = pl.read_parquet(io.BytesIO(to_parquet(answer(kinds, [True, None], [0.5, 1.0]))))
    assert table.schema == {"label": pl.Boolean, "probability:true": pl.Float64}
    assert table.rows() == [(True, 0.5), (None, 1.0)]


def test_kept_keys_stand_before_the_outputs() -> None:
    keys = ['{"flight":"AA1","n":1}', None, '{"n":null,"deep":[1]}']
    given = answer(REGRESSION, [1.0, 2.0, 3.0], keys=keys)
    table = pl.read_parquet(io.BytesIO(to_parquet(given)))
    assert table.to_dict(as_series=False) == {
        "flight": ["AA1", None, None],
        "n": ["1", None, None],
        "deep": [None, None, "[1]"],
        "prediction": [1.0, 2.0, 3.0],
    }
    assert rows(to_csv(given))[1] == ["AA1", "1", "", "1.0"]


def test_a_key_named_like_an_output_stands_under_another_name() -> None:
    given = answer(LABEL, ["a"], keys=['{"label":"truth","key:label":"odd"}'])
    header, cells = rows(to_csv(given))
    assert dict(zip(header, cells, strict=True)) == {
        "key:label": "truth",
        "key:key:label": "odd",
        "label": "a",
    }
    alone = answer(LABEL, ["a"], keys=['{"label":"truth"}'])
    assert rows(to_csv(alone)) == [["key:label", "label"], ["truth", "a"]]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("-", "'-"),
        ("-1.5e3", "-1.5e3"),
        ("+4", "+4"),
        ("-.5", "-.5"),
        ("-1\n=2", "'-1\n=2"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_csv_cells_are_no_formulas(text: str, cell: str) -> None:
    """HARDENING 54: in keys, labels and names; plain numbers stay what they are."""
    given = answer(LABEL, [text], keys=[json.dumps({"k": text, text or "empty": "v"})])
    header, cells = rows(to_csv(given))
    assert header == ["k", cell or "empty", "label"]
    assert cells == [cell, "v", cell]
    kept = pl.read_parquet(io.BytesIO(to_parquet(given)))
    assert kept.row(0) == (text, "v", text)


def test_names_that_become_the_same_do_no_harm() -> None:
    given = answer(REGRESSION, [1.0], keys=['{"=a":"1","\'=a":"2"}'])
    assert rows(to_csv(given)) == [["'=a", "'=a", "prediction"], ["1", "2", "1.0"]]


def frame(*columns: ColumnData, rows: int = 2) -> Frame:
    return Frame("answer", (("id", "1"),), rows, columns)


def test_an_answer_is_read_in_the_order_of_the_signature() -> None:
    columns = (from_values("low", FLOAT64, [1.0, 2.0]), from_values("high", FLOAT64, [3.0, 4.0]))
    signature = Signature((), SEVERAL)
    assert read_answer(frame(*columns), signature, 2) == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (frame(from_values("prediction", FLOAT64, [1.0]), rows=1), "answered 1 rows to 2"),
        (Frame("answer"), "answered None rows to 2"),
        (frame(from_values("y", FLOAT64, [1.0, 2.0])), r"columns y \(float64\); .* prediction \(float64\)"),
        (frame(from_values("prediction", INT64, [1, 2])), r"prediction \(int64\)"),
        (frame(), "columns none"),
        (
            frame(*[from_values("prediction", FLOAT64, [1.0, 2.0])] * 2),
            r"prediction \(float64\), prediction \(float64\)",
        ),
    ],
)
def test_a_wrong_answer_is_the_models_fault(wrong: Frame, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_answer(wrong, Signature((), REGRESSION), 2)


def test_an_answer_that_is_no_text_is_the_models_fault() -> None:
    data = ColumnData("label", STRING, b"\xff\0a\0")
    with pytest.raises(ModelError, match="not UTF-8"):
        read_answer(frame(data), Signature((), LABEL), 2)


@pytest.mark.parametrize(
    "names", [("a", "b"), ('a"b', "c"), ("tab\t", "line\n"), ("label", "probability:x y")]
)
def test_json_has_the_names_as_they_are(names: tuple[str, str]) -> None:
    kinds = (STRING if names[0] == "label" else FLOAT64, FLOAT64)
    outputs = tuple(Column(n, kind) for n, kind in zip(names, kinds, strict=True))
    first = ["a", "b"] if names[0] == "label" else [1.0, 2.0]
    given = Answer("finance/x", 1, "id", Signature((), outputs), [list(first), [0.5, math.nan]])
    expected = json.loads(json.dumps(predictions(given)).replace("NaN", "null"))
    assert json.loads(to_json(given))["predictions"] == expected
