"""The R worker against `contract/wire.md`: every kind of model it must serve, and what can go wrong."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import Frame, Value, encode, from_values, to_values
from tests.contract.r_worker import ROOT, RWorker

pytestmark = pytest.mark.r

CASES = [
    "lm",
    "lm-missing",
    "lm-splines",
    "lm-outputs",
    "glm-factor",
    "glm-numbers",
    "glm-logical",
    "glm-poisson",
    "glm-proportion",
    "gam",
    "gam-binomial",
    "gam-multinom",
    "ranger",
    "ranger-classes",
    "ranger-chances",
    "randomForest",
    "randomForest-classes",
    "rpart",
    "rpart-classes",
    "glmnet",
    "glmnet-classes",
    "glmnet-binomial",
    "closure",
    "closure-label",
    "closure-outputs",
]
X = [("x", "float64", "0")]
NOT_UTF8 = 'x <- rawToChar(as.raw(c(67, 233))); Encoding(x) <- "UTF-8"'


@pytest.fixture(scope="session")
def models(rscript: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one fitted model of each kind, and what R's own predict says."""
    folder = tmp_path_factory.mktemp("r-models")
    script = str(ROOT / "tests/contract/r_models.R")
    done = subprocess.run([*rscript, script, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == set(CASES)
    return folder


@pytest.fixture
def worker(rscript: list[str], tmp_path: Path) -> Iterator[RWorker]:
    with RWorker(rscript, tmp_path) as started:
        yield started


Publish = Callable[[str], Path]


@pytest.fixture
def publish(rscript: list[str], tmp_path: Path) -> Publish:
    """A function that saves the value of an R expression as a bundle's model."""

    def save(expression: str) -> Path:
        code = f'saveRDS({{ {expression} }}, "{tmp_path}/model.rds")'
        subprocess.run([*rscript, "-e", code], check=True)
        return tmp_path

    return save


def values(frame: Frame) -> dict[str, list[Value]]:
    return {column.name: to_values(column) for column in frame.columns}


def as_double(text: str | int | None) -> float:
    return math.nan if text is None or text == "NA" else float(text)


def assert_same(got: dict[str, list[Value]], expected: dict[str, list[Any]]) -> None:
    assert list(got) == list(expected)
    for name, column in expected.items():
        if isinstance(got[name][0], float):
            wanted = [as_double(text) for text in column]
            assert got[name] == pytest.approx(wanted, rel=1e-12, nan_ok=True), name
        else:
            assert got[name] == column, name


@pytest.mark.parametrize("name", CASES)
def test_answers_are_those_of_r_itself(models: Path, worker: RWorker, name: str) -> None:
    case = json.loads((models / name / "case.json").read_text())
    options = {key: value[0] for key, value in case["options"].items()}
    ready = worker.load(models / name, case["inputs"], options)
    assert ready.verb == "ready", ready.get("message")
    question: dict[str, list[Value]] = {
        name: [as_double(v) for v in column] if kind in ("float64", "int64") else column
        for (_, kind, *_), (name, column) in zip(case["inputs"], case["question"].items(), strict=True)
    }
    rows = case["rows"][0]
    answer = worker.infer(case["inputs"], question, rows)
    assert answer.verb == "answer", answer.get("message")
    assert answer.rows == rows
    assert_same(values(answer), case["answers"])
    # One row alone, which many predict methods hand back in another shape.
    one = worker.infer(case["inputs"], {column: v[:1] for column, v in question.items()}, 1)
    assert one.verb == "answer", one.get("message")
    assert_same(values(one), {column: v[:1] for column, v in case["answers"].items()})


def test_ready_ping_and_stop(models: Path, worker: RWorker) -> None:
    inputs = json.loads((models / "lm/case.json").read_text())["inputs"]
    ready = worker.load(models / "lm", inputs)
    assert ready.get("runtime") == "R"
    assert ("takes", "float64", "bool", "string") in ready.fields
    for rows in (2, 3):
        sails: dict[str, list[Value]] = {"x": [1.0], "f": ["sail"], "n": [2], "l": [True]}
        worker.infer(inputs, {name: v * rows for name, v in sails.items()}, rows)
    pong = worker.ask("ping")
    assert (pong.verb, pong.get("infers"), pong.get("answered")) == ("pong", "2", "5")
    assert 10_000_000 < int(pong.get("memory")) < 2_000_000_000
    assert worker.ask("stop").verb == "bye"
    assert worker.end() == 0


@pytest.mark.parametrize("name", ["lm", "lm-splines", "glm-factor", "ranger-chances", "closure-outputs"])
def test_no_rows_are_answered_with_no_rows(models: Path, worker: RWorker, name: str) -> None:
    case = json.loads((models / name / "case.json").read_text())
    worker.load(models / name, case["inputs"], {key: value[0] for key, value in case["options"].items()})
    answer = worker.infer(case["inputs"], {column: [] for column in case["question"]}, 0)
    assert answer.rows == 0, answer.get("message")
    assert values(answer) == {column: [] for column in case["answers"]}


def test_a_value_that_is_no_level_is_refused_by_name(models: Path, worker: RWorker) -> None:
    case = json.loads((models / "glm-factor/case.json").read_text())
    worker.load(models / "glm-factor", case["inputs"])
    error = worker.infer(case["inputs"], {"x": [1.0, 2.0], "f": ["sail", "anchor"]}, 2)
    assert (error.verb, error.get("kind")) == ("error", "model")
    assert error.get("message") == 'The column f has the value "anchor", which is none of its levels.'
    assert worker.infer(case["inputs"], {"x": [1.0], "f": ["sail"]}, 1).verb == "answer"


def test_a_large_question_passes_the_pipes(worker: RWorker, publish: Publish) -> None:
    worker.load(publish("function(newdata) newdata$x * 2"), X)
    answer = worker.infer(X, {"x": [float(i) for i in range(200_000)]}, 200_000)
    assert values(answer)["prediction"][-1] == 399_998.0


def test_r_integers_come_back_as_integers(worker: RWorker, publish: Publish) -> None:
    inputs = [("n", "int64", "0")]
    worker.load(
        publish("function(newdata) if (is.integer(newdata$n)) newdata$n %/% 2L else -newdata$n"), inputs
    )
    assert values(worker.infer(inputs, {"n": [7, 8]}, 2)) == {"prediction": [3.0, 4.0]}
    assert values(worker.infer(inputs, {"n": [2**40]}, 1)) == {"prediction": [-(2.0**40)]}


def test_what_a_model_prints_is_a_log(worker: RWorker, publish: Publish) -> None:
    noisy = (
        'function(newdata) { cat("YRD1 garbage"); print(1:3); message("hello"); warning("hm"); newdata$x }'
    )
    worker.load(publish(noisy), X)
    for _ in range(3):
        assert values(worker.infer(X, {"x": [4.0]}, 1)) == {"prediction": [4.0]}
    worker.ask("stop")
    assert worker.end() == 0
    assert "YRD1 garbage" in worker.out.read_text()
    assert worker.err.read_text().count("hello") == 3
    assert worker.err.read_text().count("Warning: hm") == 1


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ('function(newdata) stop("no \\t wind\\n")', "no \t wind\n"),
        ("function(newdata) newdata$x[-1]", "The model answered 2 rows to 3"),
        ("function(newdata) NULL", "class NULL"),
        ("function(newdata) data.frame()", "The model answered 0 rows to 3"),
        ("function(newdata) list(a = newdata$x, b = 1)", "answered 3, 1 rows to 3"),
        ("function(newdata) quote(x)", "class name"),
        ("function(newdata) complex(real = newdata$x)", "class complex"),
        ('function(newdata) data.frame(label = "a", chance = newdata$x)', "probability:CLASS"),
        ("function(newdata) cbind(a = newdata$x, a = newdata$x)", "two columns of one name"),
        (f"function(newdata) {{ {NOT_UTF8}; rep(x, 3) }}", "not UTF-8"),
        (f"function(newdata) {{ {NOT_UTF8}; stop(simpleError(x)) }}", "C<e9>"),
        ("function(newdata) (function(f) f(f))(function(f) f(f))", "nested too deeply"),
        ("function(newdata) newdata$x + absent", "object 'absent' not found"),
        ("structure(list(), class = 'unknown')", "no applicable method"),
    ],
)
def test_a_model_that_fails_says_why_and_the_worker_goes_on(
    worker: RWorker, publish: Publish, model: str, words: str
) -> None:
    assert worker.load(publish(model), X).verb == "ready"
    error = worker.infer(X, {"x": [1.0, 2.0, 3.0]}, 3)
    assert (error.verb, error.get("kind")) == ("error", "model")
    assert words in error.get("message")
    pong = worker.ask("ping")
    assert (pong.verb, pong.get("answered")) == ("pong", "0")


def test_a_model_that_quits_ends_its_worker_alone(worker: RWorker, publish: Publish) -> None:
    worker.load(publish("function(newdata) quit(status = 7)"), X)
    with pytest.raises(EOFError):
        worker.infer(X, {"x": [1.0]}, 1)
    assert worker.end() == 7


def test_a_model_cannot_reach_the_workers_own_names(worker: RWorker, publish: Publish) -> None:
    rude = "rm(list = ls(globalenv()), envir = globalenv()); exists('read_frame') + newdata$x"
    worker.load(publish(f"f <- function(newdata) {{ {rude} }}; environment(f) <- globalenv(); f"), X)
    for _ in range(2):
        assert values(worker.infer(X, {"x": [1.0]}, 1)) == {"prediction": [1.0]}


@pytest.mark.parametrize(
    ("options", "entry", "words"),
    [
        ({}, "absent.rds", "no file absent.rds"),
        ({}, "../model.rds", "outside itself"),
        ({}, "garbage.rds", "cannot be read by readRDS"),
        ({"packages": "no.such.package 1.2"}, "model.rds", "needs the R package no.such.package, 1.2"),
        ({"source": "throws.R"}, "model.rds", "the wind has dropped"),
    ],
)
def test_a_load_that_fails_says_why_and_ends_the_worker(
    worker: RWorker, publish: Publish, options: dict[str, str], entry: str, words: str
) -> None:
    bundle = publish("function(newdata) newdata$x")
    (bundle / "garbage.rds").write_bytes(b"\x80\x04cposix\nsystem\n")
    (bundle / "throws.R").write_text('stop("the wind has dropped")')
    error = worker.load(bundle, X, options, entry)
    assert (error.verb, error.get("kind")) == ("error", "load")
    assert words in error.get("message")
    assert worker.end() == 1


def test_code_files_packages_and_versions(worker: RWorker, publish: Publish) -> None:
    bundle = publish(
        "f <- function(newdata) double_it(newdata$x) + is.function(ns); environment(f) <- globalenv(); f"
    )
    (bundle / "code").mkdir()
    (bundle / "code/help.R").write_text("double_it <- function(x) 2 * x\n")
    options = {"source": "code/help.R", "packages": "splines\nmgcv 0.1", "r": "3.0.0"}
    assert worker.load(bundle, X, options).verb == "ready"
    assert values(worker.infer(X, {"x": [4.0]}, 1)) == {"prediction": [9.0]}
    assert "made with R 3.0.0" in worker.err.read_text()
    assert "made with mgcv 0.1" in worker.err.read_text()


BAD = sorted((ROOT / "contract/frames/bad").glob("*.frame"))


@pytest.mark.parametrize("path", [path for path in BAD if path.stem != "empty"], ids=lambda path: path.stem)
def test_a_malformed_frame_ends_the_worker(worker: RWorker, path: Path) -> None:
    worker.send(path.read_bytes())
    worker.hang_up()
    error = worker.answer()
    assert (error.verb, error.get("kind")) == ("error", "frame")
    assert error.get("message")
    assert worker.end() == 65


def test_a_question_out_of_place_ends_the_worker(
    rscript: list[str], publish: Publish, tmp_path: Path
) -> None:
    bundle = publish("function(newdata) newdata$x")
    column = from_values("other", ColumnType.FLOAT64, [1.0])
    whole = from_values("x", ColumnType.INT64, [1])
    wrong = {
        "an unknown verb": Frame("sail", (("id", "1"),)),
        "infer before load": Frame("infer", (("id", "1"),), 1, (column,)),
        "other columns than at load": Frame("infer", (("id", "1"),), 1, (column,)),
        "a type it does not take": Frame("infer", (("id", "1"),), 1, (whole,)),
        "no rows": Frame("infer", (("id", "1"),)),
    }
    for what, frame in wrong.items():
        with RWorker(rscript, tmp_path) as worker:
            if what != "infer before load":
                worker.load(bundle, X)
            worker.send(encode(frame))
            assert worker.answer().get("kind") == "frame", what
            assert worker.end() == 65


def test_the_worker_ends_with_its_questions_and_on_a_signal(rscript: list[str], tmp_path: Path) -> None:
    with RWorker(rscript, tmp_path) as worker:
        worker.ask("ping")
        worker.hang_up()
        assert worker.end() == 0
    with RWorker(rscript, tmp_path) as worker:
        worker.ask("ping")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.end() in (-signal.SIGTERM, 128 + signal.SIGTERM)


def test_started_by_hand_it_refuses_and_writes_nowhere(rscript: list[str], tmp_path: Path) -> None:
    copy = tmp_path / "runtime"
    shutil.copytree(ROOT / "runtimes/r", copy)
    before = (copy / "worker.R").read_bytes()
    done = subprocess.run([*rscript, str(copy / "worker.R")], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "started by the yard" in done.stderr
    assert (copy / "worker.R").read_bytes() == before
