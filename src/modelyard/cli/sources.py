"""Files of rows to be predicted, read in parts, so that a file may be larger than the memory."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from modelyard.cli.rows import Form, Part, csv_header, parts
from modelyard.records.errors import InvalidError, MalformedError

TEXT_ROWS, PARQUET_ROWS = 5_000, 50_000  # of one request, where nobody says


class Source(Protocol):
    """Rows of a file.

    Attributes:
        columns: the file's columns, where it says them before its rows.
    """

    columns: tuple[str, ...]

    def parts(self, rows: int, keep: Sequence[str], after: int) -> Iterator[Part]:
        """The rows in their order, at most so many a part, without the first `after` parts.

        Args:
            keep: columns whose values each part holds beside its body.

        Raises:
            MalformedError: the file is not what its form says.
        """

    def read(self) -> float:
        """How much of the file has been read, from 0 to 1."""


class TextRows:
    """CSV, JSON lines or JSON; a JSON array alone is read whole."""

    def __init__(self, file: BinaryIO, form: Form) -> None:
        self._form = form
        self._file = file
        header, self._start = csv_header(file) if form is Form.CSV else ([], b"")
        self.columns = tuple(header)
        self._size = os.fstat(file.fileno()).st_size

    def parts(self, rows: int, keep: Sequence[str], after: int) -> Iterator[Part]:
        """See `Source`."""
        places = {name: self.columns.index(name) for name in keep}
        for part in islice(parts(self._file, self._form, rows, self._start), after, None):
            yield Part(part.body, part.rows, _kept(part.body, places)) if places else part

    def read(self) -> float:
        """See `Source`."""
        return min(1.0, self._file.tell() / self._size) if self._size and self._file.seekable() else 0.0


def _kept(body: bytes, places: dict[str, int]) -> dict[str, list[str]]:
    records = [row for row in csv.reader(io.StringIO(body.decode(), newline="")) if row][1:]
    return {name: [row[i] if i < len(row) else "" for row in records] for name, i in places.items()}


class ParquetRows:
    """Parquet, of which only the row groups of a part are read."""

    def __init__(self, polars: Any, file: Path | BinaryIO) -> None:  # noqa: ANN401  # a module that may be absent
        self._polars = polars
        self._table = polars.scan_parquet(file)
        with self._readable("The file"):
            self.columns = tuple(self._table.collect_schema().names())
            self._total: int = self._table.select(polars.len()).collect().item()
        self._done = 0

    def parts(self, rows: int, keep: Sequence[str], after: int) -> Iterator[Part]:
        """See `Source`."""
        for at in range(after * rows, self._total, rows):
            end = min(at + rows, self._total)
            with self._readable(f"Rows {at + 1:,} to {end:,} of the file"):
                table = self._table.slice(at, rows).collect()
            body = io.BytesIO()
            table.write_parquet(body, compression="lz4")
            self._done = end
            yield Part(body.getvalue(), table.height, {name: table[name] for name in keep})

    def read(self) -> float:
        """See `Source`."""
        return self._done / self._total if self._total else 1.0

    def _readable(self, what: str) -> _Readable:
        errors = self._polars.exceptions
        return _Readable(what, (errors.PolarsError, errors.PanicException, OSError))


class _Readable:
    """Says of a library's error what could not be read."""

    def __init__(self, what: str, kinds: tuple[type[BaseException], ...]) -> None:
        self._what = what
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._kinds):
            words = " ".join(str(error).split())[:200]
            raise MalformedError(
                f"{self._what} cannot be read as Parquet: {words}.", "Write the file anew."
            ) from error


def polars_or_none() -> Any:  # noqa: ANN401  # a module
    """The library that reads Parquet, or None: it comes with the server's extra."""
    try:
        import polars as pl  # noqa: PLC0415  # optional
    except ImportError:
        return None
    return pl


def source_of(file: BinaryIO, path: Path | None, form: Form) -> Source:
    """The rows of an open file.

    Raises:
        InvalidError: Parquet, and nothing here reads it.
    """
    if form is not Form.PARQUET:
        return TextRows(file, form)
    polars = polars_or_none()
    if polars is None:
        raise InvalidError(
            "Parquet cannot be read in parts here: the package polars is missing.",
            "Install it (pip install polars), or use CSV.",
        )
    return ParquetRows(polars, path or io.BytesIO(file.read()))
