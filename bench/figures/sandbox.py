"""What the walls cost, and what they are worth: a worker's start, its answers, and a neighbour that burns."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from unittest import mock

from tests.contract.hands import plan
from tests.journeys.models import code_bundle

from bench.figures.common import Run, alternate, request_to, yard_with
from bench.load import load
from bench.models import COLUMNS, logistic, python_bundle, training_data
from bench.report import TIMES, Figure, spread
from modelyard.settings import Settings
from modelyard.workers import sandbox
from modelyard.workers.local import LocalWorkers

_MODEL, _HOSTILE = "bench/model", "bench/hostile"
_CONNECTIONS = 8
# As many processes as the walls let it have, each of them busy for ever, from its first answer on.
_BURNS = """
import os
burning = []
def predict(columns):
    while not burning or len(burning) < 100:
        pid = os.fork()
        if pid == 0:
            while True:
                pass
        burning.append(pid)
    return columns["x"]
"""


def measure(run: Run) -> Iterator[Figure]:
    """The figures `sandbox`."""
    why = sandbox.missing()
    if why:
        yield Figure(name="sandbox", what="walls", measured=f"not measured: {why}", reach="", reached=None)
        return
    yield _start(run)
    bundle = python_bundle(logistic(), run.folder / "sandbox-model")
    row = dict(zip(COLUMNS, training_data()[0][0].tolist(), strict=True))
    body = json.dumps([row]).encode()
    yield _answers(run, bundle, body)
    yield _neighbour(run, bundle, body)


def _start(run: Run) -> Figure:
    run.say("starting workers with and without walls")
    settings = Settings(data=run.folder / "sandbox-start", allow_uncontained=True)
    settings.run.mkdir(parents=True)
    workers = LocalWorkers(settings)

    def started() -> float:
        wanted = plan(settings.data / "bundle")
        began = time.perf_counter()
        worker = workers.start(wanted, lambda _: None)
        took = time.perf_counter() - began
        workers.stop(worker)
        return took

    def bare() -> float:
        with mock.patch.object(sandbox, "missing", return_value="not wanted now"):
            return started()

    pairs = alternate(3 * run.rounds, started, bare)
    walled, plain = (spread(side) for side in zip(*pairs, strict=True))
    more = [1e3 * (a - b) for a, b in pairs]
    return Figure(
        name="sandbox",
        what="what walls add to a worker's start",
        measured=f"{spread(more, 0)} ms",
        reach="≤ 100 ms",
        reached=statistics.median(more) <= 100,
        details=(f"{walled} s with walls, {plain} s without; a Python worker with a model of two lines",),
    )


def _answers(run: Run, bundle: bytes, body: bytes) -> Figure:
    run.say("answers with and without walls")
    fake = run.folder / "no-walls"
    fake.mkdir()
    (fake / "bwrap").write_text("#!/bin/sh\nexit 1\n")
    (fake / "bwrap").chmod(0o755)
    without = {"PATH": f"{fake}:{os.environ['PATH']}", "YARD_ALLOW_UNCONTAINED": "true"}
    with (
        yard_with(run, "sandbox-walls", {_MODEL: bundle}) as walled,
        yard_with(run, "sandbox-bare", {_MODEL: bundle}, environment=without) as bare,
    ):
        asked = [request_to(yard, _MODEL, body) for yard in (walled, bare)]
        for request in asked:
            load(request, _CONNECTIONS, run.seconds)
        pairs = alternate(
            run.rounds,
            lambda: load(asked[0], _CONNECTIONS, run.seconds),
            lambda: load(asked[1], _CONNECTIONS, run.seconds),
        )
    ratios = [a.rate / b.rate for a, b in pairs]
    return Figure(
        name="sandbox",
        what="one-row predictions, 8 connections, with walls against without",
        measured=f"{spread(ratios, 3)} {TIMES}",
        reach=f"≥ 0.98 {TIMES}",
        reached=statistics.median(ratios) >= 0.98,
        details=(f"with walls {pairs[-1][0].words()}; without {pairs[-1][1].words()} (the last round)",),
    )


def _neighbour(run: Run, bundle: bytes, body: bytes) -> Figure:
    run.say("a neighbour that burns")
    with yard_with(run, "sandbox-neighbour", {_MODEL: bundle}) as yard, yard.client() as client:
        request = request_to(yard, _MODEL, body)
        load(request, 1, run.seconds)
        calm = [load(request, 1, run.seconds) for _ in range(run.rounds)]
        yard.publish(client, _HOSTILE, code_bundle(_BURNS))
        burning = [load(request, 1, run.seconds) for _ in range(run.rounds)]
    ratio = statistics.median(s.p99 for s in burning) / statistics.median(s.p99 for s in calm)
    return Figure(
        name="sandbox",
        what="p99 of a model while its neighbour's 100 processes burn, against before",
        measured=f"{ratio:.2f} {TIMES}",
        reach=f"≤ 1.5 {TIMES}",
        reached=ratio <= 1.5,
        details=(
            f"before {calm[-1].words()}; meanwhile {burning[-1].words()} (the last rounds, 1 connection)",
        ),
    )
