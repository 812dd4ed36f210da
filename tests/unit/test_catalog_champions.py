"""Where a rollback goes, as a pure rule; the registry's own machine is in tests/contract."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelyard.catalog.champions import before
from modelyard.store.aliases import Cause, Step

AT = datetime(2026, 1, 1, tzinfo=UTC)
BACK = Cause.ROLLBACK
ALL = frozenset(range(1, 10))


def steps(*versions: int | tuple[int, Cause]) -> list[Step]:
    """Promotions, as numbers, and rollbacks, as `(number, BACK)`."""
    pairs = [v if isinstance(v, tuple) else (v, Cause.PERSON) for v in versions]
    return [Step(number, cause, AT) for number, cause in pairs]


@pytest.mark.parametrize(
    ("history", "checked", "goes_to"),
    [
        (steps(), ALL, None),
        (steps(1), ALL, None),
        (steps(1, 2), ALL, 1),
        (steps(1, 2, 3, (2, BACK)), ALL, 1),  # further back, not to and fro
        (steps(1, 2, (1, BACK)), ALL, None),
        (steps(1, 2, 3, (2, BACK), 4), ALL, 2),  # a promotion begins from where it went back to
        (steps(1, 2, 1), ALL, 2),
        (steps(1, 2, 1, (2, BACK)), ALL, 1),
        (steps(1, 2, 3), frozenset({1, 3}), 1),  # passes over what is not checked
        (steps(1, 2, 3, (1, BACK)), frozenset({1, 3}), None),
        (steps(1, 2, 1), frozenset({1}), None),  # never to the present champion
    ],
)
def test_where_a_rollback_goes(history: list[Step], checked: frozenset[int], goes_to: int | None) -> None:
    assert before(history, checked) == goes_to
