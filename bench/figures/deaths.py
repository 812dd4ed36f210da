"""A worker that is killed: how long until another answers."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import httpx

from bench.figures.common import Run, yard_with
from bench.machine import ROOT
from bench.models import (
    COLUMNS,
    JULIA_ROW,
    R_ROW,
    julia_bundle,
    logistic,
    python_bundle,
    r_bundle,
    training_data,
)
from bench.report import Figure, spread
from bench.yard import Yard, kill

T = TypeVar("T")
_REACH = {"Python": 2.0, "R": 2.0, "Julia": 5.0}


def measure(run: Run) -> Iterator[Figure]:
    """The figures `deaths`, one a language."""
    for language, reach in _REACH.items():
        run.say(f"killing {language}'s worker")
        what = f"a killed {language} worker replaced and answering"
        try:
            bundle, row = _bundle(language, run.folder / f"deaths-{language}")
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            yield Figure(
                name="deaths",
                what=what,
                measured=f"not measured: {error}",
                reach=f"< {reach:g} s",
                reached=None,
            )
            continue
        with (
            yard_with(run, f"deaths-yard-{language}", {"bench/model": bundle}) as yard,
            yard.client() as client,
        ):
            times = [_kill_and_ask(yard, client, row) for _ in range(run.rounds)]
        yield Figure(
            name="deaths",
            what=what,
            measured=f"{spread(times)} s",
            reach=f"< {reach:g} s",
            reached=statistics.median(times) < reach,
            details=(f"{language}: from `kill -9` until a request sent right after it is answered",),
        )


def _bundle(language: str, folder: Path) -> tuple[bytes, Mapping[str, float]]:
    if language == "Python":
        row = dict(zip(COLUMNS, training_data()[0][0].tolist(), strict=True))
        return python_bundle(logistic(), folder), row
    if language == "R":
        return r_bundle(folder), R_ROW
    return julia_bundle(folder, julia_program()), JULIA_ROW


def julia_program() -> str:
    """Julia as `make test` set it up, else the one on the PATH."""
    own = ROOT / ".tools" / "julia"
    return str(own) if own.exists() else shutil.which("julia") or "julia"


def _kill_and_ask(yard: Yard, client: httpx.Client, row: Mapping[str, float]) -> float:
    def answered() -> bool:
        return client.post("/models/bench/model/predict", content=json.dumps([row])).status_code == 200

    _until(answered)
    workers = _until(lambda: yard.processes()["workers"])
    began = time.perf_counter()
    kill(workers[-1])  # the youngest: of R's bridge and R, R itself
    _until(answered)
    return time.perf_counter() - began


def _until(ask: Callable[[], T]) -> T:
    deadline = time.monotonic() + 60
    while not (found := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError("no answer within a minute")
        time.sleep(0.005)
    return found
