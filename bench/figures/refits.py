"""What gate and rollout stop: planted bad candidates, and good ones needlessly; by the real rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bench.figures.common import Run
from bench.planted import HELD_OUT, LIVE, PLANTED, needless, stopped
from bench.report import Figure

_SEEDS = 10  # worlds each planted candidate meets
_LEAST = 19
_REFITS = 100  # of each kind of good candidate
_STEPS = (0.5, 1.0)  # the share of what the champion is off that a candidate has learned
_MOST = 0.05


def measure(_: Run) -> Iterator[Figure]:
    """The figures `planted` and `needless`."""
    yield _planted()
    yield _needless()


def _planted() -> Figure:
    where = {name: Counter(stopped(c, seed) for seed in range(1, _SEEDS + 1)) for name, c in PLANTED.items()}
    always = [name for name, counted in where.items() if not counted[""]]
    told = (
        f"{name}: {', '.join(f'{n} by the {place}' for place, n in sorted(counted.items()) if place)}"
        + (f"; {counted['']} BECAME CHAMPION" if counted[""] else "")
        for name, counted in where.items()
    )
    return Figure(
        name="planted",
        what=f"kinds of bad candidates stopped before full traffic, in each of {_SEEDS} worlds",
        measured=f"{len(always)} of {len(where)}",
        reach=f"≥ {_LEAST}",
        reached=len(always) >= _LEAST,
        details=(f"{HELD_OUT:,} held-out rows, {LIVE:,} live ones", *told),
    )


def _needless() -> Figure:
    found = {step: needless(_REFITS, step) for step in _STEPS}
    share = sum(map(len, found.values())) / (_REFITS * len(_STEPS))
    told = (
        f"learned {step:.0%} of what the champion is off: {len(each)} of {_REFITS} stopped "
        f"({each.count('gate')} by the gate, {each.count('rollout')} in the rollout)"
        for step, each in found.items()
    )
    return Figure(
        name="needless",
        what=f"good candidates needlessly stopped, of {_REFITS * len(_STEPS)} simulated refits",
        measured=f"{share:.1%}",
        reach=f"≤ {_MOST:.0%}",
        reached=share <= _MOST,
        details=tuple(told),
    )
