"""Very many models: how long a listing and a change of the routes take, and what a front weighs."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bundles import SIGNATURE, TAR, bundle_tar
from tests.journeys.running import RunningYard

from bench.machine import memory_mb
from modelyard.catalog.registry import Registry
from modelyard.serving.table import load_table, save_table
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database

_ROUNDS = 9
_DEPARTMENTS = 50


def measure(models: int) -> str:
    """What it takes, in words."""
    with tempfile.TemporaryDirectory(prefix="yard-many-") as name:
        data = Path(name) / "data"
        data.mkdir()
        began = time.monotonic()
        registry = _publish(data, models)
        took = time.monotonic() - began
        lines = [f"{models:,} models in {_DEPARTMENTS} departments, published in {took:.0f} s"]
        table = registry.route_table()
        lines.append(f"routes built from the database: {_median(registry.route_table):.0f} ms")
        lines.append(f"written with fsync: {_median(lambda: save_table(table, data / 'routes')):.0f} ms")
        lines.append(f"loaded by a front: {_median(lambda: load_table(data / 'routes')):.0f} ms")
        size = (data / "routes").stat().st_size
        lines.append(f"size of the routes file: {size / 1e6:.1f} MB")
        lines += _in_a_yard(data)
    return "\n  ".join(lines)


def _publish(data: Path, models: int) -> Registry:
    database = Database(f"sqlite:///{data / 'yard.sqlite'}")
    database.upgrade()
    registry = Registry(database, Blobs(str(data / "blobs")), data / "scratch")
    for number in range(models):
        model = f"d{number % _DEPARTMENTS}/model-{number}"
        version, _ = registry.publish(model, [bundle_tar()], TAR, by="ann", may_create_department=True)
        registry.checks.passed(model, version.version, SIGNATURE)
    return registry


def _in_a_yard(data: Path) -> list[str]:
    lines = []
    variables = {"YARD_PORTABLE": "false", "YARD_FRONTS": "1"}
    with RunningYard(data, variables) as yard, yard.client() as client:
        whole = _median(lambda: client.get("/api/v1/models").raise_for_status())
        path = "/api/v1/models/d0/model-0/aliases/latest"
        sides = iter(range(1_000))

        def change() -> None:
            if next(sides) % 2:
                client.delete(path).raise_for_status()
            else:
                client.put(path, json={"version": 1}).raise_for_status()

        changed = _median(change)
        _, front, *_ = yard.processes()
        lines.append(f"GET /api/v1/models: {whole:.0f} ms")
        lines.append(f"a change until all fronts serve it: {changed:.0f} ms")
        lines.append(f"a front: {memory_mb(front)[0]:.0f} MB (PSS)")
    return lines


def _median(act: Callable[[], object]) -> float:
    """Milliseconds, the middle of some rounds."""
    times = []
    for _ in range(_ROUNDS):
        gc.collect()
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)
