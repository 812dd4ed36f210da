"""The Julia package: its own tests, bundles that a yard and its workers take, and its requests."""

from __future__ import annotations

import json
import math
import os
import subprocess
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from modelyard.catalog.bundles import Limits, receive
from modelyard.catalog.descriptions import read_bundle
from modelyard.engine.checks import compare
from modelyard.records.models import Bundle
from modelyard.records.signatures import Column, ColumnType, Signature, Task
from modelyard.serving.inputs import InputPlan
from modelyard.serving.tables import from_table, read_csv
from modelyard.workers.wire import Value, to_values
from tests.contract.julia_worker import ROOT, SECONDS, JuliaWorker

pytestmark = [pytest.mark.julia, pytest.mark.curl]

PACKAGE = ROOT / "sdk/julia"
HERE = ROOT / "tests/contract"
WAYS = ["named", "dict", "matrix of classes", "bools", "ints", "strings", "outputs", "matrix", "special"]
BUNDLES = ["line", "many rows", "echo", "given by others", "levels", "module", "forecast", *WAYS]
# Those a worker is started for: every type, levels, options, and each shape of answer.
ANSWERED = ["echo", "levels", "module", "forecast", "dict", "bools", "outputs", "special"]
VERSION = {"model": "finance/fuel", "version": 3, "reason": "", "progress": "", "log": "", "aliases": []}
MODEL = {"model": "finance/fuel", "latest": 3, "champion": 2, "aliases": {"champion": 2, "best": 3}}
CHANGE = {"model": "finance/fuel", "alias": "champion", "before": None, "after": 2, "by": "anna", "why": "so"}
LATE = {"label": "late", "probabilities": {"late": 0.75, "on time": 0.25}}
LOG = "\n".join(f"line {i}" for i in range(500))
FAILED = {**VERSION, "model": "finance/failing", "state": "failed", "reason": "Row 3 differs.", "log": LOG}
API = "/api/v1/models/finance"


def problem(status: int, detail: str, hint: str = "") -> tuple[int, Any]:
    return status, {"title": "No", "status": status, "detail": detail, "hint": hint}


# What the yard of these tests answers to each request, in turn; the last answer is given ever after.
ANSWERS: dict[str, list[tuple[int, Any]]] = {
    f"POST {API}/fuel/versions": [(201, {**VERSION, "state": "unchecked"})],
    f"GET {API}/fuel/versions/3": [
        (200, {**VERSION, "state": "checking", "progress": "loading the model"}),
        (200, {**VERSION, "state": "checked"}),
    ],
    f"POST {API}/failing/versions": [(201, FAILED)],
    f"POST {API}/forbidden/versions": [problem(403, "You may not publish here.", "Ask an owner.")],
    "POST /models/finance/fuel/predict": [(200, {"predictions": [1.5, None]})],
    "POST /models/finance/fuel/aliases/best/predict": [(200, {"predictions": [LATE]})],
    "POST /models/finance/fuel/versions/7/predict": [(200, {"predictions": [{"low": 1, "high": 2.5}]})],
    "POST /models/finance/many/predict": [
        (200, {"request_id": "b0-1", "predictions": [1.0] * 10_000}),
        (200, {"request_id": "b0-2", "predictions": [0.5, 0.5]}),
    ],
    "POST /models/finance/absent/predict": [problem(404, "There is no model finance/absent.")],
    "POST /models/finance/strange/predict": [(200, b"<html>")],
    "GET /api/v1/models": [(200, [MODEL])],
    f"GET {API}/fuel": [(200, MODEL)],
    f"GET {API}/fuel/versions": [(200, [VERSION, VERSION])],
    f"GET {API}/fuel/versions/2": [(200, {**VERSION, "version": 2})],
    f"PUT {API}/fuel/aliases/champion": [(200, {**MODEL, "champion": 3})],
    f"PUT {API}/fuel/aliases/challenger": [(200, MODEL)],
    f"POST {API}/fuel/rollback": [(200, MODEL)],
    f"GET {API}/fuel/history": [(200, [CHANGE])],
    "GET /api/v1/whoami": [(200, {"principal": "anna", "role": "owner", "department": None})],
}


class Asked(NamedTuple):
    """A request as it came."""

    line: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


class Yard(ThreadingHTTPServer):
    """Answers as `ANSWERS` says and keeps what it was asked: only the requests' shape is tested here."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.left = {line: list(answers) for line, answers in ANSWERS.items()}
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> tuple[int, Any]:
        self.asked.append(asked)
        answers = self.left.get(asked.line, [problem(404, f"{asked.line} was not expected.")])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def to(self, line: str) -> list[Asked]:
        """The requests of this method and path."""
        return [asked for asked in self.asked if asked.line == line]


class Requests(BaseHTTPRequestHandler):
    server: Yard

    def take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        address = urlsplit(self.path)
        line = f"{self.command} {address.path}"
        status, value = self.server.answer(
            Asked(line, parse_qs(address.query), dict(self.headers.items()), body)
        )
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = take  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def listening() -> Iterator[Yard]:
    with Yard() as yard:
        thread = threading.Thread(target=yard.serve_forever)
        thread.start()
        yield yard
        yard.shutdown()
        thread.join()


class Session(NamedTuple):
    """What came of tests/contract/julia_session.jl."""

    bundles: Path
    steps: dict[str, dict[str, Any]]
    yard: Yard
    stderr: str


def run_session(julia: list[str], folder: Path, yard: Yard, *more: Path) -> Session:
    """Run the session; `more` are packages on Julia's load path."""
    given = {
        **os.environ,
        "JULIA_LOAD_PATH": ":".join(map(str, [PACKAGE, *more, "@", "@stdlib"])),
        "JULIA_DEPOT_PATH": str(folder / "depot"),
        "YARD_URL": f"http://127.0.0.1:{yard.server_address[1]}/",
        "YARD_TOKEN": "very-secret",
    }
    bundles = folder / "bundles"
    bundles.mkdir()
    command = [*julia, str(HERE / "julia_session.jl"), str(bundles)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=given, timeout=2 * SECONDS
    )
    assert done.returncode == 0, done.stderr
    steps = {said["step"]: said for said in map(json.loads, done.stdout.splitlines())}
    return Session(bundles, steps, yard, done.stderr)


@pytest.fixture(scope="module")
def session(julia: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with listening() as yard:
        yield run_session(julia, tmp_path_factory.mktemp("julia-session"), yard)


def test_the_package_passes_its_own_tests(julia: list[str], tmp_path: Path) -> None:
    given = {
        **os.environ,
        "JULIA_LOAD_PATH": f"{PACKAGE}:@:@stdlib",
        "JULIA_DEPOT_PATH": str(tmp_path),
    }
    command = [*julia, str(PACKAGE / "test/runtests.jl")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=given, timeout=2 * SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_answers_with_the_runtimes_own_code() -> None:
    original = (ROOT / "runtimes/julia/convention.jl").read_bytes()
    assert (PACKAGE / "src/convention.jl").read_bytes() == original, "copy the one that is right to the other"


# ---- bundles ----


def read_columns(path: Path, columns: tuple[Column, ...]) -> dict[str, list[Value]]:
    """A CSV's values, by the yard's own reader; any may be missing."""
    holey = tuple(msgspec.structs.replace(column, missing=True) for column in columns)
    inputs = from_table(InputPlan(Signature(holey), 1_000), read_csv(path.read_bytes()))
    assert inputs.columns is not None
    return {column.name: to_values(column) for column in inputs.columns}


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_what_the_yard_reads(session: Session, name: str) -> None:
    assert session.steps[name]["value"] == str(session.bundles / name)
    values = tomllib.loads((session.bundles / name / "yardbundle.toml").read_text())
    assert msgspec.convert(values, Bundle) == read_bundle(session.bundles / name)


def test_workers_answer_the_bundles_as_their_publisher_did(
    session: Session, julia: list[str], tmp_path: Path
) -> None:
    for number, name in enumerate(ANSWERED):
        folder = tmp_path / str(number)
        folder.mkdir()
        bundle = read_bundle(session.bundles / name)
        inputs = [
            (c.name, c.type.value, str(int(c.missing)), *(c.levels or ())) for c in bundle.signature.inputs
        ]
        question = read_columns(session.bundles / name / "example.csv", bundle.signature.inputs)
        with JuliaWorker(julia, folder) as worker:
            ready = worker.client.load(session.bundles / name, inputs, bundle.options, bundle.entry)
            assert ready.verb == "ready", ready.get("message")
            answer = worker.client.infer(inputs, question)
        assert answer.verb == "answer", answer.get("message")
        assert [column.name for column in answer.columns] == [c.name for c in bundle.signature.outputs]
        compare(answer, (session.bundles / name / "expected.csv").read_bytes())


def test_a_bundle_says_what_it_is(session: Session) -> None:
    folder = session.bundles / "line"
    bundle = read_bundle(folder)
    assert (bundle.format, bundle.language, bundle.entry) == (1, "julia", "model.jls")
    assert bundle.language_version.startswith("1.")
    assert bundle.description == 'A "first" try\n'
    assert bundle.metrics == {"mae": 12.1, "zero": 0.0}
    assert bundle.lineage == {"code": "4f1c2e", "dataset": "3"}
    assert bundle.options == {"source": "julia_source.jl"}
    (x,) = bundle.signature.inputs
    assert (x.type, x.missing, x.low, x.high, x.example) == ("float64", False, 1e-300, 4983.0, "80.0")
    assert bundle.signature.outputs == (Column("prediction", ColumnType.FLOAT64),)
    assert {path.name for path in folder.iterdir()} == {
        "yardbundle.toml",
        "model.jls",
        "julia_source.jl",
        "example.csv",
        "expected.csv",
    }
    # Every digit is there.
    assert read_columns(folder / "example.csv", (x,))["x"] == [80.0, 4983.0, 1e-300, 0.1 + 0.2]


def test_types_missing_values_and_options_of_a_bundle(session: Session) -> None:
    echo = read_bundle(session.bundles / "echo").signature.inputs
    assert [(c.name, c.type.value, c.missing) for c in echo] == [
        ("f", "float64", True),
        ("i", "int64", True),
        ("b", "bool", True),
        ("s", "string", True),
        ('odd "name", é', "string", False),
    ]
    assert echo[3].categories == ("", 'a"b,\nc\\', "né")
    example = read_columns(session.bundles / "echo/example.csv", echo)
    assert example["f"] == pytest.approx([1.5, math.nan, -math.inf, 1e22], rel=0, nan_ok=True)
    assert example["i"] == [2**63 - 1, None, -1, 0]
    assert example["s"] == ["né", None, "", 'a"b,\nc\\']
    assert read_bundle(session.bundles / "given by others").signature.inputs[0].missing
    way = read_bundle(session.bundles / "levels").signature.inputs[0]
    assert (way.levels, way.categories) == (("named", "dict"), None)
    named = read_bundle(session.bundles / "named").signature
    assert (named.task, named.classes) == (Task.CLASSIFICATION, ("late", "time"))
    assert read_bundle(session.bundles / "ints").signature.outputs == (Column("label", ColumnType.INT64),)
    assert read_bundle(session.bundles / "forecast").options == {
        "source": "julia_source.jl",
        "predict": "forecast",
        "module": "Main",
    }


def test_a_hundred_rows_of_the_example_are_kept_and_all_are_looked_at(session: Session) -> None:
    (x,) = read_bundle(session.bundles / "many rows").signature.inputs
    assert x.high == 200.0
    for name in ("example.csv", "expected.csv"):
        assert len((session.bundles / "many rows" / name).read_text().splitlines()) == 101


# ---- requests ----


def test_publishing_sends_a_tar_and_waits_for_the_check(session: Session, tmp_path: Path) -> None:
    assert session.steps["publish"]["value"] == "checked"
    assert session.steps["publish without waiting"]["value"] == "unchecked"
    first, second = session.yard.to(f"POST {API}/fuel/versions")
    assert first.query == {"alias": ["best"], "why": ["it rains & pours"]}
    assert second.query == {}
    assert first.headers["Content-Type"] == "application/x-tar"
    received = receive([first.body], "application/x-tar", tmp_path / "bundle", Limits())
    assert [file.path for file in received.files] == [
        "example.csv",
        "expected.csv",
        "julia_source.jl",
        "model.jls",
        "yardbundle.toml",
    ]
    assert read_bundle(tmp_path / "bundle").language == "julia"
    assert first.body == second.body  # the same content is the same version
    assert [asked.query for asked in session.yard.to(f"GET {API}/fuel/versions/3")[:2]] == [
        {"wait": ["30"]},
        {"wait": ["30"]},
    ]


def test_a_failed_check_is_an_error_with_its_reason_and_the_end_of_the_log(session: Session) -> None:
    said = session.steps["publish what fails"]
    assert said["error"].startswith(
        "Version 3 of finance/failing did not pass its check: Row 3 differs.\nIts worker's log ends:"
    )
    assert said["log"] == LOG[-2000:]


def test_nothing_is_sent_of_what_cannot_be_published(session: Session) -> None:
    assert "is a version; here a model is meant" in session.steps["publish a version"]["error"]
    assert 'source = "model.jl"' in session.steps["publish without source"]["error"]
    assert len(session.yard.to(f"POST {API}/fuel/versions")) == 2


def test_a_refusal_shows_detail_and_hint(session: Session) -> None:
    said = session.steps["publish what is forbidden"]
    assert said["error"] == "You may not publish here. Ask an owner."
    assert said["status"] == 403
    missing = session.steps["predict what is not there"]
    assert (missing["error"], missing["status"]) == ("There is no model finance/absent.", 404)


def test_the_token_goes_in_its_header_and_nowhere_else(session: Session) -> None:
    assert {asked.headers["Authorization"] for asked in session.yard.asked} == {"Bearer very-secret"}
    assert not any("very-secret" in asked.line or asked.query.get("token") for asked in session.yard.asked)
    assert "very-secret" not in session.stderr + json.dumps(session.steps)


def test_predictions_have_the_shape_of_a_models_own(session: Session) -> None:
    assert session.steps["predict numbers"]["value"] == [1.5, None]
    assert session.steps["predict classes"]["value"] == {
        "label": ["late"],
        "probabilities": {"late": [0.75], "on time": [0.25]},
    }
    assert session.steps["predict outputs"]["value"] == {"high": [2.5], "low": [1.0]}
    (asked,) = session.yard.to("POST /models/finance/fuel/predict")
    assert asked.headers["Content-Type"] == "application/json"
    assert json.loads(asked.body) == [
        {"x": 0.1 + 0.2, "carrier": "AA", "n": 2**63 - 1, "rain": True},
        {"x": None, "carrier": None, "n": 0, "rain": False},
    ]
    assert "infinite" in session.steps["predict infinity"]["error"]
    assert "does not speak as a yard does" in session.steps["predict and be misunderstood"]["error"]


def test_many_rows_go_in_several_requests(session: Session) -> None:
    assert session.steps["predict many"]["value"] == [10_001, "b0-1", 9_999, "b0-2", 1]
    first, second = session.yard.to("POST /models/finance/many/predict")
    assert len(json.loads(first.body)) == 10_000
    assert json.loads(second.body) == [{"x": 10_001}, {"x": 10_002}]


def test_aliases_versions_and_histories(session: Session) -> None:
    values = {name: said.get("value") for name, said in session.steps.items()}
    assert values["models"] == "finance/fuel"
    assert (values["show the champion"], values["show an alias"], values["versions"]) == (2, 3, 2)
    assert (values["promote"], values["roll back"], values["history"]) == (3, "finance/fuel", "so")
    assert values["set an alias"] == "finance/fuel"
    assert values["whoami"] == "anna"
    (promoted,) = session.yard.to(f"PUT {API}/fuel/aliases/champion")
    assert json.loads(promoted.body) == {"version": 3, "why": "lower error"}
    (moved,) = session.yard.to(f"PUT {API}/fuel/aliases/challenger")
    assert json.loads(moved.body) == {"version": 2, "why": ""}
    (rolled,) = session.yard.to(f"POST {API}/fuel/rollback")
    assert json.loads(rolled.body) == {"why": "worse on Mondays"}
    assert "has no alias nope. Its aliases: best, champion." in session.steps["show no alias"]["error"]
    assert "names no version" in session.steps["promote nothing"]["error"]


def test_no_yard_there_is_said_with_what_to_do(session: Session) -> None:
    said = session.steps["nobody there"]["error"]
    assert said.startswith("No yard answers at http://127.0.0.1:1 (")
    assert said.endswith("Start one with `yard up`, or correct YARD_URL.")


def test_requests_by_downloads_are_the_same_as_by_curl(
    session: Session, julia: list[str], tmp_path: Path
) -> None:
    with listening() as yard:
        other = run_session(julia, tmp_path, yard, HERE / "julia_downloads")
    assert "stand-in for Downloads" in other.steps["nobody there"]["error"]
    verbs = list(other.steps)[len(BUNDLES) : -1]
    here, there = (f"127.0.0.1:{one.server_address[1]}" for one in (yard, session.yard))
    said = json.loads(json.dumps([other.steps[name] for name in verbs]).replace(here, there))
    assert said == [session.steps[name] for name in verbs]
    own = ("Host", "Accept-Encoding", "Expect")
    for mine, theirs in zip(session.yard.asked, other.yard.asked, strict=True):
        assert (mine.line, mine.query, mine.body) == (theirs.line, theirs.query, theirs.body)
        kept = [{k: v for k, v in asked.headers.items() if k not in own} for asked in (mine, theirs)]
        assert kept[0] == kept[1]
