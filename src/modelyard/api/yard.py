"""The yard itself: what runs, and what the API looks like."""

from __future__ import annotations

from anyio import to_thread
from litestar import get
from litestar.di import NamedDependency
from msgspec import Struct

from modelyard.api.services import Services
from modelyard.records.backups import BackupState
from modelyard.records.checkup import Checkup
from modelyard.records.people import Grant, Need
from modelyard.workers.control import WorkerInfo


class Status(Struct, frozen=True):
    """What the yard says of itself.

    Attributes:
        version: of the software.
        ready: whether predictions can be answered; `reason` says why not.
        generation: of the route table this front serves.
        models: models that you may see and that have a checked version.
        versions: checked versions of these.
    """

    version: str
    ready: bool
    reason: str
    generation: int
    models: int
    versions: int


@get("/api/v1/yard", opt={"need": Need.SIGNED_IN}, tags=["yard"], summary="What the yard says of itself")
async def status(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> Status:
    """Counts only what you may see."""
    table, reason = services.table(), services.not_ready()
    seen = [routes for model, routes in table.models.items() if routes.versions and grant.sees_model(model)]
    return Status(
        version=services.version,
        ready=not reason,
        reason=reason,
        generation=table.generation,
        models=len(seen),
        versions=sum(len(routes.versions) for routes in seen),
    )


@get("/api/v1/workers", opt={"need": Need.OVERSEE}, tags=["yard"], summary="The workers of the node")
async def workers(services: NamedDependency[Services]) -> list[WorkerInfo]:
    """Each with its version, language, memory and how often it was replaced."""
    return await services.workers()


@get(
    "/api/v1/backups",
    opt={"need": Need.OVERSEE},
    tags=["yard"],
    summary="When the yard was backed up, and whether that could be restored",
)
async def backups(services: NamedDependency[Services]) -> BackupState:
    """The newest backup and drill, and the last attempt if it went badly."""
    return await to_thread.run_sync(services.backups.state)


@get(
    "/api/v1/checkup",
    opt={"need": Need.OVERSEE},
    tags=["yard"],
    summary="What waits, what is late, and how much room there is on the node",
)
async def checkup(services: NamedDependency[Services]) -> Checkup:
    """The queues of the yard, spool and disk of the node that answers; `yard doctor` explains them."""
    return await to_thread.run_sync(services.checkups.look)


HANDLERS = (status, workers, backups, checkup)
