"""Publish: a bundle comes in as a stream and is never whole in memory."""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from modelyard.api.auth import authorise
from modelyard.api.incoming import BUNDLE, incoming
from modelyard.api.services import Services
from modelyard.api.versions import VERSIONS
from modelyard.records.errors import NotFoundError, YardError
from modelyard.records.models import Version
from modelyard.records.people import Grant, Need
from modelyard.records.references import CHAMPION, check_name

log = logging.getLogger(__name__)

TAKES = ("application/x-tar", "application/gzip", "application/x-gzip")
_ENTRY_OVERHEAD = 16 * 1024 * 1024  # of a tar, beside its files: headers and padding of 10,000 entries


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
    keep = partial(
        services.registry.publish,
        model,
        incoming(request, publishing, services.max_bundle + _ENTRY_OVERHEAD, BUNDLE),
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
