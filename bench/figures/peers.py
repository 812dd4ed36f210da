"""The yard as it is by default against other servers: the same model in turn, one process for it."""

from __future__ import annotations

import functools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
from msgspec import Struct

from bench.figures.common import Run, alternate, request_to
from bench.figures.fast import one_row, portable_yard
from bench.load import Request, Sample, load
from bench.machine import memory_mb
from bench.models import R_FITS, R_ROW, boosting, forest, logistic, python_bundle, r_bundle, training_data
from bench.peers import mlserver, plumber
from bench.peers.install import PeerMissingError, Started
from bench.peers.servers import PEERS, serving
from bench.report import TIMES, Figure, spread
from bench.yard import Yard

_MANY = 32
_PYTHON: dict[str, tuple[str, Callable[[], object]]] = {
    "logistic": ("logistic pipeline, 30 columns", logistic),
    "forest": ("forest of 200 trees", lambda: forest(200)),
    "boosting": ("LightGBM, 500 trees", boosting),
}
_R = {"lm": "R `lm`", "ranger": "R `ranger`, 500 trees"}
_START_SECONDS = 120.0

Opened = Callable[[], AbstractContextManager[Started]]


class _Side(Struct, frozen=True):
    """A server with a model: its name, and how it is started, in each of its settings."""

    name: str
    settings: Mapping[str, Opened]


class _Ours(Struct, frozen=True):
    """The yard with a model."""

    title: str
    yard: Yard
    request: Request
    start: float


def measure(run: Run) -> Iterator[Figure]:
    """The figures `peers`."""
    for name, (title, make) in _PYTHON.items():
        model = make()
        bundle = python_bundle(model, run.folder / f"peers-{name}")
        yield from _all(run, name, (title, bundle, one_row()), _python_sides(run, name, model))
    for name, title in _R.items():
        folder = run.folder / f"peers-{name}"
        try:
            bundle = r_bundle(folder, name)
        except (OSError, RuntimeError, ValueError) as error:
            yield _missing(f"{title} ({R_FITS[name]})", "plumber", str(error))
            continue
        body = json.dumps([R_ROW]).encode()
        settings = {
            setting: functools.partial(plumber.started, folder / "model.rds", setting)
            for setting in plumber.SETTINGS
        }
        yield from _all(run, name, (title, bundle, body), [_Side("plumber", settings)])


def _python_sides(run: Run, name: str, model: object) -> Iterator[_Side]:
    row = training_data()[0][0]

    def folder(server: str) -> Path:
        return run.folder / f"{server}-{name}-{time.monotonic_ns()}"

    yield _Side(
        "MLServer",
        {
            setting: lambda setting=setting: mlserver.started(model, row, setting, folder("mlserver"))  # type: ignore[misc]
            for setting in mlserver.SETTINGS
        },
    )
    for peer in PEERS:
        opened = functools.partial(serving, peer, model, row.tolist())
        yield _Side(peer.name, {"": lambda opened=opened, name=peer.name: opened(folder(name))})  # type: ignore[misc]


def _all(
    run: Run, name: str, of: tuple[str, bytes, bytes], sides: Iterator[_Side] | list[_Side]
) -> Iterator[Figure]:
    title, bundle, body = of
    model = f"bench/{name}"
    with portable_yard(run, f"yard-of-{name}", {model: bundle}) as yard:
        yard.stop()
        began = time.perf_counter()
        yard.start()
        request = request_to(yard, model, body)
        _until_answered(request)
        ours = _Ours(title, yard, request, time.perf_counter() - began)
        mine: list[Sample] = []
        for side in sides:
            run.say(f"{side.name}, {title}")
            yield _against(run, ours, side, mine)
        yield _own(ours, mine)


def _until_answered(request: Request) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with httpx.Client(headers=dict(request.headers), timeout=_START_SECONDS) as client:
        while client.post(request.url, content=request.body).status_code != httpx.codes.OK:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{request.url} does not answer")
            time.sleep(0.02)


def _against(run: Run, ours: _Ours, side: _Side, mine: list[Sample]) -> Figure:
    try:
        best = _best(run, side)
        with side.settings[best]() as theirs:
            load(ours.request, _MANY, run.seconds)
            load(theirs.request, _MANY, run.seconds)
            pairs = alternate(
                run.rounds,
                lambda: load(ours.request, _MANY, run.seconds),
                lambda: load(theirs.request, _MANY, run.seconds),
            )
            memory, start = theirs.memory(), theirs.seconds
    except PeerMissingError as error:
        return _missing(ours.title, side.name, str(error))
    mine += [sample for sample, _ in pairs]
    ratios = [a.rate / b.rate for a, b in pairs]
    name = f"{side.name} ({best})" if best else side.name
    ratio = f"{spread(ratios, 1)} {TIMES}"
    cells = (ours.title, name, *_middle([b for _, b in pairs]), f"{memory:.0f} MB", f"{start:.1f} s", ratio)
    return _figure(ours.title, name, ratio, cells, reached=statistics.median(ratios) > 1)


def _best(run: Run, side: _Side) -> str:
    """The setting with the most answers a second, where there are several."""
    if len(side.settings) == 1:
        return next(iter(side.settings))
    rates = {}
    for setting, opened in side.settings.items():
        with opened() as theirs:
            load(theirs.request, _MANY, run.seconds)
            rates[setting] = load(theirs.request, _MANY, run.seconds).rate
    return max(rates, key=lambda setting: rates[setting])


def _own(ours: _Ours, samples: list[Sample]) -> Figure:
    memory = sum(memory_mb(pid)[0] for pid in ours.yard.family())
    samples = samples or [load(ours.request, _MANY, 1)]
    cells = (ours.title, "**Modelyard**", *_middle(samples), f"{memory:.0f} MB", f"{ours.start:.1f} s", "")
    return _figure(
        ours.title, "the yard itself", f"{cells[2]}/s", cells, reached=True, reach="say what is measured"
    )


def _middle(samples: list[Sample]) -> tuple[str, str, str]:
    rate, p50, p99 = (statistics.median(getattr(s, n) for s in samples) for n in ("rate", "p50", "p99"))
    failed = sum(s.failed for s in samples)
    return f"{rate:,.0f}" + (f" ({failed} failed)" if failed else ""), f"{p50:.2f} ms", f"{p99:.2f} ms"


def _missing(title: str, server: str, why: str) -> Figure:
    words = f"not measured: {' '.join(why.split())[-200:]}"
    return _figure(title, server, words, (title, server, words, "", "", "", "", ""), reached=None)


def _figure(
    title: str,
    server: str,
    measured: str,
    cells: tuple[str, ...],
    *,
    reached: bool | None,
    reach: str = f"> 1 {TIMES}",
) -> Figure:
    return Figure(
        name="peers",
        what=f"one-row predictions, {_MANY} connections, {title}, the yard as by default against {server}",
        measured=measured,
        reach=reach,
        reached=reached,
        details=(" · ".join(cells),),
        cells=cells,
    )
