"""A CSV of any size, read from a file as tables of a bounded size."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import BinaryIO

import polars as pl

from modelyard.records.errors import MalformedError
from modelyard.serving.tables import read_csv

_PIECE = 4 * 1024 * 1024
_LONGEST = 64 * 1024 * 1024  # bytes of one row, and of the header
_UTF8_MARK = b"\xef\xbb\xbf"


def csv_tables(
    file: BinaryIO, rows: int, piece: int = _PIECE, numbers: Collection[str] = ()
) -> Iterator[pl.DataFrame]:
    """The rows in their order, at most so many a table; a file without rows is one table without.

    Args:
        piece: bytes that are read at once.
        numbers: as `read_csv` takes them.

    Raises:
        MalformedError: a row or quotes do not end; and as `read_csv` does.
    """
    header, rest = _header(file, piece)
    has_rows = False
    while True:
        read = file.read(piece)
        whole = rest + read
        end = _end_of_rows(whole) if read else len(whole)
        rest = whole[end:]
        if len(rest) > _LONGEST:
            raise MalformedError(
                "A row of the CSV does not end.", "Close its quotes, or double those that stand in a text."
            )
        if end:
            for table in read_csv(header + whole[:end], numbers).iter_slices(rows):
                has_rows = has_rows or table.height > 0
                yield table
        if not read:
            break
    if not has_rows:
        yield read_csv(header)


def _header(file: BinaryIO, piece: int) -> tuple[bytes, bytes]:
    """The first line that is not empty, and what was read behind it."""
    begun = file.read(piece).removeprefix(_UTF8_MARK).lstrip(b"\r\n")
    while (end := _end_of_first(begun)) == 0:
        more = file.read(piece)
        if not more or len(begun) > _LONGEST:
            return begun, b""
        begun += more
    return begun[:end], begun[end:]


def _end_of_first(text: bytes) -> int:
    """Behind the first line end outside quotes; 0 where there is none."""
    at, quotes = 0, 0
    while (found := text.find(b"\n", at)) >= 0:
        quotes += text.count(b'"', at, found)
        at = found + 1
        if quotes % 2 == 0:
            return at
    return 0


def _end_of_rows(text: bytes) -> int:
    """Behind the last line end outside quotes; 0 where there is none."""
    end, quotes = len(text), text.count(b'"')
    while (found := text.rfind(b"\n", 0, end)) >= 0:
        quotes -= text.count(b'"', found, end)
        if quotes % 2 == 0:
            return found + 1
        end = found
    return 0
