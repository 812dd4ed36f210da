"""What answers are worth: what an owner states, what was measured, and what follows from the two. Pure.

The three are kept apart everywhere. A statement is an opinion about money; a measurement is a count of what
happened; only together do they give a value, and where one is missing there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from modelyard.records import money
from modelyard.records.errors import InvalidError
from modelyard.records.money import Amount, Money
from modelyard.records.references import VERSION, shown
from modelyard.records.signatures import Signature, Task

MAJORITY, MEAN, CONSTANT, VERSION_WORD = "majority", "mean", "constant", "version"
NO_OUTCOMES = "No outcomes have come for this month's answers, so nothing is known."
FEWEST = 30  # rows with outcomes; of fewer no value is told
_MOST_PAIRS = 2_500
_MOST_TEXT = 1_000
_MINUTES = Decimal(60)


class WorthKind(StrEnum):
    """How answers are worth something."""

    CLASSES = "classes"  # each is right or wrong
    ERROR = "error"  # each is off by so much
    TIME = "time"  # each saves minutes


class Pair(Struct, frozen=True, forbid_unknown_fields=True):
    """What it is worth that this was predicted when that came, in place of `right` or `wrong`."""

    actual: str
    predicted: str
    worth: Amount


class Worth(Struct, frozen=True, forbid_unknown_fields=True):
    """What an owner states. Amounts are gains; what costs is negative.

    Attributes:
        currency: of all amounts.
        baseline: what it is compared with: `majority` (always the most frequent class), `mean` (always the
            mean), `constant:VALUE`, or `version:3`. Of saved time there is none.
        right, wrong: of an answer (classes); `pairs` go before.
        over, under: of each unit by which a number was too high or too low (error).
        minutes, hour: that an answer saves, and what an hour is worth (time).
        missed: of a request that the yard failed to answer.
    """

    kind: WorthKind
    currency: str
    baseline: str = ""
    right: Amount = "0"
    wrong: Amount = "0"
    pairs: tuple[Pair, ...] = ()
    over: Amount = "0"
    under: Amount = "0"
    minutes: Amount = "0"
    hour: Amount = "0"
    missed: Amount = "0"

    @property
    def version(self) -> int | None:
        """The version that is the baseline, or None."""
        word, _, number = self.baseline.partition(":")
        return int(number) if word == VERSION_WORD else None

    @property
    def constant(self) -> str | None:
        """The answer that is the baseline, or None."""
        word, _, value = self.baseline.partition(":")
        return value if word == CONSTANT else None

    def by_pair(self) -> Callable[[str, str], Decimal]:
        """What an answer is worth, by what came and what was predicted."""
        stated = {(p.actual, p.predicted): money.amount(p.worth, "pairs") for p in self.pairs}
        right, wrong = money.amount(self.right, "right"), money.amount(self.wrong, "wrong")

        def of(actual: str, predicted: str) -> Decimal:
            return stated.get((actual, predicted), right if actual == predicted else wrong)

        return of


class Statement(Struct, frozen=True):
    """A worth as it was stated, by whom and when."""

    worth: Worth
    stated_by: str
    stated_at: datetime


class Cell(Struct, frozen=True):
    """How often this was predicted when that came."""

    actual: str
    predicted: str
    count: int


class Tally(Struct, frozen=True):
    """How one side did on the rows with outcomes.

    Attributes:
        cells: of classes, most frequent first.
        over, under: the sums of what numbers were too high and too low by, in the target's unit.
    """

    cells: tuple[Cell, ...] = ()
    over: float = 0.0
    under: float = 0.0

    def worth(self, worth: Worth) -> Decimal:
        """What that is worth; exact, but for one rounding of each product."""
        of = worth.by_pair()
        found = [money.times(Decimal(c.count), of(c.actual, c.predicted)) for c in self.cells]
        for quantity, rate in ((self.over, worth.over), (self.under, worth.under)):
            found.append(money.times(money.measured(quantity), money.amount(rate, "over")))
        return money.total(found)


class Measured(Struct, frozen=True):
    """What was measured in a month; nothing in it was stated.

    Attributes:
        labelled: rows that were answered and whose outcome came.
        model, baseline: how each did on these.
        against: the baseline in words, as `always 12.4, the mean of what came`.
        spread: the standard error of the difference in worth, in the currency.
        why: why there is no value, where there is none.
    """

    labelled: int
    model: Tally = Tally()
    baseline: Tally = Tally()
    against: str = ""
    spread: float = 0.0
    why: str = ""


class Value(Struct, frozen=True):
    """What follows from a statement and a measurement.

    Attributes:
        model, baseline: what the answers of each are worth.
        missed: of the requests that the yard failed.
        value: model less baseline, with missed.
        low, high: its 95 % interval; None where nothing was measured that has one.
        is_measured: whether outcomes are behind it; else it is stated minutes times counted answers.
    """

    model: Money
    baseline: Money
    missed: Money
    value: Money
    low: Money | None
    high: Money | None
    is_measured: bool


class Valued(Struct, frozen=True):
    """The value of a model in a month: stated, measured, and what follows, each by itself.

    Attributes:
        rows, failed: rows answered, requests failed, as counted.
        why: why there is no value, or an empty string.
    """

    model: str
    month: str
    stated: Statement | None
    rows: int
    failed: int
    measured: Measured | None
    value: Value | None
    why: str = ""


def check_worth(worth: Worth, signature: Signature) -> Worth:
    """The statement itself, if it fits a model of this signature; whether its version is there is not asked.

    Raises:
        InvalidError: it does not; `field` names where.
    """
    money.currency(worth.currency)
    for field in ("right", "wrong", "over", "under", "missed"):
        money.amount(getattr(worth, field), field)
    for field in ("minutes", "hour"):
        money.price(getattr(worth, field), field)
    if worth.kind is WorthKind.TIME:
        _check_time(worth)
        return worth
    is_numbers = signature.task is Task.REGRESSION
    if is_numbers is not (worth.kind is WorthKind.ERROR):
        answers, fits = ("numbers", WorthKind.ERROR) if is_numbers else ("classes", WorthKind.CLASSES)
        raise InvalidError(
            f"The model answers {answers}, which are not worth something by {worth.kind}.",
            f"State what they are worth by {fits}, or the minutes that an answer saves.",
            field="kind",
        )
    _check_pairs(worth, signature)
    _check_baseline(worth, signature)
    return worth


def _check_time(worth: Worth) -> None:
    if worth.baseline:
        message = "Saved minutes are compared with doing it by hand, so they have no baseline."
        raise InvalidError(message, "Leave it out.", field="baseline")
    if not money.amount(worth.minutes, "minutes"):
        raise InvalidError("No minutes are stated.", "Say how many an answer saves.", field="minutes")


def _check_pairs(worth: Worth, signature: Signature) -> None:
    if len(worth.pairs) > _MOST_PAIRS:
        raise InvalidError("Too many pairs are stated.", f"State at most {_MOST_PAIRS}.", field="pairs")
    seen: set[tuple[str, str]] = set()
    for pair in worth.pairs:
        money.amount(pair.worth, "pairs")
        for name in (pair.actual, pair.predicted):
            _check_class(name, signature, "pairs")
        if (pair.actual, pair.predicted) in seen:
            what = f"{shown(pair.actual)} predicted as {shown(pair.predicted)}"
            raise InvalidError(f"{what} is stated twice.", "State it once.", field="pairs")
        seen.add((pair.actual, pair.predicted))


def _check_baseline(worth: Worth, signature: Signature) -> None:
    word, _, value = worth.baseline.partition(":")
    plain = MEAN if worth.kind is WorthKind.ERROR else MAJORITY
    hint = f"Write {plain}, constant:VALUE or version:3."
    if worth.baseline == plain:
        return
    if word == VERSION_WORD and VERSION.fullmatch(value):
        return
    if word != CONSTANT or not value:
        what = shown(worth.baseline) if worth.baseline else "Nothing"
        raise InvalidError(f"{what} is no baseline of such a model.", hint, field="baseline")
    if worth.kind is WorthKind.CLASSES:
        _check_class(value, signature, "baseline")
        return
    try:
        is_finite = math.isfinite(float(value))
    except ValueError:
        is_finite = False
    if not is_finite:
        raise InvalidError(f"{shown(value)} is not a number.", "Write constant:12.5.", field="baseline")


def _check_class(name: str, signature: Signature, field: str) -> None:
    if len(name) > _MOST_TEXT:
        raise InvalidError("The name of a class is too long.", "Write it as the model does.", field=field)
    if signature.classes and name not in signature.classes:
        known = ", ".join(map(shown, signature.classes[:20]))
        raise InvalidError(f"The model has no class {shown(name)}.", f"It has {known}.", field=field)


def valued(
    model: str,
    month: str,
    stated: Statement | None,
    measured: Measured | None,
    counted: tuple[int, int],
    *,
    labelled: bool = True,
) -> Valued:
    """What follows from a statement and a measurement; nothing, with the reason, where one is missing.

    Args:
        counted: rows answered and requests failed in the month.
        labelled: whether outcomes have come for any of its answers.
    """
    rows, failed = counted

    def told(value: Value | None, why: str = "") -> Valued:
        return Valued(model, month, stated, rows, failed, measured, value, why)

    if stated is None:
        return told(None, "Nobody has stated what its answers are worth.")
    worth = stated.worth
    missed = money.times(Decimal(failed), money.amount(worth.missed, "missed"))
    if worth.kind is WorthKind.TIME:
        if not rows and not failed:
            return told(None, "Nothing was asked in this month.")
        hours = Decimal(rows) * Decimal(worth.minutes) / _MINUTES
        saved = money.times(hours, money.amount(worth.hour, "hour"))
        return told(Value(saved, money.ZERO, missed, saved + missed, None, None, is_measured=False))
    if measured is None:
        return told(None, "It is not computed yet." if labelled else NO_OUTCOMES)
    if measured.why:
        return told(None, measured.why)
    mine, other = measured.model.worth(worth), measured.baseline.worth(worth)
    value = mine - other + missed
    half = money.times(money.measured(1.96 * measured.spread), Decimal(1))
    return told(Value(mine, other, missed, value, value - half, value + half, is_measured=True))
