"""Alerts: listed and acknowledged; the channels they are sent to."""

from __future__ import annotations

import asyncio
from functools import partial

from litestar import delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.alerts import Alert, Channel, ChannelWanted, NewChannel
from modelyard.records.people import Grant, Need
from modelyard.records.references import check_name

_DEPARTMENT = "/api/v1/departments/{department:str}"
_CHANNEL = _DEPARTMENT + "/channels/{name:str}"
_MANAGE = {"need": Need.MANAGE}


@get("/api/v1/alerts", opt={"need": Need.SIGNED_IN}, tags=["alerts"], summary="Alerts that you may see")
async def list_alerts(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    all: FromQuery[bool] = False,  # noqa: A002 - the parameter's name
) -> list[Alert]:
    """Newest first: those that are open and that nobody has acknowledged, or with `all` the others, too."""
    return await asyncio.to_thread(partial(services.alerts.alerts, grant.seen, only_open=not all))


@post(
    _DEPARTMENT + "/alerts/{alert:str}/acknowledge",
    opt={"need": Need.PUBLISH, "takes": ("", "application/json")},
    status_code=200,
    tags=["alerts"],
    summary="Say that you look at it",
)
async def acknowledge_alert(
    department: FromPath[str],
    alert: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Alert:
    """It is sent nowhere any more. The first who did stays."""
    number = number_of(alert, "alert")
    call = partial(services.alerts.acknowledge, department, number, by=grant.principal)
    return await asyncio.to_thread(call)


@get(_DEPARTMENT + "/channels", opt=_MANAGE, tags=["alerts"], summary="Where a department's alerts go")
async def list_channels(department: FromPath[str], services: NamedDependency[Services]) -> list[Channel]:
    """By name, without what is secret of their addresses; `note` says why the last message failed."""
    return await asyncio.to_thread(services.alerts.channels, check_name(department, "department"))


@put(_CHANNEL, opt=_MANAGE, tags=["alerts"], summary="Keep a channel")
async def put_channel(
    department: FromPath[str],
    name: FromPath[str],
    data: JSONBody[ChannelWanted],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> NewChannel:
    """In place of the one with its name. The secret that signs a webhook is shown this once."""
    call = partial(services.alerts.put_channel, department, name, data, by=grant.principal)
    return await asyncio.to_thread(call)


@delete(_CHANNEL, opt=_MANAGE, tags=["alerts"], summary="Forget a channel")
async def drop_channel(
    department: FromPath[str],
    name: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> None:
    """What was sent stays sent."""
    await asyncio.to_thread(partial(services.alerts.drop_channel, department, name, by=grant.principal))


@post(
    _CHANNEL + "/test",
    opt={**_MANAGE, "takes": ("", "application/json")},
    status_code=200,
    tags=["alerts"],
    summary="Send a test",
)
async def test_channel(
    department: FromPath[str],
    name: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Channel:
    """A message that says that it is one. 422 or 503 if it was not taken."""
    return await asyncio.to_thread(partial(services.alerts.test, department, name, by=grant.principal))


HANDLERS = (list_alerts, acknowledge_alert, list_channels, put_channel, drop_channel, test_channel)
