"""Databases that datasets come from, and snapshots of them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from modelyard.api.datasets import DATASET, MANAGE, PUSH, Words, shows
from modelyard.api.services import Services
from modelyard.records.datasets import DataConnection, DatasetVersion
from modelyard.records.people import Grant
from modelyard.records.references import check_name

_CONNECTIONS = "/api/v1/departments/{department:str}/connections"


class Connect(Struct, frozen=True, forbid_unknown_fields=True):
    """A database to take snapshots from; its password is kept encrypted and never shown."""

    address: Annotated[str, Meta(max_length=2_000, examples=["postgresql://reader:…@db.example.org/ops"])]


class Snapshot(Struct, frozen=True, forbid_unknown_fields=True):
    """What to ask; where both are left out it is what was asked last."""

    connection: str = ""
    query: Annotated[str, Meta(max_length=100_000, examples=["SELECT * FROM flights"])] = ""
    why: Words = ""


@post(
    DATASET + "/snapshot",
    opt=PUSH,
    status_code=201,
    tags=["datasets"],
    summary="Snapshot a database",
)
async def take_snapshot(
    *,
    dataset: NamedDependency[str],
    data: JSONBody[Snapshot],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    publishing: NamedDependency[CapacityLimiter],
) -> Response[DatasetVersion]:
    """One SELECT in a read-only transaction on a connection of the department: its rows are the version."""
    call = partial(
        services.sources.snapshot,
        dataset,
        data.connection or None,
        data.query or None,
        by=grant.principal,
        why=data.why,
    )
    version, is_new = await to_thread.run_sync(call, limiter=publishing)
    told = (await shows(services, grant, dataset))(version)
    return Response(told, status_code=201 if is_new else 200)


@get(_CONNECTIONS, opt=PUSH, tags=["datasets"], summary="The databases of a department")
async def list_connections(
    department: FromPath[str], services: NamedDependency[Services]
) -> list[DataConnection]:
    """By name, without their passwords."""
    return await asyncio.to_thread(services.sources.connections, check_name(department, "department"))


@put(_CONNECTIONS + "/{name:str}", opt=MANAGE, tags=["datasets"], summary="Keep a connection to a database")
async def put_connection(
    department: FromPath[str],
    name: FromPath[str],
    data: JSONBody[Connect],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> DataConnection:
    """Give it a user that may read what models need, and nothing else."""
    call = partial(services.sources.connect, department, name, data.address, by=grant.principal)
    return await asyncio.to_thread(call)


@delete(_CONNECTIONS + "/{name:str}", opt=MANAGE, tags=["datasets"], summary="Forget a connection")
async def drop_connection(
    department: FromPath[str],
    name: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> None:
    """Datasets that came from it stay."""
    await asyncio.to_thread(partial(services.sources.disconnect, department, name, by=grant.principal))


HANDLERS = (take_snapshot, list_connections, put_connection, drop_connection)
