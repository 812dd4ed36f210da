"""How many rows a second a token may have predicted."""

from __future__ import annotations

import pytest

from modelyard.records.errors import QuotaError
from modelyard.records.people import Grant, Role
from modelyard.serving.quotas import Quotas


class Clock:
    """Seconds as a test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def grant(rate: float | None, token: int = 1) -> Grant:
    return Grant("app", Role.CALLER, "finance", token, rows_per_second=rate)


def taken(quotas: Quotas, who: Grant, asked: int) -> int:
    """How many of so many single rows may be predicted now."""
    count = 0
    for _ in range(asked):
        try:
            quotas.take(who, 1)
        except QuotaError:
            continue
        count += 1
    return count


def test_no_limit_is_none() -> None:
    assert taken(Quotas(), grant(None), 1000) == 1000


def test_as_many_rows_as_a_second_gives_and_then_as_many_as_time_brings() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    assert taken(quotas, grant(10), 50) == 10
    clock.now += 0.5
    assert taken(quotas, grant(10), 50) == 5
    clock.now += 1000
    assert taken(quotas, grant(10), 50) == 10


def test_tokens_have_buckets_of_their_own() -> None:
    quotas = Quotas(Clock())
    assert taken(quotas, grant(5, 1), 50) == 5
    assert taken(quotas, grant(5, 2), 50) == 5


def test_a_table_is_answered_and_what_follows_waits_for_it() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    quotas.take(grant(10), 1000)
    with pytest.raises(QuotaError, match="10 rows a second") as caught:
        quotas.take(grant(10), 1)
    assert 99 <= caught.value.retry_after <= 100
    clock.now += caught.value.retry_after
    quotas.take(grant(10), 1)


def test_less_than_one_row_a_second_is_one_row_at_times() -> None:
    clock = Clock()
    quotas = Quotas(clock)
    assert taken(quotas, grant(0.1), 3) == 1
    clock.now += 10.1
    assert taken(quotas, grant(0.1), 3) == 1


def test_very_many_tokens_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.serving.quotas._KEPT", 100)
    clock = Clock()
    quotas = Quotas(clock)
    for token in range(1000):
        clock.now += 0.1
        quotas.take(grant(5, token), 1)
    assert len(quotas._buckets) <= 100
