"""The yard as it is by default against Python's other servers, each with the same two models in turn."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.figures.common import Run, alternate, request_to
from bench.figures.fast import TITLES, one_row, portable_yard
from bench.load import Request, Sample, load
from bench.machine import memory_mb
from bench.models import forest, logistic, python_bundle, training_data
from bench.peers.install import PeerMissingError
from bench.peers.servers import PEERS, Peer, serving
from bench.report import TIMES, Figure, spread
from bench.yard import Yard

_MANY = 32


def measure(run: Run) -> Iterator[Figure]:
    """The figures `peers`."""
    made = {"logistic": logistic(), "forest": forest(200)}
    bundles = {f"bench/{n}": python_bundle(m, run.folder / f"peers-{n}") for n, m in made.items()}
    with portable_yard(run, "peers", bundles) as yard:
        for name, model in made.items():
            request = request_to(yard, f"bench/{name}", one_row())
            for peer in PEERS:
                yield _against(run, yard, request, peer, (name, model))


def _against(run: Run, yard: Yard, ours: Request, peer: Peer, of: tuple[str, object]) -> Figure:
    name, model = of
    what = f"one-row predictions, 32 connections, {TITLES[name]}, the yard as by default against {peer.name}"
    run.say(f"{peer.name}, {TITLES[name]}")
    folder = run.folder / f"{peer.name}-{name}"
    try:
        with serving(peer, model, training_data()[0][0].tolist(), folder) as theirs:
            load(ours, _MANY, run.seconds)
            load(theirs.request, _MANY, run.seconds)
            pairs = alternate(
                run.rounds,
                lambda: load(ours, _MANY, run.seconds),
                lambda: load(theirs.request, _MANY, run.seconds),
            )
            memory = theirs.memory()
    except PeerMissingError as error:
        return _figure(what, f"not measured: {' '.join(str(error).split())[-200:]}", None, ())
    mine = sum(memory_mb(pid)[0] for pids in yard.processes().values() for pid in pids)
    told = (
        f"{_middle([b for _, b in pairs])}, {memory:.0f} MB, answers {theirs.seconds:.1f} s after its start"
    )
    details = (
        f"{TITLES[name]}, yard: {_middle([a for a, _ in pairs])}, {mine:.0f} MB with both models",
        f"{TITLES[name]}, {peer.name}: {told}",
    )
    ratios = [a.rate / b.rate for a, b in pairs]
    return _figure(what, f"{spread(ratios, 1)} {TIMES}", statistics.median(ratios) > 1, details)


def _figure(what: str, measured: str, reached: bool | None, details: tuple[str, ...]) -> Figure:
    return Figure(
        name="peers", what=what, measured=measured, reach=f"> 1 {TIMES}", reached=reached, details=details
    )


def _middle(samples: list[Sample]) -> str:
    rate, p50, p99 = (statistics.median(getattr(s, n) for s in samples) for n in ("rate", "p50", "p99"))
    failed = sum(s.failed for s in samples)
    return f"{rate:,.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms" + (f", {failed} failed" if failed else "")
