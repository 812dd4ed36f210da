"""What is kept in memory: the last few, and nothing of what failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from modelyard.loop.kept import Kept, drop_old


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


def test_threads_share_it() -> None:
    """Steps of several models want theirs at the same time, and others go meanwhile."""
    kept: Kept[int, int] = Kept(3)

    def want(first: int) -> list[int]:
        return [kept.of((first + n) % 7, partial(int, (first + n) % 7)) for n in range(2000)]

    with ThreadPoolExecutor(4) as pool:
        for first, found in enumerate(pool.map(want, range(4))):
            assert found == [(first + n) % 7 for n in range(2000)]


def test_what_is_old_is_dropped() -> None:
    now = datetime(2026, 11, 26, tzinfo=UTC)
    kept = {"a": now, "b": now + timedelta(seconds=1)}
    drop_old(kept, now, lambda at: at)
    assert list(kept) == ["b"]
