"""Datasets: listed, a version with its columns' profiles, its rows, what changed, and who may see what."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from msgspec import Struct

from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.datasets import Dataset, DatasetVersion, Mark
from modelyard.records.errors import InvalidError
from modelyard.records.people import MATRIX, Grant, Kind, Need, thing_of
from modelyard.web.look import go, page
from modelyard.web.requests import FORM, PageRequest, chosen

ROOT = "/datasets/{department:str}/{name:str}"
_VERSION = ROOT + "/versions/{version:str}"
_READ: dict[str, Any] = {"need": Need.READ_DATA}
_SEE: dict[str, Any] = {"need": Need.SEE}
_MANAGE: dict[str, Any] = {"need": Need.MANAGE, "takes": (FORM,)}
_ON_A_PAGE = 50
_LONGEST = 3_650  # days of a clearance
_LONGEST_NUMBER = 9  # digits


class Reader(Struct, frozen=True):
    """Who may read, and by what."""

    name: str
    words: str


@get("/datasets", opt={"need": Need.SIGNED_IN})
async def list_datasets(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """All that one may see."""
    found = await asyncio.to_thread(services.datasets.datasets, grant.seen, grant.shared_datasets)
    return page(request, "datasets.html", datasets=found)


@get(ROOT, opt=_SEE)
async def newest(
    dataset: NamedDependency[str], request: PageRequest, services: NamedDependency[Services]
) -> Response[bytes]:
    """A dataset as it is now: its newest version."""
    known = await asyncio.to_thread(services.datasets.dataset, dataset)
    return await _show(request, services, known, known.latest)


@get(_VERSION, opt=_SEE)
async def one_version(
    dataset: NamedDependency[str],
    number: NamedDependency[int],
    request: PageRequest,
    services: NamedDependency[Services],
) -> Response[bytes]:
    """One version."""
    known = await asyncio.to_thread(services.datasets.dataset, dataset)
    return await _show(request, services, known, number)


async def _show(
    request: PageRequest, services: Services, known: Dataset, number: int, error: InvalidError | None = None
) -> Response[bytes]:
    grant, name = _asking(request), known.dataset
    reads, manages = (
        grant.allows_dataset(Need.READ_DATA, name),
        grant.allows(Need.MANAGE, name.partition("/")[0]),
    )
    cleared = await asyncio.to_thread(services.datasets.cleared, name, grant.principal)
    versions = await asyncio.to_thread(services.datasets.versions, name)
    version = await asyncio.to_thread(services.datasets.version, name, number)
    trained = await asyncio.to_thread(services.datasets.trained, name)
    clearances = await asyncio.to_thread(services.datasets.clearances, name) if manages else []
    readers = await asyncio.to_thread(readers_of, services, grant, name)
    return page(
        request,
        "dataset.html",
        status=422 if error else 200,
        dataset=known,
        version=version.shown_to(reads=reads, cleared=cleared),
        versions=versions[:_ON_A_PAGE],
        trained=[t for t in trained if grant.sees_model(t.model)][:_ON_A_PAGE],
        clearances=clearances,
        readers=readers,
        reads=reads,
        manages=manages,
        marks=list(Mark),
        now=datetime.now(UTC),
        error=error,
    )


def readers_of(services: Services, grant: Grant, dataset: str) -> list[Reader] | None:
    """Who may read a dataset's rows, for who may see the members of its department; else None. Blocking."""
    place = dataset.partition("/")[0]
    if not grant.allows(Need.REVIEW, place):
        return None
    members = services.people.members(place)
    held = [(p.name, p.departments[place]) for p in members if p.disabled_at is None]
    found = [Reader(name, f"{role} of {place}") for name, role in held if Need.READ_DATA in MATRIX[role]]
    now = datetime.now(UTC)
    for share in services.sharing.shares(frozenset({place})):
        is_on = share.thing == thing_of(Kind.DATASET, dataset)
        if is_on and share.right is Need.READ_DATA and share.holds(now):
            to = f"department {share.to_department}" if share.to_department else str(share.to_principal)
            until = f" until {share.expires_at:%Y-%m-%d}" if share.expires_at else ""
            found.append(Reader(to, f"a grant by {share.created_by[:60]}{until}"))
    return found


@get(_VERSION + "/rows", opt=_READ)
async def rows(
    dataset: NamedDependency[str],
    number: NamedDependency[int],
    request: PageRequest,
    services: NamedDependency[Services],
) -> Response[bytes]:
    """Some rows, without the columns that are marked and not cleared."""
    start = _number(request.query_params.get("start", ""), 0)
    cleared = await asyncio.to_thread(services.datasets.cleared, dataset, _asking(request).principal)
    look = partial(services.datasets.preview, dataset, number, cleared=cleared, start=start, count=_ON_A_PAGE)
    seen = await asyncio.to_thread(look)
    return page(request, "dataset_rows.html", dataset=dataset, seen=seen, start=start, step=_ON_A_PAGE)


@get(ROOT + "/changes", opt=_READ)
async def changes(
    dataset: NamedDependency[str], request: PageRequest, services: NamedDependency[Services]
) -> Response[bytes]:
    """What changed between two versions."""
    after = _number(request.query_params.get("b", ""), 1)
    before = _number(request.query_params.get("a", ""), max(1, after - 1))
    told = request.query_params.get("key", "")
    key = tuple(part.strip() for part in told.split(",") if part.strip())
    cleared = await asyncio.to_thread(services.datasets.cleared, dataset, _asking(request).principal)
    call = partial(services.datasets.changes, dataset, before, after, cleared=cleared, key=key)
    error, found = None, None
    try:
        found = await asyncio.to_thread(call)
    except InvalidError as wrong:  # a key that is none is said above the form
        error = wrong
    versions: list[DatasetVersion] = await asyncio.to_thread(services.datasets.versions, dataset)
    return page(
        request,
        "dataset_changes.html",
        status=422 if error else 200,
        dataset=dataset,
        versions=versions,
        before=before,
        after=after,
        key=told,
        found=found,
        error=error,
    )


@post(ROOT + "/clearances", opt=_MANAGE, status_code=200)
async def clear(
    dataset: NamedDependency[str], request: PageRequest, services: NamedDependency[Services]
) -> Response[bytes]:
    """Let somebody see the columns with a mark."""
    typed, by = await request.fields(), _asking(request).principal
    try:
        mark, until = _mark(chosen(typed, "mark")), _until(chosen(typed, "days"))
        give = partial(services.datasets.clear, dataset, chosen(typed, "principal"), mark, by=by, until=until)
        await asyncio.to_thread(give)
    except InvalidError as error:
        known = await asyncio.to_thread(services.datasets.dataset, dataset)
        return await _show(request, services, known, known.latest, error)
    return go(request, f"/datasets/{dataset}#who")


@post(ROOT + "/clearances/revoke", opt=_MANAGE, status_code=200)
async def revoke(
    dataset: NamedDependency[str], request: PageRequest, services: NamedDependency[Services]
) -> Response[bytes]:
    """Take a clearance away."""
    typed, by = await request.fields(), _asking(request).principal
    person, mark = typed.get("principal", ""), _mark(chosen(typed, "mark"))
    await asyncio.to_thread(partial(services.datasets.revoke, dataset, person, mark, by=by))
    return go(request, f"/datasets/{dataset}#who")


@post(ROOT + "/marks", opt=_MANAGE, status_code=200)
async def mark_column(
    dataset: NamedDependency[str], request: PageRequest, services: NamedDependency[Services]
) -> Response[bytes]:
    """Mark a column of all versions, or take its mark away."""
    typed, by = await request.fields(), _asking(request).principal
    word = chosen(typed, "mark")
    marks = {typed.get("column", ""): _mark(word) if word else None}
    await asyncio.to_thread(partial(services.datasets.set_marks, dataset, marks, by=by))
    return go(request, f"/datasets/{dataset}#columns")


def _asking(request: PageRequest) -> Grant:
    grant = request.grant
    assert grant is not None  # noqa: S101 - the guard has let them in
    return grant


def _mark(word: str) -> Mark:
    if word not in list(Mark):
        raise InvalidError("This is no mark.", "Choose from the list.", field="mark")
    return Mark(word)


def _until(days: str) -> datetime | None:
    if not days:
        return None
    if not days.isdecimal() or not 0 < int(days[:_LONGEST_NUMBER]) <= _LONGEST:
        raise InvalidError("This is no number of days.", f"Write 1 to {_LONGEST}, or nothing.", field="days")
    return datetime.now(UTC) + timedelta(days=int(days))


def _number(text: str, otherwise: int) -> int:
    return number_of(text, "number") if text and text != "0" else otherwise


HANDLERS = (list_datasets, newest, one_version, rows, changes, clear, revoke, mark_column)
