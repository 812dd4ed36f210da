"""A model's versions: listed, shown, compared, made champion, taken back, rolled out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency

from modelyard.api.changes import changed, warm
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.errors import InvalidError, YardError
from modelyard.records.people import Grant, Need
from modelyard.records.provenance import Label
from modelyard.records.references import CHAMPION
from modelyard.web import comparison, markdown
from modelyard.web.behind import Behind
from modelyard.web.look import go, page
from modelyard.web.models import ROOT, SEE, frame_of
from modelyard.web.requests import FORM, PageRequest, chosen

VERSION = ROOT + "/versions/{version:str}"
ON_A_PAGE = 50
_METRICS_SHOWN = 3
_PROMOTE: dict[str, Any] = {"need": Need.PROMOTE, "takes": (FORM,)}


@get(ROOT + "/versions", opt=SEE)
async def list_versions(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """All versions, newest first; two can be compared."""
    frame = await frame_of(services, behind, model)
    newest = frame.model.latest
    before = request.query_params.get("before", "")
    below = int(before) if before.isdecimal() and len(before) < 10 else newest + 1  # noqa: PLR2004
    found = await asyncio.to_thread(services.registry.versions, model, below, ON_A_PAGE + 1)
    shown, more = found[:ON_A_PAGE], found[ON_A_PAGE:]
    names = [name for v in shown for name in sorted(v.bundle.metrics)]
    return page(
        request,
        "versions.html",
        frame=frame,
        tab="versions",
        versions=shown,
        metrics=list(dict.fromkeys(names))[:_METRICS_SHOWN],
        asked=behind.pulse.versions(model),
        more=more[0].version + 1 if more else None,
        is_first=below > newest,
    )


@get(VERSION, opt=SEE)
async def show_version(
    model: NamedDependency[str],
    number: NamedDependency[int],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """One version: state, form, metrics, signature, environment, files, and what may be done with it."""
    return await _version_page(model, number, request, services, behind)


async def _version_page(
    model: str,
    number: int,
    request: PageRequest,
    services: Services,
    behind: Behind,
    error: YardError | None = None,
    **typed: str,
) -> Response[bytes]:
    frame = await frame_of(services, behind, model)
    version = await asyncio.to_thread(services.registry.version, model, number)
    files = await asyncio.to_thread(services.registry.files, model, number)
    card = await asyncio.to_thread(services.registry.cards.card, model, number)
    policy = await asyncio.to_thread(services.registry.policies.policy, model)
    signed = await asyncio.to_thread(services.registry.provenance.signed, version)
    return page(
        request,
        "version.html",
        status=200 if error is None else 409,
        frame=frame,
        tab="versions",
        version=version,
        files=files,
        card=card,
        html=markdown.to_html(card.text),
        stages=policy.promote.rules().stages,
        signed=signed,
        error=error,
        why=typed.get("why", ""),
    )


@get(VERSION + "/scan", opt=SEE)
async def scan(
    model: NamedDependency[str],
    number: NamedDependency[int],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """What its pickles call when they are loaded: read apart, and asked for once the page is there."""
    files = await asyncio.to_thread(services.registry.files, model, number)
    labels: tuple[Label, ...] = ()
    trouble = ""
    try:
        labels = await asyncio.to_thread(services.registry.scans.labels, files)
    except YardError as error:
        trouble = error.message
    if request.is_part:
        return page(request, "parts/scan.html", labels=list(labels), trouble=trouble)
    frame = await frame_of(services, behind, model)
    told: dict[str, Any] = {"labels": list(labels), "trouble": trouble}
    return page(request, "scan.html", frame=frame, tab="versions", number=number, **told)


@post(VERSION + "/promote", opt=_PROMOTE, status_code=200)
async def promote(
    model: NamedDependency[str],
    number: NamedDependency[int],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Make it the champion."""
    why = chosen(await request.fields(), "why")
    act = partial(services.registry.set_alias, model, CHAMPION, number, by=grant.principal, why=why)
    try:
        await warm(services, model, number)
        await changed(services, await asyncio.to_thread(act))
    except YardError as error:
        return await _version_page(model, number, request, services, behind, error, why=why)
    return go(request, f"/models/{model}")


@post(VERSION + "/rollout", opt=_PROMOTE, status_code=200)
async def roll_out(
    model: NamedDependency[str],
    number: NamedDependency[int],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Begin to roll it out as the model's policy says."""
    why = chosen(await request.fields(), "why")
    try:
        policy = await asyncio.to_thread(services.registry.policies.policy, model)
        start = partial(services.registry.rollouts.start, model, number, policy.promote.rules())
        await changed(services, await asyncio.to_thread(start, by=grant.principal, why=why))
    except YardError as error:
        return await _version_page(model, number, request, services, behind, error, why=why)
    return go(request, f"/models/{model}/rollout")


@post(ROOT + "/rollback", opt=_PROMOTE, status_code=200)
async def roll_back(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Champion back to what it was before."""
    why = chosen(await request.fields(), "why")
    await warm(services, model, await asyncio.to_thread(services.registry.rollback_target, model))
    act = partial(services.registry.rollback, model, by=grant.principal, why=why)
    await changed(services, await asyncio.to_thread(act))
    return go(request, f"/models/{model}/history")


@get(ROOT + "/rollout", opt=SEE)
async def rollout(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """The rollout that goes on, or the last one: its evidence and what may be done."""
    frame = await frame_of(services, behind, model)
    rollouts = await asyncio.to_thread(services.registry.rollouts.of_model, model)
    judged = await asyncio.to_thread(services.registry.gates.of_model, model)
    verdicts = {verdict.candidate: verdict for verdict in reversed(judged)}
    return page(request, "rollout.html", frame=frame, tab="rollout", rollouts=rollouts, verdicts=verdicts)


@post(ROOT + "/rollout/approve", opt=_PROMOTE, status_code=200)
async def approve(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Let the candidate become champion."""
    return await _decide(model, request, services, grant, services.registry.rollouts.approve)


@post(ROOT + "/rollout/stop", opt=_PROMOTE, status_code=200)
async def stop(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """End it; the champion stays."""
    return await _decide(model, request, services, grant, services.registry.rollouts.stop)


async def _decide(
    model: str, request: PageRequest, services: Services, grant: Grant, act: Callable[..., object]
) -> Response[bytes]:
    why = chosen(await request.fields(), "why")
    await changed(services, await asyncio.to_thread(partial(act, model, by=grant.principal, why=why)))
    return go(request, f"/models/{model}/rollout")


@get(ROOT + "/compare", opt=SEE)
async def compare(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """Two versions side by side: metrics, signature, environment, data, code and files."""
    frame = await frame_of(services, behind, model)
    numbers = sorted({number_of(text, "version") for text in request.query_params.getall("v", [])})
    if len(numbers) != 2:  # noqa: PLR2004
        hint = "Tick two in the list of versions, then press Compare."
        raise InvalidError("Two versions are compared with each other.", hint)
    left, right = [await asyncio.to_thread(services.registry.version, model, n) for n in numbers]
    files = [await asyncio.to_thread(services.registry.files, model, n) for n in numbers]
    return page(
        request,
        "compare.html",
        frame=frame,
        tab="versions",
        left=left,
        right=right,
        sections=comparison.compare(left, right, *files),
    )


HANDLERS = (
    list_versions,
    show_version,
    scan,
    promote,
    roll_out,
    roll_back,
    rollout,
    approve,
    stop,
    compare,
)
