"""Which findings somebody asks for."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from modelyard.records.policies import Level


class FindingState(StrEnum):
    """Which are meant: OPEN ones that nobody has seen yet, SEEN ones that go on, those that are OVER."""

    OPEN = "open"
    SEEN = "seen"
    OVER = "over"
    ALL = "all"


class Asked(Struct, frozen=True):
    """Which findings are asked for.

    Attributes:
        departments: whose; None for all.
        also: single models beside these.
        department, model: narrow it to this one; empty for any.
        level: at least so grave.
        start, most: so many, after as many as that.
    """

    departments: frozenset[str] | None
    also: frozenset[str] = frozenset()
    department: str = ""
    model: str = ""
    level: Level = Level.LOW
    state: FindingState = FindingState.ALL
    start: int = 0
    most: int = 100
