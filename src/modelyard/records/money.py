"""Money: exact amounts of one currency, to the millionth of its unit. Never a float.

An amount is a Decimal with six places; the database keeps whole millionths. A price is rounded once, where a
quantity is priced, and sums add what was rounded: so the models of a department add up to the department.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated

from msgspec import Meta

from modelyard.records.errors import InvalidError
from modelyard.records.references import shown

PLACES = Decimal("0.000001")
ZERO = Decimal("0.000000")
_MILLION = 1_000_000
_MOST = Decimal(10) ** 12
_AMOUNT = r"-?[0-9]{1,12}(\.[0-9]{1,6})?"
_amount = re.compile(_AMOUNT, re.ASCII)

# As it comes in: text, so that no float is in between.
Amount = Annotated[str, Meta(pattern=f"^{_AMOUNT}$", max_length=20, examples=["0.05"])]
# As it goes out: text as well.
Money = Annotated[Decimal, Meta(extra_json_schema={"type": "string", "examples": ["12.340000"]})]

# ISO 4217: the codes of currencies in use, and those among them whose unit has not a hundredth.
_CODES = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
    HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
    LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP
    PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT
    TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """
_WHOLE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
CURRENCIES = frozenset(_CODES.split())
_DIGITS = {**dict.fromkeys(_WHOLE.split(), 0), **dict.fromkeys(_THOUSANDTHS.split(), 3)}


def amount(text: str, field: str) -> Decimal:
    """An amount as a person writes it.

    Raises:
        InvalidError: it is none (NaN, an exponent, a comma), or is beyond a million millions.

    >>> amount("0.05", "cpu_hour")
    Decimal('0.050000')
    """
    if not _amount.fullmatch(text):
        hint = "Write it as 12.50: at most six digits after a point, no sign of a currency."
        raise InvalidError(f"{shown(text)} is no amount of money.", hint, field=field)
    return Decimal(text).quantize(PLACES)


def price(text: str, field: str) -> Decimal:
    """An amount that is not below zero.

    Raises:
        InvalidError: it is no amount, or is negative.
    """
    found = amount(text, field)
    if found < 0:
        raise InvalidError(
            f"{field} is {shown(text)}: a price is not negative.", "Write 0 or more.", field=field
        )
    return found


def currency(code: str) -> str:
    """The code itself, if it is one of ISO 4217.

    Raises:
        InvalidError: it is not.
    """
    if code in CURRENCIES:
        return code
    hint = "Write its three capital letters, as EUR, USD or CHF."
    raise InvalidError(f"{shown(code)} is no currency of ISO 4217.", hint, field="currency")


def times(quantity: Decimal, rate: Decimal) -> Decimal:
    """What a quantity costs, rounded once, half to even.

    Raises:
        InvalidError: it is beyond what can be kept.

    >>> times(Decimal("1.5"), Decimal("0.05"))
    Decimal('0.075000')
    """
    found = quantity * rate
    if not found.is_finite() or abs(found) >= _MOST:
        raise InvalidError("The amount is beyond a million millions.", "Check the rates that were stated.")
    return found.quantize(PLACES, ROUND_HALF_EVEN)


def measured(value: float) -> Decimal:
    """A measured quantity (no money: seconds, units of error), as a Decimal with nine places."""
    return Decimal(value).quantize(Decimal("1e-9"))


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The sum, exact; zero of none."""
    return sum(amounts, ZERO)


def millionths(value: Decimal) -> int:
    """As the database keeps it."""
    return int((value * _MILLION).to_integral_value())


def of_millionths(value: int) -> Decimal:
    """The amount that `millionths` made."""
    return (Decimal(value) / _MILLION).quantize(PLACES)


def exact(value: Decimal, code: str) -> str:
    """A price as it was stated, with all its digits.

    >>> exact(Decimal("0.000300"), "EUR"), exact(Decimal("250"), "EUR")
    ('0.0003 EUR', '250.00 EUR')
    """
    text = f"{value:,.6f}".rstrip("0")
    places = max(_DIGITS.get(code, 2), len(text.partition(".")[2]))
    return f"{value:,.{places}f} {code}"


def in_words(value: Decimal | None, code: str) -> str:
    """An amount for a person, to the currency's own digits; an amount below the smallest is not called zero.

    >>> in_words(Decimal("1234.5"), "EUR"), in_words(Decimal("0.0003"), "EUR"), in_words(Decimal(9), "JPY")
    ('1,234.50 EUR', '< 0.01 EUR', '9 JPY')
    """
    if value is None:
        return "\N{EN DASH}"
    digits = _DIGITS.get(code, 2)
    least = Decimal(1).scaleb(-digits)
    if 0 < abs(value) < least / 2:
        return f"< {least} {code}" if value > 0 else f"> -{least} {code}"
    return f"{value.quantize(least, ROUND_HALF_EVEN):,} {code}"
