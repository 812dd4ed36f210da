"""Data from Python, R and Julia: the same rows are the same version from each, and come back as they were."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modelyard import Yard
from tests.conftest import ROOT, find_julia, find_rscript
from tests.journeys.running import RunningYard

REF = "operations/flights"
AT = "2013-01-02T03:04:05.5Z"
R = f"""
library(modelyard)
at <- as.POSIXct(c("2013-01-02 03:04:05.5", NA), tz = "UTC")
day <- as.Date(c("2013-01-02", NA))
d <- data.frame(n = c(1L, NA), x = c(0.1, NA), late = c(TRUE, NA), day = day, at = at, s = c('a,"b', NA))
v <- yard_push_data(d, "{REF}", why = "from R", marks = list(n = "personal"))
p <- yard_pull_data("{REF}/1")
same <- identical(names(p), names(d)[-1]) && isTRUE(all.equal(p, d[-1], check.attributes = FALSE))
listed <- yard_datasets()
cat(jsonlite::toJSON(list(version = v$version, same = same, listed = listed$rows), auto_unbox = TRUE))
"""
JULIA = f"""
using Modelyard, Dates
d = (n = [1, missing], x = [0.1, missing], late = [true, missing], day = [Date(2013, 1, 2), missing],
     at = [DateTime(2013, 1, 2, 3, 4, 5, 500), missing], s = ["a,\\"b", missing])
v = push_data(d, "{REF}"; why = "from Julia")
p = pull_data("{REF}")
same = keys(p) == (:x, :late, :day, :at, :s) && all(isequal(p[k], d[k]) for k in keys(p))
println("{{\\"version\\": $(v["version"]), \\"same\\": $same, \\"listed\\": $(datasets()[1]["rows"])}}")
"""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    with RunningYard(tmp_path_factory.mktemp("data-sdks") / "data") as running:
        rows = [
            {"n": 1, "x": 0.1, "late": True, "day": "2013-01-02", "at": AT, "s": 'a,"b'},
            dict.fromkeys(("n", "x", "late", "day", "at", "s")),
        ]
        with closing(Yard(running.url, running.token)) as client:
            pushed = client.push_data(rows, REF, marks={"n": "personal"})
        types = [str(column.type) for column in pushed.columns]
        assert types == ["int64", "float64", "bool", "date", "datetime", "string"]
        yield running


def said(command: list[str], yard: RunningYard, **more: str) -> dict[str, Any]:
    given = {**os.environ, "YARD_URL": yard.url, "YARD_TOKEN": yard.token, **more}
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture
def client(yard: RunningYard) -> Iterator[Yard]:
    with closing(Yard(yard.url, yard.token)) as client:
        yield client


def test_python(client: Yard, tmp_path: Path) -> None:
    rows = client.pull_data(REF, kind="records")
    texts = {name: str(value) for name, value in rows[0].items()}
    assert texts.pop("at") == "2013-01-02 03:04:05.500000+00:00"
    assert texts == {"x": "0.1", "late": "True", "day": "2013-01-02", "s": 'a,"b'}
    frame = client.pull_data(f"{REF}/1", kind="pandas")
    assert list(frame.columns) == ["x", "late", "day", "at", "s"]
    polars = client.pull_data(REF, kind="polars")
    file = tmp_path / "flights.parquet"
    polars.write_parquet(file)
    assert client.push_data(file, "operations/copy").rows == 2
    assert client.push_data(frame, "operations/copy").version == 1, "pandas and Polars have the same content"
    assert [d.dataset for d in client.datasets()] == ["operations/copy", REF]


@pytest.mark.r
def test_r(yard: RunningYard, r_library: Path) -> None:
    told = said([find_rscript() or "Rscript", "--vanilla", "-e", R], yard, R_LIBS=str(r_library))
    assert told.pop("listed")
    assert told == {"version": 1, "same": True}


@pytest.mark.julia
def test_julia(yard: RunningYard, tmp_path: Path) -> None:
    script = tmp_path / "data.jl"
    script.write_text(JULIA)
    path = f"{ROOT / 'sdk/julia'}:@:@stdlib"
    told = said([find_julia() or "julia", "--startup-file=no", str(script)], yard, JULIA_LOAD_PATH=path)
    assert told.pop("listed") == 2
    assert told == {"version": 1, "same": True}
