"""After a change: the fronts swap before the answer leaves."""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar

from litestar import Response

from modelyard.api.services import Services
from modelyard.records.errors import YardError
from modelyard.records.models import VersionState

log = logging.getLogger(__name__)

T = TypeVar("T")


async def warm(services: Services, model: str, number: int) -> None:
    """Start a version's workers before requests come to it; an alias never moves to one that cannot start."""
    version = await asyncio.to_thread(services.registry.version, model, number)
    if version.state is VersionState.CHECKED:  # of others the registry says why they cannot have an alias
        await services.warm(version)


async def changed(services: Services, record: T, status: int = 200) -> Response[T]:
    """The answer to a change that is already kept, once all fronts of the node serve it.

    Where they cannot be told in time the answer is 202: the change stands, but is not served everywhere yet.
    An error would invite to repeat what has been done.
    """
    try:
        await services.refresh()
    except YardError as error:
        log.warning("a change is kept but not yet served by all fronts: %s", error)
        status = 202
    return Response(record, status_code=status)
