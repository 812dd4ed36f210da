"""Overload: a model is asked for twice what it can do, at a fixed pace whatever is answered."""

from __future__ import annotations

import asyncio
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from bench.figures.common import Run, request_to, yard_with
from bench.load import Request, load
from bench.models import tar
from bench.report import Figure, spread

_SECONDS_A_ROW = 0.004
_LANES = 1_000  # connections; more are not needed where refusals are quick
_GOODPUT_REACH = 0.8
_WAIT = 1.0  # seconds a caller wants to wait
_OK, _BUSY, _LATE = 200, 503, 504
_MODEL = f"""
import time

def predict(columns):
    time.sleep({_SECONDS_A_ROW} * len(columns["x"]))
    return columns["x"] * 2
"""
_BUNDLE = f"""
format = 1
language = "python"
language_version = "{platform.python_version()}"
entry = "slow:predict"
[[signature.inputs]]
name = "x"
type = "float64"
"""


class _Told(Struct):
    """What came of the requests: seconds of each answered one, and counts."""

    answered: list[float]
    busy: int = 0
    late: int = 0
    failed: int = 0


def measure(run: Run) -> Iterator[Figure]:
    """The figures `overload`."""
    bundle = _bundle(run.folder / "overload-model")
    shares, slowest, details = [], [], []
    with yard_with(run, "overload", {"bench/slow": bundle}) as yard:
        request = request_to(yard, "bench/slow", json.dumps([{"x": 1.0}]).encode())
        patient = Request(request.url, request.body, {**request.headers, "Prefer": f"wait={_WAIT:g}"})
        load(request, 32, run.seconds)
        for _ in range(run.rounds):
            capacity = load(request, 32, run.seconds).rate
            seconds = 2 * run.seconds
            began = time.perf_counter()
            told = asyncio.run(_flood(patient, 2 * capacity, seconds))
            took = time.perf_counter() - began  # with what was still on its way when the flood ended
            shares.append(len(told.answered) / took / capacity)
            told.answered.sort()
            slowest.append(told.answered[int(0.99 * len(told.answered))] if told.answered else 0.0)
            details.append(
                f"capacity {capacity:,.0f}/s, asked twice that for {seconds:g} s: {len(told.answered)} "
                f"answered, {told.busy} refused (503), {told.late} late (504), {told.failed} otherwise"
            )
    title = f"a model of {1e3 * _SECONDS_A_ROW:g} ms a row, asked twice what it can, callers wait {_WAIT:g} s"
    yield Figure(
        name="overload",
        what=f"{title}: answered in time, of its capacity",
        measured=f"{spread(shares)} of it",
        reach=f"≥ {_GOODPUT_REACH:g}",
        reached=min(shares) >= _GOODPUT_REACH,
        details=tuple(details),
    )
    yield Figure(
        name="overload",
        what=f"{title}: 99th percentile of the answered",
        measured=f"{spread(slowest)} s",
        reach=f"≤ {_WAIT + 0.1:g} s",
        reached=max(slowest) <= _WAIT + 0.1,
    )


def _bundle(folder: Path) -> bytes:
    folder.mkdir()
    (folder / "slow.py").write_text(_MODEL)
    (folder / "example.csv").write_text("x\n1.5\n")
    (folder / "yardbundle.toml").write_text(_BUNDLE)
    return tar(folder)


async def _flood(request: Request, rate: float, seconds: float) -> _Told:
    """Send so many requests a second, each when it is due, by whichever connection is free."""
    told = _Told([])
    due: asyncio.Queue[float] = asyncio.Queue()
    lanes = [asyncio.create_task(_lane(request, due, told)) for _ in range(_LANES)]
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        at = began + number / rate
        if (left := at - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        due.put_nowait(at)
    await due.join()
    for lane in lanes:
        lane.cancel()
    await asyncio.gather(*lanes, return_exceptions=True)
    return told


async def _lane(request: Request, due: asyncio.Queue[float], told: _Told) -> None:
    parts, raw = urlsplit(request.url), request.raw
    reader, writer = None, None
    try:
        while True:
            at = await due.get()
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(raw)
            status = await _status(reader)
            if status == _OK:
                told.answered.append(time.perf_counter() - at)
            told.busy += status == _BUSY
            told.late += status == _LATE
            told.failed += status not in (_OK, _BUSY, _LATE)
            due.task_done()
    finally:
        if writer is not None:
            writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(h for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    return int(head.split(b" ", 2)[1])
