"""Small models for real workers: bundles laid out in a folder, plans for them, and questions."""

from __future__ import annotations

import atexit
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from modelyard.records.signatures import Column, ColumnType
from modelyard.settings import Settings
from modelyard.workers.local import LocalWorkers
from modelyard.workers.plans import Plan, Worker
from modelyard.workers.talk import Talk
from modelyard.workers.wire import Frame, Value, from_values, to_values
from tests.conftest import find_julia, find_rscript

X = Column("x", ColumnType.FLOAT64)
DOUBLE = "def predict(columns):\n    return columns['x'] * 2\n"
OWN = "{}.{}.{}".format(*sys.version_info[:3])


def settings(data: Path, **changes: Any) -> Settings:
    """Settings of a node on a temporary folder, with the programs this machine has, and its folders made."""
    programs = {"r": find_rscript() or "Rscript", "julia": find_julia() or "julia"}
    made = msgspec.structs.replace(Settings(data=data, programs=programs), **changes)
    made.run.mkdir(parents=True, exist_ok=True)
    if not made.run.is_relative_to(data):  # a deep folder has its sockets elsewhere
        atexit.register(shutil.rmtree, made.run, ignore_errors=True)
    return made


def plan(folder: Path, source: str = DOUBLE, version_id: str = "ops.double.1", replica: int = 0) -> Plan:
    """A plan for a Python model: `source` is the module, its `predict` takes a dict of arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(source)
    return Plan(version_id, replica, "python", OWN, str(folder), "mine:predict", {"input": "columns"}, (X,))


def question(*values: Value) -> Frame:
    """An `infer` with these values of `x`."""
    return Frame("infer", (("id", "1"),), len(values), (from_values("x", ColumnType.FLOAT64, values),))


def ask(worker: Worker, *values: Value, timeout: float = 180.0) -> list[Value]:
    """A worker's predictions."""
    with Talk(Path(worker.socket)) as talk:
        return to_values(talk.ask(question(*values), timeout).columns[0])


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def started(workers: LocalWorkers, wanted: Plan) -> Iterator[Worker]:
    """A worker that is ended afterwards, whatever the test did to it."""
    worker = workers.start(wanted, quiet)
    try:
        yield worker
    finally:
        workers.stop(worker)
        assert not is_alive(worker.pid)
        assert not Path(worker.socket).parent.exists()
