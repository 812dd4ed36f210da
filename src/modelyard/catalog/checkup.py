"""What a node can tell of itself and of the yard's queues, for `yard doctor` and the page *Yard*."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from modelyard.catalog.history import in_time, node_of
from modelyard.records.checkup import Checkup, LateDuty
from modelyard.store import duties, jobs, segments
from modelyard.store.database import Database
from modelyard.store.migrations import HEAD
from modelyard.store.spool import read_spool, spool_files

_MOST = 20  # late duties that are told


class Checkups:
    """Looks at a node.

    Args:
        data: its data folder.
        spool: where its fronts record predictions, `most` how many bytes may wait there.
        clock: what time it is.
    """

    def __init__(
        self, database: Database, data: Path, spool: Path, clock: Callable[[], datetime], most: int = 0
    ) -> None:
        self._database = database
        self._data = data
        self._spool = spool
        self._clock = clock
        self._most = most

    def look(self) -> Checkup:
        """How it stands now.

        Raises:
            UnavailableError: the database does not answer.
        """
        now = self._clock()
        with self._database.read() as connection:
            ends = segments.offsets(connection, node_of(self._spool))
            late = late_duties(connection, now)
            queued, since = jobs.queued(connection)
        waiting, first = waiting_in(self._spool, ends)
        return Checkup(
            at=now,
            schema=str(self._database.revision()),
            known=HEAD,
            disk_free=shutil.disk_usage(self._data).free,
            spool_bytes=waiting,
            spool_since=first,
            spool_most=self._most,
            late=late,
            jobs_queued=queued,
            jobs_since=since,
        )


def late_duties(connection: Connection, now: datetime) -> tuple[LateDuty, ...]:
    """Work of the loop that is overdue or fails, the oldest first, at most 20."""
    late = duties.late(connection, now, _MOST)
    return tuple(LateDuty(d.kind, d.subject, d.due_at, d.failures, d.note) for d in late)


def waiting_in(spool: Path, ends: dict[str, int]) -> tuple[int, datetime | None]:
    """Bytes of a spool that are not shipped yet, and when the first of them were recorded.

    Args:
        ends: up to where its files are shipped.
    """
    size, files = 0, []
    try:
        for path in spool_files(spool):
            try:
                size += max(0, path.stat().st_size - ends.get(path.name, 0))
                files.append((path.name, read_spool(path, ends.get(path.name, 0))))
            except FileNotFoundError:  # shipped and removed at this moment
                continue
        first = next(in_time(files), None)
    finally:
        for _, reader in files:
            reader.close()
    return size, datetime.fromtimestamp(first[0][0] / 1e6, UTC) if first else None
