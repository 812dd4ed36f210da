"""What a yard needs as it grows: `python -m bench.growth`. A calculation, no measurement.

Its constants (here, and in `records/conditions.py`, by which the yard tells how full a node is) were measured
on the two cores that docs/benchmarks.md and docs/scale.md name, but where a line says that it is assumed;
what is assumed of a company stands in `Company`. Change either and run it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import Struct

from modelyard.records.conditions import (
    FILL,
    FRONT_CPU,
    LIBRARY_WORKER,
    NATIVE_CPU,
    PLAIN_WORKER,
    PORTABLE_CPU,
    SHIP_CPU,
)

GIB = 1024**3

SPOOL_BYTES = 400  # a row of 20 columns, as recorded (assumed from 20 doubles and its keys)
KEPT_BYTES = 40  # the same in a Parquet segment (assumed)
# Measured with 10,000 models of 20 columns (docs/scale.md):
FRONT_BYTES_A_VERSION = 13_000
SWAP_ENGINE_A_VERSION, SWAP_FRONT_A_VERSION = 16e-6, 2.4e-6  # seconds of one core for each change of routes
WATCH_CPU = 0.05  # seconds for a model's hourly round of watching (assumed)


class Company(Struct, frozen=True, kw_only=True):
    """Assumptions about who uses the yard.

    Attributes:
        rows: predictions a day, each a request of one row; larger requests cost a tenth a row.
        versions: checked versions kept of each model.
        peak: the busiest hour over the mean.
        live: the share of models that somebody asks within half an hour (others have no worker).
        portable: the share of rows answered by the portable form.
        people: who sign in on a day; each makes about 4 changes of routes a day (a sign-in is one, too).
        cores, memory: of a node.
    """

    models: int
    rows: float
    people: int
    versions: int = 3
    peak: float = 4.0
    live: float = 0.2
    portable: float = 0.5
    cores: int = 16
    memory: float = 64 * GIB


class Needs(Struct, frozen=True):
    """What it takes: nodes for each limit by itself, and the numbers behind them."""

    peak_rate: float
    cores: float
    worker_bytes: float
    changes: float
    route_seconds: float
    spool_rate: float
    kept_a_year: float
    nodes: dict[str, int]

    @property
    def most(self) -> tuple[str, int]:
        """The limit that asks for most nodes."""
        return max(self.nodes.items(), key=lambda pair: pair[1])


def needs(company: Company) -> Needs:
    """The law.

    >>> needs(Company(models=100, rows=1e6, people=20)).most
    ('cpu', 1)
    """
    rate = company.rows / 86_400 * company.peak
    answer = company.portable * PORTABLE_CPU + (1 - company.portable) * NATIVE_CPU
    cores = rate * (FRONT_CPU + answer + SHIP_CPU) + company.models * WATCH_CPU / 3600
    live = company.models * company.live
    worker_bytes = live * (company.portable * PLAIN_WORKER + (1 - company.portable) * LIBRARY_WORKER)
    changes = (company.people * 4 + company.models * 0.1) / 86_400 * company.peak
    versions = company.models * company.versions
    # Each node makes and reads the routes for itself, so nodes do not help here.
    route_seconds = versions * (SWAP_ENGINE_A_VERSION + SWAP_FRONT_A_VERSION)
    fronts = company.cores // 2 * versions * FRONT_BYTES_A_VERSION
    room = company.memory * FILL - fronts
    return Needs(
        peak_rate=rate,
        cores=cores,
        worker_bytes=worker_bytes,
        changes=changes,
        route_seconds=route_seconds,
        spool_rate=rate * SPOOL_BYTES,
        kept_a_year=company.rows * KEPT_BYTES * 365,
        nodes={
            "cpu": max(1, math.ceil(cores / (company.cores * FILL))),
            "memory of workers": math.ceil(worker_bytes / room) if room > 0 else 10**6,
        },
    )


STEPS = (
    Company(models=100, rows=1e6, people=20, cores=2, memory=8 * GIB),
    Company(models=1_000, rows=1e7, people=200, cores=8, memory=32 * GIB),
    Company(models=10_000, rows=1e8, people=1_000),
    Company(models=100_000, rows=1e9, people=5_000),
    Company(models=100_000, rows=1e9, people=5_000, live=0.02, portable=0.9),
)


def lines() -> Iterator[str]:
    """The table of docs/scale.md."""
    yield (
        "| models | predictions a day | people | nodes (cores, GiB) | rows/s, peak | cores | workers "
        "| changes/s | until one is served | history a year |"
    )
    yield "|" + "---|" * 10
    for step in STEPS:
        found = needs(step)
        what, nodes = found.most
        yield (
            f"| {step.models:,} | {step.rows:.0e} | {step.people:,} | {nodes} ({step.cores}, "
            f"{step.memory / GIB:.0f}), by {what} | {found.peak_rate:,.0f} | {found.cores:.1f} | "
            f"{found.worker_bytes / GIB:,.0f} | {found.changes:.2f} | {found.route_seconds:.1f} s | "
            f"{found.kept_a_year / 1e12:.2f} TB |"
        )


if __name__ == "__main__":
    print("\n".join(lines()))
