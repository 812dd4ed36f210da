"""Versions: listed, shown, waited for, and their files downloaded."""

from __future__ import annotations

import asyncio
import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from modelyard.api.auth import wait_for, while_allowed
from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.records.errors import UnavailableError, YardError
from modelyard.records.models import File, Version, VersionState
from modelyard.records.people import Need
from modelyard.store.blobs import Blobs

VERSIONS = MODEL + "/versions"
_VERSION = VERSIONS + "/{version:str}"
_MAX_WAIT = 60.0  # seconds
_ENDED = (VersionState.CHECKED, VersionState.FAILED)


@get(VERSIONS, opt=SEE, tags=["versions"], summary="All versions of a model")
async def list_versions(model: NamedDependency[str], services: NamedDependency[Services]) -> list[Version]:
    """Newest first."""
    return await asyncio.to_thread(services.registry.versions, model)


@get(_VERSION, opt=SEE, tags=["versions"], summary="One version; `wait` for its check")
async def show_version(
    model: NamedDependency[str],
    number: NamedDependency[int],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    wait: Annotated[float, QueryParameter(ge=0, le=_MAX_WAIT, description="seconds")] = 0,
) -> Version:
    """With `wait` the answer comes when `state` or `progress` changes from what it was at the call, or after
    so many seconds. A version that is checked or has failed is answered at once.
    """

    def is_over(first: Version, now: Version) -> bool:
        return now.state in _ENDED or (now.state, now.progress) != (first.state, first.progress)

    look = partial(asyncio.to_thread, services.registry.version, model, number)
    now = await wait_for(request, look, is_over, wait)
    await _until_served(now, services)
    return now


async def _until_served(version: Version, services: Services) -> None:
    """Who is told `checked` must find the version answering, so the routes are awaited."""
    routes = services.table().models.get(version.model)
    if version.state is VersionState.CHECKED and (routes is None or version.version not in routes.versions):
        with suppress(YardError):  # it is checked all the same; the routes follow
            await services.refresh()


@get(
    _VERSION + "/log",
    opt=SEE,
    media_type="text/plain",
    tags=["versions"],
    summary="The worker's log of a failed check",
)
async def version_log(
    model: NamedDependency[str], number: NamedDependency[int], services: NamedDependency[Services]
) -> Response[str]:
    """Plain text; empty where the check has not failed."""
    found = await asyncio.to_thread(services.registry.version, model, number)
    return Response(found.log, media_type="text/plain")


@get(
    _VERSION + "/bundle",
    opt={"need": Need.READ_DATA},
    media_type="application/x-tar",
    tags=["versions"],
    summary="A version's files as a tar",
)
async def download_bundle(
    model: NamedDependency[str],
    number: NamedDependency[int],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
) -> Stream:
    """As they were published, paths relative to the bundle's folder. It is cut short where a file is no
    longer what was published; `Content-Length` tells.
    """
    files = await asyncio.to_thread(services.registry.files, model, number)
    pieces = iter(()) if request.scope["state"]["head"] else tar_of(files, services.blobs)
    file_name = f"{model.replace('/', '.')}.{number}.tar"
    headers = {
        "Content-Length": str(tar_size(files)),
        "Content-Disposition": f'attachment; filename="{file_name}"',
    }
    return Stream(while_allowed(request, pieces), headers=headers, media_type="application/x-tar")


def tar_of(files: list[File], blobs: Blobs) -> Iterator[bytes]:
    """The files as a tar, in pieces; the same files give the same bytes.

    Raises:
        UnavailableError: a blob is not what its digest says.
    """
    for file in files:
        yield _header(file)
        digest = hashlib.sha256()
        for piece in blobs.open(file.digest):
            digest.update(piece)
            yield piece
        if digest.hexdigest() != file.digest:
            raise UnavailableError(f"The stored file {file.path!r} is damaged.", "Restore it from a backup.")
        yield bytes(_padding(file.size))
    yield bytes(2 * tarfile.BLOCKSIZE)


def tar_size(files: list[File]) -> int:
    """Bytes of the tar that `tar_of` makes."""
    parts = (len(_header(f)) + f.size + _padding(f.size) for f in files)
    return sum(parts) + 2 * tarfile.BLOCKSIZE


def _header(file: File) -> bytes:
    info = tarfile.TarInfo(file.path)
    info.size = file.size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE


HANDLERS = (list_versions, show_version, version_log, download_bundle)
