"""Requests of 10,000 rows, against the model's own `predict` in a bare session."""

from __future__ import annotations

import http.client
import io
import json
import pickle
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from msgspec import Struct

from bench.bare import Session
from bench.figures.common import Run, yard_with
from bench.figures.fast import portable_yard
from bench.models import COLUMNS, Matrix, forest, logistic, many_rows, python_bundle
from bench.report import TIMES, Figure, spread
from bench.yard import Yard

_ROWS = 10_000
_REACH = 0.5
_EACH = 3  # requests, or calls, in a round; the median of them is the round's
_MODELS = {"a forest of 100 trees": ("forest", forest), "a logistic pipeline": ("logistic", logistic)}


class _Way(Struct, frozen=True):
    """One way to send a table and have the answer."""

    title: str
    path: str
    body: bytes
    headers: dict[str, str]


def measure(run: Run) -> Iterator[Figure]:
    """The figures `tables`: two models, four formats; the yard as by default, and with native forms alone."""
    rows = many_rows(_ROWS)
    made = {title: make() for title, (_, make) in _MODELS.items()}
    bundles = {
        f"bench/{name}": python_bundle(made[title], run.folder / f"table-{name}")
        for title, (name, _) in _MODELS.items()
    }
    saved = {
        name: _saved(run.folder / f"bare-{name}", made[title], rows) for title, (name, _) in _MODELS.items()
    }
    forms = {
        "": portable_yard(run, "tables", bundles),
        ", native form": yard_with(run, "tables-native", bundles),
    }
    for form, opened in forms.items():
        with opened as yard:
            for title, (name, _) in _MODELS.items():
                run.say(f"{_ROWS:,} rows, {title}{form}")
                yield from _model(run, yard, title + form, name, saved[name], rows)


def _saved(folder: Path, model: object, rows: Matrix) -> Path:
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    (folder / "rows.pkl").write_bytes(pickle.dumps(rows))
    return folder


def _model(run: Run, yard: Yard, title: str, name: str, saved: Path, rows: Matrix) -> Iterator[Figure]:
    ways = list(_ways(name, rows))
    bare_times: list[float] = []
    times: dict[str, list[float]] = {way.title: [] for way in ways}
    connection = http.client.HTTPConnection("127.0.0.1", yard.port, timeout=60)
    with Session(saved) as session:
        for number in range(run.rounds + 1):  # the first warms up
            bare = statistics.median(session.predict() for _ in range(_EACH))
            taken = {
                w.title: statistics.median(_ask(connection, yard, w) for _ in range(_EACH)) for w in ways
            }
            if number:
                bare_times.append(bare)
                for key, seconds in taken.items():
                    times[key].append(seconds)
    connection.close()
    for way in ways:
        ratios = [bare / seconds for bare, seconds in zip(bare_times, times[way.title], strict=True)]
        middle, alone = statistics.median(times[way.title]), statistics.median(bare_times)
        yield Figure(
            name="tables",
            what=f"{_ROWS:,} rows as {way.title}, {title}, against `predict` in a bare session",
            measured=f"{spread(ratios)} {TIMES}",
            reach=f"≥ {_REACH:g} {TIMES}",
            reached=statistics.median(ratios) >= _REACH,
            details=(_detail(way, title, middle, alone),),
        )


def _detail(way: _Way, title: str, seconds: float, alone: float) -> str:
    took = f"{seconds * 1e3:.1f} ms over HTTP, {alone * 1e3:.1f} ms bare"
    return f"{way.title}, {title}: {took}; request of {len(way.body) / 1e6:.1f} MB"


def _ways(name: str, rows: Matrix) -> Iterator[_Way]:
    path = f"/models/bench/{name}/predict"
    table = pl.DataFrame({column: rows[:, i] for i, column in enumerate(COLUMNS)})
    records = json.dumps(table.to_dicts()).encode()
    yield _Way("JSON", path, records, {"Content-Type": "application/json"})
    yield _Way("CSV", path, table.write_csv().encode(), _both("text/csv"))
    parquet = io.BytesIO()
    table.write_parquet(parquet)
    yield _Way("Parquet", path, parquet.getvalue(), _both("application/vnd.apache.parquet"))
    shape = [len(rows), len(COLUMNS)]
    tensor = {
        "name": "x",
        "datatype": "FP64",
        "shape": shape,
        "parameters": {"binary_data_size": rows.nbytes},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    yield _Way("v2 binary", f"/v2/models/bench.{name}/infer", head + rows.tobytes(), headers)


def _both(kind: str) -> dict[str, str]:
    return {"Content-Type": kind, "Accept": kind}


def _ask(connection: http.client.HTTPConnection, yard: Yard, way: _Way) -> float:
    """Seconds from sending a request to having its whole answer."""
    headers = yard.headers | way.headers
    began = time.perf_counter()
    connection.request("POST", way.path, way.body, headers)
    answer = connection.getresponse()
    body = answer.read()
    seconds = time.perf_counter() - began
    if answer.status != http.client.OK:
        raise RuntimeError(f"{way.title}: {answer.status} {body[:500]!r}")
    return seconds
