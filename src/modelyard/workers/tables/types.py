"""The six types of a dataset's columns: found in text, or made of what a Parquet file has."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from modelyard.records.datasets import DataType
from modelyard.records.errors import InvalidError
from modelyard.records.references import shown

ABSENT = ("", "NA", "NaN", "nan", "null")  # of all but text; in text the empty field alone
_TRUE = ("true", "TRUE", "True")
_FALSE = ("false", "FALSE", "False")
_WHOLE = r"^[+-]?(0|[1-9]\d*)$"  # 007 is a code, not a number
_NUMBER = r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_TIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|UTC|[+-]\d{2}:?\d{2}))?$"
_ZONE = r"( ?(Z|UTC|[+-]\d{2}:?\d{2}))$"
_SAMPLE = 1_000
_MOMENT = pl.Datetime("us", "UTC")
_NAMES: dict[pl.DataType | type[pl.DataType], DataType] = {
    pl.Boolean: DataType.BOOL,
    pl.Int64: DataType.INT64,
    pl.Float64: DataType.FLOAT64,
    pl.String: DataType.STRING,
    pl.Date: DataType.DATE,
}

_Parse = Callable[[pl.Series], pl.Series | None]


def named(dtype: pl.DataType) -> DataType:
    """The name of one of the six types."""
    return _NAMES.get(dtype, DataType.DATETIME)


def typed(series: pl.Series, before: DataType | None = None) -> pl.Series:
    """A column of text as the narrowest type that all its values have.

    Args:
        before: the type it had in the version before, kept where all values still fit.
    """
    present = series.set(series.is_in(ABSENT), None)
    if before is not None and before is not DataType.STRING:
        kept = _PARSE[before](present)
        if kept is not None:
            return kept
    if before is DataType.STRING or present.null_count() == len(present):
        return _text(series)
    sample = present.drop_nulls().head(_SAMPLE)
    for parse in _PARSE.values():
        if parse(sample) is not None and (found := parse(present)) is not None:
            return found
    return _text(series)


def _text(series: pl.Series) -> pl.Series:
    return series.set(series == "", None)


def _matches(series: pl.Series, pattern: str) -> bool:
    return bool(series.str.contains(pattern).all())  # nulls are left out


def _bool(series: pl.Series) -> pl.Series | None:
    is_true, is_false = series.is_in(_TRUE), series.is_in(_FALSE)
    return is_true if (is_true | is_false).all() else None


def _int(series: pl.Series) -> pl.Series | None:
    return _cast(series, pl.Int64()) if _matches(series, _WHOLE) else None


def _float(series: pl.Series) -> pl.Series | None:
    return _cast(series, pl.Float64()) if _matches(series, _NUMBER) else None


def _date(series: pl.Series) -> pl.Series | None:
    return _same(series, series.str.to_date("%Y-%m-%d", strict=False)) if _matches(series, _DAY) else None


def _datetime(series: pl.Series) -> pl.Series | None:
    if not _matches(series, _TIME):
        return None
    zone = series.str.extract(_ZONE, 2).str.replace(r"^(Z|UTC)$", "+00:00").fill_null("+00:00")
    plain = series.str.replace(_ZONE, "").str.replace(" ", "T", literal=True)
    plain = plain.str.replace(r"^(.{16})$", "$1:00")
    moments = (plain + zone).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)
    return _same(series, moments.cast(_MOMENT))


_PARSE: dict[DataType, _Parse] = {
    DataType.BOOL: _bool,
    DataType.INT64: _int,
    DataType.FLOAT64: _float,
    DataType.DATE: _date,
    DataType.DATETIME: _datetime,
}


def _cast(series: pl.Series, dtype: pl.DataType) -> pl.Series | None:
    return _same(series, series.cast(dtype, strict=False))


def _same(before: pl.Series, after: pl.Series) -> pl.Series | None:
    """What was made of a column if no value was lost."""
    return after if after.null_count() == before.null_count() else None


def fitted(series: pl.Series) -> pl.Series:
    """A column of any type as one of the six; NaN becomes missing.

    Raises:
        InvalidError: it cannot be kept as one of them.
    """
    kind = series.dtype
    if kind.is_float():
        series = series.cast(pl.Float64).fill_nan(None)
    elif kind.is_integer():
        series = _whole(series)
    elif kind.is_decimal():
        series = series.cast(pl.Float64)
    elif kind == pl.Datetime:
        series = _moment(series)
    elif kind == pl.Duration:
        series = series.dt.total_microseconds() / 1e6  # seconds
    elif kind == pl.Time or isinstance(kind, pl.Categorical | pl.Enum) or kind == pl.Null:
        series = series.cast(pl.String)
    elif kind == pl.String:
        series = _without_nul(series)
    elif kind not in (pl.Boolean, pl.Date):
        raise InvalidError(
            f"The column {shown(series.name)} is {kind}, which no model takes.",
            "Leave it out, or turn it into numbers, text, booleans or dates.",
            column=series.name,
        )
    return series


def _moment(series: pl.Series) -> pl.Series:
    zone = getattr(series.dtype, "time_zone", None)
    zoned = series if zone else series.dt.replace_time_zone("UTC")
    return zoned.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _whole(series: pl.Series) -> pl.Series:
    cast = series.cast(pl.Int64, strict=False)
    if cast.null_count() != series.null_count():
        raise InvalidError(
            f"The column {shown(series.name)} has whole numbers beyond 64 bits.",
            "Keep them as text, or as floating point.",
            column=series.name,
        )
    return cast


def _without_nul(series: pl.Series) -> pl.Series:
    if series.str.contains("\0", literal=True).any():
        message = f"A text of the column {shown(series.name)} has a NUL."
        raise InvalidError(message, "Remove it.", column=series.name)
    return series
