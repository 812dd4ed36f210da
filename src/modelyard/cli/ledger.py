"""`yard ledger`: what models took, cost and brought."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.models import Model
from modelyard.cli.sdk import open_yard
from modelyard.cli.suggest import suggestions
from modelyard.records import spans
from modelyard.records.errors import InvalidError
from modelyard.records.ledger import Account, Budget, BudgetWanted, Ledger, Rates, RatesWanted, Section
from modelyard.records.money import exact, in_words
from modelyard.records.references import Reference, check_name
from modelyard.records.report import basis_words, figures, percent, statement_words, value_words
from modelyard.records.worth import MAJORITY, MEAN, Pair, Statement, Valued, Worth, WorthKind

_LEDGER = "/api/v1/ledger"
_FORMS = {".pdf": "pdf", ".html": "html", ".htm": "html"}
_FEWEST_WORDS = 3  # of a pair

app = typer.Typer(help="See what models take, cost and bring; say what things cost and answers are worth.")

Month = Annotated[str, typer.Option(help="As 2026-11; by default the one it is.")]
Department = Annotated[str, typer.Option(help="Only this one.")]


@app.callback(invoke_without_command=True)
def ledger(
    context: typer.Context, month: Month = "", department: Department = "", as_json: output.Json = False
) -> None:
    """Show what models took, cost and brought in a month. Amounts in --json are exact and add up.

    Example: yard ledger --month 2026-11 --department operations
    """
    if context.invoked_subcommand is not None:
        return
    found = open_yard().connection.get(_LEDGER, Ledger, **_asked(month, department))
    if as_json:
        output.print_json(found)
        return
    output.print_facts(
        [("month", found.month), *[(f.name.lower(), _figure(f.value, f.note)) for f in figures(found)]]
    )
    code = found.rates.currency if found.rates else ""
    rows = [row for section in found.departments for row in _rows(section, code)]
    heads = ("model", "predictions", "available", "CPU s", "jobs", "CPU s of jobs", "GB days", "cost")
    output.print_table((*heads, "budget", "value", "basis"), rows)
    if found.rates is None:
        output.note("No rates are set, so nothing has a price: yard ledger rates --help")
    changes = [(f"{c.at:%Y-%m-%d}", c.model, c.words, c.by) for c in found.changes[-10:]]
    if changes:
        output.print_table(("changed", "model", "what", "by"), changes)


def _figure(value: str, note: str) -> str:
    return f"{value} ({note})" if note else value


def _rows(section: Section, code: str) -> list[tuple[object, ...]]:
    rows = [
        _row(account.model or f"{section.department}: datasets", account, code)
        for account in section.accounts
    ]
    value = in_words(section.brought.measured, code) if section.brought and code else ""
    took, cost, budget = section.took, section.cost, section.budget
    whole = Account("", took, section.availability, cost, None, budget)
    return [*rows, (*_row(f"{section.department}: all", whole, code)[:-2], value, "")]


def _row(name: str, account: Account, code: str) -> tuple[object, ...]:
    took = account.took
    return (
        name,
        f"{took.rows:,}",
        percent(account.availability),
        f"{took.cpu / 1e6:,.1f}",
        took.jobs or None,
        f"{took.job_cpu / 1e6:,.1f}" if took.jobs else None,
        f"{took.byte_days / 1e9:,.3f}",
        in_words(account.cost.total, code) if account.cost else None,
        _budget(account.budget),
        value_words(account.value, code) if account.value else None,
        basis_words(account.value) if account.value else None,
    )


def _budget(budget: Budget | None) -> str | None:
    if budget is None:
        return None
    whole = exact(budget.amount, budget.currency)
    return whole if budget.share is None else f"{budget.share:.0%} of {whole}"


@app.command()
def rates(
    cpu_hour: Annotated[str, typer.Option(help="What an hour of one processor costs, as 0.05.")] = "",
    gb_month: Annotated[str, typer.Option(help="What 1,000,000,000 bytes cost for a month.")] = "",
    currency: Annotated[str, typer.Option(help="Of all amounts, as EUR.")] = "",
    since: Annotated[str, typer.Option(help="The first month they hold for; by default the one it is.")] = "",
    as_json: output.Json = False,
) -> None:
    """See or set what things cost. Rates hold for whole months; months before keep theirs.

    Example: yard ledger rates --cpu-hour 0.05 --gb-month 0.02 --currency EUR
    """
    yard = open_yard()
    if cpu_hour or gb_month or currency:
        known = yard.connection.get(f"{_LEDGER}/rates", list[Rates])
        last = known[-1] if known else None
        wanted = RatesWanted(
            currency or (last.currency if last else _needed("--currency EUR")),
            cpu_hour or (str(last.cpu_hour) if last else _needed("--cpu-hour 0.05")),
            gb_month or (str(last.gb_month) if last else _needed("--gb-month 0.02")),
            since,
        )
        yard.connection.send("PUT", f"{_LEDGER}/rates", Rates, wanted)
    found = yard.connection.get(f"{_LEDGER}/rates", list[Rates])
    if as_json:
        output.print_json(found)
        return
    rows = [
        (
            r.since,
            exact(r.cpu_hour, r.currency),
            exact(r.gb_month, r.currency),
            r.set_by,
            output.when(r.set_at),
        )
        for r in found
    ]
    output.print_table(("from month", "CPU hour", "GB month", "set by", "when"), rows)


def _needed(option: str) -> str:
    raise InvalidError("These are the first rates, so all three must be given.", f"Add {option}.")


@app.command()
def budget(
    place: Annotated[
        str, typer.Argument(metavar="PLACE", help="A department, or department/name.", show_default=False)
    ],
    amount: Annotated[
        str, typer.Argument(metavar="AMOUNT", help="What it may cost in a month, as 250.")
    ] = "",
    drop: Annotated[bool, typer.Option("--drop", help="Forget it.")] = False,
    as_json: output.Json = False,
) -> None:
    """Set what a department or a model may cost in a month; at 80 % and at 100 % an alert opens.

    Example: yard ledger budget operations 250
    """
    path = f"{_place(place)}/budget"
    connection = open_yard().connection
    if drop:
        connection.send("DELETE", path, object)
        output.note(f"{place} has no budget any more.")
        return
    if not amount:
        raise InvalidError("No amount is given.", f"Write: yard ledger budget {place} 250")
    kept = connection.send("PUT", path, Budget, BudgetWanted(amount))
    if as_json:
        output.print_json(kept)
        return
    output.note(f"{kept.place} may cost {exact(kept.amount, kept.currency)} a month.")


def _place(text: str) -> str:
    if "/" in text:
        return f"/api/v1/models/{Reference.parse(text).model}"
    return f"/api/v1/departments/{check_name(text, 'department')}"


@app.command()
def value(  # noqa: PLR0913, PLR0917 - each is an option of the command
    model: Model,
    right: Annotated[str, typer.Option(help="Classes: what a right answer is worth, as 2.50.")] = "",
    wrong: Annotated[str, typer.Option(help="Classes: a wrong one; what costs is negative, as -10.")] = "",
    pair: Annotated[
        list[str] | None,
        typer.Option(help='Classes: one pair, in place of these: "ACTUAL PREDICTED AMOUNT".'),
    ] = None,
    per_unit: Annotated[str, typer.Option(help="Numbers: each unit of error, as -0.40.")] = "",
    over: Annotated[str, typer.Option(help="Numbers: each unit too high, where it is not the same.")] = "",
    under: Annotated[str, typer.Option(help="Numbers: each unit too low.")] = "",
    minutes: Annotated[str, typer.Option(help="Or: minutes that an answer saves.")] = "",
    hour: Annotated[str, typer.Option(help="And what an hour is worth.")] = "",
    missed: Annotated[str, typer.Option(help="A request that the yard failed, as -1.")] = "",
    baseline: Annotated[
        str, typer.Option(help="Compared with: majority, mean, constant:VALUE or version:3.")
    ] = "",
    currency: Annotated[str, typer.Option(help="By default that of the rates.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Forget what was stated.")] = False,
    month: Month = "",
    as_json: output.Json = False,
) -> None:
    """State what a model's answers are worth; without options, see what is stated, measured, and follows.

    Example: yard ledger value operations/arrival-delay --per-unit=-0.40 --baseline mean

    Example: yard ledger value operations/late --right 0 --wrong=-20 --baseline majority
    """
    yard, at = open_yard(), Reference.parse(model)
    path = f"/api/v1/models/{at.model}"
    told = {"right": right, "wrong": wrong, "over": over or per_unit, "under": under or per_unit}
    told |= {"minutes": minutes, "hour": hour, "missed": missed, "baseline": baseline}
    told = {name: text for name, text in told.items() if text}
    with suggestions(yard, model):
        if withdraw:
            yard.connection.send("DELETE", f"{path}/worth", object)
            output.note(f"Nothing is stated for {at.model} any more.")
            return
        if told or pair:
            code = currency or _currency(yard.connection)
            worth = _worth(told, [_pair(text) for text in pair or ()], code)
            yard.connection.send("PUT", f"{path}/worth", Statement, worth)
        found = yard.connection.get(f"{path}/value", Valued, **({"month": month} if month else {}))
    if as_json:
        output.print_json(found)
        return
    _print(found)


def _worth(told: dict[str, Any], pairs: list[Pair], currency: str) -> Worth:
    """A statement of the kind that its options say."""
    kinds = {
        kind
        for kind, names in (
            (WorthKind.CLASSES, {"right", "wrong"}),
            (WorthKind.ERROR, {"over", "under"}),
            (WorthKind.TIME, {"minutes", "hour"}),
        )
        if names & set(told) or (pairs and kind is WorthKind.CLASSES)
    }
    if len(kinds) != 1:
        hint = "Give --right and --wrong (classes), --per-unit (numbers), or --minutes and --hour."
        words = "options of several kinds" if kinds else "nothing that an answer is worth"
        raise InvalidError(f"There are {words}." if kinds else f"There is {words}.", hint)
    kind = kinds.pop()
    plain = {WorthKind.CLASSES: MAJORITY, WorthKind.ERROR: MEAN, WorthKind.TIME: ""}[kind]
    return Worth(kind=kind, currency=currency, pairs=tuple(pairs), **{"baseline": plain, **told})


def _pair(text: str) -> Pair:
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that is not closed
        words = []
    if len(words) != _FEWEST_WORDS:
        hint = 'Write --pair "late on-time -50": what came, what was predicted, what that is worth.'
        raise InvalidError(f"{text!r} is no pair.", hint)
    return Pair(*words)


def _currency(connection: Any) -> str:  # noqa: ANN401 - of the client
    known = connection.get(f"{_LEDGER}/rates", list[Rates])
    return known[-1].currency if known else _needed_currency()


def _needed_currency() -> str:
    raise InvalidError("No currency is known: no rates are set.", "Add --currency EUR.")


def _print(found: Valued) -> None:
    output.print_facts(
        [
            ("model", found.model),
            ("month", found.month),
            ("stated", statement_words(found) or "nothing"),
            ("measured", _measured_words(found)),
            ("value", value_words(found) if found.value else ""),
            ("why none", found.why),
        ]
    )
    if found.value is None or found.stated is None:
        return
    code, told = found.stated.worth.currency, found.value
    rows = [
        ("the model's answers", told.model),
        ("the baseline's", told.baseline),
        ("failed requests", told.missed),
    ]
    output.print_table(("worth of", "amount"), [(name, in_words(amount, code)) for name, amount in rows])


def _measured_words(found: Valued) -> str:
    counted = f"{found.rows:,} rows answered, {found.failed:,} requests failed"
    if found.measured is None:
        return counted
    with_outcome = f"{counted}, {found.measured.labelled:,} with an outcome"
    return f"{with_outcome}; against {found.measured.against}" if found.measured.against else with_outcome


@app.command()
def report(
    to: Annotated[Path, typer.Option("--output", "-o", help="A file that ends in .pdf or .html.")] = Path(
        "ledger.pdf"
    ),
    month: Month = "",
    department: Department = "",
) -> None:
    """Write the month on one page, for leadership.

    Example: yard ledger report --month 2026-11 -o november.pdf
    """
    form = _FORMS.get(to.suffix.lower())
    if form is None:
        raise InvalidError(f"{to.name} ends in neither .pdf nor .html.", "Name the file so.")
    connection = open_yard().connection
    with to.open("wb") as file:
        size = connection.download(f"{_LEDGER}/report", file, form=form, **_asked(month, department))
    output.note(f"{to} is written ({spans.size(size)}).")


def _asked(month: str, department: str) -> dict[str, str]:
    return {name: text for name, text in (("month", month), ("department", department)) if text}
