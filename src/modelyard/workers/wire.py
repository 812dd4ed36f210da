"""Frames: the encoding between the yard and its workers, specified in `contract/wire.md`.

A column's data stays bytes here (`ColumnData`); `from_values` and `to_values` turn Python lists into it
and back.
"""

from __future__ import annotations

import math
import re
import struct
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

from msgspec import Struct

from modelyard.records.errors import InvalidError, MalformedError, TooLargeError
from modelyard.records.signatures import ColumnType

MAGIC = b"YRD1"
PREFIX = struct.Struct("<4sII")
MAX_HEADER = 4 * 1024 * 1024
MAX_BODY = 2**31 - 1
EXACT_INTEGERS = 2**53  # beyond this, doubles skip whole numbers

Value = float | int | bool | str | None
Buffer = bytes | bytearray | memoryview

_TO_ESCAPE = re.compile(r"[\\\t\n\r]")
_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_TO_UNESCAPE = re.compile(r"\\(.)")
_UNESCAPES = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


class ColumnData(Struct, frozen=True):
    """One column of a frame.

    Attributes:
        data: as on the wire; for strings the block of NUL-terminated UTF-8.
        validity: one byte a row, 1 where the value is there; None where none is missing.
    """

    name: str
    type: ColumnType
    data: Buffer
    validity: Buffer | None = None


class Frame(Struct, frozen=True):
    """A verb, its fields and its columns.

    Attributes:
        fields: key and values of each field line but `rows`, in order; a key may repeat.
    """

    verb: str
    fields: tuple[tuple[str, ...], ...] = ()
    rows: int | None = None
    columns: tuple[ColumnData, ...] = ()

    def get(self, key: str, default: str = "") -> str:
        """The first value of the first field with this key."""
        return next((f[1] for f in self.fields if f[0] == key and len(f) > 1), default)


def encode(frame: Frame) -> bytes:
    r"""The frame's bytes.

    Raises:
        InvalidError: a NUL in a field or name.
        TooLargeError: the header or the body is over its limit.

    >>> encode(Frame("ping", (("id", "1"),)))
    b'YRD1\n\x00\x00\x00\x00\x00\x00\x00ping\nid\t1\n'
    """
    lines = [_escape(frame.verb)]
    lines += ["\t".join(map(_escape, field)) for field in frame.fields]
    if frame.rows is not None:
        lines.append(f"rows\t{frame.rows}")
    parts: list[Buffer] = []
    for c in frame.columns:
        lines.append(column_line(c))
        parts.append(c.data)
        if c.validity is not None:
            parts.append(c.validity)
    return seal("\n".join(lines) + "\n", b"".join(parts))


def column_line(column: ColumnData) -> str:
    """The header line of a column, without its line end."""
    return _column_line(column.name, column.type, len(column.data), column.validity is not None)


@lru_cache(4096)  # one-row frames of one model have the same lines again and again: a third of their cost
def _column_line(name: str, kind: ColumnType, size: int, flagged: bool) -> str:
    return f"column\t{_escape(name)}\t{kind}\t{size}\t{1 if flagged else 0}"


def seal(header: str, body: bytes) -> bytes:
    """Prefix, header and body in one piece.

    Raises:
        TooLargeError: the header or the body is over its limit.
    """
    head = header.encode()
    if len(head) > MAX_HEADER or len(body) > MAX_BODY:
        raise TooLargeError(
            f"A frame of {len(head)} + {len(body)} bytes is over the limit of {MAX_HEADER} + {MAX_BODY}.",
            "Send fewer rows at once.",
        )
    return PREFIX.pack(MAGIC, len(head), len(body)) + head + body


def lengths(prefix: Buffer) -> tuple[int, int]:
    """Header and body length out of the first 12 bytes.

    Raises:
        MalformedError: not a frame, or over a limit.
    """
    magic, header, body = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise MalformedError(f"A frame begins with {MAGIC!r}, not with {bytes(magic)!r}.")
    if header > MAX_HEADER or body > MAX_BODY:
        raise MalformedError(f"A frame says it has {header} + {body} bytes, over the limit.")
    return header, body


def decode(data: Buffer) -> Frame:
    """Exactly one frame.

    Raises:
        MalformedError: it breaks `contract/wire.md`; the message says where.
    """
    if len(data) < PREFIX.size:
        raise MalformedError("The frame is cut short in its first 12 bytes.")
    view = memoryview(data)
    header, body = lengths(view[: PREFIX.size])
    if len(view) != PREFIX.size + header + body:
        raise MalformedError(
            f"The frame has {len(view)} bytes, its prefix says {PREFIX.size + header + body}."
        )
    end = PREFIX.size + header
    return decode_parts(view[PREFIX.size : end], view[end:])


def decode_parts(header: Buffer, body: Buffer) -> Frame:
    """A frame out of its header and body, as they come from a stream.

    The columns are views into `body`; nothing is copied.

    Raises:
        MalformedError: it breaks `contract/wire.md`; the message says where.
    """
    try:
        text = str(header, "utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"The frame's header is not UTF-8: {error}.") from error
    if not text.endswith("\n") or "\0" in text:
        raise MalformedError("The frame's header does not end with a line end, or has a NUL.")
    verb, *lines = text[:-1].split("\n")
    rows: int | None = None
    fields: list[tuple[str, ...]] = []
    columns: list[ColumnData] = []
    view, at = memoryview(body), 0
    for line in lines:
        parts = tuple(_unescape(p) for p in line.split("\t"))
        if parts[0] == "rows":
            rows = _natural(parts[1] if len(parts) > 1 else "", "rows")
        elif parts[0] == "column":
            column, at = _read_column(parts, rows, view, at)
            columns.append(column)
        else:
            fields.append(parts)
    if at != len(view):
        raise MalformedError(f"The frame's columns take {at} bytes, its body has {len(view)}.")
    return Frame(_unescape(verb), tuple(fields), rows, tuple(columns))


def _read_column(
    parts: tuple[str, ...], rows: int | None, view: memoryview, at: int
) -> tuple[ColumnData, int]:
    if rows is None:
        raise MalformedError("A column stands before `rows`.")
    try:
        _, name, type_name, length, flag = parts
        kind = ColumnType(type_name)
    except ValueError as error:
        raise MalformedError(f"The column line {parts!r} is not name, type, bytes, flag.") from error
    size = _natural(length, "a column's bytes")
    end = at + size + (rows if flag == "1" else 0)
    if flag not in ("0", "1") or end > len(view):
        raise MalformedError(f"The column {name!r} reaches beyond the frame's body, or its flag is wrong.")
    data = view[at : at + size]
    validity = view[at + size : end] if flag == "1" else None
    _check_data(name, kind, rows, data, validity)
    return ColumnData(name, kind, data, validity), end


def _check_data(name: str, kind: ColumnType, rows: int, data: Buffer, validity: Buffer | None) -> None:
    if kind is ColumnType.STRING:
        wrong = bytes(data).count(0) != rows or (len(data) > 0 and data[-1] != 0)
    elif kind is ColumnType.FLOAT64:
        wrong = len(data) != rows * 8 or validity is not None
    elif kind is ColumnType.INT64:
        wrong = len(data) != rows * 8
    else:
        wrong = len(data) != rows or bool(bytes(data).translate(None, b"\x00\x01"))
    if wrong or (validity is not None and bytes(validity).translate(None, b"\x00\x01")):
        raise MalformedError(f"The data of the {kind} column {name!r} does not fit {rows} rows.")


def _natural(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_BODY))):
        raise MalformedError(f"The frame's header gives {text!r} for {what}, not a whole number.")
    return int(text)


def _escape(text: str) -> str:
    if "\0" in text:
        raise InvalidError("A name or field of a frame has a NUL.", "Rename it.")
    return _TO_ESCAPE.sub(lambda m: _ESCAPES[m[0]], text)


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _TO_UNESCAPE.sub(lambda m: _UNESCAPES.get(m[1], m[0]), text)


def from_values(name: str, kind: ColumnType, values: Sequence[Value]) -> ColumnData:
    """A column out of Python values of its type; None is a missing one.

    Raises:
        InvalidError: a value is not of the type, an integer is beyond 64 bits, a string has a NUL.
    """
    there: Sequence[Any] = values
    validity = None
    try:
        if kind is ColumnType.FLOAT64:
            return ColumnData(name, kind, _doubles(there).tobytes())
        if None in values:
            validity = bytes(v is not None for v in values)
        if kind is ColumnType.INT64:
            return ColumnData(
                name, kind, array("q", [0 if v is None else v for v in there]).tobytes(), validity
            )
        if kind is ColumnType.BOOL:
            return ColumnData(name, kind, bytes(v is True for v in values), validity)
        return ColumnData(name, kind, _string_block(name, there), validity)
    except (TypeError, OverflowError) as error:
        raise InvalidError(f"The column {name!r} has a value that is not {kind}: {error}.") from error


def _doubles(values: Sequence[Any]) -> array[float]:
    try:
        return array("d", values)
    except TypeError:  # None, most likely; else the error comes again
        return array("d", [math.nan if v is None else v for v in values])


def _string_block(name: str, values: Sequence[str | None]) -> bytes:
    block = "".join(["\0" if v is None else v + "\0" for v in values])
    if block.count("\0") != len(values):
        raise InvalidError(f"A string of the column {name!r} has a NUL.", "Remove it.", column=name)
    try:
        return block.encode()
    except UnicodeEncodeError as error:
        hint = "Send valid Unicode (no lone surrogates)."
        raise InvalidError(f"A string of the column {name!r} is not Unicode.", hint, column=name) from error


def to_values(column: ColumnData) -> list[Value]:
    """A column's values as Python objects; None where one is missing (NaN stays a float)."""
    values: list[Value]
    if column.type is ColumnType.FLOAT64:
        values = list(_unpack("d", column.data))
    elif column.type is ColumnType.INT64:
        values = list(_unpack("q", column.data))
    elif column.type is ColumnType.BOOL:
        values = [b == 1 for b in column.data]
    else:
        values = list(_strings(column))
    if column.validity is None:
        return values
    return [v if ok else None for v, ok in zip(values, column.validity, strict=True)]


def _unpack(code: str, data: Buffer) -> array[float] | array[int]:
    numbers: array[float] | array[int] = array(code)
    numbers.frombytes(data)
    return numbers


def _strings(column: ColumnData) -> Iterable[str]:
    try:
        return str(column.data, "utf-8").split("\0")[:-1]
    except UnicodeDecodeError as error:
        raise MalformedError(f"The string column {column.name!r} is not UTF-8.") from error


def as_float64(column: ColumnData) -> ColumnData:
    """An int64 column as float64, for a runtime without 64-bit integers.

    Raises:
        InvalidError: a value of 2⁵³ or more in size, which a double may not hold exactly.
    """
    values = to_values(column)
    if any(v is not None and abs(v) >= EXACT_INTEGERS for v in values):  # type: ignore[arg-type]
        raise InvalidError(
            f"The column {column.name!r} has a whole number of 2^53 or more, which this model's language "
            "cannot hold exactly.",
            "Send it as a string column, or scale it.",
            column=column.name,
        )
    return from_values(column.name, ColumnType.FLOAT64, values)


def present(column: ColumnData) -> list[Value]:
    """The values that are there, in order."""
    values = to_values(column)
    return list(compress(values, column.validity)) if column.validity is not None else values
