"""Publish: a bundle comes in as a stream and is never whole in memory."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import Annotated, Any

import anyio
from anyio import CapacityLimiter, from_thread, to_thread
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import QueryParameter

from modelyard.api.auth import authorise, reauthorise
from modelyard.api.services import Services
from modelyard.api.versions import VERSIONS
from modelyard.records.errors import BusyError, MalformedError, NotFoundError, TooLargeError, YardError
from modelyard.records.models import Version
from modelyard.records.people import Grant, Need
from modelyard.records.references import CHAMPION, check_name

log = logging.getLogger(__name__)

TAKES = ("application/x-tar", "application/gzip", "application/x-gzip")
AT_ONCE = 8  # bundles that come in on one front at the same time
_PIECE = 1024 * 1024
_PATIENCE = 30.0  # seconds without a byte
_SLOWEST = 1024  # bytes a second, on average
_ALLOWANCE = 60.0  # seconds before the average counts
_LIMITS = {"bundle": "YARD_MAX_BUNDLE", "table": "YARD_MAX_DATASET"}
_ENTRY_OVERHEAD = 16 * 1024 * 1024  # of a tar, beside its files: headers and padding of 10,000 entries


class Incoming:
    """A request's body for code that runs in a thread: it is pulled piece by piece, so nothing piles up.

    Args:
        stream: the body.
        limit: bytes it may have.
        check: called with each piece and at the end; raises to refuse it.
        what: it is, for messages.
    """

    def __init__(
        self,
        stream: AsyncGenerator[bytes, None],
        limit: int,
        check: Callable[[], None] = lambda: None,
        what: str = "bundle",
    ) -> None:
        self._stream = stream
        self._limit = limit
        self._check = check
        self._what = what
        self._size = 0
        self._begun = time.monotonic()

    def __iter__(self) -> Iterator[bytes]:
        """The pieces; to be called in a thread of anyio's.

        Raises:
            MalformedError: the connection ended, or hardly anything arrives.
            TooLargeError: over the limit.
        """
        while piece := from_thread.run(self._next):
            yield piece

    async def _next(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            while size < _PIECE:
                with anyio.fail_after(_PATIENCE):
                    part = await anext(self._stream, b"")
                if not part:
                    break
                parts.append(part)
                size += len(part)
                self._count(len(part))
        except TimeoutError as error:
            raise _slow(self._what) from error
        except HTTPException as error:
            raise MalformedError(
                f"The connection ended before the {self._what} was whole.", "Send it again."
            ) from error
        self._check()
        return b"".join(parts)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise TooLargeError(
                f"The {self._what} is over the limit of {self._limit} bytes.",
                f"Leave out what is not needed, or ask the operator for a higher {_LIMITS[self._what]}.",
            )
        elapsed = time.monotonic() - self._begun
        if elapsed > _ALLOWANCE and self._size < elapsed * _SLOWEST:
            raise _slow(self._what)


def _slow(what: str) -> MalformedError:
    return MalformedError(f"The {what} stopped arriving.", "Send it again, over a better connection.")


@post(
    VERSIONS,
    opt={"need": Need.PUBLISH, "takes": TAKES},
    request_max_body_size=None,
    tags=["versions"],
    summary="Publish a version",
)
async def publish(
    *,
    model: NamedDependency[str],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    publishing: NamedDependency[CapacityLimiter],
    alias: Annotated[str | None, QueryParameter(description="set once the check has passed")] = None,
    why: Annotated[str, QueryParameter(max_length=2_000, description="for the alias's history")] = "",
) -> Response[Version]:
    """The body is the bundle as a tar (`application/x-tar`) or .tar.gz (`application/gzip`); see
    contract/bundle.md. 201 with the new version, 200 with the existing one if the content is the same.
    """
    alias = await _allowed_alias(services, grant, model, alias)
    limit = services.max_bundle + _ENTRY_OVERHEAD
    if int(request.headers.get("content-length") or 0) > limit:
        raise TooLargeError(f"The bundle's archive is over the limit of {limit} bytes.", "Leave files out.")
    if publishing.available_tokens < 1:
        raise BusyError("Too many bundles are coming in at the moment.", "Try again soon.", retry_after=5)
    keep = partial(
        services.registry.publish,
        model,
        Incoming(request.stream(), limit, partial(reauthorise, request)),
        kind_of(request),
        by=grant.principal,
        alias=alias,
        why=why,
        may_create_department=grant.allows(Need.ADMINISTER),
    )
    version, is_new = await to_thread.run_sync(keep, limiter=publishing)
    await _nudge(services, version)
    return Response(version, status_code=201 if is_new else 200, headers=_location(version))


async def _allowed_alias(services: Services, grant: Grant, model: str, alias: str | None) -> str | None:
    """The alias to ask for: moving one that is in use needs the right to promote.

    A builder's first version needs no `champion` asked for: the first checked one becomes it by itself.
    """
    if alias is None:
        return None
    check_name(alias, "alias")
    department = model.partition("/")[0]
    if grant.allows(Need.PROMOTE, department):
        return alias
    try:
        taken = (await to_thread.run_sync(services.registry.model, model)).aliases
    except NotFoundError:
        taken = {}
    if alias in taken:
        authorise(grant, Need.PROMOTE, department)
    return None if alias == CHAMPION else alias


async def _nudge(services: Services, version: Version) -> None:
    """The version is kept whatever happens here; the engine also looks for unchecked versions by itself."""
    try:
        await services.check(version)
    except YardError as error:
        log.warning("the engine was not told of %s: %s", version.id, error)


def kind_of(request: Request[Any, Any, Any]) -> str:
    """The kind of archive that a request says it has."""
    given = request.headers["content-type"].partition(";")[0].strip().lower()
    return "application/gzip" if given == "application/x-gzip" else given


def _location(version: Version) -> dict[str, str]:
    return {"Location": f"/api/v1/models/{version.model}/versions/{version.version}"}


HANDLERS = (publish,)
