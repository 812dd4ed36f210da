"""A model's performance over time, and the story of its refits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

from litestar import Response, get
from litestar.di import NamedDependency

from modelyard.api.services import Services
from modelyard.records.predictions import day_of
from modelyard.web.behind import Behind
from modelyard.web.course import course_of, slices, timelines
from modelyard.web.look import page
from modelyard.web.models import ROOT, SEE, frame_of
from modelyard.web.requests import PageRequest, whole

SPANS = {"30": "30 days", "90": "90 days", "365": "a year"}
_USUAL = "90"
_ON_A_PAGE = 25


@get(ROOT + "/performance", opt=SEE)
async def show_performance(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """Each metric over time with the versions on its axis, then the slices."""
    frame = await frame_of(services, behind, model)
    span = request.query_params.get("days", _USUAL)
    span = span if span in SPANS else _USUAL
    now = datetime.now(UTC)
    since = day_of(now) - timedelta(days=int(span))
    course = await asyncio.to_thread(partial(course_of, services, frame.model, since, now, with_slices=True))
    return page(
        request,
        "performance.html",
        frame=frame,
        tab="performance",
        course=course,
        lines=timelines(course, since, now),
        slices=slices(course),
        past={past.metric: past for past in course.estimates},
        outcomes=await asyncio.to_thread(services.watching.outcomes, model),
        span=span,
        spans=SPANS,
    )


@get(ROOT + "/refits", opt=SEE)
async def show_refits(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """The story of each refit: what was noticed, tried, compared and decided; what comes next."""
    frame = await frame_of(services, behind, model)
    story = await asyncio.to_thread(services.registry.refits.story, model)
    policy = await asyncio.to_thread(services.registry.policies.policy, model)
    begin = whole(request.query_params.get("start"), 0)
    return page(
        request,
        "refits.html",
        frame=frame,
        tab="refits",
        story=story,
        policy=policy,
        start=begin,
        refits=story.refits[begin : begin + _ON_A_PAGE],
        step=_ON_A_PAGE,
    )


HANDLERS = (show_performance, show_refits)
