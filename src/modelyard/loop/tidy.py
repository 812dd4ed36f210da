"""History kept in order: rows older than their model's rule go, many small segments of a day become one.

A segment that is let go is deleted an hour later, so that whoever reads it meanwhile can end.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import polars as pl

from modelyard.catalog import summaries
from modelyard.catalog.history import COUNTS_KEPT, HOURS_KEPT
from modelyard.records.audit import YARD
from modelyard.records.errors import ConflictError
from modelyard.records.predictions import Keeping, Segment, day_of
from modelyard.store import audit, segments, watch
from modelyard.store.blobs import Blobs, digest_of
from modelyard.store.database import Database

_LEAST = 4  # segments of a version's day that become one
_MOST_ROWS = 2_000_000  # of what becomes one
_READERS = timedelta(hours=1)


class Journal:
    """Names the blobs that are about to be written, so that those no transaction followed can be deleted.

    Args:
        folder: it is kept there; one process at a time writes it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "shipping"

    def write(self, digests: Iterable[str]) -> None:
        """Name them, before the first is written."""
        new = self._path.with_name(f".{self._path.name}")
        with new.open("w", encoding="ascii") as file:
            file.write("\n".join(digests))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def clear(self) -> None:
        """The transaction is through."""
        self._path.unlink()

    def recover(self, database: Database, blobs: Blobs) -> None:
        """Delete what an interrupted round has left."""
        with suppress(FileNotFoundError):
            left = [name for name in self._path.read_text("ascii").split("\n") if name]
            with database.read() as connection:
                kept = segments.kept(connection, left)
            for digest in set(left) - kept:
                blobs.delete(digest)
            self._path.unlink()


class Tidy:
    """Keeps a node's segments in order; called now and then by the thread that ships.

    Args:
        scratch: a folder for what is only needed for a moment.
        clock: what time it is.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        journal: Journal,
        node: str,
        scratch: Path,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._journal = journal
        self._node = node
        self._scratch = scratch
        self._clock = clock

    def __call__(self) -> None:
        """Once through all of it.

        Raises:
            UnavailableError: the database or the place for blobs does not answer; the rest is for later.
        """
        self._let_go()
        self._delete()
        self._join()
        with self._database.write(unaudited="counts by the hour") as connection:
            segments.thin_hours(connection, self._clock() - HOURS_KEPT, summaries.EMPTY)
            segments.forget_hours(connection, self._clock() - COUNTS_KEPT)

    def _let_go(self) -> None:
        now = self._clock()
        with self._database.read() as connection:
            rules = segments.rules(connection)
            models = segments.models(connection)
        for model in models:
            rule, _ = rules.get(model, (Keeping(), b""))
            before = day_of(now) - timedelta(days=rule.days)
            with self._database.write() as connection:
                old = segments.older(connection, model, before)
                if segments.let_go(connection, [s.id for s in old], now):
                    told = {"rows": sum(s.rows for s in old), "before": before}
                    audit.append(connection, by=YARD, action="predictions.delete", subject=model, after=told)
                for digest in watch.forget_labelled(connection, model, before):
                    segments.bury(connection, model, digest, now)

    def _delete(self) -> None:
        with self._database.read() as connection:
            gone = segments.gone(connection, self._clock() - _READERS)
        for number, digest in gone:
            self._blobs.delete(digest)
            with self._database.write(unaudited="letting go was the change") as connection:
                segments.remove(connection, [number])

    def _join(self) -> None:
        with self._database.read() as connection:
            groups = segments.crowded(connection, self._node, day_of(self._clock()), _LEAST)
        for group in groups:
            with TemporaryDirectory(dir=self._scratch, prefix="join-") as folder:
                self._join_group(_fitting(group), Path(folder))

    def _join_group(self, group: list[Segment], folder: Path) -> None:
        tables = []
        for segment in group:
            self._blobs.fetch(segment.digest, folder / "segment", segment.size)
            tables.append(pl.read_parquet(folder / "segment"))
        rows = pl.concat(tables, how="diagonal_relaxed").sort("at", maintain_order=True)
        path = folder / f"{uuid.uuid4()}.parquet"
        rows.write_parquet(path, metadata={"segment": path.stem})
        digest = digest_of(path)
        joined = msgspec.structs.replace(
            group[0],
            digest=digest,
            size=path.stat().st_size,
            rows=rows.height,
            first_at=rows["at"][0],
            last_at=rows["at"][-1],
            shipped_at=self._clock(),
            requests=_spans(group),
        )
        self._journal.write([digest])
        self._blobs.put_file(path)
        with self._database.write(unaudited="the same rows in fewer files") as connection:
            segments.add(connection, joined, is_seen=True)
            if segments.let_go(connection, [s.id for s in group], self._clock()) != len(group):
                raise ConflictError("Segments that were to be joined have gone.", "The next time does it.")
        self._journal.clear()


def _fitting(group: list[Segment]) -> list[Segment]:
    """As many of them as become one file of bearable size; two at least."""
    taken = group[:2]
    for segment in group[2:]:
        if sum(s.rows for s in taken) + segment.rows <= _MOST_ROWS:
            taken.append(segment)
    return taken


def _spans(group: list[Segment]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for segment in group:
        for boot, (low, high) in segment.requests.items():
            before = found.get(boot, (low, high))
            found[boot] = (min(low, before[0]), max(high, before[1]))
    return found
