"""What each thing costs that the yard does beside predicting: a token, checked rows, the spool, walls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench.figures import sandbox, tokens
from bench.figures.common import Run, alternate
from bench.figures.fast import one_row
from bench.models import COLUMNS, training_data
from bench.report import Figure, spread
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.tap import Asked, Tap
from modelyard.store.spool import SpoolWriter
from modelyard.workers.wire import ColumnData, block_of

_TIMES = 5_000
_BATCH = 16  # rows of a batch: what gathers at 32 connections


def measure(run: Run) -> Iterator[Figure]:
    """The figures `features`."""
    for figure in (*tokens.measure(run), *sandbox.measure(run)):
        yield msgspec.structs.replace(figure, name="features")
    yield _validation(run)
    yield _spool(run)


def _validation(run: Run) -> Figure:
    """Against reading the same JSON without looking at it."""
    plan = InputPlan(Signature(tuple(Column(name, ColumnType.FLOAT64) for name in COLUMNS)), 10)
    body, bare = one_row(), msgspec.json.Decoder()
    pairs = alternate(
        run.rounds, lambda: _micros(lambda: plan.from_json(body)), lambda: _micros(lambda: bare.decode(body))
    )
    checked, plain = (spread(side) for side in zip(*pairs, strict=True))
    return Figure(
        name="features",
        what="a row of 30 columns read and checked against its signature, against the same JSON only read",
        measured=f"{checked} against {plain} µs",
        reach="say what is measured",
        reached=True,
    )


def _spool(run: Run) -> Figure:
    folder = run.folder / "features-spool"
    writer = SpoolWriter(folder, "front-0")
    tap, rows = Tap(writer.append), training_data()[0][:_BATCH]
    inputs = InputPlan(Signature(tuple(Column(n, ColumnType.FLOAT64) for n in COLUMNS)), 100).block_of(
        [Inputs(1, rows=[tuple(row)]) for row in rows.tolist()]
    )
    outputs = block_of([ColumnData("prediction", ColumnType.FLOAT64, bytes(8 * _BATCH))])
    asked = [Asked(f"5f1c0a9b3d2e-{n:x}", "anna", "champion", 1, time.monotonic()) for n in range(_BATCH)]
    taken = [
        _micros(lambda: tap.record("bench/logistic", 1, asked, inputs, outputs)) / _BATCH
        for _ in range(run.rounds)
    ]
    writer.close()
    _clear(folder)
    return Figure(
        name="features",
        what=f"a row of 30 columns written to the spool before its answer leaves, {_BATCH} a batch",
        measured=f"{spread(taken)} µs",
        reach="say what is measured",
        reached=True,
    )


def _micros(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(_TIMES):
        call()
    return (time.perf_counter() - began) / _TIMES * 1e6


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
