"""Numbers (contract/numbers.md): what they mean is built, what does not fit is refused by name."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest

from modelyard.records.signatures import ColumnType
from modelyard.workers.runtimes import runtimes_folder
from modelyard.workers.wire import Frame, encode, from_values

INPUTS = [["x", "float64", True, []], ["n", "int64", True, []], ["f", "string", True, []]]
NUMBERS, TEXT = ColumnType.FLOAT64, ColumnType.STRING
Fields = Sequence[tuple[str, ...]]


def frame(verb: str, fields: Fields, **columns: Sequence[Any]) -> Frame:
    """A frame whose columns are strings where their values are."""
    made = [
        from_values(name, TEXT if values and isinstance(values[0], str) else NUMBERS, list(values))
        for name, values in columns.items()
    ]
    return Frame(verb, tuple(fields), len(next(iter(columns.values()))) if columns else None, tuple(made))


BEGIN = frame("numbers", [("format", "1")])
X = frame("input", [("name", "x"), ("input", "x")])
N = frame("input", [("name", "n"), ("input", "n")])
ANSWER = frame("answer", [("task", "regression"), ("value", "v"), ("output", "prediction")])


def built(folder: Path, *frames: Frame, data: bytes = b"") -> str:
    """Build in a process apart; the words of a refusal, or "" where there are the files."""
    (folder / "numbers.frames").write_bytes(data or b"".join(map(encode, frames)))
    command = [sys.executable, "-I", "-B", str(runtimes_folder() / "portable/build.py"), str(folder)]
    question = json.dumps({"inputs": INPUTS})
    done = subprocess.run(command, input=question + "\n", text=True, capture_output=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    return (folder / "refused.txt").read_text() if done.returncode else ""


def answers(folder: Path, *values: Frame, x: Sequence[float]) -> list[float]:
    """What the graph of these values answers to this column x."""
    assert built(folder, BEGIN, X, *values, ANSWER) == ""
    session = onnxruntime.InferenceSession((folder / "model.onnx").read_bytes())
    (given,) = session.get_inputs()
    found = session.run(None, {given.name: np.array(x, dtype=float).reshape(-1, 1)})[0]
    return [float(value) for value in np.asarray(found).ravel()]


def applied(name: str, operation: str, *of: str) -> Frame:
    return frame("apply", [("name", name), ("op", operation), ("of", *of)])


def number(name: str, value: float) -> Frame:
    return frame("number", [("name", name)], number=[value])


def test_pieces_are_polynomials_around_their_centres(tmp_path: Path) -> None:
    pieces = frame(
        "pieces", [("name", "v"), ("of", "x")],
        start=[-math.inf, 0.0, 2.0], centre=[0.0, 1.0, 2.0],
        c1=[0.0, 1.0, 5.0], c2=[0.0, 0.0, 1.0], c3=[0.0, 1.0, 0.0],
    )  # fmt: skip
    found = answers(tmp_path, pieces, x=[-3.0, 0.0, 1.5, 2.0, 4.0, math.nan])
    assert found == pytest.approx([0.0, 2.0, 1.25, 5.0, 7.0, math.nan], nan_ok=True)


def test_logic_has_three_values(tmp_path: Path) -> None:
    """As R: FALSE & NA is FALSE, TRUE | NA is TRUE, and what is compared with NA is NA."""
    parts = [
        number("0", 0.0), number("gap", math.nan), applied("positive", "less", "0", "x"),
        applied("a", "and", "positive", "gap"), applied("o", "or", "positive", "gap"),
        number("2", 2.0), applied("o2", "multiply", "o", "2"), applied("known", "equal", "a", "a"),
        applied("v", "if", "positive", "o2", "a"),
    ]  # fmt: skip
    assert answers(tmp_path, *parts, x=[1.0, -1.0, math.nan]) == pytest.approx(
        [2.0, 0.0, math.nan], nan_ok=True
    )


def test_directions_take_the_first_feature_that_is_there(tmp_path: Path) -> None:
    """Node a asks x, then goes left; node b asks x alone and otherwise does not know."""
    gone = frame("directions", [("name", "a"), ("name", "b"), ("feature", "x")],
        node=[0, 0, 1], feature=[0, -1, 0], threshold=[5.0, 0.0, 3.0], less_is_left=[1, 1, 0],
    )  # fmt: skip
    forest = frame("forest", [("name", "v"), ("feature", "a"), ("feature", "b"), ("compare", "less")])
    tree = frame("tree", [], feature=[0, 1, -1, -1, -1], threshold=[0.0, 0.0, 0.0, 0.0, 0.0],
        left=[1, 3, 0, 0, 0], right=[2, 4, 0, 0, 0], value1=[0, 0, 10, 20, 30], missing_left=[0, 1, 0, 0, 0],
    )  # fmt: skip
    assert answers(tmp_path, gone, forest, tree, x=[9.0, 4.0, 1.0, math.nan]) == [10.0, 20.0, 30.0, 20.0]


def test_members_go_left_whatever_the_threshold(tmp_path: Path) -> None:
    forest = frame("forest", [("name", "v"), ("feature", "x"), ("compare", "less")])
    tree = frame("tree", [], feature=[0, -1, -1], threshold=[0.0, 0.0, 0.0], left=[1, 0, 0], right=[2, 0, 0],
        value1=[0, 1, 2], members=[0b101, -1, -1],
    )  # fmt: skip
    assert answers(tmp_path, forest, tree, x=[1.0, 2.0, 3.0]) == [1.0, 2.0, 1.0]


SUM = frame("sum", [("name", "v")], value=["", "x"], weight=[1.0, 2.0])
FOREST = frame("forest", [("name", "v"), ("feature", "x"), ("compare", "less")])
LEAF = {"feature": [-1.0], "threshold": [0.0], "left": [0.0], "right": [0.0], "value1": [1.0]}
LOOP = {**{k: v * 3 for k, v in LEAF.items()}, "feature": [0.0, -1.0, -1.0], "left": [1.0, 0.0, 0.0]}


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "not numbers of format 1"),
        ([frame("numbers", [("format", "9")]), X, ANSWER], "not numbers of format 1"),
        ([BEGIN, X, SUM], "the last frame is no answer"),
        ([BEGIN, SUM, ANSWER], "the value 'x' is not defined before it is used"),
        ([BEGIN, X, X, ANSWER], "the value 'x' is defined twice"),
        ([BEGIN, frame("input", [("name", "v"), ("input", "y")]), ANSWER], "there is no input 'y'"),
        ([BEGIN, frame("input", [("name", "v"), ("input", "f")]), ANSWER], "is text, not a number"),
        ([BEGIN, X, applied("v", "system", "x"), ANSWER], "there is no operation 'system'"),
        ([BEGIN, X, applied("v", "add", "x"), ANSWER], "there is no operation 'add' of 1 values"),
        ([BEGIN, X, frame("run", [("name", "v")]), ANSWER], "there is no frame 'run'"),
        ([BEGIN, number("v", 1.0), ANSWER], "the model reads no column"),
        ([BEGIN, X, FOREST, ANSWER], "a forest has no trees"),
        ([BEGIN, X, FOREST, frame("tree", [], **{**LEAF, "feature": [1.0]}), ANSWER], "names a feature"),
        ([BEGIN, X, FOREST, frame("tree", [], **{**LEAF, "feature": [0.5]}), ANSWER], "not of whole numbers"),
        ([BEGIN, X, FOREST, frame("tree", [], **LOOP), ANSWER], "each below one of them"),
        ([BEGIN, X, frame("sum", [("name", "v")], value=["x"]), ANSWER], "has no column 'weight'"),
        ([BEGIN, X, SUM, frame("answer", [("task", "regression"), ("value", "v")])], "not as many values as"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, frames: list[Frame], words: str) -> None:
    assert words in built(tmp_path, *frames)


@pytest.mark.parametrize("left", [3, 40, -1])
def test_numbers_cut_short_are_refused(tmp_path: Path, left: int) -> None:
    whole = b"".join(map(encode, [BEGIN, X, SUM, ANSWER]))
    assert built(tmp_path, data=whole[:left]).startswith("its numbers make no portable form: ")
