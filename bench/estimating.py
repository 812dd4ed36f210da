"""Estimates of months without outcomes, on the flights of 2013: ours, NannyML's, and saying "as before".

python -m bench.estimating            # installs NannyML into .tools/peers once; without it the rest is shown

Models learn from January and February; March to May have outcomes (the reference); June to December are
estimated, each month by itself, and then compared with what was measured.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from bench.peers import nanny
from bench.peers.install import PeerMissingError
from modelyard.demo.flights import data_folder, flown, read_tables
from modelyard.loop.estimates import estimator
from modelyard.loop.measures import measured
from modelyard.records.metrics import Metric
from modelyard.records.signatures import Column, ColumnType, Signature

_NUMBERS = ("hour", "weekday", "dep_delay", "distance", "temp", "wind_speed", "precip", "visib", "seats")
_TEXTS = ("carrier", "origin")
_LEARNED, _KNOWN, _LATER = (1, 2), (3, 4, 5), tuple(range(6, 13))
_INPUTS = tuple(Column(n, ColumnType.FLOAT64) for n in _NUMBERS) + tuple(
    Column(n, ColumnType.STRING) for n in _TEXTS
)
_THEIRS = {Metric.ACCURACY: "accuracy", Metric.AUC: "roc_auc", Metric.MAE: "mae", Metric.RMSE: "rmse"}


class Model(NamedTuple):
    """A model's answers to all flights, as rows under the names of the frames, with `month` and `at`."""

    name: str
    signature: Signature
    rows: pl.DataFrame


def models(flights: pl.DataFrame) -> list[Model]:
    """Late or not without the delay at departure, three classes with it, minutes with it."""
    late = pl.col("arr_delay")
    three = pl.when(late < 0).then(pl.lit("early")).when(late <= 15).then(pl.lit("in time"))
    without = [n for n in _NUMBERS if n != "dep_delay"]
    return [
        _classifier("late", flights, (late > 15).cast(pl.String), without),
        _classifier("three", flights, three.otherwise(pl.lit("late")), list(_NUMBERS)),
        _regression("minutes", flights, list(_NUMBERS)),
    ]


def _features(flights: pl.DataFrame, names: list[str]) -> np.ndarray:
    codes = [flights[name].rank("dense").cast(pl.Float64) for name in _TEXTS]
    return flights.select(pl.col(names).cast(pl.Float64), *codes).to_numpy()


def _rows(flights: pl.DataFrame, outputs: Mapping[str, np.ndarray], actual: pl.Series) -> pl.DataFrame:
    inputs = [pl.col(n).cast(pl.Float64).alias(f"in:{n}") for n in _NUMBERS]
    texts = [pl.col(n).alias(f"in:{n}") for n in _TEXTS]
    at = pl.datetime("year", "month", "day", "hour").alias("at")
    given = flights.select("month", at, *inputs, *texts)
    return given.with_columns(
        *(pl.Series(name, values) for name, values in outputs.items()), actual.alias("actual")
    )


def _classifier(name: str, flights: pl.DataFrame, target: pl.Expr, names: list[str]) -> Model:
    actual = flights.select(target.alias("actual"))["actual"]
    some = flights["month"].is_in(_LEARNED)
    x = _features(flights, names)
    model = HistGradientBoostingClassifier(random_state=1).fit(
        x[some.to_numpy()], actual.filter(some).to_list()
    )
    said = model.predict_proba(x)
    outputs: dict[str, np.ndarray] = {"out:label": model.classes_[said.argmax(axis=1)]}
    outputs |= {f"out:probability:{c}": said[:, k] for k, c in enumerate(model.classes_)}
    columns = [Column(n.removeprefix("out:"), ColumnType.FLOAT64) for n in list(outputs)[1:]]
    signature = Signature(_INPUTS, (Column("label", ColumnType.STRING), *columns))
    return Model(name, signature, _rows(flights, outputs, actual))


def _regression(name: str, flights: pl.DataFrame, names: list[str]) -> Model:
    actual = flights["arr_delay"].cast(pl.Float64)
    some = flights["month"].is_in(_LEARNED).to_numpy()
    x = _features(flights, names)
    said = HistGradientBoostingRegressor(random_state=1).fit(x[some], actual.to_numpy()[some]).predict(x)
    signature = Signature(_INPUTS, (Column("prediction", ColumnType.FLOAT64),))
    return Model(name, signature, _rows(flights, {"out:prediction": said}, actual))


def ours(model: Model) -> tuple[dict[str, list[float]], float]:
    """The estimates of each month by metric, and the seconds of a processor that took."""
    began = time.process_time()
    made = estimator(model.rows.filter(pl.col("month").is_in(_KNOWN)), model.signature)
    assert made is not None
    found: dict[str, list[float]] = {}
    for month in _LATER:
        for each in made(model.rows.filter(pl.col("month") == month)):
            found.setdefault(each.metric, []).append(each.value)
    return found, time.process_time() - began


def truth(model: Model, months: tuple[int, ...]) -> dict[str, float]:
    """What is measured on months, by metric."""
    rows = model.rows.filter(pl.col("month").is_in(months))
    key = ("operations/bench", 1, datetime(2013, 1, 1, tzinfo=UTC))
    return {p.metric: p.value for p in measured(rows, model.signature, key)}


def theirs(model: Model, folder: Path, metrics: list[str]) -> tuple[dict[str, list[float]], float]:
    """NannyML's estimates of each month by metric, and the seconds of processors that took."""
    place = Path(tempfile.mkdtemp())
    classes = model.signature.classes
    said = "out:label" if classes else "out:prediction"
    chances: object = {c: f"p{k}" for k, c in enumerate(classes)}
    task = "regression" if not classes else "classification_multiclass"
    table = model.rows.rename({f"out:probability:{c}": f"p{k}" for k, c in enumerate(classes)})
    table = table.with_columns(pl.col(said).alias("said"))
    if len(classes) == 2:
        task, chances = "classification_binary", "p1"
        table = table.with_columns((pl.col("said", "actual") == classes[1]).cast(pl.Int64))
    table = table.rename({c: c.removeprefix("in:") for c in table.columns if c.startswith("in:")})
    features = [*_NUMBERS, *_TEXTS]
    table = table.with_columns(pl.col(pl.String).exclude("said", "actual").cast(pl.Categorical))
    for name, months in (("reference", _KNOWN), ("later", _LATER)):
        table.filter(pl.col("month").is_in(months)).to_pandas().to_parquet(place / f"{name}.parquet")
    told = {
        "task": task,
        "chances": chances,
        "features": features,
        "metrics": [_THEIRS[Metric(m)] for m in metrics],
    }
    (place / "task.json").write_text(json.dumps(told))
    began = _of_children()
    found = nanny.estimates(folder, place)
    return {m: found[_THEIRS[Metric(m)]] for m in metrics}, _of_children() - began


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Compare all, print JSON: mean distance from what was measured, by model and metric."""
    try:
        folder: Path | None = nanny.nannyml()
    except PeerMissingError as error:
        print(json.dumps({"nannyml": str(error)}))
        folder = None
    for model in models(flown(read_tables(data_folder()), 12)):
        before, months = truth(model, _KNOWN), [truth(model, (month,)) for month in _LATER]
        estimates, seconds = ours(model)
        both = [
            m for m in estimates if m in _THEIRS and (m != Metric.AUC or len(model.signature.classes) == 2)
        ]
        others, other_seconds = theirs(model, folder, both) if folder else ({}, None)
        for metric, values in estimates.items():
            came = np.array([month[metric] for month in months])
            shown = {
                "model": model.name,
                "metric": metric,
                "measured": [round(float(x), 4) for x in came],
                "ours": _error(values, came),
                "nannyml": _error(others[metric], came) if metric in others else None,
                "as_before": _error([before[metric]] * len(came), came),
            }
            print(json.dumps(shown))
        print(
            json.dumps(
                {"model": model.name, "cpu_seconds": round(seconds, 2), "nannyml_cpu_seconds": other_seconds}
            )
        )


def _error(values: list[float], came: np.ndarray) -> float:
    return round(float(np.abs(np.array(values) - came).mean()), 5)


if __name__ == "__main__":
    main()
