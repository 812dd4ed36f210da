"""Rows as a request brings them, checked against a signature and turned into columns.

Small requests stay rows until a batch is made of them; tables (CSV, Parquet, tensors) are columns from
the start.
"""

from __future__ import annotations

import difflib
import math
import re
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from modelyard.records.errors import InvalidError, MalformedError, TooLargeError
from modelyard.records.references import shown
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.workers.wire import Block, ColumnData, Value, block_of, column_line, from_values

_PYTHON: dict[ColumnType, Any] = {
    ColumnType.FLOAT64: float,
    ColumnType.INT64: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    ColumnType.BOOL: bool,
    ColumnType.STRING: str,
}
_WORDS = {
    ColumnType.FLOAT64: "a number",
    ColumnType.INT64: "a whole number",
    ColumnType.BOOL: "true or false",
    ColumnType.STRING: "a string without NUL",
}
_LEVELS_SHOWN = 12
_OTHERS_READ, _LONGEST_READ = 100, 100  # columns, and characters of one, that are read for what was meant
_INT64 = range(-(2**63), 2**63)
_LINES_KEPT = 256  # the header lines of so many rows and fewer
_PART = 256 * 1024  # bytes of a large array of records that are decoded at once
_BETWEEN = re.compile(rb"\}[ \t\n\r]*,[ \t\n\r]*\{")  # of what JSON takes for blank
_NUL = b"\\u0000"  # the only way to write one in JSON

Row = tuple[Value, ...]


class Inputs(Struct, frozen=True):
    """The rows of one request, checked.

    Attributes:
        count: how many.
        rows: the values in the signature's order, where they came as rows.
        columns: the columns, where they came as a table.
        keys: for each row the request's other columns as a JSON object, or None where there were none.
    """

    count: int
    rows: Sequence[Row] | None = None
    columns: tuple[ColumnData, ...] | None = None
    keys: Sequence[str | None] | None = None


class InputPlan:
    """Reads requests for one signature.

    Args:
        signature: the version's.
        max_rows: the most rows of one request.

    Attributes:
        numbers: the names of the columns of doubles.

    Examples:
        >>> plan = InputPlan(Signature((Column("x", ColumnType.FLOAT64),)), max_rows=10)
        >>> plan.from_json(b'[{"x": 1}, {"x": 2.5}]').rows
        [(1.0,), (2.5,)]
    """

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self.columns = signature.inputs
        self.max_rows = max_rows
        self.numbers = frozenset(c.name for c in self.columns if c.type is ColumnType.FLOAT64)
        self._names = frozenset(c.name for c in self.columns)
        self._decoder = _decoder(self.columns)
        self._wider = _row_type(self.columns, others=True)
        self._all_numbers = all(c.type is ColumnType.FLOAT64 for c in self.columns)
        self._lines: dict[int, str] = {}
        self._levels = [frozenset(c.levels) if c.levels is not None else None for c in self.columns]

    def from_json(self, body: bytes) -> Inputs:
        """A JSON array of records, or `{"records": […]}`. Of a key that is twice in a record the last counts.

        Raises:
            MalformedError: not JSON in UTF-8, or nested about 1,000 deep.
            InvalidError: a row that does not fit the signature; the message names row and column.
            TooLargeError: over `max_rows`.
        """
        found = self._decoded(body)
        if found is not None:
            return Inputs(len(found), rows=[msgspec.structs.astuple(r) for r in found])
        records = _records(body)
        check_count(len(records), self.max_rows)
        rows = self._rows(records, quick=not _may_have_nul(body))
        keys = [self._keys(record) for record in records]
        return Inputs(len(rows), rows=rows, keys=keys if any(keys) else None)

    def table_from_json(self, body: bytes) -> Inputs:
        """As `from_json`, but columns: for many rows, which travel alone. Takes its time, best in a thread.

        Raises:
            YardError: as `from_json` and `columns_of`.
        """
        if self._all_numbers and (quick := self._numbers_of(body)) is not None:
            return quick
        inputs = self.from_json(body)
        return Inputs(inputs.count, columns=self.columns_of([inputs]), keys=inputs.keys)

    def _numbers_of(self, body: bytes) -> Inputs | None:
        """Records of numbers alone as columns; None where they are not plain, and a slower way must look.

        Part by part: what a part is decoded to is still in the processor's cache when it is packed, and
        other requests need not wait for all of it.
        """
        if self._decoder is None or not self.columns or _may_have_nul(body):
            return None
        pack, row_of = struct.Struct(f"<{len(self.columns)}d").pack, msgspec.structs.astuple
        packed: list[bytes] = []
        try:
            for part in _parts_of(body):
                packed += [pack(*row_of(record)) for record in self._decoder.decode(part)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, struct.error):
            return None
        count = len(packed)
        check_count(count, self.max_rows)
        table = np.frombuffer(b"".join(packed)).reshape(count, len(self.columns))
        body, size = table.T.tobytes(), 8 * count
        view = memoryview(body)
        columns = [
            ColumnData(c.name, c.type, view[i * size : (i + 1) * size]) for i, c in enumerate(self.columns)
        ]
        return Inputs(count, columns=tuple(columns))

    def _decoded(self, body: bytes) -> list[Struct] | None:
        """The records, where msgspec finds nothing wrong or odd with them."""
        if self._decoder is None or _may_have_nul(body):  # msgspec checks everything else
            return None
        try:
            found: list[Struct] = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None  # the slower ways find the words, or accept it
        check_count(len(found), self.max_rows)
        return found

    def _rows(self, records: list[Any], *, quick: bool) -> list[Row]:
        if quick and self._wider is not None:
            try:
                found = msgspec.convert(records, list[self._wider])  # type: ignore[name-defined]
                return [msgspec.structs.astuple(r) for r in found]
            except msgspec.ValidationError:
                pass  # the slow way finds the words, or accepts it
        return [self._row(record, number) for number, record in enumerate(records)]

    def _row(self, record: object, number: int) -> Row:
        if not isinstance(record, dict):
            message = f"Row {number} is not an object with the column names as keys."
            raise InvalidError(message, 'Send [{"column": value, …}, …].', row=number)
        return tuple(self._value(c, i, record, number) for i, c in enumerate(self.columns))

    def _keys(self, record: dict[str, Any]) -> str | None:
        extra = {k: v for k, v in record.items() if k not in self._names}
        return _as_keys(extra) if extra else None

    def _value(self, column: Column, index: int, record: dict[str, Any], row: int) -> Value:
        value = record.get(column.name)
        if value is None:
            if column.missing:
                return None
            absent = column.name not in record
            raise missing(column, row, absent=absent, others=[k for k in record if k not in self._names])
        fits = _fit(column.type, value)
        if fits is None:
            raise InvalidError(
                f"Row {row}: the column {shown(column.name)} must be {_WORDS[column.type]}, "
                f"not {shown(str(value))}.",
                "Correct the value; the model's signature says what it takes (`yard show`).",
                column=column.name,
                row=row,
            )
        levels = self._levels[index]
        if levels is not None and fits not in levels:
            raise unseen(column, str(fits), row)
        return fits

    def from_columns(
        self,
        given: dict[str, ColumnData],
        count: int,
        keys: Sequence[str | None] | None,
        others: Sequence[str] = (),
    ) -> Inputs:
        """Columns of the signature's types that came as a table (`serving.tables` made them).

        Args:
            others: the table's columns that the signature does not have.

        Raises:
            InvalidError: a column is not there, or misses values it must have.
            TooLargeError: over `max_rows`.
        """
        check_count(count, self.max_rows)
        columns = []
        for column in self.columns:
            data = given.get(column.name)
            if data is None:
                if not column.missing:
                    raise missing(column, 0, absent=True, others=others)
                data = from_values(column.name, column.type, [None] * count)
            columns.append(data)
        return Inputs(count, columns=tuple(columns), keys=keys)

    def columns_of(self, parts: Iterable[Inputs]) -> tuple[ColumnData, ...]:
        """The columns of several requests' rows, one after another.

        Raises:
            InvalidError: a string has a NUL, which the wire cannot carry.
        """
        every = list(parts)
        if len(every) == 1 and every[0].columns is not None:
            return every[0].columns
        rows = [row for part in every for row in part.rows or ()]
        values: Iterable[Sequence[Value]] = zip(*rows, strict=True) if rows else [()] * len(self.columns)
        return tuple(from_values(c.name, c.type, v) for c, v in zip(self.columns, values, strict=True))

    def block_of(self, parts: Sequence[Inputs]) -> Block:
        """The same columns as they lie in a frame.

        Raises:
            InvalidError: as `columns_of`.
        """
        if not self._all_numbers or (len(parts) == 1 and parts[0].columns is not None):
            return block_of(self.columns_of(parts))
        rows = parts[0].rows or () if len(parts) == 1 else [row for part in parts for row in part.rows or ()]
        values = rows[0] if len(rows) == 1 else list(chain.from_iterable(zip(*rows, strict=True)))
        try:
            body = array("d", values)
        except TypeError:  # a missing value
            body = array("d", [math.nan if v is None else v for v in values])
        return Block(self._lines_of(len(rows)), body.tobytes())

    def _lines_of(self, rows: int) -> str:
        """The header lines of so many rows of numbers."""
        lines = self._lines.get(rows)
        if lines is None:
            data = bytes(8 * rows)
            lines = "".join([column_line(ColumnData(c.name, c.type, data)) + "\n" for c in self.columns])
            if rows <= _LINES_KEPT:
                self._lines[rows] = lines
        return lines


def _parts_of(body: bytes) -> Iterator[bytes]:
    """An array of records as several.

    It is cut between two braces, wherever these are. Where that is within a string or another array, the part
    before it does not end as an array does, so it cannot be decoded.

    >>> list(_parts_of(b'[{"x": 1}]'))
    [b'[{"x": 1}]']
    """
    start, open_, view = 0, b"", memoryview(body)
    while cut := _BETWEEN.search(body, start + _PART):
        yield b"".join((open_, view[start : cut.start() + 1], b"]"))
        start, open_ = cut.end() - 1, b"["
    yield b"".join((open_, view[start:])) if start else body


def _may_have_nul(body: bytes) -> bool:
    return b"\\" in body and _NUL in body  # one byte is found many times faster than six


def check_count(count: int, limit: int) -> None:
    """Nothing if a request may have so many rows.

    Raises:
        TooLargeError: it may not.
    """
    if count > limit:
        raise TooLargeError(
            f"The request has {count} rows; the limit is {limit} a request.",
            "Send them in parts; `yard predict REF FILE` does so by itself.",
        )


def missing(column: Column, row: int, *, absent: bool, others: Sequence[str] = ()) -> InvalidError:
    """The error for a value that is not there and must be.

    Args:
        others: what the request has beside the model's columns, a misspelt name perhaps.
    """
    what = "is not there" if absent else "is missing a value"
    hint = "Send a value; the model was published with an example in which none was missing."
    return InvalidError(
        f"Row {row}: the column {shown(column.name)} ({column.type}) {what}, and the model needs it.",
        (_meant(column, others) if absent else "") or hint,
        column=column.name,
        row=row,
    )


def _meant(column: Column, others: Sequence[str]) -> str:
    """What somebody may have meant who sent these columns, which the model does not know; or nothing."""
    if len(others) == 1 and (";" in others[0] or "\t" in others[0]):
        return f"All that came is one column, {shown(others[0])}: put commas between the columns of a CSV."
    read = [name for name in others[:_OTHERS_READ] if len(name) <= _LONGEST_READ]
    near = difflib.get_close_matches(column.name, read, n=1)
    if near:
        return f"Is it {shown(near[0])}? The model does not know that one; name it {shown(column.name)}."
    return ""


def unseen(column: Column, value: str, row: int) -> InvalidError:
    """The error for a value outside a column's levels."""
    levels = list(column.levels or ())
    known = ", ".join(levels[:_LEVELS_SHOWN]) + (", …" if len(levels) > _LEVELS_SHOWN else "")
    return InvalidError(
        f"Row {row}: {shown(value)} is not a level of the column {shown(column.name)}.",
        f"The model knows: {known}.",
        column=column.name,
        row=row,
    )


def _decoder(columns: tuple[Column, ...]) -> msgspec.json.Decoder[Any] | None:
    row = _row_type(columns, others=False)
    return None if row is None else msgspec.json.Decoder(list[row])  # type: ignore[valid-type]


def _row_type(columns: tuple[Column, ...], *, others: bool) -> type[Struct] | None:
    """A struct of these columns, `others` passed over or refused; None where msgspec cannot have them."""
    fields: list[Any] = []
    for i, column in enumerate(columns):
        kind = _PYTHON[column.type]
        if column.levels is not None:
            if not column.levels:
                return None  # no value fits, and a Literal cannot be empty
            kind = Literal[tuple(column.levels)]
        fields.append((f"f{i}", kind | None, None) if column.missing else (f"f{i}", kind))
    names = {f"f{i}": column.name for i, column in enumerate(columns)}
    try:
        return msgspec.defstruct(
            "Row", fields, rename=names, kw_only=True, gc=False, forbid_unknown_fields=not others
        )
    except ValueError:
        return None


def _records(body: bytes) -> list[Any]:
    try:
        data = msgspec.json.decode(body)
    except RecursionError as error:
        raise MalformedError("The JSON is nested too deeply.", "Send an array of flat records.") from error
    except UnicodeDecodeError as error:
        raise MalformedError(f"The body is not UTF-8: {error}.", "JSON is sent in UTF-8.") from error
    except msgspec.DecodeError as error:
        raise MalformedError(
            f"The body is not JSON: {error}.",
            "JSON has no NaN and no Infinity: a missing value is null. For CSV or Parquet set Content-Type.",
        ) from error
    if isinstance(data, dict) and isinstance(data.get("records"), list):
        data = data["records"]
    if not isinstance(data, list):
        raise InvalidError(
            "The body is neither an array of records nor an object with one under `records`.",
            'Send [{"column": value, …}, …].',
        )
    return data


def _as_keys(extra: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(extra).decode()
    except RecursionError as error:  # what could just be read may be too deep to be written
        raise MalformedError("The JSON is nested too deeply.", "Send an array of flat records.") from error


def _fit(kind: ColumnType, value: object) -> Value:
    """The value as the column's type, or None if it is of another."""
    if kind is ColumnType.BOOL:
        return value if isinstance(value, bool) else None
    if kind is ColumnType.STRING:
        return value if isinstance(value, str) and "\0" not in value else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind is ColumnType.FLOAT64:
        return _as_float(value)
    if isinstance(value, float) and not value.is_integer():  # so are NaN and the infinities
        return None
    return int(value) if int(value) in _INT64 else None


def _as_float(value: float) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None
