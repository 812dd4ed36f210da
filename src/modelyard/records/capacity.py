"""Capacity: how many workers a model may have, and what each asks of a machine."""

from __future__ import annotations

from datetime import datetime
from typing import NoReturn

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.references import shown
from modelyard.records.spans import bytes_of

MOST_REPLICAS = 256
_MOST_CPUS = 1024
_MOST_GPUS = 64
_LEAST_MEMORY = 64 * 10**6


class Demand(Struct, frozen=True, forbid_unknown_fields=True):
    """`[serve]` of `yard.toml`: a model's workers on one node, or on the cluster it uses.

    Attributes:
        min_replicas: workers a version has as soon as it is asked for.
        max_replicas: the most it gets while requests wait.
        cpus: cores that are reserved for each, where workers are placed on a cluster.
        gpus: the same; more than one in whole numbers.
        memory: the most each may use, as `2 GB`; empty: what the node allows any worker.

    Raises:
        InvalidError: a value that means nothing; `key` names it.
    """

    min_replicas: int = 1
    max_replicas: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    memory: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= MOST_REPLICAS:
            _refuse("min_replicas", self.min_replicas, f"1 to {MOST_REPLICAS}")
        if not self.min_replicas <= self.max_replicas <= MOST_REPLICAS:
            _refuse(
                "max_replicas", self.max_replicas, f"min_replicas ({self.min_replicas}) to {MOST_REPLICAS}"
            )
        check_demand(self.cpus, self.gpus)
        if self.memory and (bytes_of(self.memory) or 0) < _LEAST_MEMORY:
            _refuse("memory", self.memory, "a size, as `2 GB`, of 64 MB at least")

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes; 0: what the node allows."""
        return bytes_of(self.memory) or 0


class Capacity(Struct, frozen=True):
    """A model's demand as it was set.

    Attributes:
        source: `by hand`, `job 7` or `the default`.
        changed_by: empty where nobody has set it.
    """

    model: str
    serve: Demand
    source: str
    changed_at: datetime
    changed_by: str


def check_demand(cpus: float, gpus: float, table: str = "serve") -> None:
    """Whether so many cores and GPUs can be asked for.

    Raises:
        InvalidError: they cannot; `key` names which.
    """
    if not 0 <= cpus <= _MOST_CPUS:
        _refuse("cpus", cpus, f"0 to {_MOST_CPUS}", table)
    if not 0 <= gpus <= _MOST_GPUS or (gpus > 1 and gpus != int(gpus)):
        _refuse("gpus", gpus, f"a share of one, or a whole number up to {_MOST_GPUS}", table)


def _refuse(key: str, value: object, due: str, table: str = "serve") -> NoReturn:
    raise InvalidError(
        f"[{table}] {key} is {shown(str(value))}.", f"It must be {due}.", key=f"{table}.{key}", field=key
    )
