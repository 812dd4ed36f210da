"""The ledger of a month: what models took, what that costs, what it brings. Pure.

Quantities are whole numbers (microseconds, bytes times days); each is priced once for each model, and all
above a model is a sum of what was rounded there. So a department is the sum of its models, the yard of
departments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from modelyard.records import money
from modelyard.records.money import Amount, Money
from modelyard.records.policies import Level
from modelyard.records.worth import Valued

_HOUR = Decimal(3_600_000_000)  # microseconds
_GB = Decimal(10) ** 9
_WARN = Decimal("0.8")  # of a budget
# What a caller is told that is the caller's own fault; all other errors are the yard's.
CALLERS_FAULTS = frozenset(
    {"malformed", "unauthenticated", "forbidden", "not-found", "method", "conflict", "too-large"}
    | {"unsupported", "invalid", "limited", "over-limit"}
)


class Rates(Struct, frozen=True):
    """What the operator says that things cost.

    Attributes:
        since: the first month that they hold for, as `2026-11`; until the next ones do.
        cpu_hour: of one processor for an hour.
        gb_month: of 1,000,000,000 bytes kept for a month.
    """

    since: str
    currency: str
    cpu_hour: Money
    gb_month: Money
    set_by: str
    set_at: datetime


class RatesWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Rates as the operator sets them.

    Attributes:
        since: the first month they hold for, as `2026-11`; empty: this one.
    """

    currency: str
    cpu_hour: Amount
    gb_month: Amount
    since: str = ""


class BudgetWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """What may be spent in a month, in the currency of the rates."""

    amount: Amount


class Budget(Struct, frozen=True):
    """What a department or a model may cost in a month.

    Attributes:
        place: `department` or `department/name`.
        spent: in the month that is looked at; None where no rates hold, or in another currency.
        share: of the amount, 0 to 1 and beyond.
    """

    place: str
    amount: Money
    currency: str
    set_by: str
    set_at: datetime
    spent: Money | None = None
    share: float | None = None


class Quantities(Struct, frozen=True):
    """What a month took.

    Attributes:
        answered, refused, failed: requests: answered, refused for the caller's fault, failed by the yard.
        rows: answered.
        cpu: microseconds of the processors of workers that answered, were checked or compared.
        jobs: that ended.
        job_cpu: microseconds of the processors of these.
        job_memory: bytes, the most that one of them held.
        version_byte_days, prediction_byte_days, dataset_byte_days: bytes kept, times the days they were.
    """

    answered: int = 0
    refused: int = 0
    failed: int = 0
    rows: int = 0
    cpu: int = 0
    jobs: int = 0
    job_cpu: int = 0
    job_memory: int = 0
    version_byte_days: int = 0
    prediction_byte_days: int = 0
    dataset_byte_days: int = 0

    def __add__(self, other: Quantities) -> Quantities:
        """Both together."""
        summed = {name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        return Quantities(**summed | {"job_memory": max(self.job_memory, other.job_memory)})

    @property
    def byte_days(self) -> int:
        """All that was kept."""
        return self.version_byte_days + self.prediction_byte_days + self.dataset_byte_days


class Cost(Struct, frozen=True):
    """What that costs."""

    predictions: Money
    jobs: Money
    storage: Money
    total: Money

    @classmethod
    def of(cls, took: Quantities, rates: Rates, days: int) -> Cost:
        """Price quantities.

        Args:
            days: that the month has.
        """
        parts = (
            money.times(Decimal(took.cpu) / _HOUR, rates.cpu_hour),
            money.times(Decimal(took.job_cpu) / _HOUR, rates.cpu_hour),
            money.times(Decimal(took.byte_days) / _GB / days, rates.gb_month),
        )
        return cls(*parts, money.total(parts))

    def __add__(self, other: Cost) -> Cost:
        """Both together, exact."""
        return Cost(
            self.predictions + other.predictions,
            self.jobs + other.jobs,
            self.storage + other.storage,
            self.total + other.total,
        )


_FREE = Cost(money.ZERO, money.ZERO, money.ZERO, money.ZERO)


class Brought(Struct, frozen=True):
    """What models brought, together. Measured and stated are kept apart.

    Attributes:
        measured: the value of those with outcomes.
        low, high: its 95 % interval, taking models as independent.
        stated: stated minutes times counted answers, of the others.
        models: how many have a value, in the currency of the rates.
        outcomes: how many of these were measured.
        elsewhere: how many have one in another currency, which is not in these sums.
    """

    measured: Money
    low: Money
    high: Money
    stated: Money
    models: int
    outcomes: int
    elsewhere: int = 0


class Account(Struct, frozen=True):
    """One model in a month, or (without a name) what a department keeps beside its models.

    Attributes:
        model: `department/name`, or empty: the department's datasets.
        availability: the share of requests answered, of those that were not refused; None without any.
        cost: None where no rates hold.
    """

    model: str
    took: Quantities
    availability: float | None
    cost: Cost | None
    value: Valued | None = None
    budget: Budget | None = None


class Section(Struct, frozen=True):
    """A department in a month: the sum of its accounts."""

    department: str
    took: Quantities
    availability: float | None
    cost: Cost | None
    brought: Brought | None
    accounts: list[Account]
    budget: Budget | None = None


class Change(Struct, frozen=True):
    """Something that changed in the month: what, of which model, when and by whom."""

    at: datetime
    model: str
    words: str
    by: str


class Ledger(Struct, frozen=True):
    """A month.

    Attributes:
        rates: that hold in it, or None.
        used: models that answered in it.
        cost_before: of the month before, or None.
        changes: oldest first.
    """

    month: str
    rates: Rates | None
    took: Quantities
    availability: float | None
    used: int
    cost: Cost | None
    cost_before: Money | None
    brought: Brought | None
    departments: list[Section]
    changes: list[Change]


def availability(took: Quantities) -> float | None:
    """The share of requests answered, of those that were not refused.

    >>> availability(Quantities(answered=99, failed=1, refused=7))
    0.99
    """
    asked = took.answered + took.failed
    return took.answered / asked if asked else None


def account(
    model: str,
    took: Quantities,
    rates: Rates | None,
    days: int,
    value: Valued | None = None,
    budget: Budget | None = None,
) -> Account:
    """One model's account.

    Args:
        days: that the month has.
    """
    cost = None if rates is None else Cost.of(took, rates, days)
    if budget is not None:
        budget = charged(budget, cost, rates)
    return Account(model, took, availability(took), cost, value, budget)


def section(
    department: str, accounts: list[Account], rates: Rates | None, budget: Budget | None = None
) -> Section:
    """A department out of its accounts."""
    took = _together(a.took for a in accounts)
    cost = costs_of(a.cost for a in accounts) if rates is not None else None
    if budget is not None:
        budget = charged(budget, cost, rates)
    values = brought([a.value for a in accounts if a.value is not None], rates)
    return Section(department, took, availability(took), cost, values, accounts, budget)


def ledger(
    month: str,
    sections: list[Section],
    rates: Rates | None,
    cost_before: Decimal | None,
    changes: list[Change],
) -> Ledger:
    """A month out of its departments."""
    took = _together(s.took for s in sections)
    every = [a for s in sections for a in s.accounts]
    return Ledger(
        month=month,
        rates=rates,
        took=took,
        availability=availability(took),
        used=sum(1 for a in every if a.model and a.took.answered),
        cost=costs_of(s.cost for s in sections) if rates is not None else None,
        cost_before=cost_before,
        brought=brought([a.value for a in every if a.value is not None], rates),
        departments=sections,
        changes=changes,
    )


def costs_of(costs: Iterable[Cost | None]) -> Cost:
    """The sum of costs, exact."""
    return sum((cost for cost in costs if cost is not None), _FREE)


def brought(values: Iterable[Valued], rates: Rates | None) -> Brought | None:
    """What models brought together; None where none of them has a value.

    The half-widths of independent intervals add up as their squares.
    """
    found = [(v.value, v.stated) for v in values if v.value is not None and v.stated is not None]
    if not found:
        return None
    currency = rates.currency if rates is not None else found[0][1].worth.currency
    own = [value for value, stated in found if stated.worth.currency == currency]
    outcomes = [value for value in own if value.is_measured]
    middle = money.total(value.value for value in outcomes)
    halves = (value.high - value.value for value in outcomes if value.high is not None)
    half = sum((each * each for each in halves), Decimal(0)).sqrt().quantize(money.PLACES)
    stated = money.total(value.value for value in own if not value.is_measured)
    return Brought(
        middle, middle - half, middle + half, stated, len(own), len(outcomes), len(found) - len(own)
    )


def charged(budget: Budget, cost: Cost | None, rates: Rates | None) -> Budget:
    """A budget with what is spent of it."""
    if cost is None or rates is None or rates.currency != budget.currency:
        return budget
    share = float(cost.total / budget.amount) if budget.amount else (1.0 if cost.total else 0.0)
    return Budget(
        budget.place, budget.amount, budget.currency, budget.set_by, budget.set_at, cost.total, share
    )


def all_charged(budgets: Iterable[Budget], costs: Mapping[str, Cost], rates: Rates) -> list[Budget]:
    """Budgets with what is spent of each.

    Args:
        costs: by model, and by department for what it keeps beside its models.
    """
    spent = {name: cost for name, cost in costs.items() if "/" in name}
    for name, cost in costs.items():
        place = name.partition("/")[0]
        spent[place] = spent.get(place, _FREE) + cost
    return [charged(budget, spent.get(budget.place, _FREE), rates) for budget in budgets]


class Warned(Struct, frozen=True):
    """A budget that somebody should look at; another amount is another warning."""

    place: str
    amount: Money
    level: Level
    words: str


def warning(budget: Budget, month: str) -> Warned | None:
    """What a budget has to say: from 80 % on a warning, from the whole on a grave one.

    A budget of nothing warns of the first cent.
    """
    if budget.spent is None:
        return None
    spent, whole = budget.spent, budget.amount
    over = spent >= whole if whole else spent > 0
    if not over and (spent < whole * _WARN or not whole):
        return None
    part = f"{spent / whole:.0%}" if whole else "more than all"
    sums = f"{money.in_words(spent, budget.currency)} of {money.exact(whole, budget.currency)}"
    if over:
        return Warned(budget.place, whole, Level.HIGH, f"The budget of {month} is spent: {sums} ({part}).")
    return Warned(budget.place, whole, Level.MEDIUM, f"{part} of the budget of {month} is spent: {sums}.")


def rates_of(known: Iterable[Rates], month: str) -> Rates | None:
    """The rates that hold in a month, or None."""
    return max((r for r in known if r.since <= month), key=lambda r: r.since, default=None)


def _together(took: Iterable[Quantities]) -> Quantities:
    return sum(took, Quantities())
