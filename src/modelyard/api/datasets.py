"""Datasets: listed, shown, marked, and who may look behind the marks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct

from modelyard.api.auth import authorise
from modelyard.api.models import SEE
from modelyard.api.services import Services
from modelyard.records.datasets import (
    Clearance,
    Dataset,
    DatasetVersion,
    Mark,
    TrainedModel,
    check_dataset,
)
from modelyard.records.errors import InvalidError
from modelyard.records.people import Grant, Need

DATASET = "/api/v1/datasets/{department:str}/{name:str}"
VERSION = DATASET + "/versions/{version:str}"
PUSH = {"need": Need.PUBLISH}
MANAGE = {"need": Need.MANAGE}

Words = Annotated[str, Meta(max_length=2_000)]
Name = Annotated[str, Meta(max_length=200, examples=["anna"])]
Count = Annotated[int, Meta(ge=1, le=999_999_999)]


class Marks(Struct, frozen=True, forbid_unknown_fields=True):
    """Column to mark; null takes the mark away. Columns that are left out keep theirs."""

    marks: Annotated[dict[str, Mark | None], Meta(examples=[{"pilot": "personal"}])]
    why: Words = ""


class Clear(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody may see the columns with a mark, until a time."""

    principal: Name
    mark: Mark
    until: datetime | None = None


class Revoke(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody may no longer see them."""

    principal: Name
    mark: Mark


@get(
    "/api/v1/datasets",
    opt={"need": Need.SIGNED_IN},
    tags=["datasets"],
    summary="Datasets that you may see",
)
async def list_datasets(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> list[Dataset]:
    """By name; those of other departments are not there."""
    return await asyncio.to_thread(services.datasets.datasets, grant.seen, grant.shared_datasets)


@get(DATASET, opt=SEE, tags=["datasets"], summary="One dataset")
async def show_dataset(dataset: NamedDependency[str], services: NamedDependency[Services]) -> Dataset:
    """Its newest version, rows, marks of columns, and where snapshots come from."""
    return await asyncio.to_thread(services.datasets.dataset, dataset)


@get(DATASET + "/versions", opt=SEE, tags=["datasets"], summary="All versions of a dataset")
async def list_dataset_versions(
    dataset: NamedDependency[str], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> list[DatasetVersion]:
    """Newest first. Profiles are there for columns that you may read."""
    found = await asyncio.to_thread(services.datasets.versions, dataset)
    show = await shows(services, grant, dataset)
    return [show(version) for version in found]


@get(VERSION, opt=SEE, tags=["datasets"], summary="One version of a dataset")
async def show_dataset_version(
    dataset: NamedDependency[str],
    number: NamedDependency[int],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> DatasetVersion:
    """Its columns with types and marks; a profile of each that you may read."""
    found = await asyncio.to_thread(services.datasets.version, dataset, number)
    return (await shows(services, grant, dataset))(found)


@get(DATASET + "/models", opt=SEE, tags=["datasets"], summary="The models trained on a dataset")
async def trained_models(
    dataset: NamedDependency[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    version: FromQuery[Count | None] = None,
) -> list[TrainedModel]:
    """Those that you may see, by what their bundles say of their lineage."""
    found = await asyncio.to_thread(services.datasets.trained, dataset, version)
    return [trained for trained in found if grant.sees_model(trained.model)]


@put(DATASET + "/marks", opt=PUSH, tags=["datasets"], summary="Mark columns")
async def mark_columns(
    dataset: NamedDependency[str],
    data: JSONBody[Marks],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Dataset:
    """Who pushes data may mark; to take a mark away, or to make a secret column personal, needs an owner."""
    held = (await asyncio.to_thread(services.datasets.dataset, dataset)).marks
    if any(_is_less(held.get(name), mark) for name, mark in data.marks.items()):
        authorise(grant, Need.MANAGE, dataset.split("/")[0])
    call = partial(services.datasets.set_marks, dataset, data.marks, by=grant.principal)
    return await asyncio.to_thread(call)


@get(DATASET + "/clearances", opt=MANAGE, tags=["datasets"], summary="Who may look behind marks")
async def list_clearances(
    dataset: NamedDependency[str], services: NamedDependency[Services]
) -> list[Clearance]:
    """By person, also those that have ended."""
    return await asyncio.to_thread(services.datasets.clearances, dataset)


@post(DATASET + "/clearances", opt=MANAGE, status_code=201, tags=["datasets"], summary="Clear somebody")
async def clear(
    dataset: NamedDependency[str],
    data: JSONBody[Clear],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Clearance:
    """Nobody sees a marked column without one, owners neither. It takes the place of the one there was."""
    until = data.until
    if until is not None and until.tzinfo is None:
        raise InvalidError("The end has no time zone.", "Write it as 2027-01-01T00:00:00Z.", field="until")
    call = partial(services.datasets.clear, dataset, data.principal, data.mark)
    return await asyncio.to_thread(partial(call, by=grant.principal, until=until))


@post(DATASET + "/clearances/revoke", opt=MANAGE, status_code=204, tags=["datasets"], summary="Revoke one")
async def revoke_clearance(
    dataset: NamedDependency[str],
    data: JSONBody[Revoke],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> None:
    """It holds from the next request on."""
    call = partial(services.datasets.revoke, dataset, data.principal, data.mark, by=grant.principal)
    await asyncio.to_thread(call)


def dataset_of(department: FromPath[str], name: FromPath[str]) -> str:
    """`department/name` out of two path parameters."""
    return check_dataset(f"{department}/{name}")


async def shows(services: Services, grant: Grant, dataset: str) -> Callable[[DatasetVersion], DatasetVersion]:
    """What makes of a version what this person may know of it."""
    reads = grant.allows_dataset(Need.READ_DATA, dataset)
    cleared = await asyncio.to_thread(services.datasets.cleared, dataset, grant.principal)
    return lambda version: version.shown_to(reads=reads, cleared=cleared)


def _is_less(held: Mark | None, wanted: Mark | None) -> bool:
    """Whether a mark would protect less than the one there is."""
    return held is not None and wanted is not held and wanted is not Mark.SECRET


HANDLERS = (
    list_datasets,
    show_dataset,
    list_dataset_versions,
    show_dataset_version,
    trained_models,
    mark_columns,
    list_clearances,
    clear,
    revoke_clearance,
)
