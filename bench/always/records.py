"""Champions over many operations with faults, predictions over many crashes, and a large restore."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.bundles import SIGNATURE, TAR, bundle_tar
from tests.contract.test_loop_machine import Loop

from modelyard.catalog.backups import back_up, restore
from modelyard.catalog.history import History
from modelyard.catalog.registry import Registry
from modelyard.loop.ship import Shipper
from modelyard.records.signatures import ColumnType
from modelyard.serving.tap import Asked, Tap
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.spool import SpoolWriter
from modelyard.store.vault import Vault
from modelyard.workers.wire import ColumnData, block_of

_STEPS = 50  # of each story
_MODEL = "bench/steady"


def violations(operations: int) -> str:
    """Stories of people, engines that die, and faults, until there were so many operations in all."""
    done = [0]

    class Counted(Loop):
        """The tests' machine, which checks after each step that there is one champion."""

        def check_invariants(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - Hypothesis's own
            done[0] += 1
            super().check_invariants(*given, **named)

    logging.disable()  # engines die by the thousand
    began, stories = time.monotonic(), 0
    while done[0] < operations:
        run_state_machine_as_test(
            Counted,
            settings=settings(
                max_examples=100,
                stateful_step_count=_STEPS,
                deadline=None,
                database=None,
                derandomize=False,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
        stories += 100
    took = time.monotonic() - began
    return f"{done[0]:,} operations in {stories} stories, {took:.0f} s: 0 champion violations"


def crashes(points: int, seed: int) -> str:
    """A process that records and ships is killed at so many moments; what was answered must be kept."""
    chance = Random(seed)  # noqa: S311 - for a schedule
    with tempfile.TemporaryDirectory(prefix="yard-crashes-") as name:
        folder = Path(name)
        database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
        database.upgrade()
        (folder / "scratch").mkdir()
        answered: set[int] = set()
        begin = 0
        for _ in range(points):
            told = _live_and_die(folder, begin, chance.uniform(0.001, 0.08))
            answered |= set(range(begin, begin + told))
            begin += told + 1  # one may have been recorded that nobody was told of
        _shipper(folder, database).ship()
        found = _numbers(folder, database)
        database.close()
    lost, twice = len(answered - set(found)), len(found) - len(set(found))
    return (
        f"{points:,} kills of a process that records and ships, {len(answered):,} predictions answered: "
        f"{lost} lost, {twice} twice"
    )


def _live_and_die(folder: Path, begin: int, seconds: float) -> int:
    """Record and ship in a fork for some time, then kill it; how many it has answered."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            _live(folder, begin, writing)
        finally:
            os._exit(1)
    os.close(writing)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as told:
        return len(told.read())


def _live(folder: Path, begin: int, told: int) -> None:
    """One thread answers: each prediction is recorded, then told, a byte each. Another ships."""
    database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
    tap = Tap(SpoolWriter(folder / "spool", "front-0", max_bytes=20_000).append)
    threading.Thread(target=_ship_on, args=(_shipper(folder, database),), daemon=True).start()
    number = begin
    while True:
        block = block_of([ColumnData("x", ColumnType.FLOAT64, bytes(8))])
        asked = [Asked(f"{number:x}", "anna", "champion", 1, time.monotonic(), None)]
        tap.record(_MODEL, 1, asked, block, block)
        os.write(told, b".")
        number += 1


def _ship_on(shipper: Shipper) -> None:
    shipper.recover()
    while True:
        shipper.ship()


def _shipper(folder: Path, database: Database) -> Shipper:
    blobs = Blobs(str(folder / "blobs"))
    return Shipper(database, blobs, folder / "spool", folder / "scratch", 1.0, lambda: datetime.now(UTC))


def _numbers(folder: Path, database: Database) -> list[int]:
    """The numbers of all that was recorded, wherever it is by now."""
    import polars as pl  # noqa: PLC0415 - not in the forks

    history = History(database, Blobs(str(folder / "blobs")), folder / "spool")
    found: list[int] = []
    for segment in history.open(_MODEL).segments:
        history.fetch(segment, folder / "segment")
        found += [int(text, 16) for text in pl.read_parquet(folder / "segment")["request"]]
    return found


def restored(models: int, megabytes: int) -> str:
    """A yard of so many models and so many MB is backed up, and restored on an empty place."""
    with tempfile.TemporaryDirectory(prefix="yard-restore-") as name:
        folder = Path(name)
        database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
        database.upgrade()
        blobs = Blobs(str(folder / "blobs"))
        registry = Registry(database, blobs, folder / "scratch")
        each = megabytes * 1_000_000 // models
        for number in range(models):
            content = [bundle_tar(os.urandom(each))]
            version, _ = registry.publish(
                f"bench/model-{number}", content, TAR, by="ann", may_create_department=True
            )
            registry.checks.passed(version.model, version.version, SIGNATURE)
        data = folder / "data"
        data.mkdir()
        began = time.monotonic()
        made = back_up(Vault(folder / "vault", "", make=True), database, blobs, data, "bench", _silent)
        backed = time.monotonic() - began
        began = time.monotonic()
        other = Database(f"sqlite:///{folder / 'other.sqlite'}")
        vault = Vault(folder / "vault", "", make=False)
        report = restore(vault, None, other, Blobs(str(folder / "other")), folder / "new", _silent)
        took = time.monotonic() - began
        database.close()
        other.close()
    wrong = "; ".join(report.problems) or "every digest and the audit's chain right"
    return (
        f"{models:,} models, {report.bytes / 1e9:.2f} GB, {report.rows:,} rows: backed up in {backed:.1f} s "
        f"({made.copied / 1e6 / backed:,.0f} MB/s), restored in {took:.1f} s "
        f"({report.bytes / 1e6 / took:,.0f} MB/s), {wrong}"
    )


def _silent(_: str) -> None:
    """Nobody watches."""
