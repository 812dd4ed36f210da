"""The Python runtime's own conventions, used here to answer an example exactly as it will be served.

`runtimes/python` is a program for a model's environment, not a package of the house: nothing imports it by
name. One copy of the conventions is worth more than two that agree today, so the SDK loads those files by
their path, as the worker does: as a package of a name that is nobody else's. They need numpy; without it an
example is not answered here, and the yard's check fills in what is left out.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modelyard.client.tables import TableColumn, Value
from modelyard.records.signatures import ColumnType

_PACKAGE = "_modelyard_runtime"
_DTYPES = {ColumnType.FLOAT64: "float64", ColumnType.INT64: "int64", ColumnType.BOOL: "bool"}


class Batch(NamedTuple):
    """Rows as the runtime's `Model.answer` takes them (see `runtimes/python/frames.py`)."""

    rows: int
    columns: list[tuple[str, str, Any, Any]]
    matrix: None = None


class Answer(NamedTuple):
    """An output column: its name, type and values, None where one is missing."""

    name: str
    type: ColumnType
    values: list[Value]


def runtime_folder() -> Path:
    """Where the Python runtime is: in the package when installed, beside `src` in a checkout."""
    installed = Path(__file__).parents[1] / "_runtimes"
    return (installed if installed.is_dir() else Path(__file__).parents[3] / "runtimes") / "python"


def can_answer() -> bool:
    """Whether models can be asked here: numpy is there."""
    return importlib.util.find_spec("numpy") is not None


def load_runtime(name: str) -> Any:
    """A file of the runtime as a module: `models`, `inputs`, `answers` or `frames`."""
    if _PACKAGE not in sys.modules:
        package = types.ModuleType(_PACKAGE)
        package.__path__ = [str(runtime_folder())]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{name}")


def to_batch(columns: Sequence[TableColumn]) -> Batch:
    """Columns as the runtime gets them from a frame."""
    import numpy as np  # noqa: PLC0415  # optional

    made: list[tuple[str, str, Any, Any]] = []
    for column in columns:
        valid = np.array([value is not None for value in column.values], dtype=bool)
        gone = None if valid.all() else valid
        if column.type is ColumnType.STRING:
            made.append((column.name, "string", [value or "" for value in column.values], gone))
            continue
        filler = np.nan if column.type is ColumnType.FLOAT64 else 0
        filled = [filler if value is None else value for value in column.values]
        validity = None if column.type is ColumnType.FLOAT64 else gone
        made.append((column.name, column.type.value, np.array(filled, dtype=_DTYPES[column.type]), validity))
    return Batch(len(columns[0].values), made)


def from_answer(columns: Sequence[tuple[str, str, Any, Any]]) -> list[Answer]:
    """The runtime's answer as plain values."""
    plain = load_runtime("inputs").plain
    return [Answer(column[0], ColumnType(column[1]), plain(column)) for column in columns]
