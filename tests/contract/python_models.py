"""One real model of each kind that the Python runtime must serve, fitted on small data, with an example."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

ROWS = 200


class Case(NamedTuple):
    """A model, an example, options for the runtime, and what it answers by itself, output by output."""

    model: Any
    example: Any
    expected: dict[str, Any]
    options: dict[str, Any] | None = None


def flights() -> pd.DataFrame:
    """Rows with missing numbers, missing text, a categorical and a narrow float."""
    chance = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "distance": chance.normal(1000, 300, ROWS),
            "carrier": chance.choice(["AA", "UA", "B6"], ROWS),
            "stops": chance.integers(0, 3, ROWS),
            "wind": chance.normal(size=ROWS).astype("float32"),
            "night": chance.random(ROWS) < 0.5,
            "origin": pd.Categorical(chance.choice(["EWR", "JFK"], ROWS), categories=["EWR", "JFK", "LGA"]),
        }
    )
    frame.loc[3, "distance"] = np.nan
    frame.loc[5, "carrier"] = None
    return frame


def late(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    score = frame["distance"].fillna(0) / 1000 + frame["wind"] + frame["night"]
    return np.where(score > 1.4, "late", "on time")


def labels_of(model: Any, given: Any) -> dict[str, Any]:
    chances = model.predict_proba(given)
    texts = [str(c).lower() if isinstance(c, (bool, np.bool_)) else str(c) for c in model.classes_]
    return {"label": model.predict(given)} | {f"probability:{t}": chances[:, i] for i, t in enumerate(texts)}


def pipeline() -> Case:

    frame = flights()
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer(
        (numbers, ["distance", "stops", "wind", "night"]),
        (OneHotEncoder(handle_unknown="ignore"), ["carrier", "origin"]),
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame, late(frame))
    return Case(model, frame, labels_of(model, frame))


def several_outputs() -> Case:

    frame = flights()[["stops", "wind"]]
    target = frame.assign(low=frame["wind"], high=frame["stops"] * 2.0)[["low", "high"]]
    model = LinearRegression().fit(frame, target)
    found = model.predict(frame)
    return Case(model, frame, {"low": found[:, 0], "high": found[:, 1]}, {"outputs": ["low", "high"]})


def threshold() -> Case:
    """Its predict() is not the most probable class."""
    frame = flights()[["stops", "wind"]]
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.9, pos_label=True)
    model.fit(frame, frame["wind"] > 0)
    expected = labels_of(model, frame)
    assert (expected["label"] != (expected["probability:true"] > 0.5)).any()
    return Case(model, frame, expected)


def numpy_booleans() -> Case:

    rows = np.random.default_rng(1).normal(size=(ROWS, 5))
    model = RandomForestClassifier(7, random_state=0).fit(rows, rows[:, 0] > 0)
    return Case(model, rows, labels_of(model, rows))


def ties() -> Case:
    """Two trees that often disagree: as probable as each other, so the model itself has the last word."""
    frame = flights()[["stops", "wind"]]
    model = RandomForestClassifier(2, random_state=0).fit(frame, late(flights()))
    expected = labels_of(model, frame)
    even = expected["probability:late"] == 0.5
    assert even.any()
    assert not even.all()
    return Case(model, frame, expected)


def without_probabilities() -> Case:

    rows = np.random.default_rng(2).normal(size=(ROWS, 3)).astype("float32")
    model = SVC().fit(rows, np.digitize(rows[:, 0], [-0.5, 0.5]))
    return Case(model, rows, {"label": model.predict(rows)})


def xgb_classifier() -> Case:
    xgboost = pytest.importorskip("xgboost")
    frame = flights().drop(columns=["carrier"])
    model = xgboost.XGBClassifier(n_estimators=5, enable_categorical=True, n_jobs=1)
    model.fit(frame, frame["stops"])
    return Case(model, frame, labels_of(model, frame))


def xgb_booster() -> Case:
    xgboost = pytest.importorskip("xgboost")
    rows = np.random.default_rng(3).normal(size=(ROWS, 4))
    data = xgboost.DMatrix(rows, rows[:, 0] > 0)
    model = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 5)
    chance = model.predict(data).astype(float)
    expected = {"label": chance > 0.5, "probability:false": 1 - chance, "probability:true": chance}
    return Case(model, rows, expected, {"classes": [False, True]})


def lgbm_regressor() -> Case:
    lightgbm = pytest.importorskip("lightgbm")
    frame = flights().drop(columns=["carrier"])
    model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1).fit(frame, frame["wind"])
    return Case(model, frame, {"prediction": model.predict(frame)})


def lgbm_booster() -> Case:
    lightgbm = pytest.importorskip("lightgbm")
    rows = np.random.default_rng(4).normal(size=(ROWS, 4))
    model = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows, rows[:, 1]), 5)
    return Case(model, rows, {"prediction": model.predict(rows)})


def torch_module() -> Case:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = torch.nn
    model = layers.Sequential(
        layers.Linear(4, 8), layers.Dropout(0.5), layers.ReLU(), layers.Linear(8, 2)
    ).eval()
    rows = np.random.default_rng(5).normal(size=(ROWS, 4))
    with torch.inference_mode():
        found = model(torch.from_numpy(rows.astype("float32"))).numpy()
    return Case(model, rows, {"output_0": found[:, 0], "output_1": found[:, 1]})


def own_class() -> Case:
    class Priced:
        """A class of one's own, as a data scientist writes one in a notebook."""

        def __init__(self, price: float) -> None:
            self.price = price

        def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, float]]:
            return [{"cost": row["miles"] * self.price, "tax": 0.5} for row in rows]

    rows = [{"miles": 10, "who": "ann"}, {"miles": 20, "who": None}]
    return Case(Priced(2.5), rows, {"cost": [25.0, 50.0], "tax": [0.5, 0.5]})


def closure() -> Case:
    words = {"late": 0.75, "on time": 0.25}

    def judge(columns: dict[str, Any]) -> dict[str, Any]:
        import statistics  # noqa: PLC0415  # found though it stands inside

        middle = statistics.median(words.values())
        return {
            "label": np.where(columns["x"] > middle, "late", "on time"),
            "probabilities": {name: np.full(len(columns["x"]), p) for name, p in words.items()},
        }

    expected = {
        "label": ["late", "on time"],
        "probability:late": [0.75] * 2,
        "probability:on time": [0.25] * 2,
    }
    return Case(judge, {"x": [1.5, 0.0]}, expected)


CASES: list[Callable[[], Case]] = [
    pipeline, several_outputs, threshold, numpy_booleans, ties, without_probabilities,
    xgb_classifier, xgb_booster, lgbm_regressor, lgbm_booster,
    pytest.param(torch_module, marks=pytest.mark.torch),  # type: ignore[list-item]
    own_class, closure,
]  # fmt: skip
