"""The first page: the models of a person's departments, how they are, and how an empty yard is begun."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct

from modelyard.api.services import Services
from modelyard.catalog.sightings import Standing
from modelyard.records.findings import Asked, FindingState
from modelyard.records.models import Model
from modelyard.records.people import Grant, Need
from modelyard.records.policies import Level
from modelyard.records.predictions import Finding
from modelyard.records.references import NAME
from modelyard.records.rollouts import Rollout, RouteTable
from modelyard.web.behind import Behind
from modelyard.web.course import answering_of
from modelyard.web.look import page
from modelyard.web.pulse import Counted, Pulse
from modelyard.web.requests import PageRequest, whole
from modelyard.web.search import has, search

ON_A_PAGE = 60
_MANY_FAIL = 0.05  # of the requests of the last minutes
_LOOKED_BACK = 300.0  # seconds
_LONGEST_SEARCH = 200  # characters
_DAYS = 30  # of performance beside a model
_MOST_FINDINGS = 4


class Health(Struct, frozen=True):
    """How a model is, in a word, with its tone (good, busy, bad, idle) and a sentence."""

    tone: str
    word: str
    words: str


class Row(Struct, frozen=True):
    """A model in the list."""

    model: Model
    name: str
    health: Health
    rate: float
    line: list[float]
    standing: Standing | None = None


class Group(Struct, frozen=True):
    """A department's models."""

    department: str
    rows: list[Row]


class Listing(Struct, frozen=True):
    """A page of the list.

    Attributes:
        found: how many models fit the search, `number` the page, `pages` how many there are.
    """

    groups: list[Group]
    found: int
    number: int
    pages: int


@get("/", opt={"need": Need.SIGNED_IN})
async def home(
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """The models that one may see, with a search; with no model at all, the first steps."""
    models = await asyncio.to_thread(services.registry.models, grant.seen, grant.shared_models)
    if not models:
        return page(request, "start.html", **first_steps(request, grant, services.table()))
    rollouts = await asyncio.to_thread(services.registry.rollouts.going_on, grant.seen)
    wanted = request.query_params.get("q", "")[:_LONGEST_SEARCH].strip()
    found = matching(models, wanted)
    number, pages = _place(len(found), whole(request.query_params.get("page")))
    shown = found[(number - 1) * ON_A_PAGE : number * ON_A_PAGE]
    standings = await asyncio.to_thread(_standings, services, shown)
    groups = group(shown, rollouts, services.table(), behind.pulse, standings)
    # A part is fetched at each pause in typing, and does not show what needs somebody.
    findings, many = ([], 0) if request.is_part else await asyncio.to_thread(_findings, services, grant)
    template = "parts/models.html" if request.is_part else "home.html"
    return page(
        request,
        template,
        listing=Listing(groups, len(found), number, pages),
        search=wanted,
        beside=await asyncio.to_thread(search, services, grant, wanted),
        findings=findings,
        many_findings=many,
        total=len(models),
        departments=len({m.model.partition("/")[0] for m in models}),
        waiting=[r for r in rollouts if r.state == "waiting"],
        known=behind.pulse.known,
    )


@get("/start", opt={"need": Need.SIGNED_IN})
async def start(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """The first steps again: how to publish a model and ask it."""
    return page(request, "start.html", **first_steps(request, grant, services.table()))


def first_steps(request: PageRequest, grant: Grant, table: RouteTable) -> dict[str, Any]:
    """What the page of the first steps shows."""
    asked = request.query_params.get("department", "").strip().lower()
    named = request.query_params.get("name", "").strip().lower()
    places = grant.places(Need.PUBLISH) or sorted(grant.seen or ())
    department = (
        asked if asked in places else places[0] if places else (asked if NAME.fullmatch(asked) else "finance")
    )
    name = named if NAME.fullmatch(named) else "fuel-cost"
    seen = [model for model in table.models if grant.sees_model(model)]
    return {
        "department": department,
        "name": name,
        "is_empty": not seen,
        "is_there": f"{department}/{name}" in seen,
        "odd": bool(asked and not NAME.fullmatch(asked)) or bool(named and not NAME.fullmatch(named)),
        "asked": asked,
        "named": named,
        "may_publish": grant.allows(Need.PUBLISH, department),
        "url": request.site,
    }


def matching(models: Sequence[Model], search: str) -> list[Model]:
    """The models in whose name or description all the words are.

    >>> matching([], "fuel")
    []
    """
    words = search.lower().split()
    return [m for m in models if has(words, m.model, m.description, m.language)]


def _place(found: int, number: int) -> tuple[int, int]:
    """Which page of the list is shown, and how many there are."""
    pages = max(1, -(-found // ON_A_PAGE))
    return min(max(1, number), pages), pages


def _standings(services: Services, shown: Sequence[Model]) -> dict[str, Standing]:
    table = services.table()
    known = {model.model: answering_of(table, model) for model in shown}
    answering = {model: found for model, found in known.items() if found is not None}
    return services.watching.sightings.standings(answering, datetime.now(UTC), _DAYS)


def _findings(services: Services, grant: Grant) -> tuple[list[Finding], int]:
    """What nobody looks at yet in the models that one could do something about, and how many there are."""
    places = None if grant.allows(Need.PUBLISH) else frozenset(grant.places(Need.PUBLISH))
    if places is not None and not places:
        return [], 0
    asked = Asked(places, level=Level.MEDIUM, state=FindingState.OPEN, most=_MOST_FINDINGS)
    found, counted = services.watching.sightings.counted(asked)
    return found, counted[FindingState.OPEN]


def group(
    shown: Sequence[Model],
    rollouts: Iterable[Rollout],
    table: RouteTable,
    pulse: Pulse,
    standings: Mapping[str, Standing],
) -> list[Group]:
    """The models of a page, by department."""
    rolling = {r.model: r for r in rollouts}
    rates, lines = pulse.rates(), pulse.lines(frozenset(m.model for m in shown))
    rows = [
        Row(
            m,
            m.model.partition("/")[2],
            health(m, table, rolling.get(m.model), pulse.counted(m.model, _LOOKED_BACK)),
            rates.get(m.model, 0.0),
            lines.get(m.model, []),
            standings.get(m.model),
        )
        for m in shown
    ]
    grouped = groupby(rows, key=lambda row: row.model.model.partition("/")[0])
    return [Group(name, list(own)) for name, own in grouped]


def health(model: Model, table: RouteTable, rollout: Rollout | None, lately: Counted) -> Health:
    """How a model is: what is wrong goes before what goes on."""
    routes = table.models.get(model.model)
    if lately.requests and lately.failed / lately.requests > _MANY_FAIL:
        failed = f"{100 * lately.failed / lately.requests:.0f} %"
        return Health("bad", "failing", f"{failed} of the requests of the last minutes had no answer.")
    if model.champion is None:
        return Health("bad", "not in use", "No version has passed its check yet, so nothing answers.")
    if rollout is not None:
        word = "waits for you" if rollout.state == "waiting" else "rolling out"
        return Health("busy", word, f"Version {rollout.candidate}: {rollout.words}")
    if routes is not None and model.latest not in routes.versions:
        return Health("busy", "in check", f"Version {model.latest} has not passed its check.")
    if lately.requests:
        return Health("good", "answers", f"{lately.requests:.0f} requests in the last minutes.")
    return Health("idle", "ready", "Ready; nobody has asked it lately.")


HANDLERS = (home, start)
