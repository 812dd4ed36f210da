"""The ledger: months, rates, budgets, what answers are worth, and the report for leadership."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from functools import partial
from typing import Annotated

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.catalog import reports
from modelyard.records.errors import NotFoundError
from modelyard.records.ledger import Budget, BudgetWanted, Ledger, Rates, RatesWanted
from modelyard.records.months import Month
from modelyard.records.people import Grant, Need
from modelyard.records.references import check_name
from modelyard.records.report import report
from modelyard.records.worth import Statement, Valued, Worth

_DEPARTMENT = "/api/v1/departments/{department:str}"
_MANAGE = {"need": Need.MANAGE}
_SIGNED_IN = {"need": Need.SIGNED_IN}
_MONTH = Annotated[str, QueryParameter(max_length=7, description="as 2026-11; by default the one it is")]
_OF = Annotated[str, QueryParameter(max_length=63, description="a department; by default all you may see")]
# What is in the page is ours and escaped; it has its style in it, and may do nothing.
_STILL = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class Form(StrEnum):
    """How a report is written."""

    HTML = "html"
    PDF = "pdf"

    @property
    def media_type(self) -> str:
        """Of the answer."""
        return "application/pdf" if self is Form.PDF else "text/html; charset=utf-8"


def places_of(grant: Grant, department: str) -> frozenset[str] | None:
    """The departments of a ledger: the one that is asked for, or all that may be seen (None: of all).

    Raises:
        NotFoundError: it may not be seen.
    """
    if not department:
        return grant.seen
    if not grant.sees(check_name(department, "department")):
        raise NotFoundError(
            f"There is no department {department}, or none that you may see.",
            "Leave it out for all that you may see.",
        )
    return frozenset({department})


def month_of(services: Services, text: str) -> Month:
    """The month that is asked for, or the one it is."""
    return Month.parse(text) if text else services.ledgers.this_month()


@get("/api/v1/ledger", opt=_SIGNED_IN, tags=["ledger"], summary="What models took, cost and brought")
async def show_ledger(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    month: _MONTH = "",
    department: _OF = "",
) -> Ledger:
    """A month by department and model. Amounts are texts, exact to the millionth, and add up."""
    call = partial(services.ledgers.month, places_of(grant, department), month_of(services, month))
    return await asyncio.to_thread(call)


@get("/api/v1/ledger/rates", opt=_SIGNED_IN, tags=["ledger"], summary="What things cost")
async def show_rates(services: NamedDependency[Services]) -> list[Rates]:
    """By the month from which on they hold."""
    return await asyncio.to_thread(services.ledgers.rates)


@put("/api/v1/ledger/rates", opt={"need": Need.ADMINISTER}, tags=["ledger"], summary="Set what things cost")
async def set_rates(
    data: JSONBody[RatesWanted], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Rates:
    """From a month on, whole months at a time; months before keep their price."""
    return await asyncio.to_thread(partial(services.ledgers.set_rates, data, by=grant.principal))


@get(
    "/api/v1/ledger/report",
    opt=_SIGNED_IN,
    media_type="application/pdf",
    tags=["ledger"],
    summary="The month on one page, for leadership",
)
async def show_report(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    month: _MONTH = "",
    department: _OF = "",
    form: FromQuery[Form] = Form.PDF,
) -> Response[bytes]:
    """PDF, or HTML that needs nothing beside it."""
    body, name = await report_file(services, grant, month, department, form)
    headers = {"Content-Security-Policy": _STILL, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type=form.media_type, headers=headers)


async def report_file(
    services: Services, grant: Grant, month: str, department: str, form: Form
) -> tuple[bytes, str]:
    """A report, and the name of its file."""
    of = month_of(services, month)
    places = places_of(grant, department)

    def make() -> bytes:
        page = report(services.ledgers.month(places, of), services.ledgers.now(), department)
        return reports.pdf(page) if form is Form.PDF else reports.html(page)

    return await asyncio.to_thread(make), f"models-{department or 'all'}-{of}.{form}"


@put(_DEPARTMENT + "/budget", opt=_MANAGE, tags=["ledger"], summary="Set a department's budget")
async def set_department_budget(
    department: FromPath[str],
    data: JSONBody[BudgetWanted],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Budget:
    """For each month. At 80 % and at 100 % of it an alert opens. 409 as long as no rates are set."""
    place = check_name(department, "department")
    return await asyncio.to_thread(partial(services.ledgers.set_budget, place, data, by=grant.principal))


@delete(_DEPARTMENT + "/budget", opt=_MANAGE, tags=["ledger"], summary="Forget a department's budget")
async def drop_department_budget(
    department: FromPath[str], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> None:
    """Its alerts are over."""
    place = check_name(department, "department")
    await asyncio.to_thread(partial(services.ledgers.drop_budget, place, by=grant.principal))


@put(MODEL + "/budget", opt=_MANAGE, tags=["ledger"], summary="Set a model's budget")
async def set_model_budget(
    model: NamedDependency[str],
    data: JSONBody[BudgetWanted],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Budget:
    """For each month, beside the department's."""
    return await asyncio.to_thread(partial(services.ledgers.set_budget, model, data, by=grant.principal))


@delete(MODEL + "/budget", opt=_MANAGE, tags=["ledger"], summary="Forget a model's budget")
async def drop_model_budget(
    model: NamedDependency[str], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> None:
    """Its alerts are over."""
    await asyncio.to_thread(partial(services.ledgers.drop_budget, model, by=grant.principal))


@get(MODEL + "/value", opt=SEE, tags=["ledger"], summary="What a model's answers are worth")
async def show_value(
    model: NamedDependency[str], services: NamedDependency[Services], month: _MONTH = ""
) -> Valued:
    """What its owner stated, what was measured in the month, and what follows: each by itself."""
    return await asyncio.to_thread(services.ledgers.value, model, month_of(services, month))


@put(MODEL + "/worth", opt={"need": Need.PROMOTE}, tags=["ledger"], summary="State what answers are worth")
async def state_worth(
    model: NamedDependency[str],
    data: JSONBody[Worth],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Statement:
    """It takes the place of what was stated; what was measured is measured anew."""
    return await asyncio.to_thread(partial(services.ledgers.state, model, data, by=grant.principal))


@delete(MODEL + "/worth", opt={"need": Need.PROMOTE}, tags=["ledger"], summary="Withdraw a statement")
async def withdraw_worth(
    model: NamedDependency[str], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> None:
    """The model has no value any more."""
    await asyncio.to_thread(partial(services.ledgers.withdraw, model, by=grant.principal))


HANDLERS = (
    show_ledger,
    show_rates,
    set_rates,
    show_report,
    set_department_budget,
    drop_department_budget,
    set_model_budget,
    drop_model_budget,
    show_value,
    state_worth,
    withdraw_worth,
)
