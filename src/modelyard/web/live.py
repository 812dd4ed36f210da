"""One stream of news for each open page: what is asked now, and that something has changed."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from functools import partial

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.response import Stream

from modelyard.api.auth import identify
from modelyard.api.services import Services
from modelyard.records.errors import UnauthenticatedError, UnavailableError
from modelyard.records.people import Need
from modelyard.serving.routes import check_confirmed
from modelyard.web import charts, words
from modelyard.web.behind import Behind
from modelyard.web.pulse import Pulse
from modelyard.web.requests import PageRequest

_PATIENCE = 15.0  # seconds after which a sign of life is sent where there is no news
_LONGEST = 3_600.0  # seconds; the page then asks anew
_MOST_NAMES = 200


@get("/live", opt={"need": Need.SIGNED_IN})
async def live(
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Stream:
    """Server-sent events for the models named in `of`, as far as one may see them."""
    named = frozenset(filter(None, request.query_params.get("of", "").split(",")[:_MOST_NAMES]))
    signed = request.headers.get("authorization")
    return Stream(
        _news(services, behind, named, signed),
        media_type="text/event-stream; charset=utf-8",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _news(
    services: Services, behind: Behind, models: frozenset[str], signed: str | None
) -> AsyncGenerator[bytes, None]:
    """Each tick what has changed since the last in what one may see by then; it ends with the session."""
    sent: dict[str, dict[str, str]] = {}
    generation = services.table().generation
    began = time.monotonic()
    yield b"retry: 3000\n\n"
    while time.monotonic() < began + _LONGEST:
        came = await behind.pulse.next(_PATIENCE)
        seen = seen_of(services, models, signed)
        if seen is None:
            yield b"event: gone\ndata: {}\n\n"
            return
        now = services.table().generation
        told = {name: facts for name, facts in facts_of(behind, seen).items() if sent.get(name) != facts}
        sent |= told
        if told or now != generation:
            news = {"models": told, "changed": now != generation}
            generation = now
            yield b"data: " + msgspec.json.encode(news) + b"\n\n"
        elif not came:
            yield b": still here\n\n"


def facts_of(behind: Behind, models: frozenset[str]) -> dict[str, dict[str, str]]:
    """What the pages show of these models now, as text and as the points of a line."""
    pulse = behind.pulse
    asked = models & pulse.once("", pulse.asked)
    return {model: pulse.once(model, partial(_facts, pulse, model)) for model in asked}


def _facts(pulse: Pulse, model: str) -> dict[str, str]:
    counted = pulse.counted(model)
    return {
        "rate": words.rate(pulse.once("rates of all", pulse.rates).get(model, 0.0)),
        "line": charts.points(pulse.lines(frozenset({model}))[model]),
        "asked": words.short(counted.requests),
        "failed": words.short(counted.failed),
        "median": words.seconds(counted.quantile(0.5)),
        "slow": words.seconds(counted.quantile(0.95)),
    }


def seen_of(services: Services, models: frozenset[str], signed: str | None) -> frozenset[str] | None:
    """Those of these models that whoever is signed in so may see now; None where nobody is any more."""
    try:
        grant = identify(signed, services.table())
        check_confirmed(services.table(), Need.SIGNED_IN)
    except (UnauthenticatedError, UnavailableError):
        return None
    return frozenset(filter(grant.sees_model, models))


HANDLERS = (live,)
