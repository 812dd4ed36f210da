"""What a person holds (pandas, polars, an array, a dict, records) as typed columns of plain Python values.

Nothing is imported here: an object of pandas, polars, numpy or torch brings its own methods.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.signatures import ColumnType

Value = float | int | bool | str | None
_Reader = Callable[[Any], tuple[list["TableColumn"], dict[str, str]]]
_LARGEST = 2**63
_MATRIX = 2
_KINDS = {
    "f": ColumnType.FLOAT64,
    "i": ColumnType.INT64,
    "u": ColumnType.INT64,
    "b": ColumnType.BOOL,
    "U": ColumnType.STRING,
}
_POLARS = {
    "Float64": ColumnType.FLOAT64,
    "Float32": ColumnType.FLOAT64,
    "Boolean": ColumnType.BOOL,
    "String": ColumnType.STRING,
    "Categorical": ColumnType.STRING,
    "Enum": ColumnType.STRING,
} | {f"{sign}Int{bits}": ColumnType.INT64 for sign in ("", "U") for bits in (8, 16, 32, 64)}
_POLARS_PLAIN = {"Float64", "Int64", "Boolean", "String"}


class TableColumn(Struct, frozen=True):
    """A column.

    Attributes:
        values: Python values of the type; None where one is missing (NaN too).
        levels: the closed set of a categorical column of text.
        options: what the Python runtime must know to make this column again, as `{"dtype:x": "float32"}`.
    """

    name: str
    type: ColumnType
    values: Sequence[Value]
    levels: tuple[str, ...] | None = None
    options: dict[str, str] = {}


class Table(Struct, frozen=True):
    """Columns of equal length.

    Attributes:
        kind: `pandas`, `polars`, `numpy`, `columns` or `records`.
        options: the Python runtime's options to make such a table again, those of the columns included.
    """

    kind: str
    columns: tuple[TableColumn, ...]
    options: dict[str, str]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values) if self.columns else 0


def kind_of(data: object) -> str:
    """`pandas`, `polars`, `numpy`, `columns` or `records`.

    Raises:
        InvalidError: it is none of these.
    """
    library = type(data).__module__.partition(".")[0]
    name = type(data).__name__
    if library in ("pandas", "polars") and name == "DataFrame":
        return library
    if library == "torch" or (library == "numpy" and hasattr(data, "dtype")):
        return "numpy"
    if isinstance(data, Mapping):
        return "columns"
    if isinstance(data, (list, tuple)) and data and all(isinstance(row, Mapping) for row in data):
        return "records"
    hint = {"Series": "Turn it into a frame: .to_frame().", "LazyFrame": "Collect it first."}
    raise InvalidError(
        f"A {type(data).__module__}.{name} is no table that can be used here.",
        hint.get(name, "Give a DataFrame, a two-dimensional array, a dict of columns or a list of dicts."),
    )


def head(data: Any, rows: int) -> Any:
    """The first rows, as what it is."""
    kind = kind_of(data)
    if kind == "pandas":
        return data.iloc[:rows]
    if kind == "columns":
        return {name: values[:rows] for name, values in data.items()}
    return data[:rows]


def read_table(data: Any) -> Table:
    """Typed columns out of a DataFrame, an array (columns x0, x1 …), a dict of columns or a list of dicts.

    Raises:
        InvalidError: a type that cannot be sent (dates, complex numbers, nested lists …), columns of
            unequal length, a column without any value, no rows.

    >>> read_table([{"age": 30, "name": "Ada"}]).columns[0].type
    <ColumnType.INT64: 'int64'>
    """
    kind = kind_of(data)
    readers: dict[str, _Reader] = {
        "pandas": _pandas,
        "polars": _polars,
        "numpy": _numpy,
        "columns": _columns,
        "records": _records,
    }
    columns, options = readers[kind](data)
    if not columns or not len(columns[0].values):
        raise InvalidError("The table has no rows or no columns.", "Give one row at least.")
    lengths = {len(column.values) for column in columns}
    if len(lengths) > 1:
        raise InvalidError(f"The columns are not of one length: {sorted(lengths)}.", "Make them so.")
    for column in columns:
        options.update(column.options)
    return Table(kind, tuple(columns), {"input": kind, **options})


def _pandas(frame: Any) -> tuple[list[TableColumn], dict[str, str]]:
    labels = list(frame.columns)
    whole = bool(labels) and all(isinstance(v, int) and not isinstance(v, bool) for v in labels)
    if not whole and not all(isinstance(label, str) for label in labels):
        raise InvalidError(
            f"The columns of the frame are named {labels[:5]!r}, not by text.",
            "Rename them: frame.columns = frame.columns.map(str).",
        )
    columns = [_pandas_column(str(label), frame.iloc[:, i]) for i, label in enumerate(labels)]
    return columns, {"names": "integers"} if whole else {}


def _pandas_column(name: str, series: Any) -> TableColumn:
    dtype, text = series.dtype, str(series.dtype)
    if text == "category":
        return _category(name, series)
    numpy_dtype = type(dtype).__module__.partition(".")[0] == "numpy"
    if text.startswith(("Sparse", "complex", "datetime", "timedelta", "period", "interval")):
        raise _unfit(name, text)
    values = series.tolist()
    if not numpy_dtype:
        kind = ColumnType.STRING if text.startswith("str") else _KINDS.get(dtype.kind)
        return infer(name, values, kind, {f"dtype:{name}": text})
    if dtype.kind != "O":
        odd = dtype.kind == "f" and text != "float64"
        return infer(name, values, _KINDS.get(dtype.kind), {f"dtype:{name}": text} if odd else {}, text)
    column = infer(name, values)
    none = any(value is None for value in values)
    option = "object-none" if none else "object" if column.type is not ColumnType.STRING else ""
    return _with_options(column, {f"dtype:{name}": option} if option else {})


def _category(name: str, series: Any) -> TableColumn:
    known = series.cat.categories.tolist()
    ordered = {f"dtype:{name}": "category-ordered"} if series.cat.ordered else {}
    if all(isinstance(value, str) for value in known):
        column = infer(name, series.tolist(), ColumnType.STRING, ordered)
        return TableColumn(name, column.type, column.values, tuple(known), ordered)
    kind = infer(name, known).type
    options = {f"dtype:{name}": "category", **ordered, f"categories:{name}": json.dumps(known)}
    return infer(name, series.tolist(), kind, options)


def _polars(frame: Any) -> tuple[list[TableColumn], dict[str, str]]:
    columns = []
    for series in frame.get_columns():
        base = series.dtype.base_type().__name__
        if base not in _POLARS:
            raise _unfit(series.name, str(series.dtype))
        options = {} if base in _POLARS_PLAIN else {f"dtype:{series.name}": base}
        column = infer(series.name, series.to_list(), _POLARS[base], options)
        levels = tuple(series.dtype.categories.to_list()) if base == "Enum" else None
        columns.append(TableColumn(column.name, column.type, column.values, levels, options))
    return columns, {}


def _numpy(array: Any) -> tuple[list[TableColumn], dict[str, str]]:
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    if array.ndim != _MATRIX:
        raise InvalidError(
            f"An array of shape {array.shape} is no table: it must have two dimensions, rows and columns.",
            "Reshape it: array.reshape(len(array), -1); one row is array.reshape(1, -1).",
        )
    kind, options = array.dtype.kind, {}
    if kind != "O" and kind not in _KINDS:
        raise _unfit("x0", str(array.dtype))
    if str(array.dtype) != "float64":
        dtype = {"i": "int64", "u": "int64", "U": "str", "O": "object"}.get(kind, str(array.dtype))
        options = {"dtype": dtype}
    columns = [infer(f"x{i}", array[:, i].tolist(), _KINDS.get(kind)) for i in range(array.shape[1])]
    if kind == "O" and any(value is None for row in array.tolist() for value in row):
        options["missing"] = "none"
    return columns, options


def _columns(data: Mapping[Any, Any]) -> tuple[list[TableColumn], dict[str, str]]:
    columns = []
    for name, values in data.items():
        kind, options = None, {}
        if hasattr(values, "dtype") and hasattr(values, "tolist"):
            kind = _KINDS.get(getattr(values.dtype, "kind", "O"))
            dtype = str(values.dtype)
            if kind is ColumnType.FLOAT64 and dtype in ("float32", "float16"):
                options = {f"dtype:{name}": dtype}
            if getattr(values.dtype, "kind", "O") == "U":
                options = {f"dtype:{name}": "str"}
            values = values.tolist()  # noqa: PLW2901
        if not isinstance(name, str) or not isinstance(values, (list, tuple)):
            raise InvalidError(
                f"The column {name!r} is a {type(values).__name__}, not a list or an array under a name.",
                "Give a dict of lists or arrays of equal length.",
            )
        columns.append(infer(name, values, kind, options))
    return columns, {}


def _records(data: Sequence[Mapping[str, Any]]) -> tuple[list[TableColumn], dict[str, str]]:
    names = list(dict.fromkeys(name for row in data for name in row))
    if not all(isinstance(name, str) for name in names):
        raise InvalidError("The records have keys that are not text.", "Name the columns by text.")
    return [infer(name, [row.get(name) for row in data]) for name in names], {}


def infer(
    name: str,
    values: Iterable[Any],
    kind: ColumnType | None = None,
    options: dict[str, str] | None = None,
    dtype: str = "",
) -> TableColumn:
    """A column out of values, of the given type or of the one that the values show.

    Raises:
        InvalidError: no value at all, values of several types, or of one that cannot be sent.
    """
    clean = [None if _missing(value) else value for value in values]
    there = [value for value in clean if value is not None]
    if kind is None:
        kind = _kind_of_values(name, there, dtype)
    plain: list[Value]
    if kind is ColumnType.FLOAT64:
        plain = [None if value is None else float(value) for value in clean]
    elif kind is ColumnType.INT64:
        plain = [None if value is None else int(value) for value in clean]
        if any(value is not None and not -_LARGEST <= value < _LARGEST for value in plain):  # type: ignore[operator]
            raise InvalidError(
                f"The column {name!r} has a whole number beyond 64 bits.", "Scale it.", column=name
            )
    elif kind is ColumnType.BOOL:
        plain = [None if value is None else bool(value) for value in clean]
    else:
        plain = [None if value is None else str(value) for value in clean]
        _check_text(name, plain)
    return TableColumn(name, kind, plain, None, options or {})


def _kind_of_values(name: str, there: list[Any], dtype: str) -> ColumnType:
    if not there:
        if dtype:
            raise _unfit(name, dtype)
        raise InvalidError(
            f"The column {name!r} has no value at all, so its type is unknown.",
            "Give an example with at least one value in each column.",
            column=name,
        )
    kinds = {_kind_of_value(value) for value in there}
    if kinds == {ColumnType.INT64, ColumnType.FLOAT64}:
        return ColumnType.FLOAT64
    if len(kinds) == 1 and None not in kinds:
        return next(kind for kind in kinds if kind is not None)
    raise _unfit(name, dtype or " and ".join(sorted({type(value).__name__ for value in there})))


def _kind_of_value(value: object) -> ColumnType | None:
    kind = getattr(getattr(value, "dtype", None), "kind", "")  # numpy's scalars
    if isinstance(value, str):
        return ColumnType.STRING
    if isinstance(value, bool) or kind == "b":
        return ColumnType.BOOL
    if isinstance(value, int) or kind in ("i", "u"):
        return ColumnType.INT64
    return ColumnType.FLOAT64 if isinstance(value, float) or kind == "f" else None


def _missing(value: object) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value  # noqa: PLR0124  # only NaN differs from itself


def _check_text(name: str, values: Iterable[Value]) -> None:
    for value in values:
        if isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
            raise InvalidError(
                f"The column {name!r} has text with a NUL or that is not Unicode.", "Clean it.", column=name
            )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_options(column: TableColumn, options: dict[str, str]) -> TableColumn:
    return TableColumn(column.name, column.type, column.values, column.levels, options)


def _unfit(name: str, what: str) -> InvalidError:
    return InvalidError(
        f"The column {name!r} holds {what}, which cannot be sent to a model.",
        "Columns are numbers, whole numbers, true/false or text. Turn dates into numbers or text, and leave "
        "other columns out of the example.",
        column=name,
    )
