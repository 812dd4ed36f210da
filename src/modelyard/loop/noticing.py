"""What is noticed in one column, and how grave that is."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from modelyard.records.policies import Level
from modelyard.records.predictions import OUTPUT

FEWEST = 200  # rows of a window or a reference; of fewer nothing is said
MORE = ((0.2, Level.HIGH), (0.05, Level.MEDIUM), (0.01, Level.LOW))  # of the rows
ROWS = "share of rows"


class Noticed(Struct, frozen=True):
    """What is noticed in one column.

    Attributes:
        kind, column, level, effect, measure, words: see `records.predictions.Finding`.
        share: of the window's rows that carry it, or None where that is not to be said.
        against: what the window is compared with, in words, where that is not the reference.
        good_effect: the effect against the last good day where `effect` is that against the reference.
    """

    kind: str
    column: str
    level: Level
    effect: float
    measure: str
    words: str
    share: float | None = None
    against: str = ""
    good_effect: float | None = None

    @property
    def subject(self) -> tuple[str, str]:
        """What it is about."""
        return self.kind, self.column


def level_of(limits: Sequence[tuple[float, Level]], effect: float) -> Level | None:
    """The level of an effect, or None where it is too small to matter.

    >>> level_of(MORE, 0.06), level_of(MORE, 0.001)
    (<Level.MEDIUM: 'medium'>, None)
    """
    return next((level for limit, level in limits if effect >= limit), None)


def plain(name: str) -> tuple[str, str]:
    """A column's name as people know it, and the kind of finding that it moved.

    >>> plain("in:distance"), plain("out:prediction")
    (('distance', 'drift'), ('prediction', 'outputs'))
    """
    side, _, rest = name.partition(":")
    return rest, "outputs" if f"{side}:" == OUTPUT else "drift"
