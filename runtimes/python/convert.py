"""Turns a model into its portable form, once: a process of its own in the model's own environment.

    python -I -B convert.py FOLDER        (the question: a line of JSON on standard input)

FOLDER gets `model.onnx`, `portable.json` (see runtimes/portable) and `hints.json` (numbers near which the
two forms could differ, for the proof), or `refused.txt` with the reason, and then the exit code is 3. The
question has `bundle`, `entry`, `options`, `inputs` (name, type, missing, levels), `example` (name to values)
and `overlay`: a folder with the converter's packages, searched after the environment's own, or "".
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import struct
import sys
import threading
import types
import warnings

REFUSED = 3
_PACKAGE = "_modelyard_runtime"
_package = types.ModuleType(_PACKAGE)
_package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
sys.modules[_PACKAGE] = _package
_MISSING = "\0missing"  # as in runtimes/portable: no string of the wire holds a NUL
_UNSEEN = "\u2603 a value nobody has seen"
_INFINITE = float("inf")
_HINTS = 400  # thresholds a column, and known values
_WORDS = 500  # characters of a reason


class Batch:
    """A few rows as frames.py gives them."""

    matrix = None

    def __init__(self, columns: list, rows: int) -> None:
        self.columns, self.rows = columns, rows


def main() -> int:
    """Convert; the exit code."""
    folder = sys.argv[-1]
    question = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_engine, daemon=True).start()
    if question["overlay"]:
        sys.path.append(question["overlay"])
    try:
        found = convert(question)
    except Exception as error:  # noqa: BLE001  # skl2onnx and what it calls raise anything
        if type(error).__name__ == "RefusedError":
            words = f"not a model the converter knows: {error}"
        else:
            words = f"not converted: {type(error).__name__}: {' '.join(str(error).split())}"
        _write(folder, "refused.txt", words[:_WORDS].encode("utf-8", "replace"))
        return REFUSED
    for name, data in found.items():
        _write(folder, name, data)
    return 0


def _end_with_the_engine() -> None:
    """Wait for the end of the input, which the engine keeps open while it lives."""
    os.read(0, 1)
    os._exit(1)


def _write(folder: str, name: str, data: bytes) -> None:
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def convert(question: dict) -> dict:
    """The files of the portable form, name to bytes.

    Raises:
        Exception: the model cannot be converted; the words are for its owner.
    """
    warnings.simplefilter("ignore")
    models = importlib.import_module(_PACKAGE + ".models")
    inputs = importlib.import_module(_PACKAGE + ".inputs")
    forests = importlib.import_module(_PACKAGE + ".forests")
    signature = [
        inputs.Input(name, kind, missing, tuple(levels)) for name, kind, missing, levels in question["inputs"]
    ]
    sys.path.insert(0, question["bundle"])
    model = models.unpickled(os.path.join(question["bundle"], question["entry"]))
    if not hasattr(model, "get_params") or "method" in question["options"]:
        raise forests.RefusedError(f"a {type(model).__name__}, or one asked by a method of its own")
    native = models.Model(model, question["options"], signature)
    model = getattr(model, "best_estimator_", model)
    rows = example(signature, question["example"])
    layout = tensors(model, signature, question["options"])
    onnx, outputs = _graph(model, layout)
    told = {
        "format": 1,
        "inputs": layout,
        **probed(native, model, rows),
        "outputs": described(model, native.answer(rows), outputs, is_one_call=models.is_one_call(model)),
    }
    hints = {"thresholds": _thresholds(forests, model, layout)}
    files = {"portable.json": told, "hints.json": hints}
    return {"model.onnx": onnx, **{name: json.dumps(value).encode() for name, value in files.items()}}


def example(signature: list, given: dict) -> Batch:
    """The bundle's example as a batch."""
    import numpy as np  # noqa: PLC0415  # what the environment has is searched first

    columns, rows = [], 0
    for each in signature:
        values = given[each.name]
        rows, valid = len(values), np.array([v is not None for v in values])
        gap = {"float64": np.nan, "int64": 0, "bool": False, "string": ""}[each.kind]
        filled = [gap if v is None else v for v in values]
        if each.kind != "string":
            filled = np.array(filled, dtype={"float64": "<f8", "int64": "<i8", "bool": "?"}[each.kind])
        columns.append((each.name, each.kind, filled, None if each.kind == "float64" else valid))
    return Batch(columns, rows)


def tensors(model: object, signature: list, options: dict) -> list:
    """Which columns become which tensors: one of all, or one a column where steps choose among them."""
    narrow = [s.name for s in signature if options.get("dtype:" + s.name) in {"float32", "float16"}]
    if options.get("dtype") == "float32":
        narrow = [s.name for s in signature]
    texts = [s.kind == "string" for s in signature]
    if not any(texts) and not _chooses_by_name(model, options):
        return [{"tensor": "X", "type": "double", "columns": [s.name for s in signature], "narrow": narrow}]
    if all(texts) and not _chooses_by_name(model, options):
        return [{"tensor": "X", "type": "string", "columns": [s.name for s in signature]}]
    return [
        {
            "tensor": s.name,
            "type": "string" if s.kind == "string" else "double",
            "columns": [s.name],
            "narrow": [s.name] if s.name in narrow else [],
        }
        for s in signature
    ]


def _chooses_by_name(model: object, options: dict) -> bool:
    return options.get("input", "pandas") != "numpy" and any(
        type(part).__name__ == "ColumnTransformer" for part in parts(model)
    )


def parts(model: object) -> list:
    """The model and every estimator inside it."""
    found, waiting, seen = [], [model], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (list, tuple)):
            waiting += list(each)
        elif hasattr(each, "get_params"):
            found.append(each)
            waiting += [
                value
                for value in vars(each).values()
                if isinstance(value, (list, tuple)) or hasattr(value, "get_params")
            ]
    return found


def _graph(model: object, layout: list) -> tuple:
    """The ONNX file and its outputs' names."""
    import numpy as np  # noqa: PLC0415
    from skl2onnx import convert_sklearn  # noqa: PLC0415
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType  # noqa: PLC0415

    graphs = importlib.import_module(_PACKAGE + ".graphs")
    graphs.register({name.partition(".")[0] for name in sys.modules})
    ready = copy.deepcopy(model)
    for part in parts(ready):  # a missing string is a string of its own in tensors
        if isinstance(getattr(part, "categories_", None), list):
            part.categories_ = [_with_gap(np, known) for known in part.categories_]
    kinds = {"double": DoubleTensorType, "string": StringTensorType}
    types_ = [(each["tensor"], kinds[each["type"]]([None, len(each["columns"])])) for each in layout]
    versions = {"": 20, "ai.onnx.ml": 3}
    try:
        plain = {id(ready): {"zipmap": False}} if hasattr(ready, "classes_") else None
        made = convert_sklearn(ready, initial_types=types_, options=plain, target_opset=versions)
    except NameError:  # a classifier that knows of no such option
        made = convert_sklearn(ready, initial_types=types_, target_opset=versions)
    graphs.newest(made)
    kept = {each.name for each in made.graph.input}
    layout[:] = [each for each in layout if each["tensor"] in kept]
    return made.SerializeToString(), [each.name for each in made.graph.output]


def _with_gap(np: object, known: object) -> object:
    if known.dtype.kind != "O":
        return known
    gaps = [value is None or value != value for value in known.tolist()]  # noqa: PLR0124
    return np.array([_MISSING if gap else value for value, gap in zip(known.tolist(), gaps)], dtype=object)  # noqa: B905


def described(model: object, answer: list, outputs: list, *, is_one_call: bool) -> dict:
    """How the graph's outputs are the columns that the native form answers."""
    names = [column[0] for column in answer]
    if names[0] != "label":
        return {"task": "regression", "tensor": outputs[0], "names": names}
    classes = getattr(model, "classes_").tolist()  # noqa: B009  # a plain attribute to a reader, not to a checker
    has_chances = len(names) > 1
    return {
        "task": "classification",
        "kind": answer[0][1],
        "classes": classes,
        "probabilities": outputs[1] if has_chances else None,
        "label": None if has_chances and is_one_call else outputs[0],
    }


def probed(native: object, model: object, rows: Batch) -> dict:
    """What the native form refuses, found by asking it: a row of the example with one value replaced."""
    base = [
        (n, kind, values[:1], None if valid is None else valid[:1]) for n, kind, values, valid in rows.columns
    ]
    refuses, limits, known, encoded = [], {}, {}, _known(model)
    found = {-1.0: [], 1.0: []}

    def refused(i: int, column: tuple) -> bool:
        return _refused(native, [*base[:i], column, *base[i + 1 :]])

    for i, (name, kind, _, _) in enumerate(base):
        if kind == "float64":
            if refused(i, _with(base[i], float("nan"))):
                refuses.append(name)
            ends = [_end(lambda x, i=i: not refused(i, _with(base[i], x)), s, found[s]) for s in (-1.0, 1.0)]
            if ends != [-_INFINITE, _INFINITE]:
                limits[name] = ends
            continue
        if refused(i, _gap(base[i])):
            refuses.append(name)
        if kind == "string" and name in encoded and refused(i, (name, kind, [_UNSEEN], None)):
            known[name] = encoded[name]
    return {"refuses": refuses, "limits": limits, "known": known}


def _end(takes: object, sign: float, found: list) -> float:
    """The last number in this direction that is taken, to the bit: doubles are in the order of their bits.

    It is often the same in all columns, so those `found` before are tried first.
    """
    if takes(sign * _INFINITE):
        return sign * _INFINITE
    low, high = 0, _bits(_INFINITE)
    for bits in [_bits(sys.float_info.max), *found[-1:]]:
        if takes(sign * _double(bits)) and not takes(sign * _double(bits + 1)):
            low, high = bits, bits + 1
            break
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(sign * _double(middle)) else (low, middle)
    found.append(low)
    return sign * _double(low)


def _bits(number: float) -> int:
    return struct.unpack("<q", struct.pack("<d", number))[0]


def _double(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<q", bits))[0]


def _with(column: tuple, value: float) -> tuple:
    name, kind, values, valid = column
    changed = values.copy()
    changed[0] = value
    return name, kind, changed, valid


def _gap(column: tuple) -> tuple:
    import numpy as np  # noqa: PLC0415

    return column[0], column[1], column[2], np.array([False])


def _refused(native: object, columns: list) -> bool:
    try:
        native.answer(Batch(columns, 1))
    except Exception:  # noqa: BLE001  # whatever the model raises is its refusal
        return True
    return False


def _known(model: object) -> dict:
    """Column to the strings that its encoder knows."""
    found = {}
    for part in parts(model):
        for _, transformer, columns in getattr(part, "transformers_", ()):
            for inner in parts(transformer):
                encoders = getattr(inner, "categories_", None)
                if (
                    isinstance(encoders, list)
                    and isinstance(columns, (list, tuple))
                    and len(encoders) == len(columns)
                ):
                    for name, values in zip(columns, encoders):  # noqa: B905
                        found[name] = [v for v in values.tolist() if isinstance(v, str)]
    return found


def _thresholds(forests: object, model: object, layout: list) -> dict:
    """Column to some of the numbers that trees compare it with, where they compare the input itself."""
    if len(layout) != 1 or hasattr(model, "steps") or type(model).__module__.startswith("sklearn.linear"):
        return {}
    try:
        found = forests.thresholds(forests.forest_of(model))
    except AttributeError:  # no trees in it
        return {}
    return {layout[0]["columns"][i]: _spread(values) for i, values in found.items()}


def _spread(values: object) -> list:
    step = max(1, -(-len(values) // _HINTS))
    return [float(value) for value in values[::step] if -_INFINITE < value < _INFINITE]


if __name__ == "__main__":
    sys.stdout = sys.stderr
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a model's threads and exit handlers must not keep the process
