"""Money: exact, one rounding a price, refused where it is none."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records import money
from modelyard.records.errors import InvalidError

AMOUNTS = st.integers(-(10**17), 10**17)


@given(AMOUNTS)
def test_an_amount_is_what_was_kept(whole: int) -> None:
    assert money.millionths(money.of_millionths(whole)) == whole
    assert money.amount(str(money.of_millionths(whole)), "x") == money.of_millionths(whole)


@given(st.lists(AMOUNTS))
def test_sums_are_exact_in_any_order(wholes: list[int]) -> None:
    amounts = [money.of_millionths(each) for each in wholes]
    assert money.millionths(money.total(amounts)) == sum(wholes)
    assert money.total(reversed(amounts)) == money.total(amounts)


@pytest.mark.parametrize(
    "text", ["NaN", "-Infinity", "1e5", "1,5", "", " 1", "1.1234567", "٣", "1" * 13, "0x1"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="is no amount of money"):
        money.amount(text, "cpu_hour")


def test_a_price_is_not_negative_and_a_currency_is_one() -> None:
    with pytest.raises(InvalidError, match="a price is not negative"):
        money.price("-0.01", "cpu_hour")
    assert money.price("0", "cpu_hour") == 0
    for code in ("EURO", "eur", "XXX", "", "BTC"):
        with pytest.raises(InvalidError, match="is no currency"):
            money.currency(code)
    assert money.currency("CHF") == "CHF"
    assert set(money._DIGITS) < money.CURRENCIES


def test_a_price_is_rounded_once_and_bounded() -> None:
    assert money.times(Decimal("0.5"), Decimal("0.000001")) == 0  # half to even
    assert money.times(Decimal("1.5"), Decimal("0.000001")) == Decimal("0.000002")
    for much in (Decimal(10) ** 13, Decimal("NaN")):
        with pytest.raises(InvalidError, match="beyond"):
            money.times(much, Decimal(1))


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("1234567.891", "EUR", "1,234,567.89 EUR"),
        ("-0.001", "EUR", "> -0.01 EUR"),
        ("0.005", "EUR", "0.00 EUR"),
        ("0", "EUR", "0.00 EUR"),
        ("1234.5", "KWD", "1,234.500 KWD"),
        ("0.4", "JPY", "< 1 JPY"),
    ],
)
def test_words(text: str, code: str, shown: str) -> None:
    assert money.in_words(Decimal(text), code) == shown
