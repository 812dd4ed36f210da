"""What a model is given: the signature's columns as a pandas or polars frame, an array, a dict or records.

The columns come as in frames.py. Options say what the example was when the model was published, so that the
model meets the same types again; README.md lists them.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np


class Input(NamedTuple):
    """A column of the signature: name, type, whether values may be missing, the levels of a closed set."""

    name: str
    kind: str
    missing: bool = False
    levels: tuple = ()


def maker(options: dict, inputs: list) -> object:
    """What turns a batch (`rows`, `columns`, `matrix`) into what the model is given.

    Raises:
        ValueError: an option cannot be read.
        ImportError: pandas or polars is asked for and not there.
    """
    kinds = {"pandas": Pandas, "numpy": Array, "columns": Columns, "records": Records, "polars": Polars}
    kind = options.get("input", "pandas")
    if kind not in kinds:
        raise ValueError(f"The option input = {kind!r} is not one of {', '.join(kinds)}.")
    return kinds[kind](options, inputs)


def plain(column: tuple, gap: object = None) -> list:
    """A column's values as Python objects, with `gap` where one is missing."""
    _, kind, values, valid = column
    if kind == "float64":
        return [gap if value != value else value for value in values.tolist()]  # noqa: PLR0124  # only NaN differs
    listed = values if kind == "string" else values.tolist()
    if valid is None or valid.all():
        return listed
    return [value if ok else gap for value, ok in zip(listed, valid)]  # noqa: B905  # Python 3.9


def numbers(column: tuple) -> np.ndarray:
    """A numeric column as an array; where values are missing (NaN), int64 becomes float64 and bool object."""
    _, kind, values, valid = column
    if valid is None or valid.all():
        return values
    return np.where(valid, values, np.nan) if kind == "int64" else objects(plain(column, np.nan))


def objects(values: list) -> np.ndarray:
    """A one-dimensional array of Python objects."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


class Array:
    """A two-dimensional array; `dtype` is float64 (default), float32, an integer, bool, object or str."""

    def __init__(self, options: dict, inputs: list) -> None:  # noqa: ARG002  # as the others
        self._dtype = np.dtype(options.get("dtype", "float64"))
        self._gap = None if options.get("missing") == "none" else np.nan

    def __call__(self, batch: object) -> np.ndarray:
        """The array, rows by columns."""
        if batch.matrix is not None and self._dtype.kind == "f":
            return batch.matrix.astype(self._dtype, copy=False)
        if self._dtype.kind == "O":
            columns = [objects(plain(column, self._gap)) for column in batch.columns]
        elif self._dtype.kind == "U":
            columns = [np.array(plain(column, ""), dtype=str) for column in batch.columns]
        else:
            columns = [numbers(column) for column in batch.columns]
        whole = np.column_stack(columns)
        if self._dtype.kind in "fiub" and whole.dtype != self._dtype and not _holds_gaps(whole, self._dtype):
            whole = whole.astype(self._dtype)
        return whole


def _holds_gaps(array: np.ndarray, wanted: np.dtype) -> bool:
    """Whether an integer or bool array has become another because values are missing."""
    return wanted.kind in "iub" and array.dtype.kind in "fO"


class Columns:
    """A dict of one-dimensional arrays; `dtype:NAME` where one is not float64, int64, bool or object."""

    def __init__(self, options: dict, inputs: list) -> None:  # as the others
        self._dtypes = _by_column(options, "dtype:", inputs)

    def __call__(self, batch: object) -> dict:
        """Name to array; a missing string is None, a missing number NaN."""
        return {column[0]: self._array(column, dtype) for column, dtype in zip(batch.columns, self._dtypes)}  # noqa: B905

    @staticmethod
    def _array(column: tuple, dtype: str | None) -> np.ndarray:
        array = objects(plain(column)) if column[1] == "string" else numbers(column)
        if dtype is None or (array.dtype.kind == "O" and dtype != "str"):
            return array
        return array if _holds_gaps(array, np.dtype(dtype)) else array.astype(dtype)


class Records:
    """A list of dicts of Python values; None where one is missing."""

    def __init__(self, options: dict, inputs: list) -> None:  # noqa: ARG002  # as the others
        self._names = [each.name for each in inputs]

    def __call__(self, batch: object) -> list:
        """A dict a row."""
        columns = [plain(column) for column in batch.columns]
        return [dict(zip(self._names, row)) for row in zip(*columns)]  # noqa: B905


class Pandas:
    """A DataFrame; `dtype:NAME` where a column is not of pandas' plain type for it."""

    def __init__(self, options: dict, inputs: list) -> None:
        import pandas as pd  # noqa: PLC0415  # only where the model wants it

        self._pandas = pd
        names = [each.name for each in inputs]
        self._names = pd.Index([int(name) for name in names] if options.get("names") == "integers" else names)
        self._makers = [
            self._maker(each, dtype, options.get("categories:" + each.name))
            for each, dtype in zip(inputs, _by_column(options, "dtype:", inputs))  # noqa: B905
        ]
        self._plain = all(make is _values for make in self._makers)

    def _maker(self, each: Input, dtype: str | None, categories: str | None) -> object:
        """What turns one column into something a DataFrame takes."""
        if each.levels or (dtype or "").startswith("category"):
            known = list(each.levels) if categories is None else json.loads(categories)
            kind = self._pandas.CategoricalDtype(known, ordered=dtype == "category-ordered")
            return _Category(self._pandas, kind)
        if dtype in {"object", "object-none"} or (dtype is None and each.kind == "string"):
            gap = None if dtype == "object-none" else np.nan
            return lambda column: self._objects(plain(column, gap))
        if dtype is None:
            return _values if each.kind == "float64" else numbers
        if each.kind != "string" and dtype in {"float32", "float16"}:
            return lambda column: column[2].astype(dtype)
        return lambda column: self._pandas.array(plain(column), dtype=dtype)

    def _objects(self, values: list) -> object:
        """A column of Python objects; as a series, since pandas makes text of a bare array of them."""
        return self._pandas.Series(objects(values), dtype=object, copy=False)

    def __call__(self, batch: object) -> object:
        """The DataFrame, with the signature's columns and a plain index."""
        if self._plain and batch.matrix is not None:
            return self._pandas.DataFrame(batch.matrix, columns=self._names, copy=False)
        made = {i: make(c) for i, (make, c) in enumerate(zip(self._makers, batch.columns))}  # noqa: B905
        frame = self._pandas.DataFrame(made, copy=False)
        frame.columns = self._names
        return frame


def _values(column: tuple) -> np.ndarray:
    return column[2]


class _Category:
    """Turns values into a pandas Categorical through a dict: for few rows much faster than pandas' way."""

    def __init__(self, pandas: object, kind: object) -> None:
        self._from_codes, self._kind = pandas.Categorical.from_codes, kind
        self._codes = {value: code for code, value in enumerate(kind.categories.tolist())}

    def __call__(self, column: tuple) -> object:
        codes = [self._codes.get(value, -1) for value in plain(column)]
        return self._from_codes(np.array(codes, dtype=np.intp), dtype=self._kind, validate=False)


class Polars:
    """A polars DataFrame; `dtype:NAME` where a column is not Float64, Int64, Boolean or String."""

    def __init__(self, options: dict, inputs: list) -> None:
        import polars as pl  # noqa: PLC0415  # only where the model wants it

        self._polars = pl
        usual = {"float64": "Float64", "int64": "Int64", "bool": "Boolean", "string": "String"}
        self._types = []
        for each, dtype in zip(inputs, _by_column(options, "dtype:", inputs)):  # noqa: B905
            kind = getattr(pl, dtype or usual[each.kind])
            self._types.append(kind(list(each.levels)) if dtype == "Enum" else kind)

    def __call__(self, batch: object) -> object:
        """The DataFrame."""
        series = [
            self._polars.Series(column[0], plain(column), dtype=kind)
            for column, kind in zip(batch.columns, self._types)  # noqa: B905
        ]
        return self._polars.DataFrame(series)


def _by_column(options: dict, prefix: str, inputs: list) -> list:
    return [options.get(prefix + each.name) for each in inputs]
