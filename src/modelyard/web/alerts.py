"""Alerts: what somebody should look at, who looks at it, and where it is sent."""

from __future__ import annotations

import asyncio
from functools import partial

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.alerts import Alert
from modelyard.records.people import Grant, Need
from modelyard.records.references import check_name
from modelyard.web.look import go, page
from modelyard.web.requests import FORM, PageRequest

_OVER = 30
_PLACES = {"finding": "findings/{}", "job": "jobs/{}", "rollout": "rollout"}  # of what an alert is about


@get("/alerts", opt={"need": Need.SIGNED_IN})
async def alerts(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """What is open, what was, and the channels of the departments one manages."""
    found = await asyncio.to_thread(partial(services.alerts.alerts, grant.seen, only_open=False))
    is_open = [a for a in found if a.closed_at is None and not a.acknowledged_by]
    managed = sorted({a.department for a in found if grant.allows(Need.MANAGE, a.department)})
    departments = sorted({*managed, *grant.places(Need.MANAGE)})
    channels = [c for d in departments for c in await asyncio.to_thread(services.alerts.channels, d)]
    return page(
        request,
        "alerts.html",
        open=sorted(is_open, key=lambda alert: -alert.level.rank),
        others=[a for a in found if a not in is_open][:_OVER],
        channels=channels,
        address_of=address_of,
        manages=bool(departments) or grant.allows(Need.ADMINISTER),
    )


def address_of(alert: Alert) -> str:
    """The address of the page that has what an alert is about.

    >>> from datetime import UTC, datetime
    >>> from modelyard.records.policies import Level
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> address_of(Alert(1, "job:12", "finance", "finance/fuel-cost", Level.HIGH, "Job 12 failed", at))
    '/models/finance/fuel-cost/jobs/12'
    """
    if alert.model == "yard":
        return "/yard"
    kind, _, rest = alert.key.partition(":")
    if "/" not in alert.model or kind not in _PLACES:  # a budget's
        return f"/ledger?department={alert.department}"
    return f"/models/{alert.model}/{_PLACES[kind].format(rest)}"


@post(
    "/alerts/{department:str}/{alert:str}/acknowledge",
    opt={"need": Need.PUBLISH, "takes": (FORM,)},
    status_code=200,
)
async def acknowledge(
    department: FromPath[str],
    alert: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Say that one looks at it."""
    place, number = check_name(department, "department"), number_of(alert, "alert")
    await asyncio.to_thread(partial(services.alerts.acknowledge, place, number, by=grant.principal))
    return go(request, "/alerts")


HANDLERS = (alerts, acknowledge)
