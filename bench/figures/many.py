"""1,000 published models of which 50 are asked: memory and times, against one model alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from bench.figures.common import Run, alternate, request_to, yard_with
from bench.figures.loop import code_model
from bench.load import Request, Sample, load
from bench.machine import memory_mb
from bench.report import TIMES, Figure, spread
from bench.yard import Yard

_ROW = b'[{"x": 2.0}]'
_MODELS, _HOT = 1_000, 50
_IDLE_AFTER = "20"  # seconds: those that nobody asks are let go of
_REACH = 2.0
_CONNECTIONS = (8, 32)
_AT_ONCE = 2
_PROCESSES = 3  # of a worker within walls: two of bubblewrap's and its own


def measure(run: Run) -> Iterator[Figure]:
    """The figures `many`."""
    environment = {"YARD_IDLE_AFTER": _IDLE_AFTER}
    alone = {"bench/alone": code_model(2.0)}
    with (
        yard_with(run, "many-one", alone, environment=environment) as one,
        yard_with(run, "many", {}, environment=environment) as many,
    ):
        run.say(f"publishing {_MODELS:,} models")
        took = _publish(many)
        hot = tuple(f"/models/bench/many-{n}/predict" for n in range(0, _MODELS, _MODELS // _HOT))
        ours = replace(request_to(many, "bench/many-0", _ROW), paths=hot)
        theirs = request_to(one, "bench/alone", _ROW)
        pairs = {count: _both(run, ours, theirs, count) for count in _CONNECTIONS}
        _wait_for_idle(run, ours, many)
        load(theirs, _CONNECTIONS[0], run.seconds)
        memory = [_memory(yard) for yard in (many, one)]
    yield from _figures(pairs, memory, took)


def _publish(yard: Yard) -> float:
    """Publish all; seconds for each."""
    bundles = {f"bench/many-{n}": code_model(2.0 + n) for n in range(_MODELS)}
    began = time.perf_counter()
    with yard.client() as client, ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda named: yard.publish(client, *named), bundles.items()))
    return (time.perf_counter() - began) / _MODELS


def _both(run: Run, ours: Request, theirs: Request, connections: int) -> list[tuple[Sample, Sample]]:
    load(ours, connections, 2 * run.seconds)  # starts workers that were let go of
    return alternate(
        run.rounds,
        lambda: load(ours, connections, run.seconds),
        lambda: load(theirs, connections, run.seconds),
    )


def _wait_for_idle(run: Run, ours: Request, yard: Yard) -> None:
    """Until only the hot models have workers."""
    deadline = time.monotonic() + 120
    few = _PROCESSES * (_HOT + 1)
    while len(yard.processes()["workers"]) > few and time.monotonic() < deadline:
        load(ours, _CONNECTIONS[0], run.seconds)
        time.sleep(5)


def _memory(yard: Yard) -> tuple[float, float, int]:
    """PSS of all but the workers, of the workers, in MB; how many workers' processes."""
    found = yard.processes()
    workers = found.pop("workers")
    return _total(p for pids in found.values() for p in pids), _total(workers), len(workers)


def _total(pids: Iterator[int] | Sequence[int]) -> float:
    return sum(memory_mb(pid)[0] for pid in pids)


def _figures(
    pairs: dict[int, list[tuple[Sample, Sample]]], memory: list[tuple[float, float, int]], took: float
) -> Iterator[Figure]:
    names = (f"{_MODELS:,} models, {_HOT} asked", "one model")
    told = [
        f"{name}: PSS {own:.0f} MB without workers, {workers:.0f} MB of {count} processes of workers"
        for name, (own, workers, count) in zip(names, memory, strict=True)
    ]
    told.append(f"publishing one of the {_MODELS:,} until it is checked, two at a time: {took:.2f} s")
    for connections, both in pairs.items():
        ratios = [many.p99 / one.p99 for many, one in both]
        failed = sum(s.failed for pair in both for s in pair)
        sides = [_side(name, [pair[i] for pair in both]) for i, name in enumerate(names)]
        yield Figure(
            name="many",
            what=f"{names[0]} in turn, against one: p99 of one-row predictions at {connections} connections",
            measured=f"{spread(ratios)} {TIMES}",
            reach=f"≤ {_REACH:g} {TIMES}",
            reached=statistics.median(ratios) <= _REACH and not failed,
            details=(*sides, *told, f"requests that failed: {failed}"),
        )
    total = [own + workers for own, workers, _ in memory]
    yield Figure(
        name="many",
        what=f"memory (PSS) of {names[0]}, against one",
        measured=f"{total[0]:.0f} against {total[1]:.0f} MB",
        reach="say what is measured",
        reached=True,
        details=tuple(told),
    )


def _side(name: str, samples: list[Sample]) -> str:
    rate, p50, p99 = (statistics.median(getattr(s, n) for s in samples) for n in ("rate", "p50", "p99"))
    return f"{name}: {rate:,.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms"
