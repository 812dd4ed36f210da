"""What the watch knows of a model: its days, outcomes, performance, findings, and how rows are kept."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from modelyard.api.models import MODEL, SEE
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.catalog.watch import OutcomesState, Watched
from modelyard.records.people import Grant, Need
from modelyard.records.predictions import Finding, Keeping, Performance

_Version = Annotated[int | None, QueryParameter(ge=1, description="of this version alone")]
_Metric = Annotated[str, QueryParameter(max_length=100, description="this one alone, as `mae`")]
_Slices = Annotated[bool, QueryParameter(description="those of slices as well")]


@get(MODEL + "/watch", opt=SEE, tags=["watch"], summary="A model at sea")
async def show_watch(model: NamedDependency[str], services: NamedDependency[Services]) -> Watched:
    """Its last sixty days, how well it did on them, what is noticed now, and how many outcomes came."""
    return await asyncio.to_thread(services.watching.watched, model)


@get(MODEL + "/outcomes", opt=SEE, tags=["watch"], summary="How many outcomes came")
async def show_outcomes(model: NamedDependency[str], services: NamedDependency[Services]) -> OutcomesState:
    """Predictions whose outcome is known, and outcomes that no prediction was found for yet."""
    return await asyncio.to_thread(services.watching.outcomes, model)


@get(MODEL + "/performance", opt=SEE, tags=["watch"], summary="Performance by day")
async def show_performance(
    model: NamedDependency[str],
    services: NamedDependency[Services],
    version: _Version = None,
    metric: _Metric = "",
    slices: _Slices = False,
) -> list[Performance]:
    """Each metric with its 95 % interval and the labels behind it, oldest first."""
    call = partial(services.watching.performance, model, version, metric, slices=slices)
    return await asyncio.to_thread(call)


@get(MODEL + "/findings", opt=SEE, tags=["watch"], summary="What the watch has noticed")
async def list_findings(model: NamedDependency[str], services: NamedDependency[Services]) -> list[Finding]:
    """Newest first, those that are over as well."""
    return await asyncio.to_thread(services.watching.findings, model)


@post(
    MODEL + "/findings/{finding:str}/acknowledge",
    opt={"need": Need.PUBLISH},
    status_code=200,
    tags=["watch"],
    summary="Say that a finding is seen",
)
async def acknowledge_finding(
    model: NamedDependency[str],
    finding: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Finding:
    """It stays open until a window no longer shows it."""
    number = number_of(finding, "finding")
    return await asyncio.to_thread(partial(services.watching.acknowledge, model, number, by=grant.principal))


@get(MODEL + "/keeping", opt=SEE, tags=["watch"], summary="How long predictions are kept")
async def show_keeping(model: NamedDependency[str], services: NamedDependency[Services]) -> Keeping:
    """Days, and the columns that are dropped or hashed."""
    return await asyncio.to_thread(services.watching.keeping, model)


@put(
    MODEL + "/keeping",
    opt={"need": Need.PROMOTE},
    tags=["watch"],
    summary="Set how predictions are kept",
)
async def set_keeping(
    model: NamedDependency[str],
    data: JSONBody[Keeping],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Keeping:
    """`days` and `drop` hold for all rows, `hash` for those that leave the spool from now on."""
    return await asyncio.to_thread(partial(services.watching.keep, model, data, by=grant.principal))


HANDLERS = (
    show_watch,
    show_outcomes,
    show_performance,
    list_findings,
    acknowledge_finding,
    show_keeping,
    set_keeping,
)
