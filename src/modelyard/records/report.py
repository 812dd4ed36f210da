"""The month on one page, for leadership: what is shown, in which words. Pure; how it looks is elsewhere."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct, structs

from modelyard.records.ledger import Account, Ledger, Section
from modelyard.records.money import exact, in_words
from modelyard.records.months import Month
from modelyard.records.worth import Valued, WorthKind

DASH = "\N{EN DASH}"
_LINES = 12  # models; the others are one line together
_CHANGES = 8
_STATED = 8
_PAIRS = 2
_LONGEST = 160  # characters of a line below the table


class Figure(Struct, frozen=True):
    """A number with its name, and what is to be known of it."""

    name: str
    value: str
    note: str = ""


class Line(Struct, frozen=True):
    """A model: what it answered, cost and brought, and what is behind that."""

    name: str
    answers: str
    availability: str
    out: str
    brought: str
    basis: str


class Report(Struct, frozen=True):
    """The page.

    Attributes:
        scope: whose models they are.
        figures: the five that matter.
        lines: models, the largest first.
        hidden: how many more there are.
        changes: what changed in the month.
        stated: what owners stated; nobody has measured it.
        notes: how numbers were made.
    """

    month: str
    scope: str
    made_at: datetime
    figures: list[Figure]
    lines: list[Line]
    hidden: int
    changes: list[str]
    stated: list[str]
    notes: list[str]

    @property
    def more(self) -> str:
        """What is not among the lines, in words."""
        return f"and {self.hidden:,} more, which are in the sums above" if self.hidden else ""

    def shorter(self, lines: int) -> Report:
        """With so many models at most, and as many (at least two) of each list below, in brief."""
        most = max(lines, 2)
        return structs.replace(
            self,
            lines=self.lines[:lines],
            hidden=self.hidden + max(0, len(self.lines) - lines),
            changes=_cut(list(map(_brief, self.changes)), most, "lines"),
            stated=_cut(list(map(_brief, self.stated)), most, "lines"),
        )


def report(ledger: Ledger, made_at: datetime, department: str = "") -> Report:
    """A month as leadership reads it.

    Args:
        department: that it is of; empty: all that the reader may see.
    """
    code = ledger.rates.currency if ledger.rates else ""
    accounts = sorted((a for s in ledger.departments for a in s.accounts if a.model), key=_weight)
    lines = [_line(account, code) for account in accounts[:_LINES]]
    changes = [f"{c.at:%d %b}  {c.model}: {c.words} ({c.by})" for c in ledger.changes]
    stated = [line for account in accounts if (line := statement_words(account.value))]
    return Report(
        month=Month.parse(ledger.month).words,
        scope=f"Department {department}" if department else _scope(ledger.departments),
        made_at=made_at,
        figures=figures(ledger),
        lines=lines,
        hidden=max(0, len(accounts) - _LINES),
        changes=_cut(changes[::-1], _CHANGES, "changes"),
        stated=_cut(stated, _STATED, "statements"),
        notes=notes(ledger),
    )


def figures(ledger: Ledger) -> list[Figure]:
    """Models in use, predictions, availability, money out and in."""
    code = ledger.rates.currency if ledger.rates else ""
    of = sum(1 for s in ledger.departments for a in s.accounts if a.model)
    return [
        Figure("Models in use", f"{ledger.used:,}", f"of {of:,}"),
        Figure("Predictions", f"{ledger.took.rows:,}", f"in {ledger.took.answered:,} requests"),
        Figure("Availability", percent(ledger.availability), _failures(ledger.took.failed)),
        Figure("Money out", *_out(ledger, code)),
        Figure("Money in", *_in(ledger, code)),
    ]


def percent(share: float | None) -> str:
    """A share, never rounded up to the whole.

    >>> percent(0.99999), percent(1.0)
    ('99.99 %', '100 %')
    """
    if share is None:
        return DASH
    if share == 1:
        return "100 %"
    return f"{int(share * 10_000) / 100:.2f} %"


def value_words(value: Valued | None, code: str = "") -> str:
    """A model's value with its interval; a dash where there is none."""
    if value is None or value.value is None:
        return DASH
    currency = value.stated.worth.currency if value.stated else code
    text = in_words(value.value.value, currency)
    if value.value.low is None or value.value.high is None:
        return text
    return f"{text} ({_bare(value.value.low, currency)} to {_bare(value.value.high, currency)})"


def basis_words(value: Valued | None) -> str:
    """What is behind a value, or why there is none."""
    if value is None:
        return "nothing stated"
    if value.value is None:
        return value.why
    if value.measured is None or not value.value.is_measured:
        return "stated minutes, counted answers; not measured"
    return f"measured on {value.measured.labelled:,} outcomes, against {value.measured.against}"


def statement_words(value: Valued | None) -> str:
    """What an owner stated, in a line; empty where nothing is."""
    if value is None or value.stated is None:
        return ""
    worth, code = value.stated.worth, value.stated.worth.currency
    if worth.kind is WorthKind.TIME:
        told = f"an answer saves {worth.minutes} minutes, an hour is worth {exact(Decimal(worth.hour), code)}"
    elif worth.kind is WorthKind.ERROR:
        over, under = (exact(Decimal(amount), code) for amount in (worth.over, worth.under))
        told = f"a unit too high is worth {over}, too low {under}"
    else:
        right, wrong = (exact(Decimal(amount), code) for amount in (worth.right, worth.wrong))
        told = f"right is worth {right}, wrong {wrong}"
        told += "".join(
            f", {pair.predicted} where {pair.actual} came {exact(Decimal(pair.worth), code)}"
            for pair in worth.pairs[:_PAIRS]
        )
        told += f" and {len(worth.pairs) - _PAIRS} pairs more" if len(worth.pairs) > _PAIRS else ""
    told += f", no answer {exact(Decimal(worth.missed), code)}" if Decimal(worth.missed) else ""
    return f"{value.model}: {told} ({value.stated.stated_by}, {value.stated.stated_at:%d %b %Y})"


def _weight(account: Account) -> tuple[Decimal, int, str]:
    """The largest first: by what it costs and brings, then by answers."""
    cost = account.cost.total if account.cost else Decimal(0)
    value = account.value.value if account.value else None
    return (-(cost + abs(value.value if value else Decimal(0))), -account.took.rows, account.model)


def _line(account: Account, code: str) -> Line:
    cost = in_words(account.cost.total, code) if account.cost else DASH
    value = account.value.value if account.value else None
    stated = " (stated)" if value is not None and not value.is_measured else ""
    return Line(
        account.model,
        f"{account.took.rows:,}",
        percent(account.availability),
        cost,
        value_words(account.value, code) + stated,
        basis_words(account.value),
    )


def _scope(sections: list[Section]) -> str:
    names = [section.department for section in sections]
    return f"Departments: {', '.join(names)}" if len(names) < 7 else f"{len(names)} departments"  # noqa: PLR2004


def _failures(failed: int) -> str:
    return f"{failed:,} requests failed" if failed else "no request failed"


def _out(ledger: Ledger, code: str) -> tuple[str, str]:
    if ledger.cost is None:
        return DASH, "no rates are set"
    if ledger.cost_before is None:
        return in_words(ledger.cost.total, code), "nothing to compare it with"
    return in_words(ledger.cost.total, code), f"{in_words(ledger.cost_before, code)} the month before"


def _in(ledger: Ledger, code: str) -> tuple[str, str]:
    if ledger.brought is None:
        return DASH, "no value was measured or stated"
    brought = ledger.brought
    currency = code or next(
        a.value.stated.worth.currency
        for s in ledger.departments
        for a in s.accounts
        if a.value is not None and a.value.value is not None and a.value.stated is not None
    )
    stated = f"{in_words(brought.stated, currency)} stated, not measured" if brought.stated else ""
    if not brought.outcomes:
        return DASH, f"nothing measured; {stated}" if stated else "nothing measured"
    measured = f"measured; {_bare(brought.low, currency)} to {_bare(brought.high, currency)}"
    return in_words(brought.measured, currency), f"{measured}; {stated}" if stated else measured


def _bare(value: Decimal, code: str) -> str:
    return in_words(value, code).removesuffix(f" {code}")


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _cut(lines: list[str], most: int, what: str) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more {what}"]


def notes(ledger: Ledger) -> list[str]:
    """How the numbers of a month were made, in sentences."""
    found = []
    if ledger.rates is not None:
        rates, code = ledger.rates, ledger.rates.currency
        found.append(
            f"Money out: processors at {exact(rates.cpu_hour, code)} an hour, storage at "
            f"{exact(rates.gb_month, code)} a GB and month, as {rates.set_by} set from {rates.since} on."
        )
    found.append(
        "Money in is what owners state that answers are worth, times what outcomes showed, less the same for "
        "the baseline they name; the range is a 95 % interval. It speaks of answers whose outcome came, "
        "and of no others."
    )
    if ledger.brought is not None and ledger.brought.elsewhere:
        found.append(f"{ledger.brought.elsewhere} models are valued in other currencies and not in the sums.")
    found.append(
        "Availability is answered requests, of those answered or failed by the yard. Sums are exact; what is "
        "shown is rounded."
    )
    return found
