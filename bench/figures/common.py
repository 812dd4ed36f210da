"""What all figures share: the run's settings, rounds that alternate, and where a yard's time goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from bench.load import Request, Sample, load
from bench.yard import Yard

A = TypeVar("A")
B = TypeVar("B")
_ROLES = {"fronts": "fronts", "workers": "worker", "engine": "engine and supervisor"}


class Run(Struct, frozen=True):
    """How this run measures.

    Attributes:
        rounds: of each figure.
        seconds: of load in a round.
        folder: for what is made on the way.
        say: tells the person what is being done.
    """

    rounds: int
    seconds: float
    folder: Path
    say: Callable[[str], None]


def alternate(rounds: int, a: Callable[[], A], b: Callable[[], B]) -> list[tuple[A, B]]:
    """Both sides in turn, A B A B …, so that what the machine does besides meets both."""
    return [(a(), b()) for _ in range(rounds)]


@contextmanager
def yard_with(
    run: Run,
    name: str,
    bundles: Mapping[str, bytes],
    *,
    portable: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Yard]:
    """A yard on a new folder that serves these models, natively unless `portable`."""
    folder = run.folder / name
    folder.mkdir(parents=True)
    with Yard(folder / "data", portable=portable, environment=environment) as yard, yard.client() as client:
        for model, bundle in bundles.items():
            yard.publish(client, model, bundle)
        yield yard


def request_to(yard: Yard, model: str, body: bytes) -> Request:
    """A JSON prediction request."""
    headers = {**yard.headers, "Content-Type": "application/json"}
    return Request(f"{yard.url}/models/{model}/predict", body, headers)


def by_connections(yard: Yard, request: Request, seconds: float) -> list[str]:
    """Rates and times at 1, 8 and 32 connections, and the CPU time of a request, by who used it."""
    lines = []
    for connections in (1, 8, 32):
        before = yard.cpu()
        sample = load(request, connections, seconds)
        after = yard.cpu()
        lines.append(
            f"yard, {connections} connections: {sample.words()}; {_shares(before, after, sample, seconds)}"
        )
    return lines


def _shares(before: Mapping[str, float], after: Mapping[str, float], sample: Sample, seconds: float) -> str:
    used = {role: after[role] - before[role] for role in after}
    used["engine"] += used.pop("supervisor")
    requests = max(1.0, sample.rate * seconds)
    words = [f"{_ROLES[role]} {used[role] / requests * 1e6:.0f} µs" for role in _ROLES]
    return "CPU a request: " + ", ".join(words)
