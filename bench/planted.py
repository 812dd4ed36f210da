"""Candidates good and bad before the real gate and the real machine of rollouts, in a simulated world.

The world: a number that depends on three columns, with noise; the champion learned it a while ago. A
candidate answers the held-out rows before the gate and, if it passes, live rows in a rollout whose machine
looks every 100 requests; outcomes come for every second row. All decisions are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from modelyard.loop.gate import CannotCompareError, Compared, Side, judge
from modelyard.loop.rollout import Facts, fault
from modelyard.loop.scores import Answers
from modelyard.records.compatibility import refusal
from modelyard.records.policies import Promote
from modelyard.records.rollouts import Evidence, Rules, Tally
from modelyard.records.signatures import PREDICTION, Column, ColumnType, Signature
from modelyard.records.verdicts import VerdictState

Doubles = NDArray[np.float64]

HELD_OUT, LIVE, LOOK = 3_000, 2_000, 100
TRUTH = np.array([3.0, -2.0, 1.0])
OLD = np.array([2.5, -1.7, 1.2])  # what the champion learned before the world moved
NOISE = 2.0
GROUPS = ("EWR", "JFK", "LGA")
X = Column("x", ColumnType.FLOAT64)
SIGNATURE = Signature((X,), (Column(PREDICTION, ColumnType.FLOAT64),))
PROMOTE = Promote(slices=("group",), size="100 MB")


class World:
    """Rows of one time: columns, groups and what came."""

    def __init__(self, rows: int, seed: int) -> None:
        chance = np.random.default_rng(seed)
        self.columns = chance.normal(0, 2, (rows, 3)) + np.array([4, 0, 0])
        self.groups = chance.choice(GROUPS, rows)
        self.came = self.columns @ TRUTH + chance.normal(0, NOISE, rows)
        self.chance = chance


class Candidate(Struct):
    """How a candidate behaves.

    Attributes:
        answer: its answers to rows before the gate, and
        live: those to live rows, where they differ.
        fails, fails_live: the share of rows it fails.
        seconds, slow_live: of a row alone; the share of live answers that are slow.
    """

    answer: Callable[[World], Doubles]
    live: Callable[[World], Doubles] | None = None
    fails: float = 0.0
    fails_live: float | None = None
    seconds: float = 0.002
    slow_live: float = 0.03
    size: int = 10**6
    signature: Signature = field(default=SIGNATURE)


def linear(weights: Doubles, error: float = 0.0) -> Callable[[World], Doubles]:
    return lambda world: world.columns @ weights + world.chance.normal(0, error, len(world.came))


def dot(columns: Doubles, weights: Doubles) -> Doubles:
    found: Doubles = columns @ weights
    return found


def good(world: World) -> Doubles:
    return dot(world.columns, TRUTH + 0.02)


def shifted(world: World) -> Doubles:
    columns = world.columns.copy()
    columns[:, 0] = np.roll(columns[:, 0], 1)
    return dot(columns, TRUTH)


def but_for_a_group(world: World) -> Doubles:
    return np.where(world.groups == "LGA", -1.0, 1.0) * good(world)


def leaking(world: World) -> Doubles:
    found: Doubles = world.came + world.chance.normal(0, 0.1, len(world.came))
    return found


def constant(world: World) -> Doubles:
    return np.full(len(world.came), 12.0)


def few_rows(world: World) -> Doubles:
    chance = np.random.default_rng(5)
    rows = chance.normal(0, 2, (4, 3)) + np.array([4, 0, 0])
    came = rows @ TRUTH + chance.normal(0, NOISE * 4, 4)
    weights: Doubles = np.linalg.lstsq(rows, came, rcond=None)[0]
    return dot(world.columns, weights)


OTHER = Signature((Column("weight", ColumnType.FLOAT64),), SIGNATURE.outputs)
PLANTED = {
    "outcomes in another order": Candidate(lambda w: np.roll(good(w), 7)),
    "sign turned": Candidate(lambda w: -good(w)),
    "a column shifted by a row": Candidate(shifted),
    "a column left out": Candidate(linear(TRUTH * (0, 1, 1))),
    "two columns swapped": Candidate(linear(TRUTH[[1, 0, 2]])),
    "kilometres for miles": Candidate(lambda w: 1.6 * good(w)),
    "always the same": Candidate(constant),
    "older than the champion": Candidate(linear(OLD - 0.3)),
    "noise added": Candidate(linear(TRUTH, 4.0)),
    "trained on four rows": Candidate(few_rows),
    "no better": Candidate(linear(OLD)),
    "leaks what came, and has it not live": Candidate(leaking, live=constant),
    "wrong for one group": Candidate(but_for_a_group),
    "slow": Candidate(good, seconds=0.2),
    "slow under load alone": Candidate(good, slow_live=0.5),
    "crashes on 1 % of rows": Candidate(good, fails=0.01),
    "crashes on 1 % of live rows alone": Candidate(good, fails_live=0.01),
    "another preparation of columns live": Candidate(good, live=linear(TRUTH * (-1, 1, 1))),
    "too large": Candidate(good, size=10**9),
    "needs a column that callers do not send": Candidate(good, signature=OTHER),
}


def gate(candidate: Candidate, champion: Doubles, seed: int) -> tuple[bool, Rules]:
    """Whether it passes, and how it is rolled out."""
    world = World(HELD_OUT, seed)
    theirs = world.columns @ champion
    if refusal(SIGNATURE, candidate.signature):
        return False, PROMOTE.rules()
    mine = candidate.answer(world)
    answered = world.chance.random(HELD_OUT) >= candidate.fails
    own, other = (
        Side(Answers(values[answered]), values[answered], seconds, size)
        for values, seconds, size in (
            (mine, candidate.seconds, candidate.size),
            (theirs, 0.002, 10**6),
        )
    )
    failed = int((~answered).sum())
    slices = {"group": [str(group) for group in world.groups[answered]]}
    try:
        compared = Compared(SIGNATURE, world.came[answered], slices, own, other, failed=failed)
        found = judge(PROMOTE, compared, seed)
    except CannotCompareError:
        return False, PROMOTE.rules()
    return found.state is VerdictState.PASSED, found.rules


def roll_out(candidate: Candidate, champion: Doubles, rules: Rules, seed: int) -> str:
    """What the machine finds wrong at one of its looks, or an empty string."""
    world = World(LIVE, seed + 10_000)
    mine, theirs = (candidate.live or candidate.answer)(world), world.columns @ champion
    share = candidate.fails if candidate.fails_live is None else candidate.fails_live
    failed = world.chance.random(LIVE) < share
    slow = world.chance.random(LIVE) < candidate.slow_live
    far = np.abs(mine - theirs) > theirs.std()
    most = np.abs(theirs - world.came).max()
    losses = (np.abs(mine - world.came) - np.abs(theirs - world.came)) / most
    for seen in range(LOOK, LIVE + 1, LOOK):
        ok = ~failed[:seen]
        evidence = Evidence(
            Tally(
                asked=seen,
                failed=int(failed[:seen].sum()),
                timed=int(ok.sum()),
                slow=int(slow[:seen][ok].sum()),
                paired=int(ok.sum()),
                far=int(far[:seen][ok].sum()),
                bins=binned(mine[:seen][ok], rules),
            ),
            Tally(asked=seen, bins=binned(theirs[:seen], rules)),
        )
        known = tuple(float(each) for each in np.clip(losses[:seen:2], -1, 1))
        if found := fault(rules, evidence, Facts(1, known)):
            return found
    return ""


def binned(values: Doubles, rules: Rules) -> tuple[int, ...]:
    places = np.searchsorted(rules.edges, values, side="right")
    return tuple(int(n) for n in np.bincount(places, minlength=len(rules.edges) + 1))


def stopped(candidate: Candidate, seed: int, champion: Doubles = OLD) -> str:
    """Where it is stopped: `gate`, `rollout`, or an empty string if it becomes champion."""
    passed, rules = gate(candidate, champion, seed)
    if not passed:
        return "gate"
    return "rollout" if roll_out(candidate, champion, rules, seed) else ""


def needless(refits: int, step: float) -> list[str]:
    """Where good candidates of so many refits are stopped: none of them should be.

    In each the champion is somewhat off, and the candidate has learned the share `step` of that.
    """
    found = []
    for seed in range(refits):
        chance = np.random.default_rng(seed)
        champion = TRUTH + chance.normal(0, 0.5, 3)
        weights = champion + step * (TRUTH - champion) + chance.normal(0, 0.03, 3)
        if where := stopped(Candidate(linear(weights)), seed, champion):
            found.append(where)
    return found
