"""What it takes to start a worker, what a started one is, and the protocol of those who start them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec import Struct

from modelyard.records.capacity import Demand
from modelyard.records.signatures import Column
from modelyard.workers.wire import Frame

SERVE, PROOF = "serve", "proof"

Progress = Callable[[str], None]


class Plan(Struct, frozen=True):
    """A worker to be started.

    Attributes:
        version_id: `department.name.version`; with `.many` behind it where native workers are for many rows.
        replica: 0, 1, … among the workers of the version.
        bundle: the folder its bundle is laid out in.
        language_version: of the session that made the model, or "".
        inputs: the signature's columns, for the worker's `load`.
        demand: what its model asks of a machine.
        purpose: `serve`; a worker of a `proof` is nobody's once the engine that asked for it is gone.
    """

    version_id: str
    replica: int
    language: str
    language_version: str
    bundle: str
    entry: str
    options: dict[str, str]
    inputs: tuple[Column, ...]
    demand: Demand = Demand()
    purpose: str = SERVE

    def memory(self, limit: int) -> int:
        """Bytes its worker may use: what the model asks for, and no more than the node allows any."""
        return min(self.demand.memory_bytes or limit, limit)

    def load_question(self) -> Frame:
        """The `load` frame of `contract/wire.md`."""
        fields: list[tuple[str, ...]] = [("id", "0"), ("bundle", self.bundle), ("entry", self.entry)]
        fields += [("option", key, value) for key, value in self.options.items()]
        for column in self.inputs:
            flag = "1" if column.missing else "0"
            fields.append(("input", column.name, column.type.value, flag, *(column.levels or ())))
        return Frame("load", tuple(fields))


class Worker(Struct, frozen=True):
    """A worker.

    Attributes:
        socket: where it listens; for one on another machine, the file that says where (`workers/remote.py`).
        node: the name of that machine, or "".
        pid: the process to watch; its group is what is ended.
        started: the process's start time in clock ticks since boot, so that a reused pid is noticed.
        takes: the column types it takes.
        log: the file its output goes to.
        runtime: its language and version, as it says itself.
        since: seconds since 1970 when it was ready, 0 while it loads its model.
    """

    plan: Plan
    socket: str
    pid: int
    started: int
    log: str
    takes: tuple[str, ...] = ()
    runtime: str = ""
    since: float = 0.0
    node: str = ""


class Taken(NamedTuple):
    """What a worker and all below it take; nothing if it is gone.

    Attributes:
        memory: bytes resident.
        cpu_seconds: of processors, since it started.
    """

    memory: int = 0
    cpu_seconds: float = 0.0


class Workers(Protocol):
    """Who starts and ends workers: on this machine, or on a cluster."""

    def start(self, plan: Plan, progress: Progress) -> Worker:
        """Start one and have it load its model.

        Raises:
            WorkerStartError: it could not be started or did not load; with the end of its log.
        """

    def stop(self, worker: Worker) -> None:
        """End it, politely first; returns when it is gone."""

    def close(self) -> None:
        """End those that are still loading and start no more; for when the yard goes down."""

    def alive(self) -> list[Worker]:
        """Workers of an earlier engine that still run."""

    def wait(self, worker: Worker) -> str:
        """Wait until it ends, and clear away what it leaves; why it ended, in words. Any thread may wait."""

    def look(self, worker: Worker) -> Taken:
        """What it takes now; called about once a second.

        One that takes more of the processor than a worker needs is put behind all else by the way.
        """
