"""The audit: searched, exported, verified; and what answered at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from modelyard.api.auth import while_allowed
from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.catalog.audit import MOST, to_csv
from modelyard.records.audit import YARD, Entry, Mark, Query, Verified
from modelyard.records.errors import ForbiddenError, InvalidError
from modelyard.records.history import Answering
from modelyard.records.people import Grant, Need
from modelyard.records.references import Reference, check_name

_AUDIT = "/api/v1/audit"
_OVERSEE: dict[str, Any] = {"need": Need.OVERSEE}
_MAX_NUMBER = 2**63 - 1

Text = Annotated[str, QueryParameter(max_length=500)]
Time = Annotated[datetime | None, QueryParameter(description="ISO 8601; UTC if no zone")]
Below = Annotated[int | None, QueryParameter(ge=1, le=_MAX_NUMBER, description="entries under this number")]
Limit = Annotated[int, QueryParameter(ge=1, le=MOST)]


def query_of(  # one query parameter each
    by: Text = "",
    action: Text = "",
    subject: Text = "",
    request_id: Text = "",
    since: Time = None,
    until: Time = None,
) -> Query:
    """What the query parameters ask for."""
    if any("\0" in text or not text.isprintable() for text in (by, action, subject, request_id)):
        raise InvalidError("A filter has characters that cannot be seen.", "Leave them out.", field="filter")
    return Query(by, action, subject, request_id, _utc(since), _utc(until))


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


_ASKED = {"asked": Provide(query_of, sync_to_thread=False)}


@get(_AUDIT, opt=_OVERSEE, dependencies=_ASKED, tags=["audit"], summary="The audit's entries")
async def list_entries(
    asked: NamedDependency[Query],
    services: NamedDependency[Services],
    below: Below = None,
    limit: Limit = 100,
) -> list[Entry]:
    """Newest first. `subject` finds what begins with it as well, so a department finds all that is in it;
    `action` may be a noun with its dot, as `version.`. For older entries ask again with `below`.
    """
    return await asyncio.to_thread(services.audit.entries, asked, below, limit)


@get(
    _AUDIT + "/export",
    opt=_OVERSEE,
    dependencies=_ASKED,
    media_type="text/csv",
    tags=["audit"],
    summary="All entries asked for, as CSV or JSON lines",
)
async def export_entries(
    asked: NamedDependency[Query],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    form: Annotated[str, QueryParameter(pattern="^(csv|json)$")] = "csv",
) -> Stream:
    """Newest first. In CSV, cells that begin like a formula have an apostrophe in front; JSON lines
    (`form=json`) hold each entry exactly as it is hashed.
    """
    write: Callable[..., Any] = to_csv if form == "csv" else _to_lines
    if request.scope["state"].get("head"):
        return Stream(iter(()), media_type="text/csv")
    told = partial(services.audit.note, by=grant.principal, action="audit.export", subject=YARD, after=asked)
    await asyncio.to_thread(told)
    media_type = "text/csv" if form == "csv" else "application/jsonl"
    headers = {"Content-Disposition": f'attachment; filename="audit.{form}"'}
    entries = write(services.audit.every(asked))
    return Stream(while_allowed(request, entries), headers=headers, media_type=media_type)


def _to_lines(entries: Any) -> Any:  # noqa: ANN401 - an iterator of entries, of lines
    return (msgspec.json.encode(entry) + b"\n" for entry in entries)


@get(_AUDIT + "/verify", opt=_OVERSEE, tags=["audit"], summary="Whether the audit is what was written")
async def verify(
    services: NamedDependency[Services],
    entries: Annotated[int | None, QueryParameter(ge=0, le=_MAX_NUMBER)] = None,
    hash: Annotated[str | None, QueryParameter(pattern="^[0-9a-f]{64}$")] = None,  # noqa: A002 - its name
) -> Verified:
    """Follows the whole chain, and compares it with the node's checkpoint; with `entries` and `hash`
    of an earlier answer with that, too. `faults` is empty where all is well.
    """
    if (entries is None) != (hash is None):
        raise InvalidError(
            "A checkpoint is a number of entries with a hash.", "Give both, or none.", field="hash"
        )
    marks = () if entries is None or hash is None else (Mark(entries, hash),)
    return await asyncio.to_thread(services.audit.verify, marks)


@get(
    "/api/v1/departments/{department:str}/audit",
    opt={"need": Need.REVIEW},
    dependencies=_ASKED,
    tags=["audit"],
    summary="A department's entries",
)
async def department_entries(
    department: FromPath[str],
    asked: NamedDependency[Query],
    services: NamedDependency[Services],
    below: Below = None,
    limit: Limit = 100,
) -> list[Entry]:
    """As the whole audit, of one department."""
    check_name(department, "department")
    if department == YARD:  # entries of the whole yard have the same subject
        raise ForbiddenError(
            "What is done in the department yard stands in the audit of the whole yard.",
            "An administrator or auditor finds it there: yard audit --subject yard",
        )
    own = asked.subject == department or asked.subject.startswith((f"{department}/", f"{department}@"))
    if not own:
        asked = msgspec.structs.replace(asked, subject=f"{department}/{asked.subject}".rstrip("/"))
    return await asyncio.to_thread(services.audit.entries, asked, below, limit)


@get(MODEL + "/answering", opt=SEE, tags=["models"], summary="Which version answered at a time")
async def model_answering(
    model: NamedDependency[str],
    services: NamedDependency[Services],
    at: Annotated[datetime, QueryParameter(description="ISO 8601; UTC if no zone")],
    alias: Annotated[str, QueryParameter(max_length=63)] = "",
    version: Annotated[int | None, QueryParameter(ge=1, le=999_999_999)] = None,
) -> Answering:
    """Trained on which data, published and promoted by whom, and what was tried beside it. By default for
    the champion; `alias` or `version` ask for another.
    """
    department, name = model.split("/")
    reference = Reference(department, name, check_name(alias, "alias") if alias else None, version)
    return await asyncio.to_thread(services.audit.answering, reference, at)


HANDLERS = (list_entries, export_entries, verify, department_entries, model_answering)
