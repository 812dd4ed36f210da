"""Reads a model's numbers (contract/numbers.md): frames, each defining named values, then what is answered.

Whatever does not fit the format is refused here, so that the builder meets nothing it does not know.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .forests import LESS, LESS_OR_EQUAL, Forest, Tree
from .frames import PREFIX, Frame, FrameError, Reader, lengths

FORMAT = "1"
MAX_VALUES = 5_000
_MAX_FRAMES = 20_000
_COMPARES = {"less": LESS, "less_or_equal": LESS_OR_EQUAL}
_OTHERS = ("refuse", "missing")
_MAX_MEMBER = 53  # bits of a double
_KINDS = ("string", "bool", "int64")
# Operation to how many values it is of.
OPERATIONS = {
    "add": 2, "subtract": 2, "multiply": 2, "divide": 2, "power": 2, "log": 1, "exp": 1, "sqrt": 1, "abs": 1,
    "floor": 1, "ceiling": 1, "least": 2, "greatest": 2, "less": 2, "less_or_equal": 2, "equal": 2, "not": 1,
    "and": 2, "or": 2, "if": 3, "present": 1, "finite": 1,
}  # fmt: skip
LINKS = ("identity", "log", "logit", "probit", "cloglog", "sqrt", "inverse", "1/mu^2", "softmax", "share")


class NumbersError(Exception):
    """The numbers are not of the format; the message says where."""


class Input(NamedTuple):
    """An input column as it comes: a number, a whole number or a boolean."""

    column: str
    refuses_missing: bool
    refuses_infinite: bool


class Number(NamedTuple):
    """The same number in every row."""

    number: float


class Table(NamedTuple):
    """A number for each level of a column of text (`of` is ""), or for ranges of a value."""

    column: str
    of: str
    levels: tuple
    low: np.ndarray
    high: np.ndarray
    numbers: np.ndarray
    refuses: bool
    refuses_missing: bool = False


class Apply(NamedTuple):
    """An operation on values."""

    operation: str
    of: tuple
    words: str = ""


class Sum(NamedTuple):
    """Values times weights, added up; the value "" stands for 1."""

    values: tuple
    weights: np.ndarray


class Pieces(NamedTuple):
    """A polynomial of its own from each start on: of (value - centre), lowest power first."""

    of: str
    starts: np.ndarray
    centres: np.ndarray
    coefficients: np.ndarray


class Directions(NamedTuple):
    """For each node the first of its candidates that is there: -1 or 1."""

    features: tuple
    nodes: int
    node: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    sign: np.ndarray


class Trees(NamedTuple):
    """A forest over values."""

    features: tuple
    forest: Forest


class Answer(NamedTuple):
    """What is answered of which values."""

    task: str
    link: str
    values: tuple
    names: tuple
    kind: str
    chances: tuple
    scores: tuple


class Numbers(NamedTuple):
    """A model.

    Attributes:
        made: name of a value to its definition and its place among the values that this defines.
        answer: what is answered.
    """

    made: dict
    answer: Answer


def read(path: str) -> Numbers:
    """The numbers in a file.

    Raises:
        NumbersError: it is none of this format.
    """
    try:
        with open(path, "rb") as file:
            frames = list(_frames(file))
            return _Book(frames).read()
    except FrameError as error:
        raise NumbersError(str(error)) from error
    except OSError as error:
        raise NumbersError(f"there is no file of numbers ({error.strerror})") from error


def _frames(file: object) -> object:
    reader, count = Reader(), 0
    while prefix := file.read(PREFIX.size):
        count += 1
        if len(prefix) < PREFIX.size or count > _MAX_FRAMES:
            raise NumbersError(f"the file is cut short, or has over {_MAX_FRAMES} frames")
        header, body = lengths(prefix)
        yield reader.decode(file.read(header), bytearray(file.read(body)))


class _Book:
    def __init__(self, frames: list) -> None:
        self._frames = frames
        self._made = {}

    def read(self) -> Numbers:
        """Read all frames."""
        if not self._frames or self._frames[0].verb != "numbers" or self._frames[0].get("format") != FORMAT:
            raise NumbersError(f"the file is not numbers of format {FORMAT}")
        if self._frames[-1].verb != "answer" or len(self._frames) < 2:  # noqa: PLR2004
            raise NumbersError("the last frame is no answer")
        at = 1
        while at < len(self._frames) - 1:
            end = at + 1
            if self._frames[at].verb == "forest":
                while self._frames[end].verb == "tree":
                    end += 1
            self._define(self._frames[at], self._frames[at + 1 : end])
            at = end
        return Numbers(self._made, self._answer(self._frames[-1]))

    def _define(self, frame: Frame, trees: list) -> None:
        readers = {
            "input": self._input, "number": self._number, "table": self._table, "apply": self._apply,
            "sum": self._sum, "pieces": self._pieces, "directions": self._directions,
        }  # fmt: skip
        names = _all(frame, "name")
        if frame.verb == "forest":
            made = self._forest(frame, trees, len(names))
        elif frame.verb in readers:
            made = readers[frame.verb](frame)
        else:
            raise NumbersError(f"there is no frame {frame.verb!r}")
        wanted = made.nodes if isinstance(made, Directions) else len(names) if frame.verb == "forest" else 1
        if not names or len(names) != wanted:
            raise NumbersError(f"a frame {frame.verb!r} defines {len(names)} values")
        for place, name in enumerate(names):
            if not name or name in self._made or len(self._made) >= MAX_VALUES:
                raise NumbersError(f"the value {name!r} is defined twice, or there are over {MAX_VALUES}")
            self._made[name] = (made, place)

    def _known(self, name: str) -> str:
        if name not in self._made:
            raise NumbersError(f"the value {name!r} is not defined before it is used")
        return name

    @staticmethod
    def _input(frame: Frame) -> Input:
        refuses = (frame.get(what) == "refuse" for what in ("missing", "infinite"))
        return Input(frame.get("input"), *refuses)

    @staticmethod
    def _number(frame: Frame) -> Number:
        return Number(float(_numbers(frame, "number", 1)[0]))

    def _table(self, frame: Frame) -> Table:
        numbers, other = _numbers(frame, "number"), frame.get("other")
        if other not in _OTHERS:
            raise NumbersError(f"a table says {other!r} of other values")
        if not frame.get("of"):
            levels = tuple(_texts(frame, "level"))
            if len(set(levels)) != len(levels) or not levels:
                raise NumbersError("a table has a level twice, or none")
            refuses = other == "refuse", frame.get("missing") == "refuse"
            return Table(frame.get("input"), "", levels, numbers, numbers, numbers, *refuses)
        low, high = _numbers(frame, "low"), _numbers(frame, "high")
        if not len(low) or np.isnan(low).any() or np.isnan(high).any():
            raise NumbersError("a table has no ranges, or one without an end")
        words = frame.get("words")[:100]
        return Table(words, self._known(frame.get("of")), (), low, high, numbers, other == "refuse")

    def _apply(self, frame: Frame) -> Apply:
        operation, of = frame.get("op"), next(iter(frame.all("of")), ())
        if OPERATIONS.get(operation) != len(of):
            raise NumbersError(f"there is no operation {operation!r} of {len(of)} values")
        return Apply(operation, tuple(self._known(name) for name in of), frame.get("words")[:100])

    def _sum(self, frame: Frame) -> Sum:
        values = tuple(name and self._known(name) for name in _texts(frame, "value"))
        return Sum(values, _numbers(frame, "weight"))

    def _pieces(self, frame: Frame) -> Pieces:
        starts = _numbers(frame, "start")
        if not len(starts) or starts[0] != -np.inf or not (np.diff(starts) > 0).all():
            raise NumbersError("pieces do not begin at minus infinity, or are not in order")
        return Pieces(self._known(frame.get("of")), starts, _numbers(frame, "centre"), _matrix(frame, "c"))

    def _directions(self, frame: Frame) -> Directions:
        features = tuple(self._known(name) for name in _all(frame, "feature"))
        node, feature = _whole(frame, "node"), _whole(frame, "feature")
        nodes = len(_all(frame, "name"))
        if (
            not len(node)
            or node.min() < 0
            or node.max() >= nodes
            or feature.min() < -1
            or feature.max() >= len(features)
        ):
            raise NumbersError("directions name a node or a feature that is not there")
        sign = np.where(_numbers(frame, "less_is_left") == 1, -1.0, 1.0)
        return Directions(features, nodes, node, feature, _numbers(frame, "threshold"), sign)

    def _forest(self, frame: Frame, trees: list, outputs: int) -> Trees:
        features = tuple(self._known(name) for name in _all(frame, "feature"))
        compare = frame.get("compare")
        if compare not in _COMPARES or not trees or not features:
            raise NumbersError("a forest has no trees, no features, or no way to compare")
        read = [_tree(each, len(features), outputs) for each in trees]
        divisor = float(len(read)) if frame.get("average") == "yes" else 1.0
        return Trees(features, Forest(read, outputs, _COMPARES[compare], False, np.zeros(outputs), divisor))  # noqa: FBT003

    def _answer(self, frame: Frame) -> Answer:
        task, link, kind = frame.get("task"), frame.get("link", "identity"), frame.get("kind", "string")
        values, chances, scores = (
            tuple(map(self._known, _all(frame, k))) for k in ("value", "chance", "score")
        )
        names = tuple(_all(frame, "output" if task == "regression" else "class"))
        if link not in LINKS or kind not in _KINDS or len(set(names)) != len(names):
            raise NumbersError(f"the answer has the link {link!r}, the kind {kind!r}, or one name twice")
        binary = len(names) == 2 and len(chances) == 1  # noqa: PLR2004
        if task == "regression":
            fits = bool(values) and len(values) == len(names)
        else:
            fits = task == "classification" and len(names) > 1 and (binary or len(chances) in (0, len(names)))
            fits = fits and len(scores) in (0, len(names)) and bool(chances or scores)
        if not fits:
            raise NumbersError(f"the answer of the task {task!r} has not as many values as names")
        return Answer(task, link, values, names, kind, chances, scores)


def _all(frame: Frame, key: str) -> list:
    return [values[0] if values else "" for values in frame.all(key)]


def _column(frame: Frame, name: str, kind: str) -> object:
    for own, its, values, valid in frame.columns:
        if own == name and its == kind and (valid is None or valid.all()):
            return values
    raise NumbersError(f"a frame {frame.verb!r} has no column {name!r} of {kind} without gaps")


def _numbers(frame: Frame, name: str, rows: int | None = None) -> np.ndarray:
    if rows is not None and frame.rows != rows:
        raise NumbersError(f"a frame {frame.verb!r} has {frame.rows} rows")
    return np.array(_column(frame, name, "float64"))


def _texts(frame: Frame, name: str) -> list:
    return list(_column(frame, name, "string"))


def _whole(frame: Frame, name: str) -> np.ndarray:
    numbers = _numbers(frame, name)
    if not (np.abs(numbers) < 2**31).all() or (numbers != np.floor(numbers)).any():
        raise NumbersError(f"the column {name!r} of a frame {frame.verb!r} is not of whole numbers")
    return numbers.astype(np.int64)


def _matrix(frame: Frame, prefix: str) -> np.ndarray:
    """The columns prefix1, prefix2, … beside each other."""
    names = [
        name for name, *_ in frame.columns if name[: len(prefix)] == prefix and name[len(prefix) :].isdigit()
    ]
    wanted = [f"{prefix}{i + 1}" for i in range(len(names))]
    if not wanted or names != wanted:
        raise NumbersError(f"a frame {frame.verb!r} has no columns {prefix}1, {prefix}2 …")
    return np.column_stack([_numbers(frame, name) for name in wanted])


def _tree(frame: Frame, features: int, outputs: int) -> Tree:
    feature, left, right = (_whole(frame, name) for name in ("feature", "left", "right"))
    value = _matrix(frame, "value")
    inner = np.flatnonzero(feature >= 0)
    count = len(feature)
    if not count or feature.min() < -1 or feature.max() >= features or value.shape[1] != outputs:
        raise NumbersError("a tree has no nodes, or names a feature or an output that is not there")
    sides = np.concatenate([left[inner], right[inner]])
    # Each node but the root is the child of one node before it: so it is a tree, and it ends.
    if (
        sorted(sides.tolist()) != list(range(1, count))
        or (np.minimum(left[inner], right[inner]) <= inner).any()
    ):
        raise NumbersError("a tree's nodes do not stand after their parents, each below one of them")
    names = {name for name, *_ in frame.columns}
    missing = _numbers(frame, "missing_left") == 1 if "missing_left" in names else np.zeros(count, dtype=bool)
    members = {}
    if "members" in names:
        bits = _numbers(frame, "members")
        for node in inner[bits[inner] >= 0].tolist():
            members[node] = [float(i + 1) for i in range(_MAX_MEMBER) if int(bits[node]) >> i & 1] or [0.0]
    target = 0 if outputs == 1 else -1
    return Tree(
        feature,
        _numbers(frame, "threshold"),
        left,
        right,
        missing,
        target,
        value[:, 0] if outputs == 1 else value,
        members,
    )
