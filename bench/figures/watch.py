"""What watching costs: rows shipped and summarised a second of a core, and what a front loses by it."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Iterator

from bench.figures.common import Run, alternate, request_to
from bench.figures.fast import one_row, portable_yard
from bench.load import Sample, load
from bench.models import logistic, python_bundle
from bench.report import TIMES, Figure, spread
from bench.watching import shipping
from bench.yard import Yard

_MODEL = "bench/watched"
_CONNECTIONS = 32
_REACH = 0.97
_SPEED_REACH = 200_000
_IDLE = 0.05  # of a core
_CATCH_UP_SECONDS = 30
_FRAMES = {1: 100_000, 16: 20_000, 1_000: 1_000}  # rows of a frame: how many frames


def measure(run: Run) -> Iterator[Figure]:
    """The figures `shipping` and `watching`."""
    yield from _shipping(run)
    yield _cost(run)


def _shipping(run: Run) -> Iterator[Figure]:
    for rows, frames in _FRAMES.items():
        run.say(f"shipping frames of {rows:,} rows")
        speeds = []
        for number in range(min(run.rounds, 3)):
            folder = run.folder / f"shipping-{rows}-{number}"
            folder.mkdir()
            speeds.append(shipping(folder, rows, frames))
        told = "1 row" if rows == 1 else f"{rows:,} rows"
        yield Figure(
            name="shipping",
            what=f"recorded rows shipped to Parquet and summarised a second of a core, {told} a frame, "
            "20 columns",
            measured=f"{spread([s / 1e3 for s in speeds], 0)} thousand",
            reach=f"≥ {_SPEED_REACH // 1000} thousand",
            reached=statistics.median(speeds) >= _SPEED_REACH,
        )


def _cost(run: Run) -> Figure:
    """The engine ships, summarises and looks at windows; on the other side it is stopped for as long."""
    run.say("a front with and without an engine that watches")
    bundle = python_bundle(logistic(), run.folder / "watched")
    environment = {"YARD_SHIP_AFTER": "1"}
    with portable_yard(run, "watched-yard", {_MODEL: bundle}, environment=environment) as yard:
        request = request_to(yard, _MODEL, one_row())
        load(request, _CONNECTIONS, run.seconds)

        def alone() -> Sample:
            (engine,) = yard.processes()["engine"]
            os.kill(engine, signal.SIGSTOP)
            try:
                return load(request, _CONNECTIONS, run.seconds)
            finally:
                os.kill(engine, signal.SIGCONT)
                _caught_up(yard)

        pairs = alternate(run.rounds, lambda: load(request, _CONNECTIONS, run.seconds), alone)
        before = yard.cpu()["engine"]
        load(request, _CONNECTIONS, run.seconds)
        share = (yard.cpu()["engine"] - before) / run.seconds
    ratios = [watched.rate / other.rate for watched, other in pairs]
    return Figure(
        name="watching",
        what=f"one-row predictions, {_CONNECTIONS} connections, while the engine ships and watches, "
        "against a stopped engine",
        measured=f"{spread(ratios, 3)} {TIMES}",
        reach=f"≥ {_REACH:g} {TIMES}",
        reached=statistics.median(ratios) >= _REACH,
        details=(
            f"the engine used {share:.0%} of a core meanwhile; it ships once a second, by default after 30 s",
            "what the stopped engine left behind is shipped between the rounds",
            f"watched {pairs[-1][0].words()}; stopped {pairs[-1][1].words()} (the last round)",
        ),
    )


def _caught_up(yard: Yard) -> None:
    """Wait until the engine has shipped what was recorded while it was stopped, and is idle for a second."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while time.monotonic() < deadline:
        before = yard.cpu()["engine"]
        time.sleep(1)
        if yard.cpu()["engine"] - before < _IDLE:
            return
