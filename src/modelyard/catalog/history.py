"""Recorded predictions, wherever they are by now: in segments, or still in this node's spool."""

from __future__ import annotations

import heapq
import logging
import secrets
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from modelyard.catalog import summaries
from modelyard.catalog.frames import Record, RecordReader
from modelyard.catalog.keeping import Keeper
from modelyard.catalog.summaries import Summary
from modelyard.records.errors import MalformedError
from modelyard.records.predictions import Keeping, Kind, Segment, day_of, hour_of
from modelyard.store import segments
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.spool import SpoolReader, read_spool, spool_files
from modelyard.workers import wire

log = logging.getLogger(__name__)

_NODE = "node"
HOURS_KEPT = timedelta(days=3)
COUNTS_KEPT = timedelta(days=15)  # of hours how many rows they had, to know what is usual for one


Found = tuple[Record, str, int]
"""A record of the spool, its file, and where in it the next one begins."""


class Opened(NamedTuple):
    """What there is of a model at one moment: segments, the files of the spool from where they are not
    shipped on, and how rows are kept.
    """

    segments: list[Segment]
    files: list[tuple[str, SpoolReader]]
    keeper: Keeper


class History:
    """Reads what was recorded.

    Args:
        spool: this node's. What other nodes have not shipped yet is seen once they have.
    """

    def __init__(self, database: Database, blobs: Blobs, spool: Path) -> None:
        self._database = database
        self._blobs = blobs
        self._spool = spool

    def open(self, model: str, since: datetime | None = None, until: datetime | None = None) -> Opened:
        """All of a model's predictions at this moment, each row in one place: in a segment or in a file.

        The files are opened before the database is read, so that one shipped and removed meanwhile can still
        be read; the database remembers for a day how far such a file was shipped.
        """
        files = [(path.name, reader) for path in spool_files(self._spool) if (reader := _open(path))]
        with self._database.read() as connection:
            found = segments.of_model(connection, model, Kind.PREDICTIONS, since=since, until=until)
            ends = segments.offsets(connection, node_of(self._spool))
            rule, salt = segments.rules(connection).get(model, (Keeping(), b""))
        for name, reader in files:
            reader.go_to(ends.get(name, 0))
        return Opened(found, files, Keeper(rule, salt))

    def fetch(self, segment: Segment, to: Path) -> None:
        """A segment's Parquet file."""
        self._blobs.fetch(segment.digest, to, segment.size)

    def window(self, model: str, version: int | None, since: datetime, until: datetime) -> Summary:
        """What is known of the predictions of a span (version None: of all versions).

        It begins and ends with a whole hour; with a whole day where it is more than three days ago.
        """
        with self._database.read() as connection:
            parts: list[bytes] = []
            for grain, begin, end in spans(since, until):
                rows = segments.summary_rows(connection, model, version, grain, begin, end)
                parts += [data for _, _, data in rows]
        return summaries.merge(map(summaries.unpack, parts))


def spans(since: datetime, until: datetime) -> Iterator[tuple[str, datetime, datetime]]:
    """A span as whole days and the hours before and after them, oldest first.

    >>> from datetime import UTC
    >>> begin, end = datetime(2026, 1, 1, 5, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    >>> [grain for grain, _, _ in spans(begin, end)]
    ['hour', 'day']
    """
    day = timedelta(days=1)
    begin = hour_of(since)
    end = until if until == hour_of(until) else hour_of(until) + timedelta(hours=1)
    first = begin if begin == day_of(begin) else day_of(begin) + day
    last = day_of(end)
    if first >= last:
        yield segments.HOUR, begin, end
        return
    whole = [(segments.HOUR, begin, first), (segments.DAY, first, last), (segments.HOUR, last, end)]
    yield from ((grain, a, b) for grain, a, b in whole if a < b)


def node_of(spool: Path) -> str:
    """The node that writes to this spool: a random name, kept beside the files."""
    kept = spool / _NODE
    with suppress(FileNotFoundError):
        return kept.read_text("ascii").strip()
    spool.mkdir(parents=True, exist_ok=True)
    own = spool / f".{_NODE}-{secrets.token_hex(8)}"
    own.write_text(secrets.token_hex(8), "ascii")
    with suppress(FileExistsError):  # another process was first
        kept.hardlink_to(own)
    own.unlink()
    return kept.read_text("ascii").strip()


def in_time(files: list[tuple[str, SpoolReader]], model: str | None = None) -> Iterator[Found]:
    """The records of spool files in the order of time: each front's files are in it, and are merged.

    Args:
        model: of this one alone.
    """
    fronts: dict[str, list[tuple[str, SpoolReader]]] = {}
    for name, reader in files:
        fronts.setdefault(name.rpartition("-")[0], []).append((name, reader))
    found = [_found(each, model) for each in fronts.values()]
    return found[0] if len(found) == 1 else heapq.merge(*found, key=lambda f: f[0][0])


def _found(files: list[tuple[str, SpoolReader]], model: str | None) -> Iterator[Found]:
    mark, read = f"\nmodel\t{model}\n".encode(), RecordReader().read
    for name, reader in files:
        for data in reader:
            # Cheaper than taking others' frames apart.
            if model is not None and mark not in data[: wire.PREFIX.size + 4096]:
                continue
            try:
                record = read(data)
            except (MalformedError, ValueError, KeyError, struct.error) as error:
                log.error("the spool file %s has a record that cannot be read: %s", name, error)  # noqa: TRY400
                continue
            if model is None or record[1].model == model:
                yield record, name, reader.end


def _open(path: Path) -> SpoolReader | None:
    try:
        return read_spool(path)
    except FileNotFoundError:  # shipped and removed at this moment
        return None
