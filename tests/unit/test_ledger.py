"""The ledger's rules: money adds up, budgets warn, stated and measured stay apart."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.errors import STATUSES
from modelyard.records import ledger, money
from modelyard.records.errors import InvalidError
from modelyard.records.ledger import CALLERS_FAULTS, Budget, Cost, Quantities, Rates
from modelyard.records.months import Month
from modelyard.records.policies import Level
from modelyard.records.report import report, value_words
from modelyard.records.worth import Cell, Measured, Statement, Tally, Valued, Worth, WorthKind, valued

NOW = datetime(2026, 11, 26, 4, tzinfo=UTC)
RATES = Rates("2026-01", "EUR", Decimal("0.050000"), Decimal("0.020000"), "olga", NOW)
COUNTS = st.integers(0, 10**14)
TOOK = st.builds(Quantities, *[COUNTS] * len(Quantities.__struct_fields__))
PRICES = st.integers(0, 10**9).map(money.of_millionths)
WORTH = Worth(WorthKind.CLASSES, "EUR", "majority", right="1", wrong="-10", missed="-2")


def stated(worth: Worth = WORTH) -> Statement:
    return Statement(worth, "anna", NOW)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.lists(TOOK, max_size=4)), PRICES, PRICES)
def test_models_add_up_to_departments_and_these_to_the_yard(
    yard: dict[str, list[Quantities]], cpu_hour: Decimal, gb_month: Decimal
) -> None:
    rates = Rates("2026-01", "EUR", cpu_hour, gb_month, "olga", NOW)
    sections = [
        ledger.section(name, [ledger.account(f"{name}/m", took, rates, 30) for took in each], rates)
        for name, each in yard.items()
    ]
    whole = ledger.ledger("2026-11", sections, rates, None, [])
    assert whole.cost is not None
    for part in ("predictions", "jobs", "storage", "total"):
        of_models = [getattr(a.cost, part) for s in sections for a in s.accounts]
        of_departments = [getattr(s.cost, part) for s in sections]
        assert getattr(whole.cost, part) == money.total(of_departments) == money.total(of_models)
    assert whole.cost.total == whole.cost.predictions + whole.cost.jobs + whole.cost.storage
    assert whole.took.rows == sum(t.rows for each in yard.values() for t in each)


@given(st.dictionaries(st.sampled_from(["a", "a/m", "a/n", "b/m", "c"]), TOOK), PRICES, PRICES)
def test_a_budget_is_charged_what_the_ledger_shows(
    took: dict[str, Quantities], cpu_hour: Decimal, gb_month: Decimal
) -> None:
    """Of a department with its models and what it keeps beside them, and of a model alone."""
    rates = Rates("2026-01", "EUR", cpu_hour, gb_month, "olga", NOW)
    budgets = [Budget(place, Decimal(1), "EUR", "olga", NOW) for place in ("a", "a/m", "b/m", "c", "d")]
    costs = {name: Cost.of(each, rates, 30) for name, each in took.items()}
    found = {budget.place: budget.spent for budget in ledger.all_charged(budgets, costs, rates)}
    for place in ("a", "c", "d"):
        mine = [ledger.account(n, each, rates, 30) for n, each in took.items() if n.split("/")[0] == place]
        cost = ledger.section(place, mine, rates).cost
        assert cost is not None
        assert found[place] == cost.total
    for model in ("a/m", "b/m"):
        assert found[model] == Cost.of(took.get(model, Quantities()), rates, 30).total


def test_what_things_cost() -> None:
    took = Quantities(cpu=7_200_000_000, job_cpu=3_600_000_000, version_byte_days=30 * 10**9)
    assert Cost.of(took, RATES, 30) == Cost(
        Decimal("0.100000"), Decimal("0.050000"), Decimal("0.020000"), Decimal("0.170000")
    )


def test_without_rates_nothing_has_a_price() -> None:
    took = ledger.account("a/m", Quantities(cpu=10**9, answered=1, rows=1), None, 30)
    whole = ledger.ledger("2026-11", [ledger.section("a", [took], None)], None, None, [])
    assert (took.cost, whole.cost, whole.used) == (None, None, 1)


def test_availability_counts_what_the_yard_failed() -> None:
    assert ledger.availability(Quantities(answered=9, failed=1, refused=90)) == 0.9
    assert ledger.availability(Quantities(refused=3)) is None
    ours = {kind.code for kind, status, _ in STATUSES if status >= 500}
    callers = {kind.code for kind, status, _ in STATUSES if status < 500}
    assert callers == CALLERS_FAULTS
    assert not ours & CALLERS_FAULTS


def test_rates_hold_from_a_month_on() -> None:
    later = Rates("2026-11", "EUR", Decimal(1), Decimal(1), "olga", NOW)
    assert ledger.rates_of([later, RATES], "2026-10") == RATES
    assert ledger.rates_of([later, RATES], "2026-11") == later
    assert ledger.rates_of([later, RATES], "2025-12") is None


@pytest.mark.parametrize(
    ("amount", "spent", "level"),
    [
        ("100", "79.99", None),
        ("100", "80", Level.MEDIUM),
        ("100", "100", Level.HIGH),
        ("0", "0", None),
        ("0", "0.000001", Level.HIGH),
    ],
)
def test_budgets_warn_at_80_percent_and_when_spent(amount: str, spent: str, level: Level | None) -> None:
    cost = Cost(Decimal(spent), money.ZERO, money.ZERO, Decimal(spent))
    charged = ledger.charged(Budget("a", Decimal(amount), "EUR", "olga", NOW), cost, RATES)
    found = ledger.warning(charged, "2026-11")
    assert (found.level if found else None) == level
    elsewhere = ledger.charged(Budget("a", Decimal(amount), "CHF", "olga", NOW), cost, RATES)
    assert ledger.warning(elsewhere, "2026-11") is None, "another currency is not compared"


def classes(labelled: int = 100, spread: float = 5.0) -> Measured:
    mine = Tally((Cell("a", "a", 90), Cell("b", "a", 10)))
    other = Tally((Cell("a", "a", 70), Cell("b", "a", 30)))
    return Measured(labelled, mine, other, "always a, as stated", spread)


def test_a_value_follows_from_both_and_from_neither_alone() -> None:
    found = valued("a/m", "2026-11", stated(), classes(), (1000, 3))
    assert found.value is not None
    assert [found.value.model, found.value.baseline, found.value.missed] == [-10, -230, -6]
    assert found.value.value == 214
    assert (found.value.low, found.value.high) == (Decimal("204.2"), Decimal("223.8"))
    for missing, why in (
        (valued("a/m", "2026-11", None, classes(), (1000, 3)), "Nobody has stated"),
        (valued("a/m", "2026-11", stated(), None, (1000, 3)), "not computed yet"),
        (valued("a/m", "2026-11", stated(), Measured(0, why="No outcomes."), (1000, 3)), "No outcomes"),
    ):
        assert missing.value is None
        assert why in missing.why


def test_saved_time_is_stated_and_says_so() -> None:
    worth = Worth(WorthKind.TIME, "EUR", minutes="3", hour="40")
    found = valued("a/m", "2026-11", stated(worth), None, (100, 0))
    assert found.value is not None
    assert found.value.value == 200
    assert (found.value.low, found.value.is_measured) == (None, False)
    assert value_words(found) == "200.00 EUR"
    assert valued("a/m", "2026-11", stated(worth), None, (0, 0)).value is None


def test_sums_keep_measured_and_stated_apart_and_currencies_too() -> None:
    time = stated(Worth(WorthKind.TIME, "EUR", minutes="3", hour="40"))
    francs = stated(Worth(WorthKind.TIME, "CHF", minutes="3", hour="40"))
    values = [
        valued("a/m", "2026-11", stated(), classes(), (100, 0)),
        valued("a/n", "2026-11", stated(), classes(), (100, 0)),
        valued("a/o", "2026-11", time, None, (100, 0)),
        valued("a/p", "2026-11", francs, None, (100, 0)),
    ]
    found = ledger.brought(values, RATES)
    assert found is not None
    assert [found.measured, found.stated] == [440, 200]
    assert (found.models, found.outcomes, found.elsewhere) == (3, 2, 1)
    assert found.high - found.measured == (2 * Decimal("9.8") ** 2).sqrt().quantize(money.PLACES)
    assert ledger.brought([], RATES) is None


def test_the_report_shows_the_largest_and_says_what_is_not_measured() -> None:
    time = stated(Worth(WorthKind.TIME, "EUR", minutes="3", hour="40"))
    accounts = [
        ledger.account(f"a/m{n}", Quantities(answered=n, rows=n, cpu=n * 10**9), RATES, 30) for n in range(20)
    ]
    value = valued("a/big", "2026-11", time, None, (9, 0))
    accounts.append(ledger.account("a/big", Quantities(answered=9, rows=9), RATES, 30, value))
    whole = ledger.ledger("2026-11", [ledger.section("a", accounts, RATES)], RATES, Decimal(5), [])
    page = report(whole, NOW)
    assert page.lines[0].name == "a/big"
    assert page.lines[0].basis == "stated minutes, counted answers; not measured"
    assert (len(page.lines), page.more) == (12, "and 9 more, which are in the sums above")
    figures = {f.name: (f.value, f.note) for f in page.figures}
    assert figures["Models in use"] == ("20", "of 21")
    assert figures["Money in"] == ("\N{EN DASH}", "nothing measured; 18.00 EUR stated, not measured")
    assert figures["Money out"][1] == "5.00 EUR the month before"


def test_months() -> None:
    assert Month.parse("2026-12").next == Month(2027, 1)
    assert Month.parse("2026-01").before == Month(2025, 12)
    assert Month.of(datetime(2026, 2, 28, 23, 59, tzinfo=UTC)).days == 28
    for text in ("2026-13", "2026-1", "november", "1999-01", ""):
        with pytest.raises(InvalidError, match="is no month"):
            Month.parse(text)


def test_valued_is_what_the_api_says() -> None:
    """The three parts are three keys, so that nobody takes one for another."""
    assert Valued.__struct_fields__ == (
        "model", "month", "stated", "rows", "failed", "measured", "value", "why",
    )  # fmt: skip
