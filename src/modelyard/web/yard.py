"""The yard itself: nodes, workers, backups, settings, and what is not as it should be."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime

from litestar import Response, get
from litestar.di import NamedDependency

from modelyard.api.services import Services
from modelyard.records.backups import BackupState
from modelyard.records.checkup import Finding, of_backups, of_checkup
from modelyard.records.errors import YardError
from modelyard.records.people import Need
from modelyard.web.behind import Behind
from modelyard.web.look import page
from modelyard.web.requests import PageRequest


@get("/yard", opt={"need": Need.OVERSEE})
async def yard(
    request: PageRequest, services: NamedDependency[Services], behind: NamedDependency[Behind]
) -> Response[bytes]:
    """What runs here, and what to do about what does not."""
    trouble: YardError | None = None
    workers, nodes = [], []
    backups: BackupState | None = None
    findings: list[Finding] = []
    try:
        workers = await services.workers()
        nodes = await asyncio.to_thread(services.nodes.listed)
        looked = await asyncio.to_thread(services.checkups.look)
        backups = await asyncio.to_thread(services.backups.state)
        findings = [*of_checkup(looked, datetime.now(UTC)), *of_backups(backups, datetime.now(UTC))]
    except YardError as error:
        trouble = error
    table = services.table()
    return page(
        request,
        "yard.html",
        version=services.version,
        not_ready=services.not_ready(),
        generation=table.generation,
        models=len(table.models),
        versions=sum(len(routes.versions) for routes in table.models.values()),
        workers=sorted(workers, key=lambda w: (w.version_id, w.replica)),
        nodes=nodes,
        findings=findings,
        backups=backups,
        settings=services.settings,
        trouble=trouble,
        disk=shutil.disk_usage(services.scratch),
        rate=sum(behind.pulse.rates().values()),
    )


HANDLERS = (yard,)
