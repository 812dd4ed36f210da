"""Portable forms: against a bare echo on the same server, against MLServer; one front against two."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from bench import echo
from bench.figures.common import Run, alternate, by_connections, request_to, yard_with
from bench.figures.rows import Told, contest, why_not_portable
from bench.load import Request, Sample, generator, load
from bench.models import COLUMNS, forest, logistic, python_bundle, training_data
from bench.peers import mlserver
from bench.report import TIMES, Figure, spread
from bench.yard import Yard

_MANY = 32
_ECHO_REACH = 0.55
_P50_REACH = 0.2  # milliseconds
_P99_REACH = 4.0
_PEER_REACHES = {"logistic": 18.0, "forest": 100.0}
TITLES = {"logistic": "a logistic pipeline", "forest": "a forest of 200 trees"}


def one_row() -> bytes:
    """A request of one row."""
    row = training_data()[0][0]
    return json.dumps([dict(zip(COLUMNS, row.tolist(), strict=True))]).encode()


@contextmanager
def portable_yard(
    run: Run,
    name: str,
    bundles: dict[str, bytes],
    fronts: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Yard]:
    """A yard whose models answer in their portable form.

    Raises:
        RuntimeError: one does not.
    """
    environment = {**(environment or {}), **({"YARD_FRONTS": str(fronts)} if fronts else {})}
    with yard_with(run, name, bundles, portable=True, environment=environment) as yard:
        for model in bundles:
            if why := why_not_portable(yard, model):
                raise RuntimeError(f"{model}: {why}")
        yield yard


def measure_echo(run: Run) -> Iterator[Figure]:
    """The figures `portable`: everything on, one front, and an echo in one process, in turn."""
    bundle = python_bundle(logistic(), run.folder / "echo-logistic")
    with (
        portable_yard(run, "portable", {"bench/logistic": bundle}, fronts=1) as yard,
        echo.serving(1) as url,
    ):
        ours = request_to(yard, "bench/logistic", one_row())
        theirs = Request(url, ours.body, ours.headers)
        many, one = (_both(run, ours, theirs, connections) for connections in (_MANY, 1))
        details = (
            *by_connections(yard, ours, run.seconds),
            _sides("32 connections", many),
            _sides("1 connection", one),
            f"load by {generator()}; requests that failed: {sum(s.failed for p in many + one for s in p)}",
        )
    yield from _against_echo(many, one, details)


def _both(run: Run, ours: Request, theirs: Request, connections: int) -> list[tuple[Sample, Sample]]:
    load(ours, connections, run.seconds)
    return alternate(
        run.rounds,
        lambda: load(ours, connections, run.seconds),
        lambda: load(theirs, connections, run.seconds),
    )


def _against_echo(
    many: Sequence[tuple[Sample, Sample]], one: Sequence[tuple[Sample, Sample]], details: tuple[str, ...]
) -> Iterator[Figure]:
    rates = [ours.rate / theirs.rate for ours, theirs in many]
    slow = [ours.p99 / theirs.p99 for ours, theirs in many]
    middle = [ours.p50 for ours, _ in one]
    told = (
        ("one-row predictions a second, 32 connections, against a bare echo", rates, _ECHO_REACH, ">="),
        ("99th percentile at 32 connections, against the echo's", slow, _P99_REACH, "<="),
        ("median at one connection", [1e3 * ms for ms in middle], 1e3 * _P50_REACH, "<="),
    )
    for what, values, reach, sign in told:
        found, unit = statistics.median(values), "µs" if what.startswith("median") else TIMES
        yield Figure(
            name="portable",
            what=f"portable form, one front: {what}",
            measured=f"{spread(values, 0 if unit == 'µs' else 2)} {unit}",
            reach=f"{'≥' if sign == '>=' else '≤'} {reach:g} {unit}",
            reached=found >= reach if sign == ">=" else found <= reach,
            details=details,
        )


def _sides(what: str, pairs: Sequence[tuple[Sample, Sample]]) -> str:
    words = []
    for side, who in enumerate(("yard", "echo")):
        rate, p50, p99 = (
            statistics.median(getattr(pair[side], name) for pair in pairs) for name in ("rate", "p50", "p99")
        )
        words.append(f"{who} {rate:,.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    return f"{what}, medians of the rounds: " + "; ".join(words)


def measure_peers(run: Run) -> Iterator[Figure]:
    """The figures `portable-peers`: two models in their portable form against MLServer at its best."""
    for name, model in (("logistic", logistic()), ("forest", forest(200))):
        yield from _against_mlserver(run, name, model)


def _against_mlserver(run: Run, name: str, model: object) -> Iterator[Figure]:
    row = training_data()[0][0]
    bundle = python_bundle(model, run.folder / f"peer-{name}")

    def serving(setting: str) -> AbstractContextManager[Request]:
        folder = run.folder / f"mlserver-{name}" / str(len(list(run.folder.glob(f"mlserver-{name}/*"))))
        return mlserver.serving(model, row, setting, folder)

    with portable_yard(run, f"peers-{name}", {f"bench/{name}": bundle}) as yard:
        what = f"one-row predictions, 32 connections, {TITLES[name]} in its portable form, against MLServer"
        told = Told("portable-peers", what, _PEER_REACHES[name], "MLServer", _MANY)
        request = request_to(yard, f"bench/{name}", one_row())
        yield contest(run, yard, request, told, serving, mlserver.SETTINGS)


def measure_fronts(run: Run) -> Iterator[Figure]:
    """The figure `fronts`: two fronts against one, the load on the same machine."""
    bundle = {"bench/logistic": python_bundle(logistic(), run.folder / "fronts-logistic")}
    with (
        portable_yard(run, "fronts-1", bundle, fronts=1) as one,
        portable_yard(run, "fronts-2", bundle, fronts=2) as two,
    ):
        both, alone = (request_to(yard, "bench/logistic", one_row()) for yard in (two, one))
        many, few = (_both(run, both, alone, connections) for connections in (_MANY, 8))
    ratios = [[ours.rate / theirs.rate for ours, theirs in pairs] for pairs in (many, few)]
    yield Figure(
        name="fronts",
        what="two fronts against one, portable, 32 connections, load from the same machine",
        measured=f"{spread(ratios[0])} {TIMES}",
        reach="say what is measured",
        reached=True,
        details=(f"8 connections: {spread(ratios[1])} {TIMES}",),
    )
