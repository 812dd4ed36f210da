"""The audit: filtered, verified, exported; for auditors and administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.response import Stream

from modelyard.api.auth import while_allowed
from modelyard.api.services import Services
from modelyard.catalog.audit import to_csv
from modelyard.records.audit import YARD, Query, Verified
from modelyard.records.errors import InvalidError, YardError
from modelyard.records.people import Grant, Need
from modelyard.web.look import HEADERS, page
from modelyard.web.requests import FORM, PageRequest, chosen

_OVERSEE: dict[str, Any] = {"need": Need.OVERSEE}
_ON_A_PAGE = 100
_WORDS = ("by", "action", "subject", "request")
_TIMES = ("since", "until")
_LONGEST = 500
_DIGITS = 18


@get("/audit", opt=_OVERSEE)
async def show_audit(request: PageRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """The newest entries that are asked for."""
    return await _page(request, services)


@post("/audit/verify", opt=_OVERSEE | {"takes": (FORM,), "changes": False}, status_code=200)
async def verify_audit(request: PageRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Follow the whole chain, and show what came of it above the newest entries. It changes nothing."""
    try:
        found = await asyncio.to_thread(services.audit.verify)
    except YardError as error:
        return await _page(request, services, trouble=error)
    return await _page(request, services, verified=found)


@get("/audit/export", opt=_OVERSEE)
async def export_audit(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes] | Stream:
    """All that is asked for, as CSV."""
    try:
        query = query_of(request.query_params)
    except InvalidError as error:
        return await _page(request, services, trouble=error)
    if request.scope["state"].get("head"):
        return Response(b"", headers=HEADERS, media_type="text/csv")
    note = partial(services.audit.note, by=grant.principal, action="audit.export", subject=YARD, after=query)
    await asyncio.to_thread(note)
    headers = HEADERS | {"Content-Disposition": 'attachment; filename="audit.csv"'}
    entries = while_allowed(request, to_csv(services.audit.every(query)))
    return Stream(entries, headers=headers, media_type="text/csv")


async def _page(
    request: PageRequest,
    services: Services,
    verified: Verified | None = None,
    trouble: YardError | None = None,
) -> Response[bytes]:
    fields = request.query_params
    before = chosen(fields, "before")
    below = int(before) if before.isdecimal() and len(before) <= _DIGITS else None
    query = Query()
    try:
        query = query_of(fields)
    except InvalidError as error:
        trouble = error
    found = await asyncio.to_thread(services.audit.entries, query, below, _ON_A_PAGE + 1)
    filters = {name: chosen(fields, name)[:_LONGEST] for name in (*_WORDS, *_TIMES)}
    return page(
        request,
        "audit.html",
        status=422 if isinstance(trouble, InvalidError) else 200,
        entries=found[:_ON_A_PAGE],
        more=found[_ON_A_PAGE - 1].number if len(found) > _ON_A_PAGE else None,
        filters=filters,
        asked=urlencode({name: value for name, value in filters.items() if value}),
        verified=verified,
        trouble=trouble,
    )


def query_of(fields: Mapping[str, str]) -> Query:
    """What the filter's fields ask for.

    Raises:
        InvalidError: a time is none, or words have characters that cannot be seen.
    """
    said = {name: chosen(fields, name) for name in _WORDS}
    if any(len(text) > _LONGEST or not text.isprintable() for text in said.values()):
        raise InvalidError("A filter is too long, or has characters that cannot be seen.", "Write it anew.")
    times = {name: _time(chosen(fields, name)) for name in _TIMES}
    return Query(**said, **times)  # type: ignore[arg-type]


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        message = "A time of the filter cannot be read."
        raise InvalidError(message, "Write it as 2026-03-01 or 2026-03-01T14:30, in UTC.") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


HANDLERS = (show_audit, verify_audit, export_audit)
