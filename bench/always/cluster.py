"""Two nodes behind haproxy: one killed, each restarted many times, and an hour with a kill every minute."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import httpx
from tests.journeys.proxies import before
from tests.journeys.running import RunningYard, until

from bench.always.rate import Rate
from bench.always.yards import MODEL, Base, base, closing, kill_all, prepare

_SETTLE = 5.0  # seconds


class Cluster(NamedTuple):
    """Two nodes, and the door before them."""

    base: Base
    nodes: tuple[RunningYard, RunningYard]
    url: str
    headers: dict[str, str]


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Both nodes answer for the model."""
    with base() as here, here.node("one") as one:
        headers = prepare(one)
        with here.node("two") as two:
            _answers(two, headers)
            with before("haproxy", one.port, here.folder, two.port) as port:
                yield Cluster(here, (one, two), f"http://127.0.0.1:{port}", headers)


def _answers(node: RunningYard, headers: dict[str, str]) -> None:
    def answers() -> bool:
        with suppress(httpx.TransportError):
            return httpx.post(
                f"{node.url}/models/{MODEL}/predict", json=[{"x": 2}], headers=headers
            ).is_success
        return False

    until(answers, 60)


def killed(times: int, rate: float) -> str:
    """A node of two is killed so many times; what failed, with callers that repeat and those that do not."""
    lines = []
    for retry in (True, False):
        with cluster() as here:
            with Rate(here.url, here.headers, MODEL, rate, retry=retry) as load:
                for number in range(times):
                    node = here.nodes[number % 2]
                    time.sleep(_SETTLE)
                    kill_all(node)
                    time.sleep(_SETTLE)
                    node.start()
                    _answers(node, here.headers)
            lines.append(
                closing(f"{times} kills of a node of two, callers {_callers(retry)}", load, here.nodes[0])
            )
    return "\n".join(lines)


def _callers(retry: bool) -> str:
    return "that repeat" if retry else "that do not repeat"


def restarts(times: int, rate: float) -> str:
    """Both nodes restarted in turns, so many times in all; what failed. No caller repeats."""
    with cluster() as here:
        with Rate(here.url, here.headers, MODEL, rate) as load:
            for number in range(times):
                node = here.nodes[number % 2]
                node.stop(signal.SIGTERM)
                node.start()
                _answers(node, here.headers)
                time.sleep(2.5)  # haproxy looks once a second
        return closing(f"{times} rolling restarts", load, here.nodes[0])


def soak(minutes: float, every: float, rate: float, seed: int) -> str:
    """A kill every so many seconds, of anything; availability to callers that do not repeat."""
    chance = random.Random(seed)  # noqa: S311 - for a schedule
    kills: dict[str, int] = {}
    with cluster() as here:
        began = time.monotonic()
        with Rate(here.url, here.headers, MODEL, rate) as load:
            turn = 1
            while time.monotonic() - began < minutes * 60:
                time.sleep(max(0.0, began + turn * every - time.monotonic()))
                at = time.monotonic() - began
                what = _kill_something(here, chance)
                print(f"second {at:.0f}: {what} killed", flush=True)
                kills[what] = kills.get(what, 0) + 1
                turn += 1
            time.sleep(_SETTLE)
        killed = ", ".join(f"{count} times {name}" for name, count in sorted(kills.items()))
        what = f"{minutes:g} min with a kill every {every:g} s ({killed})"
        return closing(what, load, here.nodes[0])


def _kill_something(here: Cluster, chance: random.Random) -> str:
    node = chance.choice(here.nodes)
    what = chance.choice(("worker", "front", "engine", "supervisor", "node", "PostgreSQL"))
    if what == "PostgreSQL":
        here.base.server.kill()
        time.sleep(2)
        here.base.server.start()
    elif what == "node":
        kill_all(node)
    elif what == "supervisor":
        node.stop(signal.SIGKILL)
    else:
        with suppress(ProcessLookupError):
            os.kill(_pid(node, what, here.headers), signal.SIGKILL)
    if what in ("node", "supervisor"):
        node.start()
        _answers(node, here.headers)
    return what


def _pid(node: RunningYard, what: str, headers: dict[str, str]) -> int:
    engine, front, *_ = node.processes()
    if what == "worker":
        with suppress(httpx.HTTPError):
            workers = httpx.get(f"{node.url}/api/v1/workers", headers=headers).json()
            if workers:
                return int(workers[0]["pid"])
    return engine if what == "engine" else front
