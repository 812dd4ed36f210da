"""The ledger: a month by department and model, and its report for leadership."""

from __future__ import annotations

import asyncio
from functools import partial

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from modelyard.api.ledger import Form, month_of, places_of, report_file
from modelyard.api.services import Services
from modelyard.records import report
from modelyard.records.errors import NotFoundError
from modelyard.records.ledger import Account, Ledger
from modelyard.records.people import Grant, Need
from modelyard.web.look import HEADERS, page
from modelyard.web.requests import PageRequest, chosen

_SIGNED_IN = {"need": Need.SIGNED_IN}
_ON_A_PAGE = 200  # models


@get("/ledger", opt=_SIGNED_IN)
async def show(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """What models took, cost and brought in a month."""
    month = month_of(services, chosen(request.query_params, "month"))
    department = chosen(request.query_params, "department")
    places = places_of(grant, department)
    found = await asyncio.to_thread(partial(services.ledgers.month, places, month))
    listed = _listed(found, is_one=bool(department))
    of = [account.model for accounts in listed.values() for account in accounts]
    daily = await asyncio.to_thread(partial(services.ledgers.daily, of, month))
    seen, now = grant.seen, services.ledgers.now()
    shown = now.day if month == services.ledgers.this_month() else month.days
    every = await asyncio.to_thread(services.people.departments) if seen is None else sorted(seen)
    return page(
        request,
        "ledger.html",
        ledger=found,
        month=month,
        is_now=month >= services.ledgers.this_month(),
        department=department,
        departments=every if len(every) > 1 else [],
        daily={model: days[:shown] for model, days in daily.items()},
        code=found.rates.currency if found.rates else "",
        say=report,
        notes=report.notes(found),
        listed=listed,
        valued=[a for s in found.departments for a in s.accounts if a.value and a.value.stated][:_ON_A_PAGE],
    )


def _listed(found: Ledger, *, is_one: bool) -> dict[str, list[Account]]:
    """The accounts that are shown, by department: all where there is room for them, the dearest of one."""
    many = sum(len(s.accounts) for s in found.departments)
    if many > _ON_A_PAGE and not is_one:
        return {}
    return {
        s.department: sorted(s.accounts, key=lambda a: (-(a.cost.total if a.cost else 0), a.model))[
            :_ON_A_PAGE
        ]
        for s in found.departments
        if s.accounts
    }


@get("/ledger/report/{form:str}", opt=_SIGNED_IN)
async def send_report(
    form: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """The month on one page, as a file."""
    asked = request.query_params
    if form not in list(Form):
        raise NotFoundError("A report is HTML or PDF.", "Go to /ledger and choose one.")
    kind = Form(form)
    body, name = await report_file(services, grant, chosen(asked, "month"), chosen(asked, "department"), kind)
    told = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, headers=told, media_type=kind.media_type)


HANDLERS = (show, send_report)
