"""The rows of datasets: pushed, downloaded, looked at, compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from modelyard.api.auth import while_allowed
from modelyard.api.datasets import DATASET, PUSH, VERSION, Count, shows
from modelyard.api.incoming import TABLE, incoming
from modelyard.api.predictions import pieces
from modelyard.api.services import Services
from modelyard.catalog.datasets import KINDS, MAX_PREVIEW
from modelyard.records.datasets import Changes, DatasetVersion, Mark, Preview
from modelyard.records.errors import InvalidError
from modelyard.records.people import Grant, Need
from modelyard.records.references import shown

_READ = {"need": Need.READ_DATA}
_PARQUET = "application/vnd.apache.parquet"
_MEDIA = {"csv": "text/csv; charset=utf-8", "parquet": _PARQUET}


@post(
    DATASET + "/versions",
    opt={**PUSH, "takes": tuple(KINDS)},
    request_max_body_size=None,
    tags=["datasets"],
    summary="Push a version of a dataset",
)
async def push(
    *,
    dataset: NamedDependency[str],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    publishing: NamedDependency[CapacityLimiter],
    why: Annotated[str, QueryParameter(max_length=2_000, description="kept with the version")] = "",
    mark: Annotated[
        list[str] | None, QueryParameter(description="COLUMN:personal or COLUMN:secret; may be repeated")
    ] = None,
) -> Response[DatasetVersion]:
    """The body is CSV (UTF-8 with a header line) or Parquet. 201 with the new version, 200 with the existing
    one if the content is the same. Marks are added to those that the dataset has.
    """
    keep = partial(
        services.datasets.push,
        dataset,
        incoming(request, publishing, services.max_dataset, TABLE),
        request.headers["content-type"],
        by=grant.principal,
        why=why,
        marks=_marks(mark),
        may_create_department=grant.allows(Need.ADMINISTER),
    )
    version, is_new = await to_thread.run_sync(keep, limiter=publishing)
    told = (await shows(services, grant, dataset))(version)
    place = {"Location": f"/api/v1/datasets/{dataset}/versions/{version.version}"}
    return Response(told, status_code=201 if is_new else 200, headers=place)


@get(
    VERSION + "/content",
    opt=_READ,
    media_type=_PARQUET,
    tags=["datasets"],
    summary="A version's rows as a file",
)
async def download_dataset(
    *,
    dataset: NamedDependency[str],
    number: NamedDependency[int],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    form: FromQuery[Literal["parquet", "csv"]] = "parquet",
    formulas: Annotated[
        Literal["escaped", "kept"],
        QueryParameter(
            description="CSV: `kept` leaves texts as they are, for programs; by default those "
            "that a spreadsheet would run have a ' before them."
        ),
    ] = "escaped",
) -> Stream:
    """Columns that are marked are not there, unless you have a clearance for them."""
    cleared = await asyncio.to_thread(services.datasets.cleared, dataset, grant.principal)
    name = f"{dataset.replace('/', '.')}.{number}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    media = _MEDIA[form]
    if request.scope["state"]["head"]:
        await asyncio.to_thread(services.datasets.version, dataset, number)
        return Stream(iter(()), headers=headers, media_type=media)
    is_for_people = formulas == "escaped"
    write = partial(
        services.datasets.lay_out,
        dataset,
        number,
        form=form,
        cleared=cleared,
        is_for_people=is_for_people,
    )
    path = await asyncio.to_thread(_laid_out, services.scratch, write)
    version = await asyncio.to_thread(services.datasets.version, dataset, number)
    note = partial(services.datasets.note_download, version, cleared, form, by=grant.principal)
    await asyncio.to_thread(note)
    return Stream(while_allowed(request, pieces(path)), headers=headers, media_type=media)


@get(VERSION + "/rows", opt=_READ, tags=["datasets"], summary="Some rows of a version")
async def preview_dataset(
    *,
    dataset: NamedDependency[str],
    number: NamedDependency[int],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    start: Annotated[int, QueryParameter(ge=0, le=10**12)] = 0,
    count: Annotated[int, QueryParameter(ge=1, le=MAX_PREVIEW)] = 20,
) -> Preview:
    """Without the columns that are marked, unless you have a clearance; `hidden` names them."""
    cleared = await asyncio.to_thread(services.datasets.cleared, dataset, grant.principal)
    call = partial(services.datasets.preview, dataset, number, cleared=cleared, start=start, count=count)
    return await asyncio.to_thread(call)


@get(VERSION + "/changes", opt=_READ, tags=["datasets"], summary="What changed since an earlier version")
async def dataset_changes(
    *,
    dataset: NamedDependency[str],
    number: NamedDependency[int],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    since: Annotated[Count, QueryParameter(description="the earlier version")],
    key: Annotated[list[str] | None, QueryParameter(description="columns by which rows are known")] = None,
) -> Changes:
    """Columns, rows and distributions; columns that you may not see are left out."""
    cleared = await asyncio.to_thread(services.datasets.cleared, dataset, grant.principal)
    call = partial(services.datasets.changes, dataset, since, number, cleared=cleared, key=tuple(key or ()))
    return await asyncio.to_thread(call)


def _marks(told: list[str] | None) -> dict[str, Mark]:
    marks = {}
    for text in told or ():
        name, _, mark = text.rpartition(":")
        if not name or mark not in list(Mark):
            raise InvalidError(f"{shown(text)} is no mark.", "Write mark=COLUMN:personal or COLUMN:secret.")
        marks[name] = Mark(mark)
    return marks


def _laid_out(scratch: Path, write: Callable[..., object]) -> Path:
    folder = Path(mkdtemp(dir=scratch, prefix="table-"))
    path = folder / "out"
    kept = folder.with_suffix(".out")
    try:
        write(path=path)
        path.rename(kept)
    finally:
        path.unlink(missing_ok=True)
        folder.rmdir()
    return kept


HANDLERS = (push, download_dataset, preview_dataset, dataset_changes)
