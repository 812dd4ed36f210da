"""Verdicts of the gate: a candidate beside the champion on rows that no training has seen."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class VerdictState(StrEnum):
    """What the gate found.

    WAITING: the comparison is not through. PASSED: the candidate may be rolled out. REFUSED: it may not.
    UNDECIDED: nothing could be compared, so a person decides.
    """

    WAITING = "waiting"
    PASSED = "passed"
    REFUSED = "refused"
    UNDECIDED = "undecided"


class HeldOut(Struct, frozen=True, omit_defaults=True):
    """The rows a candidate is judged on: the newest of a dataset version, or a file given by hand.

    Attributes:
        target: the column with what really came.
        dataset: `department/name`, and
        number: its version, of which
        rows: so many, the newest, are held out; 0: as many as the policy says.
        file: sha256 of a file given by hand, all of whose rows are held out, and
        form: `csv` or `parquet`.
    """

    target: str
    dataset: str = ""
    number: int = 0
    rows: int = 0
    file: str = ""
    form: str = ""

    @property
    def words(self) -> str:
        """For a person.

        >>> HeldOut("late", dataset="operations/flights", number=3).words
        'the newest rows of operations/flights version 3'
        """
        if not self.dataset and not self.file:
            return "none"
        if self.dataset:
            return f"the newest rows of {self.dataset} version {self.number}"
        return f"a file given by hand ({self.file[:12]}…)"


class Slice(Struct, frozen=True):
    """One value of a slice column: how both did on its rows.

    Attributes:
        worse: how much worse the candidate is, as a share of the champion's value; negative if better.
        is_sure: whether chance can hardly explain that it is worse.
    """

    column: str
    value: str
    rows: int
    candidate: float
    champion: float
    worse: float
    is_sure: bool


class Numbers(Struct, frozen=True):
    """What was measured.

    Attributes:
        metric: its name.
        rows: how many rows both answered, and
        left_out: how many had no outcome, or the champion could not answer.
        failed: rows that the candidate failed and the champion (or nobody) answered.
        candidate, champion: the metric of each; `champion` is that of always guessing the same, where
            there was none.
        better: how much better the candidate is, in the metric's unit; negative if worse.
        low, high: the interval around it.
        slices: those with enough rows, the worst first.
        candidate_seconds, champion_seconds: the median time of one row asked alone.
        candidate_size, champion_size: bytes of the bundles.
    """

    metric: str
    rows: int
    left_out: int
    failed: int
    candidate: float
    champion: float
    better: float
    low: float
    high: float
    slices: tuple[Slice, ...] = ()
    candidate_seconds: float = 0.0
    champion_seconds: float = 0.0
    candidate_size: int = 0
    champion_size: int = 0


class Verdict(Struct, frozen=True):
    """A candidate judged, or waiting for it.

    Attributes:
        id: unique in the yard.
        champion: the version it was compared with; None where there was none, or while it waits.
        words: the verdict as a manager reads it, or what it waits for.
        faults: each thing that speaks against the candidate, the gravest first.
        numbers: None where nothing could be measured.
        rolls_out: whether a rollout begins by the policy when it passes.
        rollout: the id of that rollout.
    """

    id: int
    model: str
    candidate: int
    champion: int | None
    state: VerdictState
    words: str
    held_out: HeldOut
    asked_at: datetime
    asked_by: str
    why: str = ""
    faults: tuple[str, ...] = ()
    numbers: Numbers | None = None
    judged_at: datetime | None = None
    rolls_out: bool = True
    rollout: int | None = None
