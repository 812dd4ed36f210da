"""Templates to pages: the environment, what every page has, and the headers that keep it safe."""

from __future__ import annotations

import gzip
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from markupsafe import Markup
from msgspec import Struct

from modelyard.records import money
from modelyard.records.people import Grant, Need
from modelyard.web import charts, runs, timeline, words
from modelyard.web.assets import address
from modelyard.web.requests import PageRequest

_FOLDER = Path(__file__).parent / "templates"
_SMALL = 1_000  # bytes; less is not worth compressing
_LEVEL = 5
# Nothing from elsewhere, nothing inline, no frames, forms to ourselves alone.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # with none at all, a form's Origin is `null`
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept-Encoding, Cookie, HX-Request",
}


class Place(Struct, frozen=True):
    """A place of the navigation: its word, address, icon, and who sees it."""

    word: str
    address: str
    icon: str
    need: Need = Need.SIGNED_IN


PLACES = [
    Place("Models", "/", "models"),
    Place("Watch", "/watch", "watch"),
    Place("Data", "/datasets", "data"),
    Place("Jobs", "/jobs", "jobs"),
    Place("Alerts", "/alerts", "alerts"),
    Place("Ledger", "/ledger", "ledger"),
    Place("People", "/people", "people"),
    Place("Audit", "/audit", "audit", Need.OVERSEE),
    Place("Yard", "/yard", "yard", Need.OVERSEE),
]


def page(
    request: PageRequest,
    template: str,
    /,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **values: Any,  # noqa: ANN401 - whatever the template shows
) -> Response[bytes]:
    """A page (or a part of one) as an answer.

    Args:
        template: its file in `templates/`.
        headers: beside those every page has.
        values: what the template shows; it has `request`, `grant` and `places` besides.
    """
    html = (
        environment()
        .get_template(template)
        .render(request=request, grant=request.grant, places=_places(request.grant), **values)
    )
    return respond(request, html, status=status, headers=headers)


def respond(
    request: PageRequest, html: str, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """HTML with the headers that every page has; compressed where that is taken."""
    body = html.encode(errors="replace")
    told = HEADERS | (headers or {})
    if request.takes_gzip and len(body) > _SMALL:
        body = gzip.compress(body, _LEVEL, mtime=0)
        told = told | {"Content-Encoding": "gzip"}
    return Response(body, status_code=status, headers=told, media_type="text/html; charset=utf-8")


def go(request: PageRequest, to: str) -> Response[bytes]:
    """Have the browser go elsewhere with a GET; also where htmx asked."""
    if request.is_part:
        return Response(b"", status_code=200, headers=HEADERS | {"HX-Redirect": to}, media_type="text/html")
    return Response(b"", status_code=303, headers=HEADERS | {"Location": to}, media_type="text/html")


@cache
def environment() -> Environment:
    """Jinja, with everything escaped and nothing undefined passed over."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "ago": words.ago,
        "clock": words.clock,
        "number": words.number,
        "short": words.short,
        "rate": words.rate,
        "seconds": words.seconds,
        "size": words.size,
        "language": words.language,
        "took": runs.took,
        "cost": runs.cost,
        "setting": runs.setting,
        "share": words.share,
        "cut": words.cut,
        "money": money.in_words,
        "price": money.exact,
        "moment": moment,
    }
    made.globals |= {
        "asset": address,
        "sparkline": charts.sparkline,
        "bars": charts.bars,
        "curves": charts.curves,
        "two_distributions": charts.two_distributions,
        "pair": charts.pair,
        "trend": charts.trend,
        "draw": timeline.draw,
        "describe": timeline.describe,
        "title": words.title_of,
        "Need": Need,
    }
    return made


def moment(at: datetime) -> Markup:
    """A time as `2 days ago`, with the exact one for whoever asks."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), words.clock(at), words.ago(at)
    )


def _places(grant: Grant | None) -> list[Place]:
    return [] if grant is None else [place for place in PLACES if grant.allows(place.need)]
