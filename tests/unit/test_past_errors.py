"""Past error of estimates: whether the next one is to be trusted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelyard.records.estimates import Judgement, past_errors
from modelyard.records.predictions import Performance

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def of_day(
    number: int, value: float, *, estimated: bool, half: float = 0.1, labels: int = 1000
) -> Performance:
    day = DAY + timedelta(days=number)
    return Performance(
        "a/b", 1, day, "mae", "", value, value - half, value + half, labels, estimated=estimated
    )


def days(measured: list[float], estimated: list[float], **more: float) -> list[Performance]:
    found = [of_day(n, v, estimated=False, **more) for n, v in enumerate(measured)]  # type: ignore[arg-type]
    return found + [of_day(n + 1, v, estimated=True) for n, v in enumerate(estimated)]


def test_an_estimate_that_follows_is_trusted() -> None:
    (past,) = past_errors(days([1, 2, 3, 4], [2.1, 2.9, 4.2]))
    assert (past.metric, len(past.days), past.judgement) == ("mae", 3, Judgement.TRUSTED)
    assert past.error == pytest.approx((0.1 + 0.1 + 0.2) / 3)
    assert past.bias == pytest.approx((0.1 - 0.1 + 0.2) / 3)
    assert past.naive == pytest.approx((1 + 1.5 + 2) / 3)  # as before: 1, 1.5, 2
    assert past.covered == pytest.approx(2 / 3)
    assert "it has earned trust" in past.words


def test_one_that_is_worse_than_saying_as_before_is_not() -> None:
    (past,) = past_errors(days([2, 2, 2, 2], [3, 3, 3], half=0.01))
    assert past.judgement is Judgement.DOUBTFUL
    assert past.excess == pytest.approx(1.0, abs=0.01)
    assert "do not rely on it" in past.words


def test_what_so_few_labels_cannot_tell_is_not_held_against_it() -> None:
    (past,) = past_errors(days([2, 2, 2, 2], [2.2, 1.8, 2.2], half=0.6))
    assert past.judgement is Judgement.TRUSTED
    assert past.excess == 0


def test_too_few_days_or_labels_to_say() -> None:
    (past,) = past_errors(days([1, 2], [2.0]))
    assert (past.judgement, past.excess) == (Judgement.UNKNOWN, 0)
    (past,) = past_errors(days([1, 2], [2.0], labels=29))
    assert (past.days, past.error, past.judgement) == ((), None, Judgement.UNKNOWN)
    assert past_errors(days([1, 2], [])) == []
