"""What a node tells of its queues, on each kind of database and over HTTP."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from modelyard.catalog.checkup import Checkups
from modelyard.catalog.history import node_of
from modelyard.records.checkup import LateDuty
from modelyard.serving.tap import Asked, Tap
from modelyard.store import duties, segments
from modelyard.store.database import Database
from modelyard.store.migrations import HEAD
from modelyard.store.spool import SpoolWriter
from modelyard.workers.wire import block_of, from_values
from tests.rows import FLOAT64

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)


def test_nothing_waits(database: Database, tmp_path: Path) -> None:
    found = Checkups(database, tmp_path, tmp_path / "spool", lambda: NOW).look()
    assert (found.schema, found.known, found.at) == (HEAD, HEAD, NOW)
    assert (found.spool_bytes, found.spool_since, found.late, found.jobs_queued) == (0, None, (), 0)
    assert found.disk_free > 0


def test_what_waits_is_told(database: Database, tmp_path: Path) -> None:
    began = datetime.now(UTC)
    writer = SpoolWriter(tmp_path / "spool", "front-0")
    block = block_of([from_values("x", FLOAT64, [1.0])])
    for number in range(2):
        asked = [Asked(f"5f1c0a9b3d2e-{number:x}", "anna", "champion", 1, time.monotonic(), None)]
        Tap(writer.append).record("ops/twice", 1, asked, block, block)
    writer.close()
    (file,) = (tmp_path / "spool").glob("*.spool")
    late = NOW - timedelta(hours=1)
    with database.write(unaudited="a test") as connection:
        duties.ensure(connection, "watch", "ops/twice", late)
        duties.ensure(connection, "watch", "ops/other", NOW + timedelta(hours=1))
        duty = duties.claim(connection, ["watch"], "me", NOW, timedelta(minutes=1))
        assert duty is not None
        duties.finish(connection, duty, NOW + timedelta(minutes=5), failures=4, note="no R")
        duties.ensure(connection, "alert", "yard", late)
    look = Checkups(database, tmp_path, tmp_path / "spool", lambda: NOW).look
    found = look()
    assert found.spool_bytes == file.stat().st_size
    assert found.spool_since is not None
    assert began - timedelta(seconds=1) <= found.spool_since <= datetime.now(UTC)
    assert found.late == (
        LateDuty("alert", "yard", late, 0, ""),
        LateDuty("watch", "ops/twice", NOW + timedelta(minutes=5), 4, "no R"),
    )
    with database.write(unaudited="a test") as connection:
        segments.advance(connection, node_of(tmp_path / "spool"), file.name, (0, found.spool_bytes), NOW)
    assert (look().spool_bytes, look().spool_since) == (0, None)
