"""What the check of a token costs a prediction: whose it is, and whether they may ask this model."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.figures.common import Run
from bench.report import Figure, spread
from modelyard.api.auth import identify
from modelyard.catalog.people import hash_secret
from modelyard.records.people import Grant, Need, Reach, Role
from modelyard.records.rollouts import RouteTable

_TOKENS = 10_000
_CHECKS = 20_000
_REACH = 3.0  # microseconds
_MODEL = "finance/fuel-cost"


def measure(run: Run) -> Iterator[Figure]:
    """The figures `token`."""
    run.say("checking tokens")
    tokens = {
        hash_secret(f"yard_{number}"): Grant(f"p{number}", Role.CALLER, "finance", number, expires=1e12)
        for number in range(_TOKENS)
    }
    reach = (Reach(frozenset({Need.SEE, Need.PREDICT}), 1e12),)
    shared = Grant("guest", Role.CALLER, "operations", _TOKENS, 1e12, {"sales": Role.OWNER}, {_MODEL: reach})
    table = RouteTable(1, {}, tokens | {hash_secret("yard_shared"): shared})
    own, granted = (
        [_seconds(table, f"Bearer {secret}") * 1e6 for _ in range(run.rounds)]
        for secret in ("yard_77", "yard_shared")
    )
    yield Figure(
        name="token",
        what=f"check of a token and its right to ask a model, among {_TOKENS:,} tokens",
        measured=f"{spread(own)} µs",
        reach=f"≤ {_REACH:g} µs",
        reached=sorted(own)[len(own) // 2] <= _REACH,
        details=(f"by a grant on the single model: {spread(granted)} µs",),
    )


def _seconds(table: RouteTable, header: str) -> float:
    began = time.perf_counter()
    for _ in range(_CHECKS):
        grant = identify(header, table)
        grant.allows(Need.SEE, "finance", _MODEL)
        grant.allows(Need.PREDICT, "finance", _MODEL)
    return (time.perf_counter() - began) / _CHECKS
