"""The ledger, for people: months, rates, budgets, and what answers are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import Connection

from modelyard.catalog import looked_up
from modelyard.catalog.people import need_department
from modelyard.records import ledger as records
from modelyard.records import money
from modelyard.records.alerts import Happening
from modelyard.records.errors import ConflictError, NotFoundError
from modelyard.records.ledger import (
    Account,
    Budget,
    BudgetWanted,
    Change,
    Ledger,
    Quantities,
    Rates,
    RatesWanted,
    Section,
)
from modelyard.records.months import Month
from modelyard.records.signatures import Signature
from modelyard.records.worth import Statement, Valued, Worth, check_worth, valued
from modelyard.store import alerts, audit, departments, duties, versions
from modelyard.store import ledger as store
from modelyard.store.database import Database
from modelyard.store.ledger import Kept

KIND, SUBJECT = "ledger", "yard"  # the duty; see loop.ledger
_MOST_CHANGES = 200

Clock = Callable[[], datetime]


class Ledgers:
    """What models take, cost and bring. Every method is one transaction.

    Args:
        clock: what time it is.

    NotFoundError is for a department or model that is not there.
    """

    def __init__(self, database: Database, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._database = database
        self._clock = clock

    def now(self) -> datetime:
        """What time it is."""
        return self._clock()

    def this_month(self) -> Month:
        """The month it is."""
        return Month.of(self._clock())

    # A month

    def month(self, places: frozenset[str] | None, month: Month) -> Ledger:
        """A month of these departments (None: of all)."""
        with self._database.read() as connection:
            for place in places or ():
                _need_place(connection, place)
            return _ledger(connection, places, month)

    def daily(self, models: Iterable[str], month: Month) -> dict[str, list[int]]:
        """Rows that models answered on each day of a month."""
        with self._database.read() as connection:
            found = store.daily(connection, month, models)
        return {
            model: [days.get(month.begins.replace(day=day), 0) for day in range(1, month.days + 1)]
            for model, days in found.items()
        }

    def value(self, model: str, month: Month) -> Valued:
        """What a model's answers were worth in a month: stated, measured, and what follows."""
        with self._database.read() as connection:
            looked_up.known(connection, model)
            counted = store.counted(connection, month, model=model).get(model, Quantities())
            stated = store.statements(connection, model).get(model)
            measured = store.measured(connection, str(month), model).get(model)
            numbers, came = (counted.rows, counted.failed), model in store.with_outcomes(connection, month)
            return valued(model, str(month), stated, measured, numbers, labelled=came)

    # Rates and budgets

    def rates(self) -> list[Rates]:
        """All rates, by the month from which on they hold."""
        with self._database.read() as connection:
            return store.rates(connection)

    def set_rates(self, wanted: RatesWanted, *, by: str) -> Rates:
        """Say what things cost from a month on.

        Raises:
            InvalidError: a negative price, or no currency.
        """
        now = self._clock()
        since = Month.parse(wanted.since) if wanted.since else Month.of(now)
        found = Rates(
            str(since),
            money.currency(wanted.currency),
            money.price(wanted.cpu_hour, "cpu_hour"),
            money.price(wanted.gb_month, "gb_month"),
            by,
            now,
        )
        with self._database.write() as connection:
            before = next((r for r in store.rates(connection) if r.since == found.since), None)
            store.put_rates(connection, found)
            audit.append(connection, by=by, action="ledger.rates", subject="yard", before=before, after=found)
            return found

    def set_budget(self, place: str, wanted: BudgetWanted, *, by: str) -> Budget:
        """Say what a department, or a model, may cost in a month.

        Raises:
            InvalidError: a negative amount.
            ConflictError: no rates hold, so nothing has a price.
        """
        amount, now = money.price(wanted.amount, "amount"), self._clock()
        with self._database.write() as connection:
            _need_place(connection, place)
            rates = records.rates_of(store.rates(connection), str(Month.of(now)))
            if rates is None:
                raise ConflictError(
                    "No rates are set for this month, so nothing has a price yet.",
                    "An administrator sets them: yard ledger rates --cpu-hour 0.05 --gb-month 0.02 "
                    "--currency EUR.",
                )
            before = store.budgets(connection).get(place)
            found = Budget(place, amount, rates.currency, by, now)
            store.put_budget(connection, found)
            duties.ensure(connection, KIND, SUBJECT, now)
            audit.append(connection, by=by, action="budget.set", subject=place, before=before, after=found)
            return found

    def drop_budget(self, place: str, *, by: str) -> None:
        """Forget a budget."""
        with self._database.write() as connection:
            before = store.budgets(connection).get(place)
            if before is None:
                raise NotFoundError(f"{place} has no budget.", "See them: yard ledger.")
            store.drop_budget(connection, place)
            audit.append(connection, by=by, action="budget.drop", subject=place, before=before)

    # What answers are worth

    def state(self, model: str, worth: Worth, *, by: str) -> Statement:
        """Say what a model's answers are worth; the yard then measures for itself.

        Raises:
            InvalidError: the statement does not fit the model.
            NotFoundError: there is no such model, or no version that is its baseline.
        """
        now = self._clock()
        with self._database.write() as connection:
            check_worth(worth, _signature(connection, model))
            if worth.version is not None and versions.get(connection, model, worth.version) is None:
                raise NotFoundError(
                    f"{model} has no version {worth.version}, so it cannot be the baseline.",
                    f"See what there is: yard history {model}.",
                )
            before = store.statements(connection, model).get(model)
            stated = Statement(worth, by, now)
            store.put_statement(connection, model, stated)
            duties.ensure(connection, KIND, SUBJECT, now)
            audit.append(connection, by=by, action="worth.state", subject=model, before=before, after=stated)
            return stated

    def withdraw(self, model: str, *, by: str) -> None:
        """Forget what was stated, and what was measured for it."""
        with self._database.write() as connection:
            looked_up.known(connection, model)
            before = store.statements(connection, model).get(model)
            if not store.drop_statement(connection, model):
                raise NotFoundError(f"Nothing is stated for {model}.", f"See: yard ledger value {model}.")
            audit.append(connection, by=by, action="worth.withdraw", subject=model, before=before)

    # What the loop does

    def warn(self) -> int:
        """Open and close the alerts of this month's budgets; how many are open."""
        now = self._clock()
        with self._database.read() as connection:  # it may take a while, and holds up nobody
            warned = _warnings(connection, Month.of(now))
        with self._database.write(unaudited="alerts: told of what stands elsewhere") as connection:
            for key, warning in warned.items():
                alerts.note(connection, Happening(key, warning.place, warning.level, warning.words, now), now)
            store.settle_warnings(connection, warned, now)
        return len(warned)


def _warnings(connection: Connection, month: Month) -> dict[str, records.Warned]:
    """What budgets have to say, by the key of the alert; another amount is another alert."""
    budgets = store.budgets(connection)
    rates = records.rates_of(store.rates(connection), str(month))
    if not budgets or rates is None:
        return {}
    places = frozenset(place.partition("/")[0] for place in budgets)
    took = _took(connection, places, month)
    costs = {name: records.Cost.of(each, rates, month.days) for name, each in took.items()}
    charged = records.all_charged(budgets.values(), costs, rates)
    warned = [w for budget in charged if (w := records.warning(budget, str(month)))]
    return {f"budget:{w.place}:{month}:{w.level}:{w.amount}": w for w in warned}


def _ledger(connection: Connection, places: frozenset[str] | None, month: Month) -> Ledger:
    rates = records.rates_of(store.rates(connection), str(month))
    accounts = _accounts(connection, places, month, rates)
    budgets = store.budgets(connection)
    names = sorted({*departments.names(connection)} if places is None else places)
    sections: list[Section] = [
        records.section(name, accounts.get(name, []), rates, budgets.get(name)) for name in names
    ]
    before = _cost_of(connection, places, month.before, rates)
    changes = [
        Change(at, model, words, by)
        for at, model, words, by in store.happened(connection, month)
        if places is None or model.partition("/")[0] in places
    ]
    return records.ledger(str(month), sections, rates, before, changes[-_MOST_CHANGES:])


def _accounts(
    connection: Connection, places: frozenset[str] | None, month: Month, rates: Rates | None
) -> dict[str, list[Account]]:
    """Accounts by department: of its models, and of what it keeps beside them."""
    took = _took(connection, places, month)
    counted = {name: (q.rows, q.failed) for name, q in took.items()}
    stated = store.statements(connection)
    measured = store.measured(connection, str(month))
    budgets = store.budgets(connection)
    came = store.with_outcomes(connection, month) if stated else frozenset[str]()
    found: dict[str, list[Account]] = {}
    for model in sorted({*took, *(name for name in budgets if "/" in name), *stated}):
        place, _, name = model.partition("/")
        if places is not None and place not in places:
            continue
        value = None
        if model in stated:
            numbers = counted.get(model, (0, 0))
            value = valued(
                model, str(month), stated[model], measured.get(model), numbers, labelled=model in came
            )
        quantities = took.get(model, Quantities())
        account = records.account(
            model if name else "", quantities, rates, month.days, value, budgets.get(model) if name else None
        )
        found.setdefault(place, []).append(account)
    return found


def _took(connection: Connection, places: frozenset[str] | None, month: Month) -> dict[str, Quantities]:
    """What a month took, by model of these departments (None: of all); of datasets by department."""
    found = store.counted(connection, month, places)

    def add(name: str, more: Quantities) -> None:
        found[name] = found[name] + more if name in found else more

    for model, more in store.of_jobs(connection, month, places).items():
        add(model, more)
    for (kind, name), amount in store.stored(connection, month, places).items():
        if kind is Kept.DATASETS:
            add(name.partition("/")[0], Quantities(dataset_byte_days=amount))
        elif kind is Kept.VERSIONS:
            add(name, Quantities(version_byte_days=amount))
        else:
            add(name, Quantities(prediction_byte_days=amount))
    return found


def _cost_of(
    connection: Connection, places: frozenset[str] | None, month: Month, like: Rates | None
) -> Decimal | None:
    """What a month cost; None where that has no price in the currency of other rates."""
    rates = records.rates_of(store.rates(connection), str(month))
    if rates is None or like is None or rates.currency != like.currency:
        return None
    costs = [records.Cost.of(took, rates, month.days) for took in _took(connection, places, month).values()]
    return records.costs_of(costs).total


def _signature(connection: Connection, model: str) -> Signature:
    """Of the champion, or of the newest version."""
    found = looked_up.signature(connection, model)
    if found is None:
        hint = f"Wait until its check has passed: yard show {model}."
        raise ConflictError(f"It is not known yet what {model} answers.", hint)
    return found


def _need_place(connection: Connection, place: str) -> None:
    if "/" in place:
        looked_up.known(connection, place)
    else:
        need_department(connection, place)
