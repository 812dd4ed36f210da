"""Each family of models: its portable form is proved equal, or the native form stays and says why."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tests.contract.portable_house import House
from tests.journeys.running import PATIENCE

ROWS = 200
CHANCE = np.random.default_rng(11)
X = CHANCE.normal(size=(ROWS, 3)) * [1.0, 1e9, 1e-6]
GAPS = np.where(CHANCE.random(X.shape) < 0.1, np.nan, X)
Y = X[:, 0] * 2 + X[:, 1] / 1e9
THREE = np.array(["early", "late", "on time"])[np.digitize(Y, [-1, 1])]


def flights() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "distance": X[:, 1],
            "wind": X[:, 0].astype("float32"),
            "stops": CHANCE.integers(0, 3, ROWS),
            "night": X[:, 2] > 0,
            "carrier": CHANCE.choice(["AA", "UA", "B6"], ROWS),
            "origin": pd.Categorical(CHANCE.choice(["EWR", "JFK"], ROWS), categories=["EWR", "JFK", "LGA"]),
        }
    )
    frame.loc[3, "distance"] = np.nan
    frame.loc[::7, "carrier"] = None
    return frame


FLIGHTS = flights()


def columns(encoder: Any) -> Any:
    """Numbers imputed and scaled, text imputed or left with gaps, and encoded."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_column_transformer(
        (numbers, ["distance", "stops", "wind", "night"]), (encoder, ["carrier", "origin"])
    )


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "linear": lambda: (ElasticNet(1e-3).fit(X, Y), X),
    "several outputs": lambda: (LinearRegression().fit(X, X[:, :2]), X),
    "logistic": lambda: (make_pipeline(StandardScaler(), LogisticRegression()).fit(X, THREE), X),
    "tree": lambda: (DecisionTreeClassifier(max_depth=4, random_state=0).fit(X, Y > 0), X),
    "forest": lambda: (RandomForestClassifier(9, random_state=0).fit(GAPS, THREE), GAPS),
    "extra trees": lambda: (ExtraTreesRegressor(9, random_state=0).fit(X, Y), X),
    "boosting": lambda: (GradientBoostingClassifier(n_estimators=9, random_state=0).fit(X, THREE), X),
    "histogram": lambda: (HistGradientBoostingRegressor(max_iter=9).fit(GAPS, Y), GAPS),
    "pipeline": lambda: (
        make_pipeline(columns(OneHotEncoder(handle_unknown="ignore")), LogisticRegression()).fit(
            FLIGHTS, THREE
        ),
        FLIGHTS,
    ),
    "strict pipeline": lambda: (
        make_pipeline(
            columns(make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())),
            RandomForestClassifier(9, random_state=0),
        ).fit(FLIGHTS, Y > 0),
        FLIGHTS,
    ),
    "xgboost": lambda: (xgboost.XGBClassifier(n_estimators=9, n_jobs=1).fit(GAPS, (Y > 0).astype(int)), GAPS),
    "lightgbm": lambda: (
        lightgbm.LGBMClassifier(n_estimators=9, verbose=-1, n_jobs=1).fit(GAPS, THREE), GAPS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_converted_and_proved_equal(family: str, make: Callable[..., House]) -> None:
    version = make().decide(*FAMILIES[family]())
    assert version.form == "portable", version.form_reason
    asked = re.search(r"equal to the native form on ([\d,]+) rows", version.form_reason)
    assert asked
    assert int(asked[1].replace(",", "")) > 1_000


def test_categorical_features_of_histogram_boosting_stay_native(make: Callable[..., House]) -> None:
    rows = np.column_stack([X[:, 0], CHANCE.integers(0, 5, ROWS)])
    model = HistGradientBoostingClassifier(max_iter=9, categorical_features=[1]).fit(rows, Y > 0)
    version = make().decide(model, rows)
    assert version.form == "native"
    assert "HistGradientBoosting with categorical_features" in version.form_reason


def test_a_conversion_that_answers_otherwise_stays_native(make: Callable[..., House]) -> None:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    steps = make_column_transformer((encoder, ["carrier", "origin"]), ("passthrough", ["distance"]))
    model = make_pipeline(steps, HistGradientBoostingClassifier(max_iter=9)).fit(
        FLIGHTS, FLIGHTS["carrier"].isna()
    )
    version = make().decide(model, FLIGHTS)
    assert version.form == "native"
    assert re.search(r"differs .*on row .*carrier=None", version.form_reason)


class Doubled(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A model of one's own, which no converter knows; `does` is what it does when a converter opens it."""

    def __init__(self, does: str = "") -> None:
        self.does = does

    def predict(self, rows: Any) -> Any:
        return np.asarray(rows)[:, 0] * 2

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "convert.py" in sys.argv[0]:
            exec(self.does)  # noqa: S102  # a model's own code does what it likes


Doubled.__module__ = "__main__"  # so that it is pickled by value, as from a notebook


def test_a_model_of_ones_own_stays_native(make: Callable[..., House]) -> None:
    version = make().decide(Doubled(), X)
    assert version.form == "native"
    assert version.form_reason.startswith("not converted: ")


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("import os; os._exit(7)", "the converter ended: exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the converter ended: killed by SIGSEGV"),
        ("x = bytearray(3 << 30)", "not converted: MemoryError"),
    ],
)
def test_a_converter_that_crashes_or_runs_out_of_memory(
    does: str, words: str, make: Callable[..., House]
) -> None:
    version = make(worker_memory=1 << 30).decide(Doubled(does), X)
    assert version.form == "native"
    assert words in version.form_reason


def test_a_converter_that_hangs(make: Callable[..., House]) -> None:
    version = make(portable_timeout=4.0).decide(Doubled("while True: pass"), X)
    assert version.form == "native"
    assert "the converter did not end within 4 s" in version.form_reason


def test_what_a_converter_leaves_behind_is_not_trusted(make: Callable[..., House]) -> None:
    does = (
        "import os\nout = sys.argv[-1]\n"
        "os.symlink('/etc/passwd', out + '/model.onnx')\n"
        "open(out + '/portable.json', 'w').write('{}')\nos._exit(0)"
    )
    version = make().decide(Doubled("import sys\n" + does), X)
    assert (version.form, version.form_reason) == ("native", "the converter left no model.onnx")


def test_a_converter_ends_with_its_engine(make: Callable[..., House]) -> None:
    house = make()
    ended = threading.Event()

    def decide() -> None:
        house.decide(Doubled("while True: pass"), X)
        ended.set()

    threading.Thread(target=decide, daemon=True).start()
    while house.engine.portables._converter._running is None:
        assert not ended.wait(0.02)
    house.engine.portables.stop()
    assert ended.wait(PATIENCE)
    assert house.registry.version("ops/tried", 1).form_reason == "", "it is tried again by the next engine"
