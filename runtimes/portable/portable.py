"""Load a model's portable form, `model.onnx` and the description beside it, and ask it.

The description (`portable.json`, see README.md) is data: which inputs become which tensors, what the model
refuses, and how its outputs are read. Nothing in this runtime unpickles or imports what came with a model.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource

import numpy as np
import onnxruntime

from . import check
from .answers import AnswerError, class_texts

DESCRIPTION = "portable.json"
FORMAT = 1
MISSING = "\0missing"  # stands for a missing string in tensors: no string of the wire can hold it
MAX_DESCRIPTION = 16 * 1024 * 1024
_LOAD_ROOM = 256 * 1024 * 1024  # bytes of memory that loading may take, and as many times the file's size:
_LOAD_TIMES = 16
_NUMPY = {"double": "<f8", "float": "<f4", "int64": "<i8"}


class Tensor:
    """One tensor of the graph's inputs, made of columns.

    Args:
        told: its entry in the description.
        places: name of a column to its place in the batch.
    """

    def __init__(self, told: dict, places: dict) -> None:
        self.name, self.type = told["tensor"], told["type"]
        self.columns = list(told["columns"])
        self._places = [places[name] for name in self.columns]
        self._whole = self._places == list(range(len(places)))
        narrow = set(told.get("narrow", ()))
        self._narrow = [i for i, name in enumerate(self.columns) if name in narrow]
        if self.type not in _NUMPY and self.type != "string":
            raise ValueError(f"The description has a tensor of the type {self.type!r}.")

    def array(self, batch: object) -> np.ndarray:
        """The tensor of a batch, rows by columns."""
        if self.type == "string":
            return self._strings(batch)
        if self._whole and batch.matrix is not None:
            array = np.array(batch.matrix, dtype="<f8", order="C")
        else:
            array = np.empty((batch.rows, len(self._places)), dtype="<f8" if self.type != "int64" else "<i8")
            for i, place in enumerate(self._places):
                _, kind, values, valid = batch.columns[place]
                array[:, i] = values
                if valid is not None and kind != "float64":
                    array[~valid, i] = np.nan
        for i in self._narrow:
            array[:, i] = array[:, i].astype("<f4")
        return array

    def _strings(self, batch: object) -> np.ndarray:
        array = np.empty((batch.rows, len(self._places)), dtype=object)
        for i, place in enumerate(self._places):
            _, _, values, valid = batch.columns[place]
            array[:, i] = values
            if valid is not None:
                array[~valid, i] = MISSING
        return array


class Guard:
    """What the model refuses: where it does not answer a value in a column, neither does this.

    Args:
        refuses: columns in which a missing value is refused.
        limits: column to the smallest and largest number that is answered.
        known: column to the only strings that are answered.
    """

    def __init__(self, tensor: Tensor, refuses: list, limits: dict, known: dict) -> None:
        self._columns = tensor.columns
        self._is_text = tensor.type == "string"
        self._no_gap = np.array([name in refuses for name in self._columns])
        bounds = np.array([limits.get(name, (-np.inf, np.inf)) for name in self._columns], dtype="<f8")
        self._low, self._high = bounds[:, 0], bounds[:, 1]
        self._is_open = not self._no_gap.any() and not np.isfinite(bounds).any()
        self._is_float = tensor.type in ("double", "float")
        self._safe = min(self._high.min(initial=np.inf), -self._low.max(initial=-np.inf))
        self._known = [frozenset(known[name]) if name in known else None for name in self._columns]

    def check(self, array: np.ndarray) -> None:
        """Look at a tensor's values.

        Raises:
            AnswerError: one is refused; the message names the column.
        """
        if self._is_text:
            self._check_text(array)
        elif not self._is_open and not self._is_plain(array):
            out = (array < self._low) | (array > self._high)  # a missing value is neither
            if out.any():
                column = int(out.any(axis=0).argmax())
                wrong = array[out[:, column], column][0]
                raise AnswerError(
                    f"The model does not take {float(wrong)!r} in the column {self._columns[column]!r}."
                )
            if self._no_gap.any():
                self._refuse_gap(np.isnan(array))

    def _is_plain(self, array: np.ndarray) -> bool:
        """Whether nothing is missing, and all is within its limits; within the narrowest is found soonest."""
        if self._is_float and np.abs(array).max(initial=0.0) <= self._safe:
            return True
        return bool(((array >= self._low) & (array <= self._high)).all())

    def _check_text(self, array: np.ndarray) -> None:
        self._refuse_gap(array == MISSING)
        for i, name in enumerate(self._columns):
            if self._known[i] is not None:
                strange = set(array[:, i].tolist()) - self._known[i] - {MISSING}
                if strange:
                    shown = ascii(min(strange))[:80]
                    raise AnswerError(f"The model does not know the value {shown} of the column {name!r}.")

    def _refuse_gap(self, gaps: np.ndarray) -> None:
        refused = (gaps & self._no_gap).any(axis=0)
        if refused.any():
            name = self._columns[int(refused.argmax())]
            raise AnswerError(f"The model does not take a missing value, as in the column {name!r}.")


class Strange:
    """What the graph itself finds that the model refuses.

    Args:
        tensor: an output, rows by columns: not 0 where a value is refused.
        columns: of what, a name a column.
    """

    def __init__(self, tensor: str, columns: list) -> None:
        self.tensor, self._columns = tensor, list(columns)

    def check(self, found: np.ndarray) -> None:
        """Look at the graph's output.

        Raises:
            AnswerError: a value is refused.
        """
        if found.any():
            column = self._columns[int(found.any(axis=0).argmax())]
            raise AnswerError(
                f"The model does not take a value of {column!r}: it has not seen its like, or it is missing."
            )


class Row:
    """A graph that is asked one row at a time, as most are where nobody waits.

    Its tensors stay bound: to look at them and to make the outputs anew took as long as a small graph itself.

    Args:
        feeds: a row.
        found: what the graph answered to it.

    Raises:
        Exception: the graph cannot be asked so, or answers otherwise then.
    """

    def __init__(self, session: onnxruntime.InferenceSession, wanted: list, feeds: dict, found: list) -> None:
        self._session, self._wanted = session, wanted
        self._binding = session.io_binding()
        self._inputs = {name: array.copy() for name, array in feeds.items()}
        self._outputs = [np.zeros_like(array) for array in found]
        for name, array in self._inputs.items():
            self._binding.bind_cpu_input(name, array)
        for name, array in zip(wanted, self._outputs):  # noqa: B905  # Python 3.9
            self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(self._binding)
        if not all(map(_same, found, self._outputs)):
            raise ValueError("The graph answers otherwise where its tensors are bound.")

    def run(self, feeds: dict) -> list:
        """The outputs, until the next call."""
        for name, array in feeds.items():
            self._inputs[name][:] = array
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception:  # noqa: BLE001  # the graph refuses it, or its outputs are of another shape this time
            return self._session.run(self._wanted, feeds)
        return [*self._outputs]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _is_numeric(tensor: object) -> bool:
    return isinstance(tensor, np.ndarray) and tensor.dtype.kind in "fib"


class Regression:
    """One prediction or several a row."""

    def __init__(self, told: dict) -> None:
        self.wanted = [told["tensor"]]
        self._names = list(told["names"])

    def columns(self, found: list, rows: int) -> list:
        """The answer's columns."""
        array = np.asarray(found[0], dtype="<f8").reshape(rows, -1)
        if array.shape[1] != len(self._names):
            raise AnswerError(
                f"The graph answers {array.shape[1]} outputs, {len(self._names)} are described."
            )
        return [(name, "float64", array[:, i], None) for i, name in enumerate(self._names)]


class Classification:
    """A label and, where the model gives them, probabilities.

    The label is the graph's own where the description names its tensor (`label`) or that of its number
    (`best`), else the most probable class: as in the native runtime, where that is what `predict` says. With
    `gaps` it is missing where a probability is.
    """

    def __init__(self, told: dict) -> None:
        self._chances, self._labels, self._best = (told.get(k) for k in ("probabilities", "label", "best"))
        self.wanted = [name for name in (self._chances, self._labels, self._best) if name]
        self._has_gaps = bool(told.get("gaps"))
        self._kind = told["kind"]
        self._classes = list(told["classes"])
        texts = class_texts(np.asarray(self._classes))
        self._names = ["probability:" + text for text in texts]

    def columns(self, found: list, rows: int) -> list:
        """The answer's columns."""
        found = dict(zip(self.wanted, found))  # noqa: B905  # Python 3.9
        columns, valid = [], None
        if self._chances:
            array = np.asarray(found[self._chances], dtype="<f8").reshape(rows, -1)
            if array.shape[1] != len(self._classes):
                raise AnswerError(f"The graph answers {array.shape[1]} probabilities a row.")
            columns = [(name, "float64", array[:, i], None) for i, name in enumerate(self._names)]
            if self._has_gaps and np.isnan(array).any():
                valid = ~np.isnan(array).any(axis=1)
        if self._labels:
            labels = found[self._labels].reshape(rows).tolist()
        else:
            best = found[self._best].reshape(rows) if self._best else array.argmax(axis=1)
            labels = [self._classes[i] for i in best.tolist()]
        if self._kind != "string":
            labels = np.array(labels, dtype="?" if self._kind == "bool" else "<i8")
        return [("label", self._kind, labels, valid), *columns]


class Portable:
    """A loaded portable form.

    Args:
        session: onnxruntime's session.
        told: the description.
        signature: an `Input` a column.
    """

    def __init__(self, session: onnxruntime.InferenceSession, told: dict, signature: list) -> None:
        self.names = [each.name for each in signature]
        places = {name: i for i, name in enumerate(self.names)}
        self._session = session
        self._tensors = [Tensor(entry, places) for entry in told["inputs"]]
        refused = told.get("refuses", []), told.get("limits", {}), told.get("known", {})
        self._guards = [Guard(tensor, *refused) for tensor in self._tensors]
        readers = {"regression": Regression, "classification": Classification}
        self._reader = readers[told["outputs"]["task"]](told["outputs"])
        self._strange = Strange(**told["strange"]) if "strange" in told else None
        self._wanted = [*self._reader.wanted, *([self._strange.tensor] if self._strange else [])]
        self._row = None

    def try_one(self) -> None:
        """Ask one empty row, so that a graph that needs too much memory for that is noticed at load.

        Raises:
            MemoryError: it needs more than may be taken now. What else is wrong with such a row is no matter.
        """
        kinds = {**_NUMPY, "string": object}
        feeds = {
            t.name: np.full((1, len(t.columns)), 0 if t.type != "string" else "", kinds[t.type])
            for t in self._tensors
        }
        try:
            found = self._run(feeds)
        except Exception as error:  # noqa: BLE001  # onnxruntime's errors have no types that say more
            if "alloc" in str(error).lower():
                raise MemoryError(f"One row takes more memory than it may: {error}") from None
            return
        if all(map(_is_numeric, (*feeds.values(), *found))):
            with contextlib.suppress(Exception):  # then each call makes its own
                self._row = Row(self._session, self._wanted, feeds, found)

    def answer(self, batch: object) -> list:
        """The answer to a batch, which has `rows`, `columns` and `matrix` (see frames.py), as columns.

        Raises:
            AnswerError: no rows, or one that the model refuses.
        """
        if not batch.rows:
            raise AnswerError("There are no rows to answer; ask for one at least.")
        feeds = {}
        for tensor, guard in zip(self._tensors, self._guards):  # noqa: B905  # Python 3.9
            array = tensor.array(batch)
            guard.check(array)
            if tensor.type == "float":
                with np.errstate(over="ignore"):
                    array = array.astype("<f4")
            feeds[tensor.name] = array
        run = self._row.run if self._row and batch.rows == 1 else self._run
        found = run(feeds)
        if self._strange:
            self._strange.check(found.pop())
        return self._reader.columns(found, batch.rows)

    def _run(self, feeds: dict) -> list:
        return self._session.run(self._wanted, feeds)


def load(bundle: str, entry: str, options: dict, signature: list) -> Portable:  # noqa: ARG001  # as the others
    """The portable form in a folder, checked before it is opened and opened within a bound of memory.

    Raises:
        UnsafeError: the file is none that may be loaded.
        ValueError, KeyError: the description is not one.
        Exception: onnxruntime's own words.
    """
    told = _description(os.path.join(bundle, DESCRIPTION))
    with open(os.path.join(bundle, entry), "rb") as file:
        data = file.read(check.MAX_FILE + 1)
    check.check(data)
    with _bounded(_LOAD_ROOM + _LOAD_TIMES * len(data)):
        found = Portable(_session(data), told, signature)
        found.try_one()
        return found


def _description(path: str) -> dict:
    with open(path, "rb") as file:
        told = json.loads(file.read(MAX_DESCRIPTION))
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValueError(f"{DESCRIPTION} is not of format {FORMAT}, which this yard reads.")
    return told


def _session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _bounded(room: int) -> object:
    """Within it the process may take so many bytes more; what asks for more fails instead of taking them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + room
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if soft < 0 else min(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
