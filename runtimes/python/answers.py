"""A model's answer as columns, in the shape contract/wire.md asks for: a prediction, several outputs, or
label and probabilities.
"""

from __future__ import annotations

import numpy as np

_MATRIX = 2
_LABELS = {"b": "bool", "i": "int64", "u": "int64"}


class AnswerError(Exception):
    """What the model answered cannot be passed on; the message says why."""


def columns(raw: object, rows: int, names: list | None = None, classes: np.ndarray | None = None) -> list:
    """An answer as columns `(name, kind, values, valid)`.

    Args:
        raw: what the model answered: an array, a list, a pandas or polars frame or series, a torch tensor, a
            dict of columns, a list of dicts, or `{"label": …, "probabilities": {…}}` of either kind.
        rows: how many rows were asked for.
        names: the outputs' names, where the publisher gave some.
        classes: the classes, if the answer is their probabilities.

    Raises:
        AnswerError: it is none of these, or has another number of rows.
    """
    raw = _unwrapped(raw)
    if isinstance(raw, list) and raw and isinstance(raw[0], dict):
        _check_rows(len(raw), rows)
        raw = _transposed(raw)
    if isinstance(raw, dict):
        return _named(raw, rows)
    array = _array(raw)
    if array.ndim == 0 and rows == 1:
        array = array.reshape(1)
    _check_rows(len(array) if array.ndim else 0, rows)
    if classes is not None:
        return _classified(array, classes)
    if array.ndim == _MATRIX and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1:
        return [_single(array)]
    if array.ndim != _MATRIX or array.shape[1] == 0:
        raise AnswerError(
            f"The model answered an array of shape {array.shape}; it must be one or two-dimensional."
        )
    names = names or [f"output_{i}" for i in range(array.shape[1])]
    if len(names) != array.shape[1]:
        raise AnswerError(f"The model answered {array.shape[1]} outputs, the names given are {names}.")
    return [(name, "float64", _doubles(array[:, i], name), None) for i, name in enumerate(names)]


def labelled(labels: object, probabilities: np.ndarray | None, classes: np.ndarray, rows: int) -> list:
    """A classifier's answer as columns.

    Args:
        labels: a label a row.
        probabilities: rows by classes, or None.
        classes: the classes, in the order of the probabilities.
        rows: how many rows were asked for.

    Raises:
        AnswerError: another number of rows, or labels that are neither text, whole numbers nor bool.
    """
    array = _array(labels)
    _check_rows(len(array) if array.ndim else 0, rows)
    found = [_label(array.reshape(len(array), -1)[:, 0] if array.ndim == _MATRIX else array)]
    if probabilities is not None:
        _check_rows(len(probabilities), rows)
        found += [
            ("probability:" + text, "float64", _doubles(probabilities[:, i], text), None)
            for i, text in enumerate(class_texts(classes))
        ]
    return found


def class_texts(classes: np.ndarray) -> list:
    """The classes as text: `true` and `false` for bool, whole numbers without a point."""
    _, kind, values, _ = _label(np.asarray(classes))
    if kind == "string":
        return values
    return [("true" if v else "false") if kind == "bool" else str(v) for v in values.tolist()]


def _classified(array: np.ndarray, classes: np.ndarray) -> list:
    """Probabilities of `classes`; one column alone, or one dimension, is that of the second of two."""
    probabilities = _doubles(array, "the probabilities")
    if probabilities.ndim == _MATRIX and probabilities.shape[1] == 1:
        probabilities = probabilities[:, 0]
    if probabilities.ndim == 1 and len(classes) == 2:  # noqa: PLR2004
        probabilities = np.column_stack([1.0 - probabilities, probabilities])
    if probabilities.ndim != _MATRIX or probabilities.shape[1] != len(classes):
        raise AnswerError(
            f"The model answered shape {array.shape} where {len(classes)} probabilities a row are meant."
        )
    return labelled(classes[probabilities.argmax(axis=1)], probabilities, classes, len(array))


def _named(raw: dict, rows: int) -> list:
    """Columns out of a dict of them: label and probabilities, or outputs of their own names."""
    raw = dict(raw)
    if "label" not in raw:
        found = [(str(n), "float64", _doubles(_column(v, rows), str(n)), None) for n, v in raw.items()]
        if not found:
            raise AnswerError("The model answered no columns.")
        return [("prediction", *found[0][1:])] if len(found) == 1 else found
    labels = _column(raw.pop("label"), rows)
    prefix, probabilities = "probability:", _unwrapped(raw.pop("probabilities", {}))
    if not isinstance(probabilities, dict):
        raise AnswerError("The probabilities of the answer must be a dict of class to values.")
    probabilities.update((n[len(prefix) :], raw.pop(n)) for n in list(raw) if str(n).startswith(prefix))
    if raw:
        raise AnswerError(f"Beside a label only probabilities can be answered, not {sorted(map(str, raw))}.")
    found = [_label(labels)]
    if probabilities:
        texts = class_texts(np.asarray(list(probabilities)))
        found += [
            (prefix + text, "float64", _doubles(_column(values, rows), text), None)
            for text, values in zip(texts, probabilities.values())  # noqa: B905  # Python 3.9
        ]
    return found


def _transposed(records: list) -> dict:
    """A list of dicts as a dict of lists, probabilities too."""
    keys = list(records[0])
    if any(list(record) != keys for record in records):
        raise AnswerError("The records of the answer do not all have the same keys in the same order.")
    raw = {key: [record[key] for record in records] for key in keys}
    if "probabilities" in raw:
        raw["probabilities"] = _transposed(raw["probabilities"])
    return raw


def _unwrapped(raw: object) -> object:
    """Frames as dicts of columns, series and tensors as arrays."""
    if hasattr(raw, "detach"):  # a torch tensor
        return raw.detach().cpu().numpy()
    if hasattr(raw, "columns") and hasattr(raw, "to_dict"):  # a DataFrame, pandas or polars
        return {name: raw[name] for name in raw.columns}
    if isinstance(raw, tuple):
        return list(raw)
    return raw.to_numpy() if hasattr(raw, "to_numpy") else raw


def _column(values: object, rows: int) -> np.ndarray:
    array = _array(_unwrapped(values))
    if array.ndim == 0 and rows == 1:
        array = array.reshape(1)
    if array.ndim == _MATRIX and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise AnswerError(f"A column of the answer has shape {array.shape}; it must have one value a row.")
    _check_rows(len(array), rows)
    return array


def _array(raw: object) -> np.ndarray:
    if raw is None:
        raise AnswerError("The model answered None; it must answer one value a row.")
    if hasattr(raw, "toarray"):  # a scipy sparse matrix
        raw = raw.toarray()
    try:
        return np.asarray(raw)
    except ValueError as error:
        raise AnswerError(f"The model's answer is no table: {error}.") from error


def _check_rows(got: int, rows: int) -> None:
    if got != rows:
        raise AnswerError(f"The model answered {got} rows where {rows} were asked.")


def _single(array: np.ndarray) -> tuple:
    """One output: numbers are a prediction; text and bool can only be labels."""
    if array.dtype.kind in "bUSO" and not _numeric(array):
        return _label(array)
    return "prediction", "float64", _doubles(array, "prediction"), None


def _numeric(array: np.ndarray) -> bool:
    return array.dtype.kind == "O" and all(
        v is None or (isinstance(v, (int, float, np.number)) and not isinstance(v, (bool, np.bool_)))
        for v in array
    )


def _doubles(values: np.ndarray, name: str) -> np.ndarray:
    if np.asarray(values).dtype.kind == "c":
        raise AnswerError(f"The output {name!r} is made of complex numbers.")
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AnswerError(f"The output {name!r} is not made of numbers: {error}.") from error


def _label(array: np.ndarray) -> tuple:
    """The label column: string, int64 or bool, as in training; whole floats are int64."""
    if array.dtype.kind == "O":
        array = np.array(array.tolist()) if not any(v is None for v in array) else array
    kind = array.dtype.kind
    if kind in _LABELS:
        return "label", _LABELS[kind], array.astype("?" if kind == "b" else "<i8"), None
    if kind == "f" and np.isfinite(array).all() and (array == np.trunc(array)).all():
        return "label", "int64", array.astype("<i8"), None
    if kind in "UT":
        return "label", "string", [str(value) for value in array.tolist()], None
    raise AnswerError(
        f"Labels are text, whole numbers or bool; the model's are {array.dtype}: {array[:3].tolist()}."
    )
