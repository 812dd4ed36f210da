"""What handlers work with. `app/front.py` fills it; handlers get it by dependency injection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard.catalog.alerts import Alerts
from modelyard.catalog.audit import Audit
from modelyard.catalog.backups import Backups
from modelyard.catalog.checkup import Checkups
from modelyard.catalog.datasets import Datasets
from modelyard.catalog.history import History
from modelyard.catalog.hosts import Approvals
from modelyard.catalog.jobs import Jobs
from modelyard.catalog.ledger import Ledgers
from modelyard.catalog.nodes import Nodes
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.catalog.sharing import Sharing
from modelyard.catalog.signing import Signing
from modelyard.catalog.sources import Sources
from modelyard.catalog.watch import Watching
from modelyard.records.models import Version
from modelyard.records.rollouts import RouteTable
from modelyard.settings import Setting
from modelyard.store.blobs import Blobs
from modelyard.workers.control import WorkerInfo


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts behind the API.

    Attributes:
        registry: models, versions, aliases. Blocking: call it in a thread.
        jobs: projects and their jobs. Blocking too.
        approvals: hosts that jobs may reach. Blocking too.
        people: principals, roles and tokens. Blocking too.
        signing: who comes in, and by what. Blocking too.
        sharing: grants on single models and datasets. Blocking too.
        backups: the record of backups. Blocking too.
        nodes: the yard's nodes. Blocking too.
        checkups: how the node and the queues stand. Blocking too.
        datasets: datasets and their versions. Blocking too.
        alerts: alerts and their channels. Blocking too.
        sources: databases that datasets come from. Blocking too.
        audit: who did what. Blocking too.
        blobs: the versions' files. Blocking too.
        table: the route table in memory as it is now; tokens are in it.
        refresh: after a change: returns when all fronts of the node serve it; UnavailableError where they
            could not be told in time (the change itself is kept).
        check: tells the engine that a version waits for its check.
        warm: returns when a version has warm workers, so that a promotion finds it answering.
        workers: all workers of the node.
        not_ready: why this front cannot answer yet, or an empty string.
        history: recorded predictions. Blocking too.
        watching: what the watch knows. Blocking too.
        ledgers: what models take, cost and bring. Blocking too.
        scratch: a folder for what is only needed for a moment.
        max_bundle: bytes of a bundle's archive.
        max_dataset: bytes of a dataset's file.
        version: of the software.
        settings: of this node, as they may be shown.
    """

    registry: Registry
    jobs: Jobs
    approvals: Approvals
    people: People
    signing: Signing
    sharing: Sharing
    backups: Backups
    nodes: Nodes
    checkups: Checkups
    datasets: Datasets
    alerts: Alerts
    sources: Sources
    audit: Audit
    blobs: Blobs
    table: Callable[[], RouteTable]
    refresh: Callable[[], Awaitable[None]]
    check: Callable[[Version], Awaitable[None]]
    warm: Callable[[Version], Awaitable[None]]
    workers: Callable[[], Awaitable[list[WorkerInfo]]]
    not_ready: Callable[[], str]
    history: History
    watching: Watching
    ledgers: Ledgers
    scratch: Path
    max_bundle: int
    max_dataset: int
    version: str
    settings: tuple[Setting, ...] = ()
