"""A model's columns then and now: what its version was made on beside what it is asked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct

from modelyard.api.services import Services
from modelyard.catalog.summaries import binned_on_itself
from modelyard.catalog.yardsticks import Yardstick
from modelyard.records.findings import Asked, FindingState
from modelyard.records.people import Grant, Need
from modelyard.records.predictions import Finding, hour_of
from modelyard.web.behind import Behind
from modelyard.web.distributions import Compared, compare
from modelyard.web.look import page
from modelyard.web.models import ROOT, SEE, frame_of
from modelyard.web.requests import PageRequest

SPANS = {"1": "last day", "7": "last 7 days", "30": "last 30 days"}
_USUAL = "7"
_CHARTS = 24  # columns with a chart; the others are in the table
_MOST_COLUMNS = 500
_GOOD = "good"
_DAY = timedelta(days=1)


class Columns(Struct, frozen=True):
    """The columns of a version then and now.

    Attributes:
        source: what they are compared with, in words; empty where nothing is known yet.
        rows: of the window.
        hidden: columns of which nothing is shown, because of their mark in the training data.
        was: when the other side was, in two words.
    """

    source: str
    rows: int
    columns: list[Compared]
    hidden: list[str]
    was: str = "in training"


@get(ROOT + "/drift", opt=SEE)
async def show_drift(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Each column's distribution in training and now, those that have moved most first."""
    frame = await frame_of(services, behind, model)
    span = request.query_params.get("days", _USUAL)
    span = span if span in SPANS else _USUAL
    number = frame.model.champion
    reads = grant.allows(Need.READ_DATA, frame.department, model)
    now = datetime.now(UTC)
    found, good = None, None
    if number is not None and reads:
        window = (now - timedelta(days=int(span)), now)
        good = await asyncio.to_thread(services.watching.sightings.last_good, model, number, hour_of(now))
        against = good if request.query_params.get("against") == _GOOD else None
        found = await asyncio.to_thread(columns_of, services, request, model, number, window, against)
    noticed = await asyncio.to_thread(_going_on, services, model)
    wanted = request.query_params.get("column", "")
    shown = [c for c in found.columns if not wanted or c.name == wanted] if found else []
    return page(
        request,
        "drift.html",
        frame=frame,
        tab="drift",
        found=found,
        good=good,
        reads=reads,
        charts=shown[:_CHARTS],
        rows=shown[:_MOST_COLUMNS],
        findings={subject(f): f for f in noticed},
        open=noticed,
        span=span,
        spans=SPANS,
        column=wanted,
    )


def _going_on(services: Services, model: str) -> list[Finding]:
    """What is not over: first what nobody looks at."""
    found: list[Finding] = []
    for state in (FindingState.OPEN, FindingState.SEEN):
        found += services.watching.sightings.findings(Asked(None, model=model, state=state))
    return found


def subject(finding: Finding) -> tuple[str, str]:
    """The column that a finding is about, as `Compared` names it."""
    return ("output" if finding.kind == "outputs" else "input", finding.column)


def columns_of(  # whose, of which version, in which window, and beside which day
    services: Services,
    request: PageRequest,
    model: str,
    number: int,
    window: tuple[datetime, datetime],
    good: datetime | None = None,
) -> Columns:
    """The columns of a version then and now, as far as who asks may see them. Blocking.

    Args:
        good: a day to compare with, in place of what the version was made on.
    """
    grant = request.grant
    if grant is None or not grant.allows(Need.READ_DATA, model.partition("/")[0], model):
        return Columns("", 0, [], [])
    now = services.history.window(model, number, *window)
    if good is not None:
        before = binned_on_itself(services.history.window(model, number, good, good + _DAY))
        reference: Yardstick | None = Yardstick(f"{good:%Y-%m-%d}, the last good day", before)
    else:
        reference = services.watching.sightings.reference(model, number)
    if reference is None:
        return Columns("", now.rows, [], [])
    hidden = sorted(services.datasets.hidden_of_model(model, grant.principal))
    was = f"on {good:%-d %B}" if good else "in training" if "trained on" in reference.source else "at first"
    return Columns(reference.source, now.rows, compare(reference.summary, now, hidden), hidden, was)


HANDLERS = (show_drift,)
