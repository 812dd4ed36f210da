"""One-row predictions: the yard against MLServer (Python) and plumber (R), with the same model, in turn."""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

from msgspec import Struct

from bench import echo
from bench.figures.common import Run, alternate, by_connections, request_to, yard_with
from bench.load import Request, Sample, generator, load
from bench.models import COLUMNS, R_ROW, logistic, python_bundle, r_bundle, training_data
from bench.peers import mlserver, plumber
from bench.peers.install import PeerMissingError
from bench.report import TIMES, Figure, spread
from bench.yard import Yard

_CONNECTIONS = 8
_PYTHON_REACHES = {8: 3.0, 32: 5.0}  # by connections
_R_REACH = 8.0
_R_PORTABLE_REACH = {"lm": 30.0, "ranger": 80.0}
_DECIDED_SECONDS = 120

Serving = Callable[[str], AbstractContextManager[Request]]


def measure_python(run: Run) -> Iterator[Figure]:
    """The figure `python-rows`: a 30-column logistic pipeline, natively in a Python worker."""
    model, row = logistic(), training_data()[0][0]
    bundle = python_bundle(model, run.folder / "logistic")
    body = json.dumps([dict(zip(COLUMNS, row.tolist(), strict=True))]).encode()

    def serving(setting: str) -> AbstractContextManager[Request]:
        folder = run.folder / "mlserver" / str(len(list(run.folder.glob("mlserver/*"))))
        return mlserver.serving(model, row, setting, folder)

    with yard_with(run, "python-rows", {"bench/logistic": bundle}) as yard:
        request = request_to(yard, "bench/logistic", body)
        scale = f"for scale, a bare echo on the same uvicorn: {_echo(yard, request, run)}"
        for connections, reach in _PYTHON_REACHES.items():
            what = f"one-row predictions, {connections} connections, native Python worker, against MLServer"
            told = Told("python-rows", f"{what}, same model", reach, "MLServer", connections)
            yield contest(run, yard, request, told, serving, mlserver.SETTINGS, scale)


def measure_r(run: Run) -> Iterator[Figure]:
    """The figure `r-rows`: an `lm` of four columns."""
    folder = run.folder / "lm"
    what = "one-row predictions of an R `lm`, 8 connections, against plumber at its best, same model"
    try:
        bundle = r_bundle(folder)
    except FileNotFoundError:
        yield _missing("r-rows", what, _R_REACH, "R is not installed")
        return
    with yard_with(run, "r-rows", {"bench/lm": bundle}) as yard:
        request = request_to(yard, "bench/lm", json.dumps([R_ROW]).encode())
        peer = functools.partial(plumber.serving, folder / "model.rds")
        told = Told("r-rows", what, _R_REACH, "plumber")
        yield contest(run, yard, request, told, peer, plumber.SETTINGS)


def measure_r_portable(run: Run) -> Iterator[Figure]:
    """The figures `r-portable-lm` and `r-portable-ranger`: R models that answer without R."""
    for family, reach in _R_PORTABLE_REACH.items():
        name, what = f"r-portable-{family}", f"the same of an R `{family}` in its portable form"
        folder = run.folder / name
        try:
            bundle = r_bundle(folder, family)
        except (FileNotFoundError, subprocess.CalledProcessError):
            yield _missing(name, what, reach, f"R or its package {family} is not installed")
            continue
        with yard_with(run, f"{name}-yard", {f"bench/{family}": bundle}, portable=True) as yard:
            if why := why_not_portable(yard, f"bench/{family}"):
                yield _missing(name, what, reach, why)
                continue
            request = request_to(yard, f"bench/{family}", json.dumps([R_ROW]).encode())
            load(request, _CONNECTIONS, run.seconds)
            peer = functools.partial(plumber.serving, folder / "model.rds")
            told = Told(name, what, reach, "plumber")
            yield contest(run, yard, request, told, peer, plumber.SETTINGS)


def why_not_portable(yard: Yard, model: str) -> str:
    """Wait until a version's form is decided; "" once the portable one answers."""
    deadline = time.monotonic() + _DECIDED_SECONDS
    with yard.client() as client:
        while not (version := client.get(f"/api/v1/models/{model}/versions/1").json())["form_reason"]:
            if time.monotonic() > deadline:
                return "not decided in time"
            time.sleep(0.2)
    return "" if version["form"] == "portable" else f"stays native, {version['form_reason']}"


class Told(Struct, frozen=True):
    """How a contest is told: the figure's name, what it is, the ratio to reach, and against whom."""

    name: str
    what: str
    reach: float
    peer: str
    connections: int = _CONNECTIONS


def contest(  # both sides, and how the result is told
    run: Run,
    yard: Yard,
    request: Request,
    told: Told,
    serving: Serving,
    settings: Iterable[str],
    *more: str,
) -> Figure:
    """One-row predictions of the yard against a peer in the best of its settings, in turn.

    Args:
        serving: the peer in one setting, and the request to it.
        more: further details.
    """
    peer, connections = told.peer, told.connections
    details = [*by_connections(yard, request, run.seconds), *more]
    try:
        tried = {setting: _try(run, peer, setting, serving, connections) for setting in settings}
        best = max(tried, key=lambda setting: tried[setting].rate)
        with serving(best) as theirs:
            load(theirs, connections, run.seconds)
            pairs = alternate(
                run.rounds,
                lambda: load(request, connections, run.seconds),
                lambda: load(theirs, connections, run.seconds),
            )
    except PeerMissingError as error:
        return _missing(told.name, told.what, told.reach, f"{peer}: {error}", details)
    ratios = [ours.rate / other.rate for ours, other in pairs]
    failed = sum(sample.failed for pair in pairs for sample in pair)
    details += [f"{peer}, {setting}: {sample.words()}" for setting, sample in tried.items()]
    details += [_sides(peer, best, pairs), f"load by {generator()}; requests that failed: {failed}"]
    return Figure(
        name=told.name,
        what=told.what,
        measured=f"{spread(ratios)} {TIMES}",
        reach=f"≥ {told.reach:g} {TIMES}",
        reached=statistics.median(ratios) >= told.reach and not failed,
        details=tuple(details),
    )


def _try(run: Run, peer: str, setting: str, serving: Serving, connections: int) -> Sample:
    run.say(f"{peer}, {setting}")
    with serving(setting) as request:
        load(request, connections, run.seconds)  # warms it up
        return load(request, connections, run.seconds)


def _sides(peer: str, setting: str, pairs: Sequence[tuple[Sample, Sample]]) -> str:
    words = []
    for side, who in enumerate(("yard", f"{peer} ({setting})")):
        rate, p50, p99 = (
            statistics.median(getattr(pair[side], name) for pair in pairs) for name in ("rate", "p50", "p99")
        )
        words.append(f"{who} {rate:,.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    return "medians of the rounds: " + "; ".join(words)


def _echo(yard: Yard, request: Request, run: Run) -> str:
    with echo.serving(len(yard.processes()["fronts"])) as url:
        return load(Request(url, request.body, request.headers), _CONNECTIONS, run.seconds).words()


def _missing(name: str, what: str, reach: float, why: str, details: Sequence[str] = ()) -> Figure:
    measured = f"not measured: {why}"
    return Figure(
        name=name,
        what=what,
        measured=measured,
        reach=f"≥ {reach:g} {TIMES}",
        reached=None,
        details=tuple(details),
    )
