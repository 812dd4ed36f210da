"""Tables in and out: CSV and Parquet bodies, read with Polars, as columns of a signature."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import polars as pl

from modelyard.records.errors import InvalidError, MalformedError
from modelyard.records.references import shown
from modelyard.records.signatures import Column, ColumnType
from modelyard.serving.inputs import InputPlan, Inputs, missing, unseen
from modelyard.workers.wire import ColumnData

TRUE = ("true", "TRUE", "True", "T", "1")
FALSE = ("false", "FALSE", "False", "F", "0")
ABSENT = (
    "",
    "NA",
    "NaN",
    "nan",
    "null",
)  # of numbers and booleans; a string column knows only the empty field


def read_csv(body: bytes) -> pl.DataFrame:
    """A CSV with a header line, every column as text; `""` is an empty string, an empty field missing.

    Raises:
        MalformedError: it is not CSV in UTF-8.
    """
    try:
        return pl.read_csv(io.BytesIO(body), infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise MalformedError(
            f"The body is not a CSV table: {first_line(error)}.", "Send UTF-8 with a header line."
        ) from error


def read_parquet(body: bytes) -> pl.DataFrame:
    """A Parquet file.

    Raises:
        MalformedError: it is none, or is damaged.
    """
    try:
        return pl.read_parquet(io.BytesIO(body))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise MalformedError(f"The body is not a Parquet file: {first_line(error)}.") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a full stop."""
    return str(error).partition("\n")[0].rstrip(".")[:300]


def from_table(plan: InputPlan, table: pl.DataFrame) -> Inputs:
    """A table's rows, checked against a signature; its other columns are kept as keys.

    Raises:
        InvalidError: a column that is not there or a value that does not fit; the message names both.
    """
    given = {c.name: _column(c, table[c.name]) for c in plan.columns if c.name in table.columns}
    return plan.from_columns(given, table.height, _keys(plan, table))


def _keys(plan: InputPlan, table: pl.DataFrame) -> Sequence[str | None] | None:
    names = {c.name for c in plan.columns}
    extra = [name for name in table.columns if name not in names]
    if not extra or not table.height:
        return None
    return table.select(pl.struct(extra).struct.json_encode().alias("keys"))["keys"].to_list()


def _column(column: Column, series: pl.Series) -> ColumnData:
    fitted = _FIT[column.type](column, series)
    if column.type is ColumnType.FLOAT64:
        fitted = fitted.fill_nan(None)
    if fitted.null_count() and not column.missing:
        raise missing(column, _first(fitted.is_null()), absent=False)
    if column.levels is not None:
        known = fitted.is_null() | fitted.is_in(list(column.levels))
        if not known.all():
            row = _first(~known)
            raise unseen(column, str(fitted[row]), row)
    return to_column(column.name, column.type, fitted)


def to_column(name: str, kind: ColumnType, series: pl.Series) -> ColumnData:
    """A series of the column's own type as bytes for the wire.

    Raises:
        InvalidError: a string has a NUL.
    """
    validity = None
    if series.null_count() and kind is not ColumnType.FLOAT64:
        validity = series.is_not_null().to_numpy().tobytes()
    if kind is ColumnType.FLOAT64:
        data = series.fill_null(float("nan")).to_numpy().tobytes()
    elif kind is ColumnType.STRING:
        data = _string_block(name, series)
    else:
        data = series.fill_null(0 if kind is ColumnType.INT64 else False).to_numpy().tobytes()
    return ColumnData(name, kind, data, validity)


def _string_block(name: str, series: pl.Series) -> bytes:
    if not len(series):
        return b""
    block: str = series.fill_null("").str.join("\0")[0]
    if block.count("\0") != len(series) - 1:
        raise InvalidError(f"A string of the column {shown(name)} has a NUL.", "Remove it.", column=name)
    return block.encode() + b"\0"


def _float(column: Column, series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        return _parse(column, series, pl.Float64)
    if not series.dtype.is_numeric() and series.dtype != pl.Null:
        raise _wrong_type(column, series)
    return series.cast(pl.Float64)


def _int(column: Column, series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        return _parse(column, series, pl.Int64)
    if not series.dtype.is_numeric() and series.dtype != pl.Null:
        raise _wrong_type(column, series)
    if series.dtype.is_float():
        series = series.fill_nan(None)
    whole = series.cast(pl.Int64, strict=False)
    wrong = (whole.is_null() & series.is_not_null()) | (whole.cast(pl.Float64) != series.cast(pl.Float64))
    _refuse_first(column, series, wrong.fill_null(value=False))
    return whole


def _bool(column: Column, series: pl.Series) -> pl.Series:
    if series.dtype in (pl.Boolean, pl.Null):
        return series.cast(pl.Boolean)
    if series.dtype != pl.String:
        raise _wrong_type(column, series)
    absent = series.is_null() | series.is_in(ABSENT)
    _refuse_first(column, series, ~(absent | series.is_in(TRUE) | series.is_in(FALSE)))
    return pl.select(pl.when(~absent).then(series.is_in(TRUE))).to_series()


def _string(column: Column, series: pl.Series) -> pl.Series:
    if series.dtype in (pl.String, pl.Null) or isinstance(series.dtype, pl.Categorical | pl.Enum):
        return series.cast(pl.String)
    raise _wrong_type(column, series)


_FIT: dict[ColumnType, Callable[[Column, pl.Series], pl.Series]] = {
    ColumnType.FLOAT64: _float,
    ColumnType.INT64: _int,
    ColumnType.BOOL: _bool,
    ColumnType.STRING: _string,
}


def _parse(column: Column, series: pl.Series, kind: type[pl.DataType]) -> pl.Series:
    text = series.str.strip_chars()
    text = pl.select(pl.when(~text.is_in(ABSENT)).then(text)).to_series()
    numbers = text.cast(kind, strict=False)
    _refuse_first(column, series, numbers.is_null() & text.is_not_null())
    return numbers


def _refuse_first(column: Column, series: pl.Series, wrong: pl.Series) -> None:
    if wrong.any():
        row = _first(wrong)
        value = shown(str(series[row]))
        message = f"Row {row}: the column {shown(column.name)} must be {column.type}, not {value}."
        raise InvalidError(message, column=column.name, row=row)


def _wrong_type(column: Column, series: pl.Series) -> InvalidError:
    return InvalidError(
        f"The column {shown(column.name)} must be {column.type}, not {series.dtype}.", column=column.name
    )


def _first(flags: pl.Series) -> int:
    return int(flags.arg_true()[0])
