"""What is kept in memory: the last few, and nothing of what failed."""

from __future__ import annotations

import pytest

from modelyard.loop.kept import Kept


def test_the_one_that_was_not_wanted_for_longest_goes() -> None:
    made: list[str] = []
    kept: Kept[str, str] = Kept(2)

    def of(key: str) -> str:
        def make() -> str:
            made.append(key)
            return key.upper()

        return kept.of(key, make)

    assert [of(key) for key in "abacab"] == ["A", "B", "A", "C", "A", "B"]
    assert made == ["a", "b", "c", "b"]


def test_what_fails_is_tried_again_and_nothing_is_an_answer() -> None:
    kept: Kept[str, int | None] = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.of("a", lambda: 1 // 0)
    assert kept.of("a", lambda: None) is None
    assert kept.of("a", lambda: 1) is None
