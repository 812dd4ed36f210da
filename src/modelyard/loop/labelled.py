"""Rows of segments and of labelled days, the newest ones, as one table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import polars as pl

from modelyard.records.predictions import Labelled, Segment
from modelyard.store import watch
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database

Blob = TypeVar("Blob", Labelled, Segment)
_TENTH_MORE = 1.1


class Rows:
    """Reads rows from blobs.

    Args:
        scratch: a folder for what is only needed for a moment.
    """

    def __init__(self, database: Database, blobs: Blobs, scratch: Path) -> None:
        self._database = database
        self._blobs = blobs
        self._scratch = scratch

    def labelled_days(
        self, model: str, version: int, before: datetime | None = None, most: int = 100_000
    ) -> list[Labelled]:
        """The newest days of labelled rows, oldest first, of so many rows at most or one day.

        Args:
            before: only those of days before this one.
        """
        with self._database.read() as connection:
            return newest(watch.labelled_days(connection, model, version, until=before), most)

    def read(self, blobs: Sequence[Labelled | Segment]) -> pl.DataFrame | None:
        """All their rows, oldest first; None of no blob."""
        tables = list(self._tables(blobs))
        return pl.concat(tables, how="diagonal_relaxed") if tables else None

    def _tables(self, blobs: Sequence[Labelled | Segment]) -> Iterator[pl.DataFrame]:
        with TemporaryDirectory(dir=self._scratch, prefix="rows-") as folder:
            for blob in blobs:
                path = Path(folder) / blob.digest
                self._blobs.fetch(blob.digest, path)
                yield pl.read_parquet(path)


def tenths(days: Sequence[Labelled]) -> int:
    """A number that is another once these days have a tenth more rows.

    What is learned of them is then learned anew, and not with each outcome that comes.
    """
    return int(math.log(max(1, sum(day.rows for day in days)), _TENTH_MORE))


def newest(found: Sequence[Blob], most: int) -> list[Blob]:
    """The last of these, in their order, of so many rows at most; one at least."""
    taken: list[Blob] = []
    rows = 0
    for blob in reversed(found):
        if taken and rows + blob.rows > most:
            break
        rows += blob.rows
        taken.append(blob)
    return taken[::-1]
