"""The yard itself: nodes, workers, backups, settings, and what is not as it should be."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime

from litestar import Response, get
from litestar.di import NamedDependency

from modelyard.api.services import Services
from modelyard.records.backups import BackupState
from modelyard.records.checkup import of_backups, of_checkup, of_nodes
from modelyard.records.conditions import machine
from modelyard.records.diagnosis import Finding
from modelyard.records.errors import YardError
from modelyard.records.people import Need
from modelyard.records.rollouts import MANY_ROWS, version_of
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
        backups, now = await asyncio.to_thread(services.backups.state), datetime.now(UTC)
        ill = [finding for finding in of_nodes(nodes) if finding.code]
        findings = [*of_checkup(looked, now), *ill, *of_backups(backups, now)]
    except YardError as error:
        trouble = error
    table = services.table()
    return page(
        request,
        "yard.html",
        version=services.version,
        not_ready=services.not_ready(),
        models=len(table.models),
        versions=sum(len(routes.versions) for routes in table.models.values()),
        workers=sorted(workers, key=lambda w: (w.version_id, w.replica)),
        nodes=nodes,
        machine=machine,
        findings=findings,
        backups=backups,
        settings=services.settings,
        trouble=trouble,
        disk=shutil.disk_usage(services.scratch),
        rate=sum(behind.pulse.rates().values()),
        version_of=version_of,
        MANY_ROWS=MANY_ROWS,
    )


HANDLERS = (yard,)
