"""Capacity: how many workers a model may have, and what each asks of a machine."""

from __future__ import annotations

import asyncio
from functools import partial

from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody

from modelyard.api.changes import changed
from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.records.capacity import Capacity, Demand
from modelyard.records.people import Grant, Need


@get(MODEL + "/capacity", opt=SEE, tags=["models"], summary="How many workers a model may have")
async def show_capacity(model: NamedDependency[str], services: NamedDependency[Services]) -> Capacity:
    """Where none was set, the default: one worker of one core."""
    return await asyncio.to_thread(services.registry.capacities.capacity, model)


@put(
    MODEL + "/capacity",
    opt={"need": Need.PROMOTE},
    tags=["models"],
    summary="Say how many workers a model may have",
)
async def set_capacity(
    model: NamedDependency[str],
    data: JSONBody[Demand],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Capacity]:
    """Each node keeps between `min_replicas` and `max_replicas` workers, more while requests wait. `cpus`,
    `gpus` and `memory` are reserved for each where workers are placed on a Ray cluster; `memory` limits it
    everywhere. Workers that run keep what they have until they are replaced.
    """
    keep = partial(services.registry.capacities.put, model, data, by=grant.principal)
    return await changed(services, await asyncio.to_thread(keep))


HANDLERS = (show_capacity, set_capacity)
