"""The Watch: what was noticed in all models, each finding at its own address, and who looks at it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.errors import YardError
from modelyard.records.findings import Asked, FindingState
from modelyard.records.people import Grant, Need
from modelyard.records.policies import Level
from modelyard.records.predictions import Finding
from modelyard.records.refits import Story
from modelyard.web.behind import Behind
from modelyard.web.distributions import Compared
from modelyard.web.drift import columns_of, subject
from modelyard.web.look import go, page
from modelyard.web.models import ROOT, SEE, frame_of
from modelyard.web.requests import FORM, PageRequest, chosen, whole
from modelyard.web.session import safe_next

FINDING = ROOT + "/findings/{finding:str}"
_ON_A_PAGE = 50
_LONGEST = 130  # characters of a model's reference
_MOST_PAGES = 10_000


class Filters(Struct, frozen=True):
    """What the list is narrowed to; empty for all."""

    department: str = ""
    model: str = ""
    level: str = ""
    state: FindingState = FindingState.OPEN

    def address(self, **other: str) -> str:
        """The list's address with these filters, some of them otherwise.

        >>> Filters(model="a/b").address(state="over")
        '/watch?model=a%2Fb&state=over'
        """
        fields = {"department": self.department, "model": self.model, "level": self.level}
        every = fields | {"state": self.state.value} | other
        if every["state"] == FindingState.OPEN:
            del every["state"]
        said = urlencode({name: value for name, value in every.items() if value})
        return f"/watch?{said}" if said else "/watch"


@get("/watch", opt={"need": Need.SIGNED_IN})
async def show_watch(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """What was noticed in the models that one may see; first what nobody looks at yet."""
    filters = filters_of(request.query_params)
    place = min(max(1, whole(request.query_params.get("page"))), _MOST_PAGES)
    asked = Asked(
        departments=grant.seen,
        also=grant.shared_models,
        department=filters.department,
        model=filters.model,
        level=Level(filters.level or Level.LOW),
        state=filters.state,
        start=(place - 1) * _ON_A_PAGE,
        most=_ON_A_PAGE + 1,
    )
    found, counted = await asyncio.to_thread(services.watching.sightings.counted, asked)
    seen = sorted({m.partition("/")[0] for m in services.table().models if grant.sees_model(m)})
    return page(
        request,
        "watch.html",
        findings=found[:_ON_A_PAGE],
        counted=counted,
        filters=filters,
        levels=list(Level),
        departments=seen,
        number=place,
        more=len(found) > _ON_A_PAGE,
    )


def filters_of(asked: Mapping[str, str]) -> Filters:
    """The filters that an address names; what means nothing is left out."""
    fields = ("department", "model", "level", "state")
    said = {name: "".join(filter(str.isprintable, chosen(asked, name)))[:_LONGEST] for name in fields}
    return Filters(
        department=said["department"],
        model=said["model"],
        level=said["level"] if said["level"] in list(Level) else "",
        state=FindingState(said["state"]) if said["state"] in list(FindingState) else FindingState.OPEN,
    )


@get(FINDING, opt=SEE)
async def show_finding(
    model: NamedDependency[str],
    finding: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """One finding: how grave, what it is, who is behind it, the column then and now, what the yard does."""
    found = await asyncio.to_thread(services.watching.sightings.finding, model, number_of(finding, "finding"))
    frame = await frame_of(services, behind, model)
    story: Story = await asyncio.to_thread(services.registry.refits.story, model)
    column, was = await asyncio.to_thread(_column, services, request, found)
    return page(
        request,
        "finding.html",
        frame=frame,
        tab="drift",
        finding=found,
        column=column,
        was=was,
        outlook=story.outlook,
        since=[refit for refit in story.refits if refit.at >= found.noticed_at][:5],
    )


def _column(services: Services, request: PageRequest, finding: Finding) -> tuple[Compared | None, str]:
    """The finding's column then and in its window, and when "then" was; None where it is not to be seen."""
    if not finding.column:
        return None, ""
    try:
        found = columns_of(services, request, finding.model, finding.version, (finding.since, finding.until))
    except YardError:  # a finding may outlive its version's data
        return None, ""
    own = next((c for c in found.columns if (c.side, c.name) == subject(finding)), None)
    return own, found.was


@post(FINDING + "/acknowledge", opt={"need": Need.PUBLISH, "takes": (FORM,)}, status_code=200)
async def acknowledge(
    model: NamedDependency[str],
    finding: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Say that one looks at it."""
    number = number_of(finding, "finding")
    await asyncio.to_thread(partial(services.watching.acknowledge, model, number, by=grant.principal))
    back = safe_next(chosen(await request.fields(), "next"))
    return go(request, back if back != "/" else f"/models/{model}/findings/{number}")


HANDLERS = (show_watch, show_finding, acknowledge)
