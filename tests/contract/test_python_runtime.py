"""The Python worker on real sockets: every kind of model, and everything that can go wrong."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import modelyard
from modelyard.client.runtime import load_runtime
from modelyard.client.tables import read_table
from modelyard.engine.checks import same
from modelyard.records.errors import ModelError, WorkerLostError
from modelyard.records.signatures import ColumnType
from modelyard.workers import wire
from modelyard.workers.runtimes import find_runtime, installed_version, runtimes_folder
from modelyard.workers.wire import Frame, Value, from_values
from tests.contract.python_models import CASES, Case
from tests.contract.python_worker import PythonWorker, read_bundle, to_data

BAD = Path(__file__).parents[2] / "contract/frames/bad"
CUT = {"empty", "prefix-cut", "header-cut", "body-cut"}  # on a stream: a client that went away


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a Unix socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="yw-") as name:
        yield Path(name)


@pytest.fixture
def worker(folder: Path) -> Iterator[PythonWorker]:
    with PythonWorker(folder) as started:
        yield started


@pytest.fixture(scope="module")
def says() -> Iterator[Callable[[str], PythonWorker]]:
    """One worker for many answers: its model answers what an expression says, told anew each time."""
    with tempfile.TemporaryDirectory(prefix="yw-") as name, PythonWorker(Path(name)) as started:
        file = Path(name) / "answer"
        started.load_code(
            Path(name),
            "import sys\n"
            "def recurse():\n    return recurse()\n"
            f"def predict(columns):\n    return eval(open({str(file)!r}).read(), globals() | locals())\n",
        )

        def say(expression: str) -> PythonWorker:
            file.write_text(expression)
            return started

        yield say


def infer_frame(number: int, *values: float) -> bytes:
    """The bytes of a question with the one column `x`."""
    column = from_values("x", ColumnType.FLOAT64, values)
    return wire.encode(Frame("infer", (("id", str(number)),), len(values), (column,)))


def close(found: list[Value], expected: object) -> bool:
    """Numbers within the tolerance of the check, all else equal."""
    wanted: list[Value] = np.asarray(expected).tolist()
    return len(found) == len(wanted) and all(map(same, found, wanted))


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_each_kind_of_model_answers_as_it_does_by_itself(
    make: Callable[[], Case], folder: Path, worker: PythonWorker
) -> None:
    case = make()
    bundle = modelyard.save(case.model, folder / "bundle", example=case.example, options=case.options)
    assert worker.load(bundle).verb == "ready"
    columns = to_data(read_table(case.example).columns)
    rows = len(next(iter(case.expected.values())))
    whole = worker.infer(columns, rows)
    assert list(whole) == list(case.expected)
    for name, expected in case.expected.items():
        assert close(whole[name], expected), name
    first = worker.infer([_first_row(column) for column in columns], 1)
    for name, values in first.items():
        assert close(values, whole[name][:1]), name
    assert [(c.name, c.type) for c in read_bundle(bundle).signature.outputs] == [
        (name, _type(values)) for name, values in whole.items()
    ]


def _first_row(column: wire.ColumnData) -> wire.ColumnData:
    return from_values(column.name, column.type, wire.to_values(column)[:1])


def _type(values: list[Value]) -> str:
    return {float: "float64", bool: "bool", int: "int64", str: "string"}[type(values[0])]


def test_ready_pong_and_bye(folder: Path, worker: PythonWorker) -> None:
    ready = worker.load_code(folder, "def predict(columns):\n    return columns['x']\n")
    assert ready.fields[1][:2] == ("runtime", "python")
    assert ready.fields[2] == ("takes", "float64", "int64", "bool", "string")
    worker.infer_x(1.0, 2.0)
    worker.infer_x(3.0)
    pong = worker.ask("ping")
    assert (pong.get("infers"), pong.get("answered")) == ("2", "3")
    assert int(pong.get("memory")) > 10_000_000
    assert worker.ask("stop").verb == "bye"
    assert worker.end() == 0


def test_nan_and_infinities_reach_the_model_and_come_back(folder: Path, worker: PythonWorker) -> None:
    worker.load_code(folder, "def predict(columns):\n    return -columns['x']\n")
    found = worker.infer_x(float("inf"), None, float("-inf"), 0.0)["prediction"]
    assert (found[0], found[2], found[3]) == (float("-inf"), float("inf"), 0.0)
    assert str(found[1]) == "nan"


def test_what_the_model_raises_is_answered_and_the_worker_goes_on(folder: Path, worker: PythonWorker) -> None:
    source = (
        "def predict(columns):\n    if columns['x'][0] < 0:\n"
        "        raise ValueError('no\\x00 debt: \\ud800')\n    return columns['x']\n"
    )
    worker.load_code(folder, source)
    with pytest.raises(ModelError, match=r"^ValueError: no debt: \\ud800$") as caught:
        worker.infer_x(-1.0)
    assert caught.value.fields["kind"] == "model"
    assert worker.infer_x(5.0) == {"prediction": [5.0]}
    assert "in predict" in worker.log
    assert worker.ask("ping").get("answered") == "1"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("columns['x'][:1]", "answered 1 rows where 2 were asked"),
        ("[1, 2, 3]", "answered 3 rows where 2 were asked"),
        ("5.0", "answered 0 rows where 2 were asked"),
        ("None", "answered None"),
        ("[1j, 2j]", "complex"),
        ("[{'a': 1}, {'b': 2}]", "same keys"),
        ("{}", "no columns"),
        ("{'label': ['a', None]}", "Labels are text"),
        ("{'label': [1, 2], 'extra': [1, 2]}", "Beside a label only probabilities"),
        ("{'label': [1, 2], 'probabilities': [1, 2]}", "a dict of class to values"),
        ("{'a': [1, 2], 'b': ['x', 'y']}", "'b' is not made of numbers"),
        ("[[[1]], [[2]]]", "one or two-dimensional"),
        ("['a\\0b', 'b']", "has a NUL"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("[] + columns['x'].nothing", "AttributeError"),
        ("[i for i in recurse()]", "RecursionError"),
    ],
)
def test_answers_that_cannot_be_passed_on(
    answer: str, words: str, says: Callable[[str], PythonWorker]
) -> None:
    worker = says(answer)
    with pytest.raises(ModelError, match=words) as caught:
        worker.infer_x(1.0, 2.0)
    assert caught.value.fields["kind"] == "model"
    assert worker.ask("ping").verb == "pong"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("[True, False]", {"label": [True, False]}),
        ("('a', 'b')", {"label": ["a", "b"]}),
        ("[[1], [2]]", {"prediction": [1.0, 2.0]}),
        ("[1, 2]", {"prediction": [1.0, 2.0]}),
        ("{'only': [1, 2]}", {"prediction": [1.0, 2.0]}),
        ("{'b': [1, 2], 'a': [3, 4]}", {"b": [1.0, 2.0], "a": [3.0, 4.0]}),
        ("[{'label': 3, 'probabilities': {3: 0.5}}] * 2", {"label": [3, 3], "probability:3": [0.5, 0.5]}),
        ("{'label': [1.0, 0.0], 'probability:1': [0, 1]}", {"label": [1, 0], "probability:1": [0.0, 1.0]}),
        (
            "{'label': [True, True], 'probabilities': {True: [1, 1]}}",
            {"label": [True] * 2, "probability:true": [1.0] * 2},
        ),
        ("__import__('pandas').DataFrame({'b': [1, 2], 'a': [3, 4]})", {"b": [1.0, 2.0], "a": [3.0, 4.0]}),
        ("__import__('pandas').Series([1, 2])", {"prediction": [1.0, 2.0]}),
        ("__import__('polars').DataFrame({'b': [1, 2], 'a': [3, 4]})", {"b": [1.0, 2.0], "a": [3.0, 4.0]}),
        ("__import__('scipy.sparse').sparse.csr_matrix([[1], [2]])", {"prediction": [1.0, 2.0]}),
        ("columns['x'].astype('float32')", {"prediction": [1.0, 2.0]}),
        ("columns['x'].astype(object)", {"prediction": [1.0, 2.0]}),
    ],
)  # fmt: skip
def test_the_shapes_an_answer_may_have(
    answer: str, expected: dict[str, list[Value]], says: Callable[[str], PythonWorker]
) -> None:
    assert says(answer).infer_x(1.0, 2.0) == expected


def test_one_row_may_be_answered_without_a_list(says: Callable[[str], PythonWorker]) -> None:
    worker = says("{'label': 'a', 'probabilities': {'a': 0.75}}")
    assert worker.infer_x(1.0) == {"label": ["a"], "probability:a": [0.75]}


def test_zero_rows_and_other_columns_are_refused_in_words(folder: Path, worker: PythonWorker) -> None:
    worker.load_code(folder, "def predict(columns):\n    return columns['x']\n")
    with pytest.raises(ModelError, match="no rows to answer"):
        worker.infer_x()
    with pytest.raises(ModelError, match=r"not those of the signature: \['x'\]"):
        worker.infer([from_values("y", ColumnType.FLOAT64, [1.0])], 1)
    assert worker.infer_x(1.0) == {"prediction": [1.0]}


def test_a_question_before_the_model_is_loaded(worker: PythonWorker) -> None:
    with pytest.raises(ModelError, match="No model has been loaded"):
        worker.infer_x(1.0)
    assert worker.ask("ping").get("infers") == "0"


@pytest.mark.parametrize(
    ("source", "entry", "words"),
    [
        ("raise OSError('the weights are gone')", "mine:predict", "OSError: the weights are gone"),
        ("import sys; sys.exit('enough')", "mine:predict", "SystemExit: enough"),
        ("def other(): pass", "mine:predict", "AttributeError"),
        ("predict = 5", "mine:predict", "no predict"),
        ("import a_package_that_is_not_there", "mine:predict", "ModuleNotFoundError"),
        ("", "model.pkl", "FileNotFoundError"),
        ("", "yours:predict", "ModuleNotFoundError"),
        ("def predict(columns: return", "mine:predict", "SyntaxError"),
        ("class predict:\n    def __init__(self): {}['seed']", "mine:predict", "KeyError: 'seed'"),
    ],
)  # fmt: skip
def test_a_model_that_does_not_load_ends_the_worker_with_the_reason(
    source: str, entry: str, words: str, folder: Path, worker: PythonWorker
) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        worker.load_code(folder, source, entry=entry)
    assert caught.value.fields["kind"] == "load"
    assert worker.end() == 1
    assert "Traceback" in worker.log


def test_an_input_kind_that_is_none_is_refused(folder: Path, worker: PythonWorker) -> None:
    with pytest.raises(ModelError, match="'matrix' is not one of pandas, numpy"):
        worker.load_code(folder, "def predict(x):\n    return x\n", ("input", "matrix"))
    assert worker.end() == 1


def test_garbage_on_standard_output_is_log_and_not_answer(folder: Path, worker: PythonWorker) -> None:
    source = (
        "import os, sys\nprint('YRD1 garbage at load')\n"
        "def predict(columns):\n    print('YRD1' * 9, file=sys.stderr)\n    os.write(1, b'\\xff\\x00' * 9)\n"
        "    os.system('echo from a child')\n    return columns['x']\n"
    )
    worker.load_code(folder, source)
    assert worker.infer_x(4.0) == {"prediction": [4.0]}
    assert "garbage at load" in worker.log
    assert "from a child" in worker.log


def test_a_death_in_the_middle_of_a_batch_is_seen_at_once(folder: Path, worker: PythonWorker) -> None:
    source = (
        "import os\ndef predict(columns):\n    os.kill(os.getpid(), 11) if columns['x'][0] else os._exit(0)\n"
    )
    worker.load_code(folder, source)
    with pytest.raises(WorkerLostError):
        worker.infer_x(1.0)
    assert worker.end() == -signal.SIGSEGV


def test_sigterm_ends_it_even_inside_the_model(folder: Path, worker: PythonWorker) -> None:
    source = "import signal\ndef predict(columns):\n    open(%r, 'w').close(); signal.pause()\n"
    mark = folder / "reached"
    os.mkfifo(mark)
    worker.load_code(folder, source % str(mark))
    worker.raw().send(infer_frame(9, 1.0))
    mark.open("rb").close()  # opens once the model opens it too
    worker.process.terminate()
    assert worker.end() == -signal.SIGTERM


@pytest.mark.parametrize("path", sorted(BAD.glob("*.frame")), ids=lambda path: path.stem)
def test_a_malformed_frame_ends_the_worker_and_a_cut_one_only_its_connection(
    path: Path, folder: Path, worker: PythonWorker
) -> None:
    worker.load_code(folder, "def predict(columns):\n    return columns['x']\n")
    bad = worker.raw()
    bad.send(path.read_bytes())
    if path.stem in CUT:
        bad.close()
        assert worker.infer_x(1.0) == {"prediction": [1.0]}
        return
    answer = bad.read()
    assert (answer.verb, answer.get("kind")) == ("error", "frame")
    assert answer.get("message")
    assert worker.end() == 65


@pytest.mark.parametrize("verb", ["train", "", "INFER", "load"])
def test_an_unknown_verb_or_a_second_load_ends_it(verb: str, folder: Path, worker: PythonWorker) -> None:
    worker.load_code(folder, "def predict(columns):\n    return columns['x']\n")
    with pytest.raises(ModelError, match=f"asked to '{verb}'") as caught:
        worker.ask(verb)
    assert caught.value.fields["kind"] == "frame"
    assert worker.end() == 65


def test_many_connections_slow_ones_and_dead_ones(folder: Path, worker: PythonWorker) -> None:
    """One sends half a frame, one never reads its 24 MB of answers, one dies; the others are answered."""
    worker.load_code(folder, "def predict(columns):\n    return {c: columns['x'] for c in 'abc'}\n")
    half, deaf, dead = worker.raw(), worker.raw(), worker.raw()
    big = infer_frame(1, *[2.0] * 1_000_000)
    half.send(big[:1000])
    deaf.send(big)
    dead.send(big)
    dead.close()
    others = [worker.connect() for _ in range(40)]
    for number, talk in enumerate(others):
        assert worker.infer_x(float(number), talk=talk)["b"] == [float(number)]
    half.send(big[1000:])
    for slow in (half, deaf):
        assert slow.read().rows == 1_000_000
        slow.send(infer_frame(2, 7.0))
        assert wire.to_values(slow.read().columns[2]) == [7.0]


def test_questions_sent_ahead_are_answered_in_order(folder: Path, worker: PythonWorker) -> None:
    worker.load_code(folder, "def predict(columns):\n    return columns['x']\n")
    client = worker.raw()
    client.send(b"".join(infer_frame(number, float(number)) for number in range(200)))
    for number in range(200):
        answer = client.read()
        assert answer.get("id") == str(number)
        assert struct.unpack("<d", answer.columns[0].data) == (float(number),)


def test_a_bundle_may_call_its_modules_as_the_runtime_does(folder: Path, worker: PythonWorker) -> None:
    (folder / "models.py").write_text("FACTOR = 3\n")
    (folder / "frames.py").write_text("from models import FACTOR\n")
    (folder / "sitecustomize.py").write_text("raise SystemExit('run before the worker')\n")
    source = "import frames\ndef predict(columns):\n    return columns['x'] * frames.FACTOR\n"
    worker.load_code(folder, source)
    assert worker.infer_x(2.0) == {"prediction": [6.0]}
    assert not list(folder.rglob("__pycache__"))


def test_classes_and_instances_as_entries(folder: Path, worker: PythonWorker) -> None:
    source = (
        "class Model:\n    made = 0\n    def __init__(self):\n        Model.made += 1\n"
        "    def score(self, rows):\n        return [row['x'] + Model.made for row in rows]\n"
    )
    worker.load_code(folder, source, ("input", "records"), ("method", "score"), entry="mine:Model")
    assert worker.infer_x(1.0)["prediction"] == [2.0]
    assert worker.infer_x(1.0)["prediction"] == [2.0]


def test_runtime_toml_says_how_to_start_it() -> None:
    runtime = find_runtime("python")
    assert runtime.transport == "socket"
    assert runtime.environment["OMP_NUM_THREADS"] == "1"
    assert installed_version(runtime, sys.executable) == ".".join(map(str, sys.version_info[:3]))


def test_the_runtime_is_written_for_python_3_9() -> None:
    command = [
        str(Path(sys.executable).with_name("vermin")),
        "-t=3.9-",
        "--no-tips",
        str(runtimes_folder() / "python"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_runtime_imports_nothing_of_the_house() -> None:
    for path in (runtimes_folder() / "python").glob("*.py"):
        assert "import modelyard" not in path.read_text()
        assert "from modelyard" not in path.read_text()
    assert load_runtime("models").AnswerError
