"""Tables in and out: CSV and Parquet bodies, read with Polars, as columns of a signature."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

import polars as pl

from modelyard.records.errors import InvalidError, MalformedError, TooLargeError, UnsupportedError
from modelyard.records.references import shown
from modelyard.records.signatures import Column, ColumnType
from modelyard.serving.inputs import InputPlan, Inputs, check_count, missing, unseen
from modelyard.workers.wire import ColumnData

TRUE = ("true", "TRUE", "True", "T", "1")
FALSE = ("false", "FALSE", "False", "F", "0")
ABSENT = ("", "NA", "NaN", "nan", "null")  # of numbers and booleans; a string column: the empty field alone
MAX_TEXT = 256 * 1024 * 1024  # bytes of one column; a Parquet file of 1 KB can hold gigabytes of text

_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda")  # gzip, zstd, zlib


def read_csv(body: bytes, numbers: Collection[str] = ()) -> pl.DataFrame:
    """A CSV with a header line, every column as text; `""` is an empty string, an empty field missing.

    A line is a row, also an empty one; the fields a line lacks at its end are missing.

    Args:
        numbers: columns that come as numbers where all of theirs are plain ones, in half the time.

    Raises:
        MalformedError: it is not CSV in UTF-8, or a line has more fields than the header.
        InvalidError: a column is twice in the header.
        UnsupportedError: it is compressed (Polars would unpack it, however large it gets).
    """
    if body.startswith(_COMPRESSED):
        raise UnsupportedError("The CSV is compressed.", "Send it as plain text.")
    with readable("a CSV table", "Send UTF-8 with a header line."):
        lines = csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline=""))
        names = next((line for line in lines if line), [])
        more = next(lines, None)
        table = _parsed(body, {name: pl.Float64 for name in names if name in numbers})
    _refuse_twice(names)
    if len(names) != table.width or (more and not table.height):
        hint = "Put a name with a comma or a quote in quotes; end lines with LF or CR LF."
        raise MalformedError("The CSV's header line cannot be read.", hint)
    table.columns = names  # Polars leaves doubled quotes doubled, and renames a second `x`
    return table


def _parsed(body: bytes, numbers: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    if numbers:
        with suppress(*_UNREADABLE):  # NA, say: as text it can be told what is wrong, or nothing is
            return pl.read_csv(io.BytesIO(body), infer_schema=False, schema_overrides=numbers)
    return pl.read_csv(io.BytesIO(body), infer_schema=False)


def _refuse_twice(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        name, _ = Counter(names).most_common(1)[0]
        message = f"The column {shown(name)} is twice in the header."
        raise InvalidError(message, "Leave one out.", column=name)


def read_parquet(body: bytes, max_rows: int | None = None) -> pl.DataFrame:
    """A Parquet file.

    Args:
        max_rows: is asked of the file's own directory first, for a small file can unfold into very many.

    Raises:
        MalformedError: it is none, or is damaged.
        TooLargeError: over `max_rows`.
    """
    with readable("a Parquet file", "Write it anew."):
        file = io.BytesIO(body)
        if max_rows is not None:
            check_count(pl.scan_parquet(file).select(pl.len()).collect().item(), max_rows)
            file.seek(0)
        return pl.read_parquet(file)


_UNREADABLE = (
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,  # which is no `Exception`
    OSError,
    UnicodeDecodeError,
    csv.Error,
)


@contextmanager
def readable(what: str, hint: str) -> Iterator[None]:
    """Says of damaged input, which is told of in several ways, that it is not `what`."""
    try:
        yield
    except _UNREADABLE as error:
        raise MalformedError(f"The body is not {what}: {first_line(error)}.", hint) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a full stop."""
    return str(error).partition("\n")[0].rstrip(".")[:300]


def from_table(plan: InputPlan, table: pl.DataFrame) -> Inputs:
    """A table's rows, checked against a signature; its other columns are kept as keys.

    Raises:
        InvalidError: a column that is not there or a value that does not fit; the message names both.
    """
    given = {c.name: _column(c, table[c.name]) for c in plan.columns if c.name in table.columns}
    names = {c.name for c in plan.columns}
    extra = [name for name in table.columns if name not in names]
    return plan.from_columns(given, table.height, _keys(extra, table), extra)


def _keys(extra: Sequence[str], table: pl.DataFrame) -> Sequence[str | None] | None:
    if not extra or not table.height:
        return None
    for name in extra:
        _check_key(name, table[name])
    return table.select(pl.struct(extra).struct.json_encode().alias("keys"))["keys"].to_list()


def _check_key(name: str, series: pl.Series) -> None:
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        raise InvalidError(
            f"The extra column {shown(name)} is {series.dtype}, which cannot be kept with the predictions.",
            "Leave it out, or send it as text.",
            column=name,
        )
    if series.dtype == pl.String:
        _check_text(name, series)


def _check_text(name: str, series: pl.Series) -> None:
    size = int(series.str.len_bytes().sum())
    if size > MAX_TEXT:
        raise TooLargeError(
            f"The column {shown(name)} has {size >> 20} MiB of text; the limit is {MAX_TEXT >> 20}.",
            "Send the rows in parts.",
            column=name,
        )


def _column(column: Column, series: pl.Series) -> ColumnData:
    fitted = _FIT[column.type](column, series)
    if column.type is ColumnType.FLOAT64 and not column.missing and fitted.is_nan().any():
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
        TooLargeError: a column of strings is over `MAX_TEXT`.
    """
    validity = None
    if series.null_count() and kind is not ColumnType.FLOAT64:
        validity = series.is_not_null().to_numpy().tobytes()
    if kind is ColumnType.FLOAT64:
        data = (series.fill_null(float("nan")) if series.null_count() else series).to_numpy().tobytes()
    elif kind is ColumnType.STRING:
        data = _string_block(name, series)
    else:
        data = series.fill_null(0 if kind is ColumnType.INT64 else False).to_numpy().tobytes()
    return ColumnData(name, kind, data, validity)


def _string_block(name: str, series: pl.Series) -> bytes:
    if not len(series):
        return b""
    _check_text(name, series)
    block: str = series.fill_null("").str.join("\0")[0]
    if block.count("\0") != len(series) - 1:
        row = _first(series.str.contains("\0", literal=True).fill_null(value=False))
        message = f"Row {row}: a string of the column {shown(name)} has a NUL."
        raise InvalidError(message, "Remove it.", column=name, row=row)
    return block.encode() + b"\0"


def _float(column: Column, series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        plain = series.cast(pl.Float64, strict=False)  # most often nothing is blank, NA or wrong
        same = plain.null_count() == series.null_count()
        return plain if same else _parse(column, series, _present(series), pl.Float64)
    if not series.dtype.is_numeric() and series.dtype != pl.Null:
        raise _wrong_type(column, series)
    return series.cast(pl.Float64)


def _int(column: Column, series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        # 3.0 is whole as well: so pandas writes whole numbers where one of the column is missing
        return _parse(column, series, _present(series).str.replace(r"\.0*$", ""), pl.Int64)
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
    text = _present(series)
    _refuse_first(column, series, ~(text.is_null() | text.is_in(TRUE) | text.is_in(FALSE)))
    return text.is_in(TRUE)


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


def _present(series: pl.Series) -> pl.Series:
    """Text without the blanks around it; null where it says that the value is missing."""
    text = series.str.strip_chars()
    return pl.select(pl.when(~text.is_in(ABSENT)).then(text)).to_series()


def _parse(column: Column, series: pl.Series, text: pl.Series, kind: type[pl.DataType]) -> pl.Series:
    numbers = text.cast(kind, strict=False)
    _refuse_first(column, series, numbers.is_null() & text.is_not_null())
    return numbers


def _refuse_first(column: Column, series: pl.Series, wrong: pl.Series) -> None:
    if wrong.any():
        row = _first(wrong)
        value = shown(str(series[row]))
        message = f"Row {row}: the column {shown(column.name)} must be {column.type}, not {value}."
        hint = "Correct the value; the model's signature says what it takes (`yard show`)."
        raise InvalidError(message, hint, column=column.name, row=row)


def _wrong_type(column: Column, series: pl.Series) -> InvalidError:
    return InvalidError(
        f"The column {shown(column.name)} must be {column.type}, not {series.dtype}.", column=column.name
    )


def _first(flags: pl.Series) -> int:
    return int(flags.arg_true()[0])
