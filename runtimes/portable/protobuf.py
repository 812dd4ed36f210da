"""Just enough of the protobuf encoding to look at an ONNX file before anything opens it."""

from __future__ import annotations

import struct

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10
_FIXED = {FIXED64: 8, FIXED32: 4}


class BrokenError(Exception):
    """It is not a protobuf message."""


def fields(data: memoryview) -> list:
    """The fields of a message, in order: number, wire type, value.

    A value is an int (a varint, as unsigned 64 bits) or a view of the bytes.

    Raises:
        BrokenError: it is cut short or not a message.

    >>> [(number, bytes(value)) for number, _, value in fields(memoryview(bytes([0x3a, 2, 0x68, 0x69])))]
    [(7, b'hi')]
    """
    found, at, end = [], 0, len(data)
    while at < end:
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = varint(data, at)
        elif kind == BYTES:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind in _FIXED:
            value, at = data[at : at + _FIXED[kind]], at + _FIXED[kind]
        else:
            raise BrokenError(f"a field of wire type {kind}, which there is none of")
        if at > end or not number:
            raise BrokenError("a field that reaches beyond its message")
        found.append((number, kind, value))
    return found


def varint(data: memoryview, at: int) -> tuple:
    """The number at this place, and the place after it."""
    value = 0
    for count in range(_VARINT_BYTES):
        if at + count >= len(data):
            raise BrokenError("a number that is cut short")
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:  # noqa: PLR2004  # the highest bit says that more comes
            return value & (2**64 - 1), at + count + 1
    raise BrokenError("a number that does not end")


def numbers(kind: int, value: object) -> list:
    """The integers of a repeated field, packed or not."""
    if kind == VARINT:
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = varint(value, at)
        found.append(number)
    return found


def text(value: object) -> str:
    """A string field."""
    try:
        return str(bytes(value), "utf-8")
    except (UnicodeDecodeError, TypeError) as error:
        raise BrokenError(f"text that is not UTF-8: {error}") from None


def fixed32(value: object) -> float:
    """A float field."""
    return struct.unpack("<f", bytes(value))[0]
