"""A model's first page: what it does, which version is in use since when and by whom, and how it does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from msgspec import Struct

from modelyard.api.services import Services
from modelyard.catalog.cards import MAX_CARD
from modelyard.records.errors import YardError
from modelyard.records.findings import Asked, FindingState
from modelyard.records.models import AliasChange, Card, Model, Version
from modelyard.records.people import Grant, Need
from modelyard.records.predictions import Finding, day_of
from modelyard.records.references import CHAMPION
from modelyard.records.rollouts import Rollout
from modelyard.web import markdown
from modelyard.web.behind import Behind
from modelyard.web.course import course_of, timelines
from modelyard.web.home import Health, health
from modelyard.web.look import go, page
from modelyard.web.pulse import Counted
from modelyard.web.requests import FORM, PageRequest
from modelyard.web.timeline import Timeline

ROOT = "/models/{department:str}/{name:str}"
SEE = {"need": Need.SEE}
_LOOKED_BACK = 300.0
_SHOWN = timedelta(days=90)
_MOST_FINDINGS = 3


class Frame(Struct, frozen=True):
    """What stands at the head of all pages of a model.

    Attributes:
        change: when, by whom and why the champion became it.
        rollout: the one that goes on.
    """

    model: Model
    department: str
    name: str
    change: AliasChange | None
    rollout: Rollout | None
    health: Health


class Live(Struct, frozen=True):
    """How a model was asked lately."""

    rate: float
    counted: Counted
    median: float | None
    slow: float | None
    line: list[float]
    known: float


async def frame_of(services: Services, behind: Behind, model: str) -> Frame:
    """The head of a model's pages.

    Raises:
        NotFoundError: there is no such model.
    """
    known, history, rollout = await asyncio.to_thread(_look_up, services, model)
    changes = [change for change in history if change.alias == CHAMPION]
    lately = behind.pulse.counted(model, _LOOKED_BACK)
    department, _, name = model.partition("/")
    found = health(known, services.table(), rollout, lately)
    return Frame(known, department, name, changes[0] if changes else None, rollout, found)


def _look_up(services: Services, model: str) -> tuple[Model, list[AliasChange], Rollout | None]:
    registry = services.registry
    return registry.model(model), registry.history(model), registry.rollouts.active(model)


def live_of(behind: Behind, model: str) -> Live:
    """How a model was asked in the time the pulse keeps."""
    counted = behind.pulse.counted(model)
    return Live(
        behind.pulse.rates().get(model, 0.0),
        counted,
        counted.quantile(0.5),
        counted.quantile(0.95),
        behind.pulse.lines(frozenset({model})).get(model, []),
        behind.pulse.known,
    )


@get(ROOT, opt=SEE)
async def overview(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """What it is for, who answers since when, and how it is asked."""
    frame = await frame_of(services, behind, model)
    number = frame.model.champion or frame.model.latest
    version, card = await asyncio.to_thread(_shown, services, model, number)
    line, findings = await asyncio.to_thread(_at_sea, services, frame.model)
    return page(
        request,
        "model.html",
        frame=frame,
        tab="overview",
        version=version,
        card=card,
        html=markdown.to_html(card.text),
        live=live_of(behind, model),
        asked=behind.pulse.versions(model),
        line=line,
        findings=findings,
    )


def _at_sea(services: Services, model: Model) -> tuple[Timeline | None, list[Finding]]:
    """The metric of its policy over the last weeks, and the gravest that nobody looks at yet."""
    now = datetime.now(UTC)
    since = day_of(now) - _SHOWN
    lines = timelines(course_of(services, model, since, now), since, now)
    asked = Asked(None, model=model.model, state=FindingState.OPEN, most=_MOST_FINDINGS)
    return lines[0] if lines else None, services.watching.sightings.findings(asked)


def _shown(services: Services, model: str, number: int) -> tuple[Version, Card]:
    return services.registry.version(model, number), services.registry.cards.card(model, number)


@get(ROOT + "/card", opt={"need": Need.PUBLISH})
async def card_form(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """The card, to write."""
    frame = await frame_of(services, behind, model)
    card = await asyncio.to_thread(services.registry.cards.card, model)
    return _card_form(request, frame, card.text)


@post(ROOT + "/card", opt={"need": Need.PUBLISH, "takes": (FORM,)}, status_code=200)
async def write_card(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Keep the card; what cannot be kept is shown again with the reason."""
    text = (await request.fields()).get("text", "")
    try:
        await asyncio.to_thread(lambda: services.registry.cards.write(model, text, by=grant.principal))
    except YardError as error:
        frame = await frame_of(services, behind, model)
        return _card_form(request, frame, text, error, status=422)
    return go(request, f"/models/{model}")


def _card_form(
    request: PageRequest, frame: Frame, text: str, error: YardError | None = None, status: int = 200
) -> Response[bytes]:
    told: dict[str, Any] = {
        "frame": frame,
        "tab": "overview",
        "text": text,
        "error": error,
        "limit": MAX_CARD,
    }
    return page(request, "card.html", status=status, **told)


@get(ROOT + "/history", opt=SEE)
async def history(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """Who changed what, when and why; and the story of the rollouts."""
    frame = await frame_of(services, behind, model)
    changes = await asyncio.to_thread(services.registry.history, model)
    rollouts = await asyncio.to_thread(services.registry.rollouts.of_model, model)
    return page(request, "history.html", frame=frame, tab="history", changes=changes, rollouts=rollouts)


HANDLERS = (overview, card_form, write_card, history)
