"""The Julia worker against `contract/wire.md`: each kind of answer, and what can go wrong."""

from __future__ import annotations

import math
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import PREFIX, Frame, Value, decode, encode, from_values, lengths, to_values
from tests.contract.julia_worker import ROOT, SECONDS, Inputs, JuliaWorker

pytestmark = pytest.mark.julia

X = [("x", "float64", "0")]
SWITCH = [("way", "string", "0"), ("x", "float64", "0")]
ROWS = [1.0, 2.0, 3.0]


@pytest.fixture(scope="session")
def models(julia: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles that tests/contract/julia_models.jl writes."""
    folder = tmp_path_factory.mktemp("julia-models")
    script = str(ROOT / "tests/contract/julia_models.jl")
    done = subprocess.run([*julia, script, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def switch(julia: list[str], models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JuliaWorker]:
    """A worker whose model answers in the way its first row asks for; all tests share it."""
    with JuliaWorker(julia, tmp_path_factory.mktemp("switch")) as worker:
        ready = worker.client.load(models / "switch", SWITCH)
        assert ready.verb == "ready", ready.get("message")
        yield worker


@pytest.fixture
def worker(julia: list[str], tmp_path: Path) -> Iterator[JuliaWorker]:
    with JuliaWorker(julia, tmp_path) as started:
        yield started


def values(frame: Frame) -> dict[str, list[Value]]:
    return {column.name: to_values(column) for column in frame.columns}


def answer(worker: JuliaWorker, way: str, rows: list[float]) -> Frame:
    """What the switching model answers; `way` stands in every row."""
    return worker.client.infer(SWITCH, {"way": [way] * len(rows), "x": rows})


HALVES = {"probability:late": [0.25, 0.5, 0.75], "probability:time": [0.75, 0.5, 0.25]}
ANSWERS: dict[str, dict[str, list[Any]]] = {
    "numbers": {"prediction": [2.0, 4.0, 6.0]},
    "float32": {"prediction": ROWS},
    "rationals": {"prediction": [0.25] * 3},
    "any": {"prediction": ROWS},
    "all missing": {"prediction": [math.nan] * 3},
    "special": {"prediction": [math.nan, math.inf, -math.inf]},
    "view": {"prediction": ROWS},
    "strings": {"label": ["grün €"] * 3},
    "symbols": {"label": ["late"] * 3},
    "substrings": {"label": ["time"] * 3},
    "ints": {"label": [1, 2, 3]},
    "bools": {"label": [False, True, True]},
    "some labels": {"label": ["yes", None, None]},
    "label alone": {"label": ["a"] * 3},
    "named": {"label": ["late"] * 3, **HALVES},
    "dict": {
        "label": [False, True, True],
        "probability:false": [0.75, 0.5, 0.25],
        "probability:true": [0.25, 0.5, 0.75],
    },
    "matrix of classes": {"label": ["late"] * 3, **HALVES},
    "outputs": {"low": [0.0, 1.0, 2.0], "high": ROWS},
    "one output": {"prediction": ROWS},
    "matrix": {"output_1": ROWS, "output_2": [2.0, 4.0, 6.0]},
    "thin matrix": {"prediction": ROWS},
    "noisy": {"prediction": ROWS},
}


@pytest.mark.parametrize("way", ANSWERS)
def test_each_kind_of_answer(switch: JuliaWorker, way: str) -> None:
    for rows in (3, 1):
        got = answer(switch, way, ROWS[:rows])
        assert (got.verb, got.rows) == ("answer", rows), got.get("message")
        expected = {name: column[:rows] for name, column in ANSWERS[way].items()}
        assert list(values(got)) == list(expected)
        for name, column in values(got).items():
            assert [type(v) for v in column] == [type(v) for v in expected[name]]
            assert column == pytest.approx(expected[name], abs=0, nan_ok=True)


FAILURES = {
    "throw": "no \t wind\n",
    "rude": "Rude",
    "overflow": "StackOverflowError",
    "odd text": "a\ufffdb\ufffd",
    "long words": "…",
    "short": "returned 1 values of prediction for 3 rows",
    "short probabilities": "returned 1 values of probability:a for 3 rows",
    "nothing": "returned a Nothing",
    "scalar": "returned a Float64",
    "complex": "Complex",
    "vectors": "return numbers, strings, symbols or Bool",
    "no columns": "returned no columns",
    "strings as outputs": "where a vector of numbers is needed",
    "beside a label": "returned `chance` too",
    "scalar label": "`label` is not a vector",
    "odd probabilities": "give a NamedTuple, a Dict or a matrix",
    "three classes": "has 3 columns, classes(model) has 2",
    "twice": "two columns of the name probability:1",
    "nul": "has a NUL",
    "not utf8": "is not UTF-8",
    "too large": "InexactError",
    "unknown way": "KeyError",
}


@pytest.mark.parametrize("way", FAILURES)
def test_a_model_that_fails_says_why_and_the_worker_goes_on(switch: JuliaWorker, way: str) -> None:
    got = answer(switch, way, ROWS)
    assert (got.verb, got.get("kind")) == ("error", "model")
    assert FAILURES[way] in got.get("message")
    assert len(got.get("message")) < 3_000
    assert values(answer(switch, "numbers", [1.0])) == {"prediction": [2.0]}


def test_every_way_of_the_model_has_been_tried() -> None:
    source = (ROOT / "tests/contract/julia_source.jl").read_text()
    ways = {line.split('"')[1] for line in source.splitlines() if line.startswith('    "')}
    assert ways == set(ANSWERS) | set(FAILURES) - {"unknown way"}


def test_what_a_model_prints_is_a_log(switch: JuliaWorker) -> None:
    before = switch.out.read_bytes().count(b"YRD1 garbage\0\xff")
    assert answer(switch, "noisy", ROWS).verb == "answer"
    assert switch.out.read_bytes().count(b"YRD1 garbage\0\xff") == before + 1
    assert "a word on stderr" in switch.err.read_text(errors="replace")


def test_an_error_of_the_model_is_logged_with_its_place(switch: JuliaWorker) -> None:
    answer(switch, "throw", ROWS)
    assert "model.jl:" in switch.err.read_text(errors="replace")


def test_ping_counts_what_was_answered(switch: JuliaWorker) -> None:
    before = switch.client.ask("ping")
    answer(switch, "numbers", ROWS)
    answer(switch, "throw", ROWS)
    pong = switch.client.ask("ping")
    assert int(pong.get("infers")) == int(before.get("infers")) + 1
    assert int(pong.get("answered")) == int(before.get("answered")) + 3
    assert 10_000_000 < int(pong.get("memory")) < 2_000_000_000


def test_two_connections_are_answered_in_turn(switch: JuliaWorker) -> None:
    other = switch.connect()
    question: dict[str, list[Value]] = {"way": ["numbers"] * 2000, "x": [1.0] * 2000}
    columns = tuple(from_values(name, ColumnType(kind), question[name]) for name, kind, _ in SWITCH)
    for number in range(20):
        frame = encode(Frame("infer", (("id", str(number)),), 2000, columns))
        switch.client.send(frame)
        other.send(frame[:-5])
        assert switch.client.answer().rows == 2000  # though a question of the other is on its way
        other.send(frame[-5:])
        got = other.answer()
        assert (got.verb, got.get("id"), got.rows) == ("answer", str(number), 2000)
    other.close()
    assert switch.client.ask("ping").verb == "pong"


def test_a_client_that_does_not_read_holds_up_nobody(switch: JuliaWorker) -> None:
    lazy = switch.connect()
    lazy.socket.settimeout(0.5)  # by then the socket is full both ways, and stays so
    pings = encode(Frame("ping", (("id", "1"),))) * 100_000
    with pytest.raises(TimeoutError):
        lazy.socket.sendall(pings)
    assert values(answer(switch, "numbers", [1.0])) == {"prediction": [2.0]}
    lazy.close()
    assert switch.client.ask("ping").verb == "pong"


def test_a_client_that_hangs_up_loses_only_itself(switch: JuliaWorker) -> None:
    for end in (6, -3):
        other = switch.connect()
        other.send(encode(Frame("ping", (("id", "1"),)))[:end])
        other.close()
    other = switch.connect()
    other.send(encode(Frame("ping", (("id", "1"),))) * 50)
    other.close()
    assert switch.client.ask("ping").verb == "pong"
    assert switch.process.poll() is None


def test_a_question_with_other_columns_is_refused(switch: JuliaWorker) -> None:
    got = switch.client.infer(X, {"x": [1.0]})
    assert (got.verb, got.get("kind")) == ("error", "model")
    assert "not the model's inputs" in got.get("message")


def test_no_rows_are_answered_with_no_rows(worker: JuliaWorker, models: Path) -> None:
    worker.client.load(models / "line", X)
    got = worker.client.infer(X, {"x": []})
    assert (got.verb, got.rows, values(got)) == ("answer", 0, {"prediction": []})
    assert [column.name for column in got.columns] == ["prediction"]


def test_all_types_arrive_as_declared(worker: JuliaWorker, models: Path) -> None:
    kinds = ("float64", "int64", "bool", "string")
    inputs = [(f"{kind} {flag}", kind, flag) for kind in kinds for flag in "01"]
    ready = worker.client.load(models / "echo", inputs)
    assert ready.get("runtime") == "Julia"
    assert ("takes", *kinds) in ready.fields
    there: dict[str, Value] = {"float64": math.inf, "int64": -(2**63), "bool": True, "string": "grün €"}
    question: dict[str, list[Value]] = {
        name: [there[kind], None if flag == "1" else there[kind]] for name, kind, flag in inputs
    }
    question["float64 0"][1] = math.nan
    (labels,) = values(worker.client.infer(inputs, question)).values()
    names = {"float64": "Float64", "int64": "Int64", "bool": "Bool", "string": "String"}
    for row, label in enumerate(labels):
        types, shown = str(label).split("=")
        for i, (got, (_, kind, flag)) in enumerate(zip(types.split("|"), inputs, strict=True)):
            maybe = f"Union{{Missing, {names[kind]}}}" if flag == "1" else names[kind]
            assert got.replace("Array{", "Vector{").replace(",1}", "}") == f"Vector{{{maybe}}}"
            if row == 1 and flag == "1":
                assert shown.split("|")[i] == "missing"
    assert str(labels[0]).split("=")[1].split("|")[::2] == ["Inf", "-9223372036854775808", "true", '"grün €"']
    assert str(labels[1]).split("=")[1].split("|")[0] == "NaN"
    # The types are the signature's: rows that miss nothing are given in the same way.
    full = {name: [there[kind]] for name, kind, _ in inputs}
    (one,) = values(worker.client.infer(inputs, full)).values()
    assert str(one[0]).split("=")[0] == str(labels[0]).split("=")[0]


def test_a_model_of_many_columns(worker: JuliaWorker, models: Path) -> None:
    inputs = [(f"column {i}", "float64", "0") for i in range(500)]
    assert worker.client.load(models / "wide", inputs).verb == "ready"
    got = worker.client.infer(inputs, {name: [1.0, 2.0] for name, _, _ in inputs})
    assert values(got) == {"prediction": [500.0, 1000.0]}


def test_a_large_question_passes(worker: JuliaWorker, models: Path) -> None:
    worker.client.load(models / "line", X)
    got = worker.client.infer(X, {"x": [float(i) for i in range(500_000)]})
    assert values(got)["prediction"][-1] == 999_999.0


@pytest.mark.parametrize("depot", ["depot", "/proc/1/depot"], ids=["new", "read-only"])
def test_a_source_may_extend_the_sdks_predict_and_include_others(
    julia: list[str], models: Path, tmp_path: Path, depot: str
) -> None:
    """Importing a package has Julia precompile it: that must work where its depot cannot be written too."""
    bundle = tmp_path / "bundle"
    shutil.copytree(models / "line", bundle)
    (bundle / "lib").mkdir()
    (bundle / "lib/half.jl").write_text("half(x) = x / 2\n")
    (bundle / "model.jl").write_text(
        'import Modelyard: predict\nusing Modelyard\ninclude("lib/half.jl")\n'
        "struct Line; slope::Float64; intercept::Float64; end\n"
    )
    (bundle / "method.jl").write_text("predict(m::Line, columns) = half.(columns.x)\n")
    with JuliaWorker(julia, tmp_path, JULIA_DEPOT_PATH=str(tmp_path / depot)) as worker:
        ready = worker.client.load(bundle, X, {"source": "model.jl;method.jl"})
        assert ready.verb == "ready", ready.get("message")
        assert values(worker.client.infer(X, {"x": [3.0]})) == {"prediction": [1.5]}
    assert Path(tmp_path / depot).exists() == (depot == "depot")


LOADS: dict[str, tuple[str, dict[str, str], str, str]] = {
    # The first must come first: after it the types are defined.
    "0 no source": ("line", {"source": ""}, "model.jls", "the files that define its types"),
    "absent entry": ("line", {}, "absent.jls", "absent.jls is not in the bundle"),
    "not serialised": ("line", {}, "garbage.jls", "cannot be read by Julia"),
    "absent source": ("line", {"source": "absent.jl"}, "model.jls", "absent.jl is not in the bundle"),
    "syntax": ("line", {"source": "syntax.jl"}, "model.jls", "syntax"),
    "package": ("line", {"source": "package.jl"}, "model.jls", "NoSuchPackage"),
    "absent function": ("line", {"predict": "absent"}, "model.jls", "no method absent(model::Line, columns)"),
    "absent module": ("line", {"module": "Nowhere"}, "model.jls", "no module Nowhere"),
}
FOUND: dict[str, tuple[str, dict[str, str], float]] = {
    "function of the type's module": ("inside", {}, 6.0),
    "function of a module": ("inside", {"module": "Fleet"}, 6.0),
    "function of a module of Main": ("inside", {"module": "Main.Fleet", "predict": "predict"}, 6.0),
    "function of another name": ("line", {"predict": "forecast"}, -5.0),
}


def load_frame(
    bundle: Path, options: dict[str, str], entry: str = "model.jls", inputs: Inputs = tuple(X)
) -> Frame:
    """The question that Client.load asks."""
    given = [("option", *pair) for pair in {"source": "model.jl", **options}.items()]
    fields = [("id", "1"), ("bundle", str(bundle)), ("entry", entry), *given]
    return Frame("load", (*fields, *(("input", *values) for values in inputs)))


@pytest.fixture(scope="module")
def loaded(
    julia: list[str], models: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Frame]]:
    """What workers in one process answer to each of LOADS and FOUND, each answer with its exit code."""
    bundle = tmp_path_factory.mktemp("broken") / "line"
    shutil.copytree(models / "line", bundle)
    (bundle / "garbage.jls").write_bytes(b"\x80\x04cposix\nsystem\n")
    (bundle / "syntax.jl").write_text("function (")
    (bundle / "package.jl").write_text("using NoSuchPackage")
    asked, answered = (tmp_path_factory.mktemp(name) for name in ("asked", "answered"))
    for name, (_, options, entry, _) in LOADS.items():
        (asked / name).write_bytes(encode(load_frame(bundle, options, entry)))
    two = Frame("infer", (("id", "2"),), 1, (from_values("x", ColumnType.FLOAT64, [2.0]),))
    for name, (model, options, _) in FOUND.items():
        (asked / name).write_bytes(encode(load_frame(models / model, options)) + encode(two))
    command = [*julia, str(ROOT / "tests/contract/julia_questions.jl"), str(asked), str(answered)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return {path.name: list(frames_of(path.read_bytes())) for path in answered.iterdir()}


def frames_of(data: bytes) -> Iterator[Frame]:
    """The frames of a file, one behind another."""
    while data:
        size = PREFIX.size + sum(lengths(data[: PREFIX.size]))
        yield decode(data[:size])
        data = data[size:]


@pytest.mark.parametrize("name", LOADS)
def test_a_load_that_fails_says_why(loaded: dict[str, list[Frame]], name: str) -> None:
    error, code = loaded[name]
    assert (error.verb, error.get("kind")) == ("error", "load")
    assert LOADS[name][3] in error.get("message")
    assert code.get("code") == "1"


@pytest.mark.parametrize("name", FOUND)
def test_the_function_is_found(loaded: dict[str, list[Frame]], name: str) -> None:
    ready, _, answer, code = loaded[name]
    assert ready.verb == "ready", ready.get("message")
    assert values(answer) == {"prediction": [FOUND[name][2]]}
    assert code.get("code") == "nothing"


def test_a_load_that_fails_ends_the_worker(worker: JuliaWorker, models: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(models / "line", bundle)
    (bundle / "throws.jl").write_text('error("the wind has dropped")')
    error = worker.client.load(bundle, X, {"source": "throws.jl"})
    assert (error.verb, error.get("kind")) == ("error", "load")
    assert "the wind has dropped" in error.get("message")
    assert worker.end() == 1
    assert not worker.socket.exists()
    assert "throws.jl:1" in worker.err.read_text()


@pytest.mark.parametrize("name", ["magic", "bool-two", "unknown verb"])
def test_a_malformed_frame_ends_the_worker(worker: JuliaWorker, name: str) -> None:
    path = ROOT / f"contract/frames/bad/{name}.frame"
    worker.client.send(path.read_bytes() if path.exists() else encode(Frame("sail", (("id", "1"),))))
    error = worker.client.answer()
    assert (error.verb, error.get("kind")) == ("error", "frame")
    assert error.get("message")
    assert worker.end() == 65
    assert not worker.socket.exists()


def test_questions_out_of_place(worker: JuliaWorker, models: Path) -> None:
    early = worker.client.infer(X, {"x": [1.0]})
    assert (early.get("kind"), early.get("message")) == ("model", "No model is loaded.")
    worker.client.load(models / "line", X)
    assert worker.client.load(models / "line", X).get("kind") == "frame"
    assert worker.end() == 65


def test_the_socket_is_private_and_goes_with_the_worker(worker: JuliaWorker) -> None:
    assert stat.S_IMODE(worker.socket.stat().st_mode) == 0o600
    assert worker.client.ask("stop").verb == "bye"
    assert worker.end() == 0
    assert not worker.socket.exists()


@pytest.mark.parametrize("busy", [False, True])
def test_sigterm_ends_it_even_while_a_model_computes(worker: JuliaWorker, models: Path, busy: bool) -> None:
    if busy:
        worker.client.load(models / "busy", X)
        column = from_values("x", ColumnType.FLOAT64, [1.0])
        worker.client.send(encode(Frame("infer", (("id", "1"),), 1, (column,))))
        with worker.out.open("rb") as log:
            while b"thinking" not in log.read():
                assert worker.process.poll() is None
    else:
        worker.client.ask("ping")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end() in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert not worker.socket.exists()


def test_a_model_that_exits_ends_its_worker_alone(worker: JuliaWorker, models: Path) -> None:
    worker.client.load(models / "quits", X)
    with pytest.raises(EOFError):
        worker.client.infer(X, {"x": [1.0]})
    assert worker.end() == 7


@pytest.mark.parametrize("arguments", [[], ["--socket"], ["--socket", "/tmp/" + "x" * 200]])
def test_started_wrongly_it_says_how(julia: list[str], arguments: list[str]) -> None:
    worker = str(ROOT / "runtimes/julia/worker.jl")
    done = subprocess.run(
        [*julia, worker, *arguments], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 64
    assert "--socket PATH" in done.stderr
