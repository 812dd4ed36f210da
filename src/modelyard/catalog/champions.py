"""Where a rollback goes: a pure rule over the champion's history."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from modelyard.store.aliases import Cause, Step


def before(steps: Iterable[Step], checked: AbstractSet[int]) -> int | None:
    """The version that was champion before the one that is now, or None.

    The champions stand in a pile. A promotion puts one on top; a rollback takes off the top and whatever
    lies between it and the version that it went back to. So a second rollback goes further back, never to
    and fro, and a promotion after a rollback begins from there. Versions that are not checked, and the
    present champion itself further down, are passed over.

    Args:
        steps: every change of the champion, oldest first.
        checked: the versions that may be champion.

    >>> from datetime import datetime
    >>> steps = [Step(number, Cause.PERSON, datetime(2026, 1, number)) for number in (1, 2, 3)]
    >>> before(steps, {1, 2, 3})
    2
    >>> before([*steps, Step(2, Cause.ROLLBACK, datetime(2026, 1, 4))], {1, 2, 3})
    1
    """
    pile: list[int | None] = []
    for step in steps:
        if step.cause is Cause.ROLLBACK:
            pile.pop()
            while pile and pile[-1] != step.after:
                pile.pop()
        else:
            pile.append(step.after)
    if not pile:
        return None
    champion = pile.pop()
    return next((v for v in reversed(pile) if v != champion and v in checked), None)
