"""The portable runtime: hostile files are refused before they are opened, and nothing is sent or written."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelyard.records.errors import ModelError, WorkerStartError
from modelyard.records.signatures import Column, ColumnType
from modelyard.workers.local import LocalWorkers
from modelyard.workers.plans import Plan
from modelyard.workers.runtimes import find_runtime, runtimes_folder
from modelyard.workers.talk import Talk
from modelyard.workers.wire import Frame, from_values, to_values
from tests.contract.hands import quiet, settings, started
from tests.journeys.running import PATIENCE

X = Column("x", ColumnType.FLOAT64)
KIND = Column("kind", ColumnType.STRING, missing=True)
TOLD = {
    "format": 1,
    "inputs": [{"tensor": "X", "type": "double", "columns": ["x"]}],
    "refuses": ["x"],
    "limits": {"x": [-1e38, 1e38]},
    "outputs": {"task": "regression", "tensor": "Y", "names": ["prediction"]},
}


def load_check() -> Any:
    """`check.py` as the worker has it: a file of a program, not of a package of the house."""
    package = types.ModuleType("_portable_under_test")
    package.__path__ = [str(runtimes_folder() / "portable")]
    sys.modules[package.__name__] = package
    return importlib.import_module(package.__name__ + ".check")


CHECK = load_check()


def value(name: str, kind: int = TensorProto.DOUBLE, shape: Any = (None, 1)) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model(*nodes: Any, initializers: Any = (), inputs: Any = None, domain: str = "") -> Any:
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Add", ["X", "X"], ["Y"])],
        "g",
        inputs or [value("X")],
        [value("Y")],
        initializer=list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, 18)], ir_version=9)


def external() -> Any:
    tensor = numpy_helper.from_array(np.zeros(3), "c")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../secret"
    return model(helper.make_node("Add", ["X", "c"], ["Y"]), initializers=[tensor])


def promised(shape: list[int]) -> Any:
    """A constant that says it has this shape and brings one value."""
    tensor = TensorProto(name="c", data_type=TensorProto.DOUBLE, dims=shape, raw_data=bytes(8))
    return model(helper.make_node("Add", ["X", "c"], ["Y"]), initializers=[tensor])


def blown() -> Any:
    """Some 150 bytes that ask for 800 MB."""
    size = numpy_helper.from_array(np.array([10_000, 10_000]), "s")
    nodes = helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["X", "c"], ["Y"])
    return model(*nodes, initializers=[size])


def branching() -> Any:
    inner = helper.make_graph([helper.make_node("Identity", ["X"], ["Z"])], "i", [], [value("Z")])
    return model(helper.make_node("If", ["X"], ["Y"], then_branch=inner, else_branch=inner))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a pickle": (lambda: pickle.dumps({"a": os.getcwd}), "not an ONNX file|not allowed"),
    "nothing": (lambda: b"", "0 graphs"),
    "text": (lambda: b"\x80 model", "not an ONNX file|not allowed"),
    "cut short": (lambda: model().SerializeToString()[:-5], "not an ONNX file"),
    "external data": (lambda: external().SerializeToString(), "data outside itself"),
    "a promise": (lambda: promised([100_000_000]).SerializeToString(), "comes with 1 values"),
    "a huge rank": (lambda: promised([1] * 60).SerializeToString(), "60 dimensions"),
    "a negative size": (lambda: promised([-1]).SerializeToString(), "dimensions"),
    "a huge input": (lambda: model(inputs=[value("X", shape=[1] * 40)]).SerializeToString(), "40 dimensions"),
    "a bomb": (lambda: blown().SerializeToString(), "ConstantOfShape is not allowed"),
    "a branch": (lambda: branching().SerializeToString(), "not allowed"),
    "a foreign operator": (
        lambda: model(helper.make_node("Run", ["X"], ["Y"], domain="evil")).SerializeToString(),
        "evil.Run is not allowed",
    ),
    "foreign operators": (lambda: model(domain="com.microsoft").SerializeToString(), "not among those"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_22_23_a_hostile_file_is_refused_before_it_is_opened(case: str) -> None:
    make, words = HOSTILE[case]
    with pytest.raises(CHECK.UnsafeError, match=words):
        CHECK.check(make())


def test_any_damage_is_refused_or_harmless() -> None:
    """Each byte changed: the check ends with its own error or none, and quickly."""
    data = model(initializers=[numpy_helper.from_array(np.ones(3), "c")]).SerializeToString()
    CHECK.check(data)
    for at in range(len(data)):
        for new in (0, 0x7F, 0xFF):
            try:
                CHECK.check(data[:at] + bytes([new]) + data[at + 1 :])
            except CHECK.UnsafeError:
                continue


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="yp-") as name:
        yield Path(name)


def plan(folder: Path, onnx: bytes, told: Any = None, inputs: tuple[Column, ...] = (X,)) -> Plan:
    (folder / "form").mkdir()
    (folder / "form/model.onnx").write_bytes(onnx)
    (folder / "form/portable.json").write_text(json.dumps(TOLD if told is None else told))
    return Plan("ops.p.1", 0, "portable", "", str(folder / "form"), "model.onnx", {}, inputs)


def ask(talk: Talk, *values: float | None) -> list[Any]:
    column = from_values("x", ColumnType.FLOAT64, values)
    return to_values(talk.ask(Frame("infer", (("id", "1"),), len(values), (column,)), 20).columns[0])


def test_it_answers_and_refuses_what_its_native_form_refuses(folder: Path) -> None:
    workers = LocalWorkers(settings(folder))
    with (
        started(workers, plan(folder, model().SerializeToString())) as worker,
        Talk(Path(worker.socket)) as talk,
    ):
        assert worker.runtime.startswith("portable ")
        assert ask(talk, 1.5, -2.0) == [3.0, -4.0]
        with pytest.raises(ModelError, match="does not take a missing value, as in the column 'x'"):
            ask(talk, 1.0, None)
        with pytest.raises(ModelError, match=r"does not take 1e\+300 in the column 'x'"):
            ask(talk, 1e300)
        assert ask(talk, 1.0) == [2.0], "it goes on"
        assert [ask(talk, x) for x in (-3.0, 0.0, 1.5)] == [[-6.0], [0.0], [3.0]], "no row is another's"


def test_missing_unknown_and_odd_text_come_as_they_are(folder: Path) -> None:
    nodes = (
        helper.make_node("Equal", ["K", "k"], ["e"]),
        helper.make_node("Cast", ["e"], ["Y"], to=TensorProto.DOUBLE),
    )
    sign = helper.make_tensor("k", TensorProto.STRING, [1], [b"\0missing"])  # type: ignore[list-item]  # its own stub forgets text
    graph = model(*nodes, initializers=[sign], inputs=[value("K", TensorProto.STRING)])
    graph.opset_import[0].version = 19
    told = {
        **TOLD,
        "inputs": [{"tensor": "K", "type": "string", "columns": ["kind"]}],
        "refuses": [],
        "known": {"kind": ["a", "missing", "", "é"]},
    }
    form = plan(folder, graph.SerializeToString(), told, (KIND,))
    with started(LocalWorkers(settings(folder)), form) as worker, Talk(Path(worker.socket)) as talk:

        def asked(*texts: str | None) -> list[Any]:
            column = from_values("kind", ColumnType.STRING, texts)
            return to_values(talk.ask(Frame("infer", (("id", "1"),), len(texts), (column,)), 20).columns[0])

        assert asked(None, "a", "missing", "", "é") == [1.0, 0.0, 0.0, 0.0, 0.0]
        with pytest.raises(ModelError, match="does not know the value 'b'"):
            asked("a", "b")


@pytest.mark.parametrize("case", ["a bomb", "external data", "a pickle"])
def test_22_23_a_worker_with_a_hostile_file_does_not_start(case: str, folder: Path) -> None:
    make, words = HOSTILE[case]
    with pytest.raises(WorkerStartError, match=words):
        LocalWorkers(settings(folder)).start(plan(folder, make()), quiet)


def test_23_loading_is_bounded_in_memory(folder: Path) -> None:
    """Allowed operators whose product is folded at load: 3 GB out of 40 kB, and refused by the bound."""
    left = numpy_helper.from_array(np.ones((20_000, 1)), "a")
    right = numpy_helper.from_array(np.ones((1, 20_000)), "b")
    nodes = (
        helper.make_node("MatMul", ["a", "b"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["d"]),
        helper.make_node("Add", ["X", "d"], ["Y"]),
    )
    form = plan(folder, model(*nodes, initializers=[left, right]).SerializeToString())
    with pytest.raises(WorkerStartError, match=r"(?i)alloc|memory"):
        LocalWorkers(settings(folder)).start(form, quiet)


@pytest.mark.parametrize(
    "told", [{}, {"format": 2}, [], {**TOLD, "inputs": [{"tensor": "X", "type": "odd", "columns": ["x"]}]}]
)
def test_a_description_that_is_none_is_refused(told: Any, folder: Path) -> None:
    with pytest.raises(WorkerStartError):
        LocalWorkers(settings(folder)).start(plan(folder, model().SerializeToString(), told), quiet)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed: the calls cannot be watched")
def test_nothing_is_sent_and_nothing_written(folder: Path) -> None:
    """Every network and file call of a worker from its start to its end, as the kernel saw them."""
    form = plan(folder, model().SerializeToString())
    trace, socket = folder / "trace", folder / "w.sock"
    runtime = find_runtime("portable")
    command = [
        p.format(program=sys.executable, folder=runtimes_folder() / "portable") for p in runtime.command
    ]
    calls = "trace=connect,sendto,sendmsg,socket,openat,open,creat,mkdir,mkdirat,rename,unlink"
    watched = ["strace", "-f", "-qq", "-o", str(trace), "-e", calls, *command, "--socket", str(socket)]
    home = folder / "home"
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **runtime.environment}
    worker = subprocess.Popen(watched, env=environment, cwd=home)
    try:
        with _connected(socket, worker) as talk:
            assert talk.ask(form.load_question(), 60).verb == "ready"
            assert ask(talk, 1.0) == [2.0]
            assert talk.ask(Frame("stop", (("id", "2"),)), 20).verb == "bye"
        worker.wait(PATIENCE)
    finally:
        worker.kill()
        worker.wait()
    lines = trace.read_text(errors="replace").splitlines()
    assert not [line for line in lines if "AF_INET" in line or "connect(" in line]
    written = [line for line in lines if "O_WRONLY" in line or "O_RDWR" in line or "O_CREAT" in line]
    assert not [
        line for line in written if "/dev/" not in line and "/proc/" not in line and "/sys/" not in line
    ]
    assert not list(home.iterdir())


def _connected(socket: Path, worker: subprocess.Popen[bytes]) -> Talk:
    while worker.poll() is None:
        try:
            return Talk(socket)
        except OSError:
            time.sleep(0.01)  # nothing tells when a program listens
    raise AssertionError("the worker ended")


def test_the_settings_of_telemetry_are_in_the_runtime_itself() -> None:
    assert find_runtime("portable").environment["ORT_DISABLE_TELEMETRY"] == "1"
    source = (runtimes_folder() / "portable/worker.py").read_text()
    assert source.index("ORT_DISABLE_TELEMETRY") < source.index("import_module(")
