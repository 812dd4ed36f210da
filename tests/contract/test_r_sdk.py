"""The R package: its own tests, bundles the yard can read and an R worker answers alike, and its requests."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from modelyard.catalog.bundles import Limits, receive
from modelyard.catalog.descriptions import read_bundle
from modelyard.records.signatures import Column, ColumnType, Task
from modelyard.workers.wire import Value, to_values
from tests.contract.r_worker import ROOT, RWorker

pytestmark = pytest.mark.r

PACKAGE = ROOT / "sdk/r"
KINDS = {
    ColumnType.FLOAT64: pl.Float64,
    ColumnType.INT64: pl.Int64,
    ColumnType.BOOL: pl.Boolean,
    ColumnType.STRING: pl.String,
}
BUNDLES = ["lm", "lm-missing", "lm-strings", "glm", "glm-logical", "gam", "ranger", "randomForest", "rpart"]
BUNDLES += ["glmnet", "code"]

RunR = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_r(rscript: list[str], r_library: Path) -> RunR:
    """A function that runs R code, or a script with arguments, with the package installed."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {**os.environ, "R_LIBS": str(r_library), "LC_ALL": "C.UTF-8", **environment}
        return subprocess.run([*rscript, *arguments], capture_output=True, text=True, check=False, env=given)

    return run


def test_the_package_passes_its_own_tests(run_r: RunR) -> None:
    tests = str(PACKAGE / "tests/testthat")
    how = 'package = "modelyard", load_package = "installed", reporter = "summary"'
    done = run_r("-e", f'testthat::test_dir("{tests}", {how})')
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_answers_with_the_runtimes_own_code() -> None:
    runtime = ROOT / "runtimes/r"
    originals = [runtime / "inputs.R", runtime / "answers.R", *(runtime / "families").glob("*.R")]
    copies = {
        path.name.removeprefix("runtime-"): path.read_text() for path in (PACKAGE / "R").glob("runtime-*.R")
    }
    assert copies == {path.name: path.read_text() for path in originals}, "run sdk/r/tools/copy-families"


def test_the_package_builds(tmp_path: Path) -> None:
    command = ["R", "CMD", "build", str(PACKAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("modelyard_*.tar.gz"))) as built:
        names = built.getnames()
    assert "modelyard/R/publish.R" in names
    assert not any(name.startswith("modelyard/tools") for name in names)


@pytest.fixture(scope="session")
def bundles(rscript: list[str], r_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("r-bundles")
    command = [*rscript, str(ROOT / "tests/contract/r_bundles.R"), str(folder)]
    given = {**os.environ, "R_LIBS": str(r_library), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=given)
    assert done.returncode == 0, done.stderr
    return folder


def read_columns(path: Path, columns: tuple[Column, ...]) -> dict[str, list[Value]]:
    table = pl.read_csv(path, schema={column.name: KINDS[column.type] for column in columns})
    return {name: table[name].to_list() for name in table.columns}


@pytest.mark.parametrize("name", BUNDLES)
def test_a_worker_answers_a_bundle_as_its_publisher_did(
    bundles: Path, rscript: list[str], tmp_path: Path, name: str
) -> None:
    bundle = read_bundle(bundles / name)
    inputs = [
        (column.name, column.type.value, str(int(column.missing)), *(column.levels or ()))
        for column in bundle.signature.inputs
    ]
    question = read_columns(bundles / name / "example.csv", bundle.signature.inputs)
    expected = read_columns(bundles / name / "expected.csv", bundle.signature.outputs)
    rows = len(next(iter(question.values())))
    with RWorker(rscript, tmp_path) as worker:
        ready = worker.load(bundles / name, inputs, bundle.options, bundle.entry)
        assert ready.verb == "ready", ready.get("message")
        answer = worker.infer(inputs, question, rows)
    assert answer.verb == "answer", answer.get("message")
    assert [column.name for column in answer.columns] == list(expected)
    for column in answer.columns:
        wanted = [float("nan") if v is None else v for v in expected[column.name]]
        if column.type is ColumnType.FLOAT64:
            assert to_values(column) == pytest.approx(wanted, rel=1e-6, nan_ok=True)
        else:
            assert to_values(column) == expected[column.name]


def test_a_bundle_says_what_it_is(bundles: Path) -> None:
    bundle = read_bundle(bundles / "lm")
    assert (bundle.format, bundle.language, bundle.entry) == (1, "r", "model.rds")
    assert bundle.description == 'A "first" try\n'
    assert bundle.metrics == {"mae": 0.8, "r squared": 1.0}
    assert bundle.lineage == {"code": "4f1c2e"}
    assert bundle.options["packages"] == "splines"
    assert bundle.options["ordered"] == "size"
    # The columns the model reads, not the response; the data it was fitted on is not in the file.
    assert [column.name for column in bundle.signature.inputs] == ["distance", "carrier", "size", "rain"]
    assert (bundles / "lm/model.rds").stat().st_size < 20_000
    carrier = bundle.signature.inputs[1]
    assert (carrier.levels, carrier.categories, carrier.missing) == (("AA", "B6", "UA"), None, False)


def test_types_and_missing_values_of_a_bundle(bundles: Path) -> None:
    holes = {column.name: column for column in read_bundle(bundles / "lm-missing").signature.inputs}
    assert {name: column.type.value for name, column in holes.items()} == {
        "distance": "float64",
        "carrier": "string",
        "hour": "int64",
        "rain": "bool",
    }
    assert all(column.missing for column in holes.values())
    strings = {column.name: column for column in read_bundle(bundles / "lm-strings").signature.inputs}
    assert strings["origin"].categories == ("EWR", 'JFK, "NY"', "né")
    assert (strings["origin"].missing, strings["distance"].missing) == (True, False)
    assert read_bundle(bundles / "glm").signature.task is Task.CLASSIFICATION
    assert read_bundle(bundles / "glm").signature.classes == ("late", "on time")
    assert read_bundle(bundles / "ranger").packages["ranger"]
    lock = json.loads((bundles / "ranger/environment/renv.lock").read_text())
    assert {"ranger", "Matrix", "Rcpp"} <= set(lock["Packages"])


class Yard(BaseHTTPRequestHandler):
    """Answers from a list, in turn, and keeps what it was asked: only the requests' shape is tested."""

    answers: ClassVar[list[tuple[int, Any]]] = []
    asked: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.asked.append((self.command, self.path, dict(self.headers), body))
        status, value = self.answers.pop(0)
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = answer  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def yard() -> Iterator[str]:
    Yard.answers, Yard.asked = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Yard) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


VERSION = {
    "model": "finance/fuel",
    "version": 3,
    "state": "unchecked",
    "reason": "",
    "progress": "",
    "log": "",
    "aliases": [],
}
PUBLISH = (
    "library(modelyard); fit <- lm(mpg ~ wt, mtcars);"
    'v <- yard_publish(fit, "finance/fuel", example = mtcars, alias = "champion", why = "it rains & pours");'
    "cat(v$version)"
)


def test_publishing_sends_a_tar_and_waits_for_the_check(run_r: RunR, yard: str, tmp_path: Path) -> None:
    Yard.answers += [
        (201, VERSION),
        (200, {**VERSION, "state": "checking", "progress": "Loading the model"}),
        (200, {**VERSION, "state": "checked", "aliases": ["champion"]}),
    ]
    done = run_r("-e", PUBLISH, YARD_URL=yard, YARD_TOKEN="a-token")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3"
    assert "Loading the model" in done.stderr
    assert "Published finance/fuel/3 (checked, @champion)." in done.stderr
    method, path, headers, body = Yard.asked[0]
    address = urlsplit(path)
    assert (method, address.path) == ("POST", "/api/v1/models/finance/fuel/versions")
    assert parse_qs(address.query) == {"alias": ["champion"], "why": ["it rains & pours"]}
    assert headers["Authorization"] == "Bearer a-token"
    assert headers["Content-Type"] == "application/x-tar"
    received = receive([body], headers["Content-Type"], tmp_path / "bundle", Limits())
    assert [file.path for file in received.files] == [
        "environment/renv.lock",
        "example.csv",
        "expected.csv",
        "model.rds",
        "yardbundle.toml",
    ]
    assert read_bundle(tmp_path / "bundle").language == "r"
    assert [asked[1] for asked in Yard.asked[1:]] == ["/api/v1/models/finance/fuel/versions/3?wait=30"] * 2


def test_a_failed_check_is_an_error_with_its_reason_and_log(run_r: RunR, yard: str) -> None:
    log = "\n".join(f"line {i}" for i in range(50))
    failed = {**VERSION, "state": "failed", "reason": "Row 3 differs.", "log": log}
    Yard.answers += [(201, VERSION), (200, failed)]
    done = run_r("-e", PUBLISH, YARD_URL=yard, YARD_TOKEN="a-token")
    assert done.returncode == 1
    assert "finance/fuel/3 (failed) failed its check: Row 3 differs." in done.stderr
    assert "line 49" in done.stderr
    assert "line 29" not in done.stderr


def test_a_refusal_shows_detail_and_hint_but_never_the_token(run_r: RunR, yard: str) -> None:
    Yard.answers.append((403, {"detail": "You may not publish here.", "hint": "Ask an owner of finance."}))
    done = run_r("-e", PUBLISH, YARD_URL=yard, YARD_TOKEN="very-secret")
    assert done.returncode == 1
    assert "You may not publish here. Ask an owner of finance." in done.stderr
    assert "very-secret" not in done.stderr + done.stdout


def test_predictions_are_asked_with_every_digit(run_r: RunR, yard: str) -> None:
    label = {"label": "late", "probabilities": {"late": 0.75, "on time": 0.25}}
    Yard.answers += [
        (200, {"predictions": [1.5, None]}),
        (200, {"predictions": [label]}),
        (200, {"predictions": [2]}),
    ]
    code = """
    library(modelyard)
    rows <- data.frame(x = c(0.1 + 0.2, NA), f = factor(c("a", "b")), n = 7:8, l = c(TRUE, NA))
    stopifnot(identical(yard_predict("finance/fuel", rows), c(1.5, NA)))
    one <- yard_predict("finance/fuel@best", rows[1, ])
    stopifnot(identical(names(one), c("label", "probability:late", "probability:on time")))
    stopifnot(one$label == "late")
    stopifnot(identical(yard_predict("finance/fuel/7", rows[1, ]), 2))
    """
    done = run_r("-e", code, YARD_URL=yard + "/", YARD_TOKEN="a-token")
    assert done.returncode == 0, done.stderr
    first, second, third = Yard.asked
    assert first[:2] == ("POST", "/models/finance/fuel/predict")
    assert json.loads(first[3]) == [
        {"x": 0.1 + 0.2, "f": "a", "n": 7, "l": True},
        {"x": None, "f": "b", "n": 8, "l": None},
    ]
    assert second[1] == "/models/finance/fuel/aliases/best/predict"
    assert third[1] == "/models/finance/fuel/versions/7/predict"


def test_many_rows_go_in_several_requests(run_r: RunR, yard: str) -> None:
    Yard.answers += [(200, {"predictions": [0.5] * 10_000}), (200, {"predictions": [1.0, 2.0]})]
    code = 'x <- modelyard::yard_predict("a/b", data.frame(x = 1:10002)); cat(length(x), tail(x, 2))'
    done = run_r("-e", code, YARD_URL=yard, YARD_TOKEN="a-token")
    assert done.stdout == "10002 1 2", done.stderr
    assert json.loads(Yard.asked[1][3]) == [{"x": 10001}, {"x": 10002}]


def test_predictions_with_what_outcomes_are_sent_with(run_r: RunR, yard: str) -> None:
    label = {"label": "late", "probabilities": {"late": 0.75, "on time": 0.25}}
    Yard.answers += [
        (200, {"request_id": "b0-1", "predictions": [1.5, None]}),
        (200, {"request_id": "b0-2", "predictions": [label]}),
        (200, {"accepted": 2}),
    ]
    code = """
    library(modelyard)
    asked <- yard_predict("a/b", data.frame(x = 1:2), ids = TRUE)
    stopifnot(identical(names(asked), c("request_id", "row", "prediction")), identical(asked$row, 0:1))
    late <- yard_predict("a/b", data.frame(x = 1), ids = TRUE)
    stopifnot(identical(names(late)[1:4], c("request_id", "row", "label", "probability:late")))
    yard_outcomes("a/b", cbind(asked[c("request_id", "row")], actual = c(2, 3)))
    """
    done = run_r("-e", code, YARD_URL=yard, YARD_TOKEN="a-token")
    assert done.returncode == 0, done.stderr
    assert json.loads(Yard.asked[2][3]) == [
        {"request_id": "b0-1", "row": 0, "actual": 2},
        {"request_id": "b0-1", "row": 1, "actual": 3},
    ]


def test_aliases_versions_and_histories(run_r: RunR, yard: str) -> None:
    model = {
        "model": "a/b",
        "language": "r",
        "latest": 3,
        "champion": 2,
        "aliases": {"champion": 2, "best": 3},
    }
    change = {
        "model": "a/b",
        "alias": "champion",
        "before": None,
        "after": 2,
        "at": "2026-01-01",
        "by": "anna",
        "why": "",
    }
    Yard.answers += [
        (200, [model]),
        (200, model),
        (200, change),
        (200, change),
        (200, model),
        (200, [change]),
        (200, [{**VERSION, "size": 10, "form": "native"}]),
        (200, {"principal": "anna", "role": "owner", "department": "a"}),
    ]
    code = """
    library(modelyard)
    stopifnot(yard_models()$aliases == "champion=2, best=3")
    yard_promote("a/b@best", why = "lower error")
    yard_rollback("a/b", why = "too slow")
    stopifnot(identical(yard_history("a/b")$before, NA))
    stopifnot(yard_versions("a/b")$version == 3L)
    stopifnot(yard_whoami()$principal == "anna")
    """
    done = run_r("-e", code, YARD_URL=yard, YARD_TOKEN="a-token")
    assert done.returncode == 0, done.stderr
    assert [asked[:2] for asked in Yard.asked] == [
        ("GET", "/api/v1/models"),
        ("GET", "/api/v1/models/a/b"),
        ("PUT", "/api/v1/models/a/b/aliases/champion"),
        ("POST", "/api/v1/models/a/b/rollback"),
        ("GET", "/api/v1/models/a/b"),
        ("GET", "/api/v1/models/a/b/history"),
        ("GET", "/api/v1/models/a/b/versions"),
        ("GET", "/api/v1/whoami"),
    ]
    assert json.loads(Yard.asked[2][3]) == {"version": 3, "why": "lower error"}
    assert json.loads(Yard.asked[3][3]) == {"why": "too slow"}
