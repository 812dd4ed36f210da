"""Frames (contract/wire.md) as bytes and as numpy columns.

A column is a tuple `(name, kind, values, valid)`: `kind` is float64, int64, bool or string; `values` is an
array of that type, or a list of str; `valid` is None where nothing is missing, else an array of bool, False
where a value is.
"""

from __future__ import annotations

import functools
import re
import struct

import numpy as np

PREFIX = struct.Struct("<4sII")
MAGIC = b"YRD1"
MAX_HEADER = 4 * 1024 * 1024
MAX_BODY = 2**31 - 1
_CACHED_HEADER = 16 * 1024
_CACHED = 512
_NUMPY = {"float64": "<f8", "int64": "<i8", "bool": "?"}
_WIDTH = {"float64": 8, "int64": 8, "bool": 1}
_COLUMN_PARTS = 5

_TO_ESCAPE = re.compile(r"[\\\t\n\r]")
_ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_TO_UNESCAPE = re.compile(r"\\(.)")
_UNESCAPES = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


class FrameError(Exception):
    """What came is not a frame, or not one this runtime can read."""


class Layout:
    """What a header says, but for its id: the same for each request of the same shape, hence kept.

    Attributes:
        rows: number of rows, or None.
        columns: `(name, kind, start, length, flagged)` of each column in the body.
        size: bytes of the body.
        floats: whether the body is nothing but float64 columns, so a matrix as it lies.
    """

    __slots__ = ("columns", "fields", "floats", "names", "rows", "size", "verb")

    def __init__(self, verb: str, fields: list, rows: int | None, columns: list, size: int) -> None:
        self.verb, self.fields, self.rows = verb, fields, rows
        self.columns, self.size = columns, size
        self.names = [c[0] for c in columns]
        self.floats = bool(columns) and all(c[1] == "float64" for c in columns)


class Frame:
    """A frame as it came.

    Attributes:
        matrix: rows by columns where all columns are float64, else None; a view of the body.
    """

    __slots__ = ("_columns", "_first", "body", "id", "layout", "matrix", "rows", "verb")

    def __init__(self, layout: Layout, number: str | None, body: bytearray) -> None:
        self.layout, self.id, self.body = layout, number or "", body
        self._first = [] if number is None else [("id", number)]
        self.verb, self.rows = layout.verb, layout.rows
        self.matrix = None
        self._columns = None
        if (
            layout.floats
        ):  # nothing can be wrong with doubles of the right length, so they wait until asked for
            self.matrix = np.frombuffer(body, "<f8").reshape(len(layout.columns), layout.rows).T
        else:
            self._columns = [_read(spec, layout.rows, body) for spec in layout.columns]

    @property
    def columns(self) -> list:
        """The columns; see this module."""
        if self._columns is None:
            self._columns = [_read(spec, self.rows, self.body) for spec in self.layout.columns]
        return self._columns

    @property
    def fields(self) -> list:
        """Key and values of each field but `rows`, in order."""
        return [*self._first, *self.layout.fields]

    def get(self, key: str, default: str = "") -> str:
        """The first value of the first field with this key."""
        return next((f[1] for f in self.fields if f[0] == key and len(f) > 1), default)

    def all(self, key: str) -> list:
        """The values of each field with this key."""
        return [f[1:] for f in self.fields if f[0] == key]


def lengths(prefix: bytes) -> tuple:
    """Header and body length out of the first 12 bytes.

    Raises:
        FrameError: not a frame, or over a limit.
    """
    magic, header, body = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise FrameError("A frame begins with YRD1, this does not.")
    if header > MAX_HEADER or body > MAX_BODY:
        raise FrameError(f"A frame of {header} + {body} bytes is over the limit.")
    return header, body


class Reader:
    """Reads frames; remembers the layouts it has seen."""

    def __init__(self) -> None:
        self._layouts = {}

    def decode(self, header: bytes, body: bytearray) -> Frame:
        """A frame out of its two parts, as they came from a stream.

        Raises:
            FrameError: it breaks contract/wire.md; the message says where.
        """
        verb, _, rest = header.partition(b"\n")
        number = None
        line, ended, after = rest.partition(b"\n")
        if ended and line.startswith(b"id\t") and line.count(b"\t") == 1:  # always; else a field like any
            number, rest = _unescape(_text(line[3:])), after
        layout = self._layouts.get((verb, rest))
        if layout is None:
            if not header.endswith(b"\n") or b"\0" in header:
                raise FrameError("The header does not end with a line end, or has a NUL.")
            layout = _parse(_text(verb), _text(rest))
            if len(header) <= _CACHED_HEADER and all(c[1] != "string" for c in layout.columns):
                if len(self._layouts) >= _CACHED:
                    self._layouts.clear()
                self._layouts[verb, rest] = layout
        if layout.size != len(body):
            raise FrameError(f"The columns take {layout.size} bytes, the body has {len(body)}.")
        return Frame(layout, number, body)


def _parse(verb: str, text: str) -> Layout:
    rows, fields, columns, at = None, [], [], 0
    for line in text.split("\n")[:-1]:
        parts = line.split("\t")
        if "\\" in line:
            parts = [_unescape(p) for p in parts]
        if parts[0] == "column":
            spec, at = _column(parts, rows, at)
            columns.append(spec)
        elif parts[0] == "rows":
            rows = _natural(parts[1] if parts[1:] else "")
        else:
            fields.append(tuple(parts))
    return Layout(_unescape(verb), fields, rows, columns, at)


def _column(parts: list, rows: int, at: int) -> tuple:
    if rows is None:
        raise FrameError("A column stands before `rows`.")
    if len(parts) != _COLUMN_PARTS or parts[4] not in ("0", "1"):
        raise FrameError(f"The column line {parts!r} is not name, type, bytes, 0 or 1.")
    _, name, kind, length, flag = parts
    size, flagged = _natural(length), flag == "1"
    if kind not in _WIDTH and kind != "string":
        raise FrameError(f"There is no column type {kind!r}.")
    if (kind != "string" and size != rows * _WIDTH[kind]) or (kind == "float64" and flagged):
        raise FrameError(f"The {kind} column {name!r} of {size} bytes does not fit {rows} rows.")
    return (name, kind, at, size, flagged), at + size + (rows if flagged else 0)


def _read(spec: tuple, rows: int, body: bytearray) -> tuple:
    name, kind, start, size, flagged = spec
    end = start + size
    valid = _flags(body, end, rows) if flagged else None
    if kind == "string":
        return name, kind, _strings(body[start:end], rows, name), valid
    if kind == "bool":
        return name, kind, _flags(body, start, rows), valid
    return name, kind, np.frombuffer(body, _NUMPY[kind], rows, start), valid


def _flags(body: bytearray, start: int, rows: int) -> np.ndarray:
    flags = np.frombuffer(body, np.uint8, rows, start)
    if rows and flags.max() > 1:
        raise FrameError("A byte that must be 0 or 1 is neither.")
    return flags.view(np.bool_)


def _strings(data: bytearray, rows: int, name: str) -> list:
    if data.count(0) != rows or (data and data[-1] != 0):
        raise FrameError(f"The string column {name!r} does not have one NUL a row.")
    return _text(data).split("\0")[:-1]


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FrameError(f"What should be UTF-8 is not: {error}.") from error


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_BODY))):
        raise FrameError(f"{text!r} stands where a whole number must.")
    return int(text)


def encode(verb: str, fields: list, rows: int | None = None, columns: tuple = ()) -> bytes:
    """The bytes of a frame.

    Args:
        verb: the verb.
        fields: key and values of each field but `rows`; `id` first.
        rows: number of rows, where there are columns.
        columns: see this module.

    Raises:
        FrameError: a name or string has a NUL, or the frame is over a limit.
    """
    lines = [_escape(verb)]
    lines += ["\t".join([_escape(part) for part in field]) for field in fields]
    parts, shape = [], []
    for name, kind, values, valid in columns:
        data, flags = _write(kind, values, valid)
        shape.append((name, kind, len(data), 0 if flags is None else 1))
        parts += [data] if flags is None else [data, flags]
    lines.append(_shape_lines(rows, tuple(shape)))
    header, body = "\n".join(lines).encode(), b"".join(parts)
    if len(header) > MAX_HEADER or len(body) > MAX_BODY:
        raise FrameError(
            f"An answer of {len(header)} + {len(body)} bytes is over the limit; ask for fewer rows."
        )
    return b"".join((PREFIX.pack(MAGIC, len(header), len(body)), header, body))


@functools.lru_cache(256)  # answers to single rows have the same lines again and again
def _shape_lines(rows: int | None, shape: tuple) -> str:
    """The header's lines about rows and columns, each with its line end."""
    lines = [] if rows is None else [f"rows\t{rows}\n"]
    return "".join([*lines, *[f"column\t{_escape(n)}\t{k}\t{size}\t{flag}\n" for n, k, size, flag in shape]])


def _write(kind: str, values: object, valid: np.ndarray | None) -> tuple:
    flags = None if valid is None or valid.all() else valid.astype(np.bool_).tobytes()
    if kind == "float64":
        return np.asarray(values, "<f8").tobytes(), None
    if kind != "string":
        numbers = np.asarray(values, _NUMPY[kind])
        return (
            numbers if flags is None else np.where(valid, numbers, numbers.dtype.type(0))
        ).tobytes(), flags
    texts = values if flags is None else [v if ok else "" for v, ok in zip(values, valid)]  # noqa: B905  # 3.9
    block = "".join([text + "\0" for text in texts])
    if block.count("\0") != len(texts):
        raise FrameError("A string of the answer has a NUL.")
    return block.encode(), flags


def _escape(text: str) -> str:
    if text.isalnum():  # as ids are
        return text
    if "\0" in text:
        raise FrameError("A name or field has a NUL.")
    return _TO_ESCAPE.sub(lambda m: _ESCAPES[m.group()], text)


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _TO_UNESCAPE.sub(lambda m: _UNESCAPES.get(m.group(1), m.group()), text)
