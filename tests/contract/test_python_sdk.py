"""The Python SDK: bundles of every kind as the yard reads them, requests as contract/bundle.md has them."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

import modelyard
from modelyard.catalog.descriptions import read_bundle
from modelyard.client.folders import pack
from modelyard.client.runtime import to_batch
from modelyard.client.tables import read_table
from modelyard.engine.checks import same
from modelyard.records.errors import InvalidError, NotFoundError, YardError
from modelyard.records.models import AliasChange, Bundle, Model, Version, VersionState
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.serving.inputs import InputPlan
from modelyard.serving.tables import from_table, read_csv
from modelyard.workers.wire import to_values
from tests.contract.python_models import CASES, Case, flights
from tests.contract.python_worker import to_data
from tests.contract.small_yard import Answer, SmallYard, small_yard

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
X = pd.DataFrame({"miles": [10.0, 20.0, 30.0], "stops": [0, 1, 2]})
FIT = LinearRegression().fit(X, [1.0, 2.0, 3.0])


def version(state: VersionState = VersionState.CHECKED, **changes: Any) -> Version:
    signature = Signature((Column("miles", ColumnType.FLOAT64),), (Column("prediction", ColumnType.FLOAT64),))
    made = Version(
        "operations/delay", 1, "d" * 64, Bundle(1, "python", "model.pkl", signature), state, 10, NOW, "anna"
    )
    return msgspec.structs.replace(made, **changes)


MODEL = Model("operations/delay", NOW, "anna", "python", 2, 1, {"champion": 1, "challenger": 2})


@pytest.fixture
def small() -> Iterator[SmallYard]:
    with small_yard() as started:
        yield started


@pytest.fixture
def yard(small: SmallYard) -> Iterator[modelyard.Yard]:
    said: list[str] = []
    made = modelyard.Yard(small.url, "secret", progress=said.append)
    yield made
    made.close()


# --- bundles


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_the_yard_reads_each_bundle(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    folder = modelyard.save(
        case.model, tmp_path / "b", example=case.example, options=case.options, metrics={"mae": 1}
    )
    bundle = read_bundle(folder)
    assert bundle.language_version == ".".join(map(str, sys.version_info[:3]))
    assert bundle.metrics == {"mae": 1.0}
    assert "numpy" in bundle.packages
    pins = (folder / "environment/requirements.txt").read_text().splitlines()
    assert pins == [f"{name}=={pin}" for name, pin in bundle.packages.items()]
    assert example_as_sent(folder, bundle) == [
        ["missing" if value is None else value for value in column]
        for column in (each.values[:100] for each in read_table(case.example).columns)  # noqa: PD011  # not pandas'
    ]
    expected = pl.read_csv(folder / "expected.csv")
    assert expected.columns == list(case.expected) == [c.name for c in bundle.signature.outputs]
    for name, answers in case.expected.items():
        given = [str(v) if expected[name].dtype == pl.String else v for v in np.asarray(answers).tolist()]
        assert all(map(same, expected[name].to_list(), given[:100]))


def example_as_sent(folder: Path, bundle: Bundle) -> list[list[Any]]:
    """example.csv as the yard's own reader makes a request of it."""
    plan = InputPlan(bundle.signature, 1000)
    rows = from_table(plan, read_csv((folder / "example.csv").read_bytes()))
    values = [to_values(column) for column in plan.columns_of([rows])]
    return [["missing" if v is None or v != v else v for v in column] for column in values]  # noqa: PLR0124


def test_only_a_hundred_rows_are_kept_but_all_are_looked_at(tmp_path: Path) -> None:
    rows = pd.DataFrame({"x": np.arange(500.0), "who": ["late"] * 499 + [None]})
    folder = modelyard.save(lambda frame: frame["x"], tmp_path / "b", example=rows)
    bundle = read_bundle(folder)
    assert len(pl.read_csv(folder / "example.csv")) == 100
    assert bundle.signature.inputs[0].high == 499.0
    assert bundle.signature.inputs[1].missing


def test_all_that_can_be_said(tmp_path: Path) -> None:
    folder = modelyard.save(
        FIT, tmp_path / "b", example=X, description='A "good" one\n', missing=["miles"],
        lineage={"code": "4f1c"}, packages=["scikit-learn==1.0"], options={"method": "predict"},
        metrics={"mae": np.float64(1.5)},
    )  # fmt: skip
    bundle = read_bundle(folder)
    assert bundle.description == 'A "good" one\n'
    assert [c.missing for c in bundle.signature.inputs] == [True, False]
    assert bundle.lineage == {"code": "4f1c"}
    assert bundle.packages["scikit-learn"] == "1.0"
    assert bundle.options == {"input": "pandas", "method": "predict"}
    assert bundle.metrics == {"mae": 1.5}


def test_the_same_model_makes_the_same_bytes(tmp_path: Path) -> None:
    tars = []
    for name in ("a", "b"):
        buffer = io.BytesIO()
        pack(modelyard.save(FIT, tmp_path / name, example=X), buffer)
        tars.append(buffer.getvalue())
    assert tars[0] == tars[1]


def test_an_entry_in_code_leaves_outputs_to_the_check(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import sklearn\ndef predict(rows):\n    return [r['x'] for r in rows]\n"
    )
    folder = modelyard.save(
        None, tmp_path / "b", example=[{"x": 1.5}], code=[tmp_path / "mine.py"], entry="mine:predict"
    )
    bundle = read_bundle(folder)
    assert (bundle.entry, bundle.signature.outputs) == ("mine:predict", ())
    assert "scikit-learn" in bundle.packages
    assert {p.name for p in folder.iterdir()} == {"mine.py", "yardbundle.toml", "example.csv", "environment"}


def test_without_numpy_outputs_are_left_to_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.client.bundle.can_answer", lambda: False)
    folder = modelyard.save(lambda rows: [1.0 for _ in rows], tmp_path / "b", example=[{"x": 1.5}])
    assert read_bundle(folder).signature.outputs == ()
    assert not (folder / "expected.csv").exists()


class Picky:
    """Answers floats otherwise than whole numbers."""

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        return [float(isinstance(row["x"], int)) for row in rows]


@pytest.mark.parametrize(
    ("model", "example", "words"),
    [
        (lambda rows: [r["y"] for r in rows], [{"x": 1}], "fails on its own example: KeyError: 'y'"),
        (lambda _: [1, 2], [{"x": 1}], "answered 2 rows where 1 were asked"),
        (lambda _: None, [{"x": 1}], "answered None"),
        (
            Picky(),
            [{"x": 1.5}, {"x": 2}],
            "Row 1 of the example: the model answers prediction = 1.0 .* but 0.0",
        ),
        (
            lambda rows: np.random.default_rng().random(len(rows)),
            np.ones((2, 1)),
            "Does the model answer the same",
        ),
        (lambda frame: frame.index * 1.0, pd.DataFrame({"x": [1.0]}, index=[7]), "answers prediction = 7.0"),
        (object(), [{"x": 1}], "cannot be served: TypeError: A object has no predict"),
        (FIT, "rows.csv", "no table"),
        (FIT, X.assign(when=pd.Timestamp("2013")), "'when' holds datetime64"),
        (FIT, X[:0], "no rows"),
        (FIT, None, "NoneType is no table"),
    ],
)
def test_what_cannot_be_published_is_refused_in_words(
    model: Any, example: Any, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidError, match=words):
        modelyard.save(model, tmp_path / "b", example=example)
    assert not (tmp_path / "b").exists()


def test_a_model_and_an_entry_or_neither(tmp_path: Path) -> None:
    for model, entry in ((FIT, "a:b"), (None, None)):
        with pytest.raises(InvalidError, match="Give a model, or None and an entry"):
            modelyard.save(model, tmp_path / "b", example=X, entry=entry)


def test_metrics_must_be_finite(tmp_path: Path) -> None:
    for value in (float("nan"), "good", None):
        with pytest.raises(InvalidError, match=r"'mae' is .*not a finite number"):
            modelyard.save(FIT, tmp_path / "b", example=X, metrics={"mae": value})  # type: ignore[dict-item]


def test_a_training_script_saves_and_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YARD_OUTPUT", str(tmp_path / "out"))
    modelyard.log(mae=3.0, epoch=1)
    modelyard.log(mae=2.0)
    folder = modelyard.save(FIT, example=X, metrics={"r2": 0.5})
    assert folder == tmp_path / "out"
    assert read_bundle(folder).metrics == {"mae": 2.0, "epoch": 1.0, "r2": 0.5}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["mae"] for line in lines] == [3.0, 2.0]
    modelyard.save(FIT, example=X)  # again: the earlier bundle gives way
    buffer = io.BytesIO()
    pack(folder, buffer)
    assert "metrics.jsonl" not in members(buffer.getvalue())
    monkeypatch.delenv("YARD_OUTPUT")
    monkeypatch.chdir(tmp_path)
    assert modelyard.save(FIT, example=X) == Path("yard-output")
    with pytest.raises(InvalidError, match="'loss' is nan"):
        modelyard.log(loss=float("nan"))


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidError, match=r"holds other things than a bundle: thesis\.tex"):
        modelyard.save(FIT, tmp_path, example=X)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


# --- publishing


def members(body: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]


def test_publish_sends_one_tar_and_waits_for_the_check(small: SmallYard, yard: modelyard.Yard) -> None:
    small.answers = [
        Answer(version(VersionState.UNCHECKED), 201),
        Answer(version(VersionState.CHECKING, progress="building an environment")),
        Answer(version(aliases=("champion",))),
    ]
    made = yard.publish(FIT, "operations/delay", example=X, alias="champion", why="März")
    assert made.state is VersionState.CHECKED
    assert made.aliases == ("champion",)
    post, first, second = small.asked
    assert (post.method, post.path) == ("POST", "/api/v1/models/operations/delay/versions")
    assert post.query == {"alias": "champion", "why": "März"}
    assert post.headers["content-type"] == "application/x-tar"
    assert post.headers["authorization"] == "Bearer secret"
    assert set(members(post.body)) == {
        "yardbundle.toml", "example.csv", "expected.csv", "model.pkl", "environment/requirements.txt",
    }  # fmt: skip
    assert (first.path, first.query) == ("/api/v1/models/operations/delay/versions/1", {"wait": "30"})
    assert second == first


def test_publish_may_return_at_once(small: SmallYard, yard: modelyard.Yard) -> None:
    small.answers = [Answer(version(VersionState.UNCHECKED), 201)]
    assert yard.publish(FIT, "operations/delay", example=X, wait=False).state is VersionState.UNCHECKED
    assert len(small.asked) == 1
    assert small.asked[0].query == {}


def test_a_failed_check_tells_reason_and_log(small: SmallYard, yard: modelyard.Yard) -> None:
    failed = version(
        VersionState.FAILED, reason="The model does not load.", log="x" * 9000 + "\nKeyError: 'a'\n"
    )
    small.answers = [Answer(failed, 201)]
    with pytest.raises(
        modelyard.CheckError, match="Version 1 of operations/delay did not pass its check"
    ) as caught:
        yard.publish(FIT, "operations/delay", example=X)
    assert "The model does not load." in str(caught.value)
    assert str(caught.value).endswith("KeyError: 'a'")
    assert len(str(caught.value)) < 3000
    assert caught.value.log == failed.log


def test_progress_is_told_once_each(small: SmallYard) -> None:
    checking = version(VersionState.CHECKING, progress="starting the worker")
    small.answers = [
        Answer(version(VersionState.UNCHECKED)),
        Answer(checking),
        Answer(checking),
        Answer(version()),
    ]
    said: list[str] = []
    yard = modelyard.Yard(small.url, "secret", progress=said.append)
    yard.publish(FIT, "operations/delay", example=X)
    yard.close()
    assert said == [
        "writing the bundle", "sending it", "waiting for its check", "starting the worker",
        "version 1 of operations/delay is checked",
    ]  # fmt: skip


def test_a_problem_is_raised_and_nothing_is_sent_for_wrong_names(
    small: SmallYard, yard: modelyard.Yard
) -> None:
    small.answers = [
        Answer({"type": "urn:problem-type:modelyard:not-found", "detail": "No.", "hint": "Ask."}, 404)
    ]
    with pytest.raises(NotFoundError, match=r"No\. Ask\."):
        yard.publish(FIT, "operations/delay", example=X)
    sent = len(small.asked)
    for ref in ("operations", "operations/delay/3", "operations/delay@champion", "../x", "Operations/delay"):
        with pytest.raises(InvalidError):
            yard.publish(FIT, ref, example=X)
    with pytest.raises(InvalidError, match="is not a"):
        yard.publish(FIT, "operations/delay", example=X, alias="Bad Alias")
    assert len(small.asked) == sent


# --- files


@pytest.fixture
def rows_csv(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text('miles,carrier,late\n1400,"AA",true\n,UA,false\n')
    return path


def sent_bundle(small: SmallYard) -> tuple[Bundle, dict[str, bytes]]:
    files = members(small.asked[-1].body)
    return msgspec.toml.decode(files["yardbundle.toml"], type=Bundle), files


def test_a_models_file_is_sent_as_it_is(
    small: SmallYard, yard: modelyard.Yard, tmp_path: Path, rows_csv: Path
) -> None:
    small.answers = [Answer(version())]
    (tmp_path / "fit.rds").write_bytes(b"not opened")
    yard.publish_path(
        tmp_path / "fit.rds", "finance/cost", example=rows_csv, metrics={"mae": 2}, missing=["late"]
    )
    bundle, files = sent_bundle(small)
    assert files["fit.rds"] == b"not opened"
    assert (bundle.language, bundle.entry, bundle.metrics) == ("r", "fit.rds", {"mae": 2.0})
    assert [(c.name, c.type, c.missing) for c in bundle.signature.inputs] == [
        ("miles", "int64", True), ("carrier", "string", False), ("late", "bool", True),
    ]  # fmt: skip
    assert bundle.signature.outputs == ()
    assert files["example.csv"] == b'"miles","carrier","late"\n1400,"AA",true\n,"UA",false\n'
    assert "expected.csv" not in files


def test_a_pickle_is_sent_with_the_packages_it_names_and_not_opened(
    small: SmallYard, yard: modelyard.Yard, tmp_path: Path, rows_csv: Path
) -> None:
    small.answers = [Answer(version())]

    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "canary"),)

    import pickle  # noqa: PLC0415

    (tmp_path / "m.pkl").write_bytes(pickle.dumps([FIT, Evil()]))
    yard.publish_path(tmp_path / "m.pkl", "finance/cost", example=rows_csv, options={"input": "numpy"})
    bundle, files = sent_bundle(small)
    assert not (tmp_path / "canary").exists()
    assert bundle.options == {"input": "numpy"}
    assert "scikit-learn" in bundle.packages
    assert "pandas" not in bundle.packages
    assert b"scikit-learn==" in files["environment/requirements.txt"]


def test_a_folder_of_code_with_an_entry(
    small: SmallYard, yard: modelyard.Yard, tmp_path: Path, rows_csv: Path
) -> None:
    small.answers = [Answer(version())]
    (tmp_path / "code/inner").mkdir(parents=True)
    (tmp_path / "code/score.py").write_text(
        "import inner.words, sklearn\ndef predict(f): return f['miles']\n"
    )
    (tmp_path / "code/inner/words.py").write_text("")
    yard.publish_path(
        tmp_path / "code", "finance/cost", example=rows_csv, entry="score:predict", python="3.10.1"
    )
    bundle, files = sent_bundle(small)
    assert (bundle.entry, bundle.language_version) == ("score:predict", "3.10.1")
    assert {"score.py", "inner/words.py"} <= set(files)
    assert {"scikit-learn", "pandas"} <= set(bundle.packages)


def test_requirements_said_by_a_file(
    small: SmallYard, yard: modelyard.Yard, tmp_path: Path, rows_csv: Path
) -> None:
    small.answers = [Answer(version())]
    (tmp_path / "m.joblib").write_bytes(b"")
    (tmp_path / "pins.txt").write_text("joblib==1.6.0\n# more\nScikit_Learn==1.9.1\n")
    yard.publish_path(tmp_path / "m.joblib", "a/b", example=rows_csv, requirements=tmp_path / "pins.txt")
    bundle, files = sent_bundle(small)
    assert bundle.packages == {"joblib": "1.6.0", "scikit-learn": "1.9.1"}
    assert files["environment/requirements.txt"] == b"joblib==1.6.0\nscikit-learn==1.9.1\n"


def test_a_bundles_folder_is_sent_whole(small: SmallYard, yard: modelyard.Yard, tmp_path: Path) -> None:
    small.answers = [Answer(version())]
    folder = modelyard.save(FIT, tmp_path / "b", example=X)
    (folder / ".DS_Store").write_bytes(b"")
    yard.publish_path(folder, "a/b")
    _, files = sent_bundle(small)
    assert files == {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*") if p.name[0] != "."
    }
    with pytest.raises(InvalidError, match="says by itself what metrics is"):
        yard.publish_path(folder, "a/b", metrics={"mae": 1})


@pytest.mark.parametrize(
    ("name", "told", "words"),
    [
        ("gone.pkl", {}, "There is no file or folder"),
        ("model.bin", {}, "does not tell the model's language"),
        ("model.rds", {"example": None}, "does not say which columns it takes"),
        ("model.rds", {"example": "nothing.csv"}, "The example cannot be read"),
        ("model.pkl", {}, "The file is no pickle"),
        ("model.joblib", {}, "does not show which packages"),
        ("folder", {}, "must be named"),
        ("model.rds", {"missing": ["x"]}, "`missing` names"),
    ],
)
def test_files_that_cannot_be_published(
    name: str,
    told: dict[str, Any],
    words: str,
    small: SmallYard,
    yard: modelyard.Yard,
    tmp_path: Path,
    rows_csv: Path,
) -> None:
    for file in ("model.bin", "model.rds", "model.pkl", "model.joblib"):
        (tmp_path / file).write_bytes(b"bytes")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidError, match=words):
        yard.publish_path(tmp_path / name, "a/b", **{"example": rows_csv, **told})
    assert small.asked == []


# --- the other verbs


def test_predict_asks_the_model_a_version_or_an_alias(small: SmallYard, yard: modelyard.Yard) -> None:
    answer = {"model": "a/b", "version": 3, "request_id": "r1", "predictions": [1.5]}
    small.answers = [Answer(answer)]
    assert yard.predict("a/b", [{"miles": 10.0, "carrier": None}]) == [1.5]
    assert yard.predict("a/b/3", {"miles": 10.0}) == [1.5]
    assert yard.predict("a/b@challenger", pd.DataFrame({"miles": [0.1]})).tolist() == [1.5]
    assert [asked.path for asked in small.asked] == [
        "/models/a/b/predict", "/models/a/b/versions/3/predict", "/models/a/b/aliases/challenger/predict",
    ]  # fmt: skip
    assert [asked.method for asked in small.asked] == ["POST"] * 3
    assert small.asked[0].body == b'[{"miles":10.0,"carrier":null}]'
    assert small.asked[2].body == b'[{"miles":0.1}]'
    full = yard.answer("a/b", [{"miles": 1.0}])
    assert (full.version, full.request_id) == (3, "r1")


def test_predict_gives_a_frame_for_labels(small: SmallYard, yard: modelyard.Yard) -> None:
    labels = [{"label": "late", "probabilities": {"late": 0.75, "on time": 0.25}}] * 2
    small.answers = [Answer({"model": "a/b", "version": 1, "request_id": "r", "predictions": labels})]
    found = yard.predict("a/b", flights()[["distance", "carrier"]][3:5])
    assert list(found.columns) == ["label", "probability:late", "probability:on time"]
    assert list(found.index) == [3, 4]
    assert json.loads(small.asked[0].body)[0] == {"distance": None, "carrier": flights()["carrier"][3]}


def test_listings(small: SmallYard, yard: modelyard.Yard) -> None:
    change = AliasChange("a/b", "champion", 1, 2, NOW, "anna", "better")
    cases: list[tuple[Any, Callable[[], Any], str]] = [
        ([MODEL], yard.models, "/api/v1/models"),
        (MODEL, lambda: yard.show("a/b"), "/api/v1/models/a/b"),
        (version(), lambda: yard.show("a/b/7"), "/api/v1/models/a/b/versions/7"),
        ([version()], lambda: yard.versions("a/b"), "/api/v1/models/a/b/versions"),
        ([change], lambda: yard.history("a/b"), "/api/v1/models/a/b/history"),
    ]
    for record, ask, path in cases:
        small.answers = [Answer(record)]
        assert ask() == record
        assert (small.asked[-1].method, small.asked[-1].path) == ("GET", path)
    small.answers = [Answer({"principal": "anna", "role": "owner", "department": None})]
    assert yard.whoami().principal == "anna"
    assert small.asked[-1].path == "/api/v1/whoami"


def test_promote_alias_and_rollback(small: SmallYard, yard: modelyard.Yard) -> None:
    change = AliasChange("operations/delay", "champion", 1, 2, NOW, "anna", "better")
    small.answers = [Answer(change)]
    assert yard.promote("operations/delay/2", why="better") == change
    asked = small.asked[-1]
    assert (asked.method, asked.path) == ("PUT", "/api/v1/models/operations/delay/aliases/champion")
    assert json.loads(asked.body) == {"version": 2, "why": "better"}
    small.answers = [Answer(MODEL), Answer(change)]
    yard.promote("operations/delay@challenger")
    assert json.loads(small.asked[-1].body) == {"version": 2, "why": ""}
    yard.alias("operations/delay/1", "challenger")
    assert small.asked[-1].path.endswith("/aliases/challenger")
    assert yard.rollback("operations/delay", why="worse") == change
    asked = small.asked[-1]
    assert (asked.method, asked.path) == ("POST", "/api/v1/models/operations/delay/rollback")
    assert json.loads(asked.body) == {"why": "worse"}


def test_references_that_name_no_version(small: SmallYard, yard: modelyard.Yard) -> None:
    small.answers = [Answer(MODEL)]
    with pytest.raises(InvalidError, match="names no version"):
        yard.promote("operations/delay")
    with pytest.raises(InvalidError, match=r"has no alias 'gone'\. Its aliases: challenger, champion"):
        yard.promote("operations/delay@gone")
    with pytest.raises(InvalidError, match="here a model is meant"):
        yard.history("operations/delay/1")


def test_verbs_of_the_module_follow_the_environment(
    small: SmallYard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YARD_URL", small.url)
    small.answers = [Answer([MODEL])]
    for token in ("one", "two"):
        monkeypatch.setenv("YARD_TOKEN", token)
        assert modelyard.models() == [MODEL]
        assert small.asked[-1].headers["authorization"] == f"Bearer {token}"
    modelyard.models.__self__.close()  # type: ignore[attr-defined]  # the module's own Yard


def test_import_is_light_and_complete() -> None:
    check = (
        "import sys, modelyard\n"
        "assert modelyard.__version__\n"
        "heavy = {'httpx', 'msgspec', 'numpy', 'litestar', 'sqlalchemy', 'polars'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert all(getattr(modelyard, name) for name in modelyard.__all__)\n"
        "server = {'numpy', 'pandas', 'litestar', 'sqlalchemy', 'polars', 'cloudpickle'} & set(sys.modules)\n"
        "assert not server, server\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        modelyard.nothing  # noqa: B018


def test_the_runtime_is_given_what_the_worker_would_be() -> None:
    """Columns of the SDK are the same as those that the frames would bring."""
    columns = read_table(flights()).columns
    for ours, theirs in zip(to_batch(columns).columns, to_data(columns), strict=True):
        name, kind, values, valid = ours
        assert (name, kind) == (theirs.name, theirs.type)
        flat = values if isinstance(values, list) else values.tolist()
        theirs_flat = [v if v is not None else "" for v in to_values(theirs)]
        assert str(flat) == str(theirs_flat)
        assert (valid is None) == (theirs.validity is None)


def test_errors_are_yard_errors() -> None:
    assert issubclass(modelyard.CheckError, YardError)
