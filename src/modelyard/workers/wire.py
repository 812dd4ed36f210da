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
from typing import Any, Literal

from msgspec import Struct

from modelyard.records.errors import InvalidError, MalformedError, TooLargeError
from modelyard.records.signatures import ColumnType

MAGIC = b"YRD1"
PREFIX = struct.Struct("<4sII")
MAX_HEADER = 4 * 1024 * 1024
MAX_BODY = 2**31 - 1
_LARGE, _TIMES = 64 * 1024 * 1024, 1024  # of an answer: bytes in any case, and for each byte asked
EXACT_INTEGERS = 2**53  # beyond this, doubles skip whole numbers

_WIDTHS = {ColumnType.FLOAT64: 8, ColumnType.INT64: 8}  # bytes of a value, whatever it is

Value = float | int | bool | str | None
Buffer = bytes | bytearray | memoryview

_TO_ESCAPE = re.compile(r"[\\\t\n\r]")
_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_TO_UNESCAPE = re.compile(r"\\(.)")
_PLAIN_ID = re.compile(rb"id\t([0-9]{1,20})")
_REMEMBERED = 512  # layouts of headers, none longer than
_REMEMBERED_BYTES = 64 * 1024
_KEPT_LINES = 16 * 1024  # characters of header lines that are remembered
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


class Block(Struct, frozen=True):
    """Columns as they lie in a frame; they go into another frame without being taken apart.

    Attributes:
        lines: their header lines, each with its line end.
        body: their bytes, one column after another.
    """

    lines: str
    body: Buffer

    def named(self, prefix: str) -> Block:
        r"""The same columns with this before each name.

        >>> Block("column\tx\tint64\t8\t0\n", bytes(8)).named("in:").lines
        'column\tin:x\tint64\t8\t0\n'
        """
        named = _named if len(self.lines) <= _KEPT_LINES else _named.__wrapped__
        return Block(named(self.lines, prefix), self.body)


@lru_cache(512)  # as those of `column_line`
def _named(lines: str, prefix: str) -> str:
    return ("\n" + lines).replace("\ncolumn\t", "\ncolumn\t" + prefix)[1:]  # no name has a line end


class Frame(Struct, frozen=True):
    """A verb, its fields and its columns.

    Attributes:
        fields: key and values of each field line but `rows`, in order; a key may repeat.
        block: the columns as they came, where a `Reader` read the frame.
    """

    verb: str
    fields: tuple[tuple[str, ...], ...] = ()
    rows: int | None = None
    columns: tuple[ColumnData, ...] = ()
    block: Block | None = None

    def get(self, key: str, default: str = "") -> str:
        """The first value of the first field with this key."""
        for field in self.fields:
            if field[0] == key and len(field) > 1:
                return field[1]
        return default


def encode(frame: Frame) -> bytes:
    r"""The frame's bytes.

    Raises:
        InvalidError: a NUL in a field or name.
        TooLargeError: the header or the body is over its limit.

    >>> encode(Frame("ping", (("id", "1"),)))
    b'YRD1\n\x00\x00\x00\x00\x00\x00\x00ping\nid\t1\n'
    """
    return compose(frame.verb, frame.fields, frame.rows, block_of(frame.columns))


def compose(verb: str, fields: Iterable[tuple[str, ...]], rows: int | None, *blocks: Block) -> bytes:
    """The bytes of a frame whose columns are there already, block after block.

    Raises:
        InvalidError: a NUL in the verb or a field.
        TooLargeError: the header or the body is over its limit.
    """
    lines = [_escape(verb), *["\t".join(map(_escape, field)) for field in fields]]
    if rows is not None:
        lines.append(f"rows\t{rows}")
    header = "\n".join(lines) + "\n" + "".join([block.lines for block in blocks])
    return seal(header, *[block.body for block in blocks])


def block_of(columns: Iterable[ColumnData]) -> Block:
    """Columns as they lie in a frame.

    Raises:
        InvalidError: a NUL in a name.
    """
    lines: list[str] = []
    parts: list[Buffer] = []
    for c in columns:
        lines.append(column_line(c) + "\n")
        parts.append(c.data)
        if c.validity is not None:
            parts.append(c.validity)
    return Block("".join(lines), parts[0] if len(parts) == 1 else b"".join(parts))


def column_line(column: ColumnData) -> str:
    """The header line of a column, without its line end."""
    return _column_line(column.name, column.type, len(column.data), column.validity is not None)


@lru_cache(4096)  # one-row frames of one model have the same lines again and again: a third of their cost
def _column_line(name: str, kind: ColumnType, size: int, flagged: bool) -> str:
    return f"column\t{_escape(name)}\t{kind}\t{size}\t{1 if flagged else 0}"


def seal(header: str, *bodies: Buffer) -> bytes:
    """Prefix, header and body, which may come in pieces, in one piece.

    Raises:
        TooLargeError: the header or the body is over its limit.
    """
    head = header.encode()
    size = sum(map(len, bodies))
    if len(head) > MAX_HEADER or size > MAX_BODY:
        raise TooLargeError(
            f"A frame of {len(head)} + {size} bytes is over the limit of {MAX_HEADER} + {MAX_BODY}.",
            "Send fewer rows at once.",
        )
    return b"".join((PREFIX.pack(MAGIC, len(head), size), head, *bodies))


def largest_answer(asked: int) -> int:
    """Bytes that the body of an answer may have: of one column's rows a thousand classes each, and 64 MiB.

    Args:
        asked: bytes of the question.
    """
    return min(MAX_BODY, _LARGE + _TIMES * asked)


def lengths(prefix: Buffer, most: int = MAX_BODY) -> tuple[int, int]:
    """Header and body length out of the first 12 bytes.

    Args:
        most: bytes that the body may have.

    Raises:
        MalformedError: not a frame, or over a limit.
    """
    magic, header, body = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise MalformedError(f"A frame begins with {MAGIC!r}, not with {bytes(magic)!r}.")
    if header > MAX_HEADER or body > min(most, MAX_BODY):
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
    return _fill(_parse(header), body)


class Reader:
    """Reads frames from one sender; what headers say is remembered, for most are alike but for the id."""

    def __init__(self) -> None:
        self._layouts: dict[bytes, _Layout] = {}

    def decode(self, header: bytes, body: Buffer) -> Frame:
        """As `decode_parts`; the frame has its block."""
        verb, _, rest = header.partition(b"\n")
        line, _, rest = rest.partition(b"\n")
        found = _PLAIN_ID.fullmatch(line)
        if found is None or not header.endswith(b"\n"):
            return _fill(_parse(header), body)
        key = verb + b"\n" + rest
        layout = self._layouts.get(key)
        if layout is None:
            layout = _parse(key)
            if len(key) <= _REMEMBERED_BYTES and all(c[1] is not ColumnType.STRING for c in layout.columns):
                if len(self._layouts) >= _REMEMBERED:
                    self._layouts.clear()
                self._layouts[key] = layout
        return _fill(layout, body, (("id", found[1].decode()),))


class _Layout(Struct, frozen=True):
    """What a header says: verb, fields and rows, and of each column name, type, start, end and flag."""

    verb: str
    fields: tuple[tuple[str, ...], ...]
    rows: int | None
    columns: tuple[tuple[str, ColumnType, int, int, bool], ...]
    size: int
    lines: str


def _parse(header: Buffer) -> _Layout:
    try:
        text = str(header, "utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"The frame's header is not UTF-8: {error}.") from error
    if not text.endswith("\n") or "\0" in text:
        raise MalformedError("The frame's header does not end with a line end, or has a NUL.")
    verb, *lines = text[:-1].split("\n")
    rows: int | None = None
    fields: list[tuple[str, ...]] = []
    columns: list[tuple[str, ColumnType, int, int, bool]] = []
    own: list[str] = []
    at = 0
    for line in lines:
        parts = tuple(unescape(p) for p in line.split("\t"))
        if parts[0] == "rows":
            rows = _natural(parts[1] if len(parts) > 1 else "", "rows")
        elif parts[0] == "column":
            columns.append(_column_of(parts, rows, at))
            own.append(line + "\n")
            at = columns[-1][3] + (rows or 0) * columns[-1][4]
        else:
            fields.append(parts)
    return _Layout(unescape(verb), tuple(fields), rows, tuple(columns), at, "".join(own))


def _column_of(parts: tuple[str, ...], rows: int | None, at: int) -> tuple[str, ColumnType, int, int, bool]:
    if rows is None:
        raise MalformedError("A column stands before `rows`.")
    try:
        _, name, type_name, length, flag = parts
        kind = ColumnType(type_name)
    except ValueError as error:
        raise MalformedError(f"The column line {parts!r} is not name, type, bytes, flag.") from error
    size = _natural(length, "a column's bytes")
    if flag not in ("0", "1"):
        raise MalformedError(f"The flag of the column {name!r} is neither 0 nor 1.")
    if (kind in _WIDTHS and size != rows * _WIDTHS[kind]) or (kind is ColumnType.FLOAT64 and flag == "1"):
        raise _unfit(name, kind, rows)
    return name, kind, at, at + size, flag == "1"


def _fill(layout: _Layout, body: Buffer, first: tuple[tuple[str, ...], ...] = ()) -> Frame:
    view = memoryview(body)
    rows = layout.rows or 0
    columns: list[ColumnData] = []
    if layout.size != len(view):
        raise MalformedError(f"The frame's columns take {layout.size} bytes, its body has {len(view)}.")
    for name, kind, start, end, flagged in layout.columns:
        validity = view[end : end + rows] if flagged else None
        data = view[start:end]
        if flagged or kind not in _WIDTHS:
            _check_data(name, kind, rows, data, validity)
        columns.append(ColumnData(name, kind, data, validity))
    fields = first + layout.fields
    return Frame(
        layout.verb, fields, layout.rows, tuple(columns), Block(layout.lines, body) if first else None
    )


def _check_data(name: str, kind: ColumnType, rows: int, data: Buffer, validity: Buffer | None) -> None:
    wrong = False
    if kind is ColumnType.STRING:
        wrong = bytes(data).count(0) != rows or (len(data) > 0 and data[-1] != 0)
    elif kind is ColumnType.BOOL:
        wrong = len(data) != rows or bool(bytes(data).translate(None, b"\x00\x01"))
    if wrong or (validity is not None and bytes(validity).translate(None, b"\x00\x01")):
        raise _unfit(name, kind, rows)


def _unfit(name: str, kind: ColumnType, rows: int) -> MalformedError:
    return MalformedError(f"The data of the {kind} column {name!r} does not fit {rows} rows.")


def _natural(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_BODY))):
        raise MalformedError(f"The frame's header gives {text!r} for {what}, not a whole number.")
    return int(text)


def _escape(text: str) -> str:
    if text.isprintable() and "\\" not in text:  # so there is nothing to escape, nor a NUL
        return text
    if "\0" in text:
        raise InvalidError("A name or field of a frame has a NUL.", "Rename it.")
    return _TO_ESCAPE.sub(lambda m: _ESCAPES[m[0]], text)


def unescape(text: str) -> str:
    """A name or field as it was before it was written into a header."""
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
        values = _unpack("d", column.data)
    elif column.type is ColumnType.INT64:
        values = _unpack("q", column.data)
    elif column.type is ColumnType.BOOL:
        values = [b == 1 for b in column.data]
    else:
        values = list(_strings(column))
    if column.validity is None:
        return values
    return [v if ok else None for v, ok in zip(values, column.validity, strict=True)]


def _unpack(code: Literal["d", "q"], data: Buffer) -> list[Any]:
    return memoryview(data).cast(code).tolist() if len(data) else []  # what is empty cannot be cast


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
