"""The loop: what policies cost while nothing is due, and live requests during many rollouts."""

from __future__ import annotations

import asyncio
import io
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from bench.figures.common import Run, yard_with
from bench.report import Figure
from bench.yard import Yard

_MODELS = 10
_IDLE = 65.0  # seconds: a policy is looked at once a minute
_REACH_IDLE = 0.01  # of a core
_ROLLOUTS = 100
_LANES = 4
_STAGES = ("canary 50% 4s",)
_MODEL = "bench/rollouts"
_VERSION = ".".join(map(str, sys.version_info[:3]))
_ABOUT = f"""format = 1
language = "python"
language_version = "{_VERSION}"
entry = "mine:predict"
[options]
input = "columns"
[[signature.inputs]]
name = "x"
type = "float64"
"""
_GOOD = "def predict(columns):\n    return columns['x'] * {factor}\n"
_BAD = (
    "def predict(columns):\n    if (columns['x'] % 10 == 3).any():\n        raise ValueError('no three')\n"
    "    return columns['x'] * {factor}\n"
)
_POLICY = {
    "retrain": {
        "schedule": "0 3 1 1 *", "new_rows": 10**9, "drift": "high", "worse_by": "5%", "max_age": "365d",
        "new_data": True, "upstream": ["bench/idle-0"], "budget": "1 cpu-hours / day",
    }
}  # fmt: skip


def measure(run: Run) -> Iterator[Figure]:
    """The figures `policies` and `rollouts`."""
    yield _idle(run)
    yield _rollouts(run)


def _idle(run: Run) -> Figure:
    bundles = {f"bench/idle-{n}": _bundle(_GOOD, 2.0 + n) for n in range(_MODELS)}
    with yard_with(run, "idle", bundles) as yard, yard.client() as client:
        time.sleep(5)  # what publishing leaves to be done
        without = _share(yard)
        for model in bundles:
            client.put(f"/api/v1/models/{model}/policy", json=_POLICY).raise_for_status()
        time.sleep(5)
        with_them = _share(yard)
    cost = with_them - without
    return Figure(
        name="policies",
        what=f"{_MODELS} idle policies with every condition: CPU of the yard beside that without them",
        measured=f"{cost:+.2%} of a core",
        reach=f"≤ {_REACH_IDLE:.0%} of a core",
        reached=cost <= _REACH_IDLE,
        details=(f"without policies {without:.2%} of a core, with them {with_them:.2%}, over {_IDLE:g} s",),
    )


def _share(yard: Yard) -> float:
    """What supervisor, engine and fronts use of a core while nobody asks anything."""
    before = yard.cpu()
    time.sleep(_IDLE)
    after = yard.cpu()
    return sum(after[role] - before[role] for role in ("supervisor", "engine", "fronts")) / _IDLE


def _rollouts(run: Run) -> Figure:
    bundles = {_MODEL: _bundle(_GOOD, 2.0)}
    ends: dict[str, int] = {}
    with yard_with(run, "rollouts", bundles) as yard, yard.client() as client, _load(yard) as counted:
        began = time.perf_counter()
        for number in range(_ROLLOUTS):
            bad = number % 2 == 1
            yard.publish(client, _MODEL, _bundle(_BAD if bad else _GOOD, 2.0 + (number + 1) / 10_000))
            found = _roll_out(client, number + 2)
            end = found if found == ("rolled-back" if bad else "promoted") else f"{found}, wrongly"
            ends[end] = ends.get(end, 0) + 1
        took = time.perf_counter() - began
    told = ", ".join(f"{count} {state}" for state, count in sorted(ends.items()))
    return Figure(
        name="rollouts",
        what=f"{_ROLLOUTS} rollouts under load, half of them of versions that fail 10 % of rows",
        measured=f"{counted['failed']} of {counted['answered'] + counted['failed']:,} requests failed",
        reach="0 failed",
        reached=counted["failed"] == 0,
        details=(f"{told}, in {took:.0f} s",),
    )


def _roll_out(client: httpx.Client, version: int) -> str:
    """Roll a version out; how it ended."""
    told = {"version": version, "rollout": list(_STAGES)}
    client.post(f"/api/v1/models/{_MODEL}/rollouts", json=told).raise_for_status()
    while True:
        found = client.get(f"/api/v1/models/{_MODEL}/rollouts").json()[0]
        if found["ended_at"]:
            return str(found["state"])
        time.sleep(0.1)


@contextmanager
def _load(yard: Yard) -> Iterator[Mapping[str, int]]:
    """A steady load from a thread of its own; what was answered and what failed."""
    counted = {"answered": 0, "failed": 0}
    done = threading.Event()

    async def lane(client: httpx.AsyncClient, number: int) -> None:
        while not done.is_set():
            try:
                answer = await client.post(f"/models/{_MODEL}/predict", json=[{"x": float(number)}])
            except httpx.HTTPError:
                counted["failed"] += 1
            else:
                counted["answered" if answer.status_code == httpx.codes.OK else "failed"] += 1
            number += 1
            await asyncio.sleep(0.02)

    async def send() -> None:
        async with httpx.AsyncClient(base_url=yard.url, headers=yard.headers, timeout=30) as client:
            await asyncio.gather(*(lane(client, number) for number in range(_LANES)))

    thread = threading.Thread(target=lambda: asyncio.run(send()))
    thread.start()
    try:
        yield counted
    finally:
        done.set()
        thread.join()


def code_model(factor: float) -> bytes:
    """The bundle of a model of a line of code: x times a factor."""
    return _bundle(_GOOD, factor)


def _bundle(source: str, factor: float) -> bytes:
    """The tar of a bundle of Python code."""
    files = {
        "yardbundle.toml": _ABOUT,
        "mine.py": source.format(factor=factor),
        "example.csv": "x\n1.0\n2.0\n",
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()
