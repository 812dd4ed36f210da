"""Files of others become tables of six types, or are refused in words that say where."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from modelyard.records.datasets import MAX_COLUMN_NAME, MAX_COLUMNS, DataColumn
from modelyard.records.errors import InvalidError, MalformedError, TooLargeError, UnsupportedError
from modelyard.records.references import shown
from modelyard.workers.tables.digests import digest_of
from modelyard.workers.tables.profiles import profile
from modelyard.workers.tables.tasks import Made, Read
from modelyard.workers.tables.types import fitted, named, typed

MAX_ROWS = 200_000_000
_MAX_HEADER = 4 * 1024 * 1024  # bytes
_PIECE = 1024 * 1024
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"BZh", b"\xfd7zXZ")
_WIDE_TEXT = (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS = ",;\t"


def read(task: Read) -> Made:
    """Read a file and write it as a version's Parquet.

    Raises:
        MalformedError, InvalidError, TooLargeError, UnsupportedError: it is not a table that can be kept.
    """
    source = Path(task.source)
    if task.kind == "parquet":
        table = _parquet(source)
        columns = [fitted(series) for series in table]
    else:
        table = _csv(source)
        columns = [typed(series, task.types.get(series.name)) for series in table]
    return keep(pl.DataFrame(columns), Path(task.into))


def keep(table: pl.DataFrame, into: Path) -> Made:
    """Write a table of the six types as a version's Parquet, and tell what is in it."""
    if not table.height:
        raise InvalidError("The table has no rows.", "Push at least one row.")
    columns = tuple(DataColumn(s.name, named(s.dtype), profile=profile(s)) for s in table)
    table.write_parquet(into, compression="zstd", compression_level=3, row_group_size=250_000)
    return Made(digest_of(table), table.height, columns)


def _parquet(source: Path) -> pl.DataFrame:
    with source.open("rb") as file:
        if file.read(4) != b"PAR1":
            raise MalformedError(
                "The file is not Parquet.", "Send CSV as text/csv, Parquet as application/vnd.apache.parquet."
            )
    scan = pl.scan_parquet(source)
    schema = scan.collect_schema()
    check_names(schema.names())
    _check_rows(scan.select(pl.len()).collect().item())
    return pl.read_parquet(source)


def _csv(source: Path) -> pl.DataFrame:
    with source.open("rb") as file:
        start = file.read(_MAX_HEADER)
    if start.startswith(_COMPRESSED):
        raise UnsupportedError("The CSV is compressed.", "Send it as plain text, or as Parquet.")
    _check_text(source)
    names, separator = _header(start)
    check_names(names)
    table = pl.read_csv(source, infer_schema=False, separator=separator, raise_if_empty=True)
    if table.width != len(names):
        hint = "Put a name with a comma or a quote in quotes; end lines with LF or CR LF."
        raise MalformedError("The CSV's header line cannot be read.", hint)
    table.columns = names  # Polars leaves doubled quotes doubled, and renames a second `x`
    _check_rows(table.height)
    return table


def _header(start: bytes) -> tuple[list[str], str]:
    """The names in the first line, and what stands between them."""
    text = start.decode("utf-8-sig", errors="ignore")
    line = text.partition("\n")[0]
    if len(line) == len(text) and len(start) == _MAX_HEADER:
        raise TooLargeError(
            "The CSV's first line is over 4 MiB.", "Send a header line with the columns' names."
        )
    separator = max(_SEPARATORS, key=lambda c: (line.count(c), -_SEPARATORS.index(c)))
    try:
        names = next(
            (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row), []
        )
    except csv.Error as error:
        raise MalformedError(
            f"The CSV's header line cannot be read: {error}.", "Correct its quotes."
        ) from error
    return names, separator


def check_names(names: Sequence[str]) -> None:
    """Refuse names of columns that cannot be kept.

    Raises:
        TooLargeError: too many columns.
        InvalidError: a name is empty, too long, twice there, or has characters that cannot be seen.
    """
    if len(names) > MAX_COLUMNS:
        raise TooLargeError(
            f"The table has {len(names)} columns; the limit is {MAX_COLUMNS}.",
            "Leave out those that no model needs, or turn them into rows.",
        )
    if not names:
        raise MalformedError("The table has no columns.", "Send a header line with their names.")
    for position, name in enumerate(names, 1):
        if not name.strip() or len(name) > MAX_COLUMN_NAME or not name.isprintable():
            words = f"Column {position} has the name {shown(name)}, which cannot be kept."
            hint = f"A name has 1 to {MAX_COLUMN_NAME} characters that can be seen."
            raise InvalidError(words, hint, column=name[:100])
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        message = f"The column {shown(name)} is {times} times in the header."
        raise InvalidError(message, "Give each column a name of its own.", column=name)


def _check_rows(count: int) -> None:
    if count > MAX_ROWS:
        raise TooLargeError(f"The table has {count} rows; the limit is {MAX_ROWS}.", "Push it in parts.")


def _check_text(source: Path) -> None:
    """Refuse what is not UTF-8 or has a NUL; the message names the line."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    for number, piece in enumerate(_pieces(source)):
        if number == 0 and piece.startswith(_WIDE_TEXT):
            raise UnsupportedError(
                "The CSV is UTF-16, as some spreadsheets write it.", "Save it as CSV UTF-8."
            )
        if (place := piece.find(b"\0")) >= 0:
            line += piece.count(b"\n", 0, place)
            raise MalformedError(f"Line {line} of the CSV has a NUL.", "Remove it; it is no text.", line=line)
        try:
            decoder.decode(piece)
        except UnicodeDecodeError as error:
            line += bytes(error.object).count(b"\n", 0, error.start)
            words = (
                f"Line {line} of the CSV is not UTF-8: the byte 0x{error.object[error.start]:02x} is none."
            )
            raise MalformedError(
                words, "Save the file as UTF-8; perhaps parts of it have another encoding.", line=line
            ) from error
        line += piece.count(b"\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise MalformedError("The CSV ends within a character.", "Send the whole file.") from error


def _pieces(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
