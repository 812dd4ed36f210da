"""Rows that do not fit: a clear 4xx that names the column, and nothing else happens."""

from __future__ import annotations

import contextlib
import http.client
import io

import httpx
import polars as pl
import pytest

from tests.journeys.models import code_bundle
from tests.journeys.running import PATIENCE, RunningYard, publish

SOURCE = "def predict(columns):\n    return columns['x'] + columns['n']\n"
INPUTS = "x:float64 n:int64 ok:bool? name:levels=AA|UA"
EXAMPLE = 'x,n,ok,name\n1.0,2,true,"AA"\n2.0,3,,"UA"\n'
GOOD = '{"x": 1, "n": 2, "ok": null, "name": "AA"}'


@pytest.fixture(scope="module")
def model(yard: RunningYard) -> str:
    """A model with a column of each type."""
    with yard.client() as client:
        assert publish(client, "ops/rows", code_bundle(SOURCE, INPUTS, EXAMPLE))["state"] == "checked"
    return "/models/ops/rows/predict"


@pytest.mark.parametrize(
    ("row", "status", "words"),
    [
        ('{"n": 2, "name": "AA"}', 422, "'x'"),
        ('{"x": null, "n": 2, "name": "AA"}', 422, "'x'"),
        ('{"x": "one", "n": 2, "name": "AA"}', 422, "a number"),
        ('{"x": true, "n": 2, "name": "AA"}', 422, "a number"),
        ('{"x": 1, "n": 2.5, "name": "AA"}', 422, "a whole number"),
        ('{"x": 1, "n": 9223372036854775808, "name": "AA"}', 422, "a whole number"),
        ('{"x": 1, "n": 2, "ok": "yes", "name": "AA"}', 422, "true or false"),
        ('{"x": 1, "n": 2, "name": "ZZ"}', 422, "not a level"),
        ('{"x": 1, "n": 2, "name": 5}', 422, "a string"),
        ('{"x": NaN, "n": 2, "name": "AA"}', 400, "not JSON"),
        ('{"x": Infinity, "n": 2, "name": "AA"}', 400, "not JSON"),
        ('{"x": 1e999, "n": 2, "name": "AA"}', 400, "JSON"),
        ("5", 422, "not an object"),
        ("", 200, ""),
    ],
)
def test_a_row_that_does_not_fit(client: httpx.Client, model: str, row: str, status: int, words: str) -> None:
    answer = client.post(model, content=f"[{row}]", headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert client.post(model, content=f"[{GOOD}]").json()["predictions"] == [3.0]


def test_an_empty_list_has_an_empty_answer(client: httpx.Client, model: str) -> None:
    assert client.post(model, json=[]).json()["predictions"] == []


def test_a_million_rows_are_refused_with_the_limit(client: httpx.Client, model: str) -> None:
    body = b"[" + b",".join([GOOD.encode()] * 1_000_000) + b"]"
    answer = client.post(model, content=body)
    assert answer.status_code == 413
    assert "200000" in answer.text


@pytest.mark.parametrize("body", [b"[" * 100_000, b'[{"x":' * 50_000, b'{"records":' + b"[" * 100_000])
def test_json_nested_100000_deep(client: httpx.Client, model: str, body: bytes) -> None:
    answer = client.post(model, content=body)
    assert answer.status_code in (400, 422), answer.text[:300]


def test_not_a_number_in_parquet(client: httpx.Client, model: str) -> None:
    out = io.BytesIO()
    pl.DataFrame({"x": [1.0, float("nan")], "n": [1, 2], "name": ["AA", "UA"]}).write_parquet(out)
    answer = client.post(
        model, content=out.getvalue(), headers={"Content-Type": "application/vnd.apache.parquet"}
    )
    assert answer.status_code == 422
    assert answer.json()["row"] == 1
    assert answer.json()["column"] == "x"


def test_names_of_every_odd_spelling_are_not_there(yard: RunningYard, model: str) -> None:
    assert model
    headers = {"Authorization": f"Bearer {yard.token}"}
    for path in (
        "/models/ops/rows/../rows/predict",
        "/models/ops/%2e%2e/predict",
        "/models/ops/rows%00/predict",
        "/models/Ops/rows/predict",
        "/models/ops//predict",
        "/models/ops/%EF%BC%B2ows/predict",
        "/models/ops/" + "a" * 60_000 + "/predict",
        "/models/ops/rows/versions/0/predict",
        "/models/ops/rows/aliases/../predict",
    ):
        # http.client sends the path as it stands; httpx would tidy it first.
        connection = http.client.HTTPConnection("127.0.0.1", yard.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", path, body=f"[{GOOD}]", headers=headers)
            assert connection.getresponse().status in (400, 404, 413, 414), path[:60]
