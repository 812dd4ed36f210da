"""What engine and fronts both stand on: the database, the blobs, and what is kept in them."""

from __future__ import annotations

from collections.abc import Callable

from modelyard import __version__
from modelyard.catalog.alerts import Alerts
from modelyard.catalog.bundles import Limits as BundleLimits
from modelyard.catalog.history import node_of
from modelyard.catalog.jobs import Jobs, Queue
from modelyard.catalog.nodes import Nodes
from modelyard.catalog.people import People
from modelyard.catalog.provenance import Provenance
from modelyard.catalog.registry import Registry
from modelyard.loop.beat import refuse_twin
from modelyard.loop.tick import Clock, now
from modelyard.settings import Settings
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.secrets import Keyring, Secrets, Signer
from modelyard.traces import Tracing
from modelyard.workers import outbound
from modelyard.workers.clusters import read_clusters


def prepare(settings: Settings, keep: Callable[[str], None]) -> None:
    """Bring the database up to date; on the first start make the administrator.

    Args:
        keep: stores the administrator's token; if it fails there is no administrator yet either.

    Raises:
        ConflictError: another yard answers that has the same records; see `loop.beat`.
    """
    if settings.engine == "ray":
        read_clusters(settings.ray_file)  # so that the command itself says what is wrong with it
    database = Database(settings.database_url)
    database.upgrade()
    nodes = nodes_of(settings, database)
    if settings.apart:
        nodes.part()
    refuse_twin(nodes, settings.node_address)
    if not settings.keys_file.exists():  # else what is not signed is not ours
        Provenance(database, Signer(Keyring(settings.keys_file))).begin()
    People(database).first_administrator(keep)


def nodes_of(settings: Settings, database: Database) -> Nodes:
    """The nodes of the yard, with this one among them."""
    return Nodes(database, node_of(settings.data / "spool"), settings.pulse_file)


def jobs_of(settings: Settings, database: Database, blobs: Blobs) -> Jobs:
    """Jobs and their queue."""
    limits = BundleLimits(total=settings.max_bundle, noun="project")
    return Jobs(database, blobs, settings.data / "scratch", queue_of(settings), limits)


def queue_of(settings: Settings) -> Queue:
    """How many jobs may wait and run."""
    return Queue(settings.department_queue, settings.department_jobs)


def alerts_of(settings: Settings, database: Database, now: Clock = now) -> Alerts:
    """Alerts, with the addresses they may go to."""
    secrets = Secrets(Keyring(settings.keys_file))
    return Alerts(database, secrets, outbound.networks(settings.outbound), settings.smtp, now)


def tracing_of(settings: Settings, process: str) -> Tracing | None:
    """The spans of a process, where they are wanted."""
    if not settings.traces:
        return None
    return Tracing(settings.traces, settings.traces_share, process, __version__)


def open_records(settings: Settings) -> tuple[Database, Blobs, Registry]:
    """Database, blobs and registry as the settings say; nothing is connected to yet."""
    scratch = settings.data / "scratch"
    scratch.mkdir(exist_ok=True)
    database = Database(settings.database_url)
    endpoint = {"endpoint": settings.blobs_endpoint} if settings.blobs_endpoint else None
    keyring = Keyring(settings.keys_file)
    blobs = Blobs(settings.blobs_url, endpoint, keyring, seals=settings.seal_blobs, scratch=scratch)
    limits = BundleLimits(total=settings.max_bundle)
    return database, blobs, Registry(database, blobs, scratch, limits, Signer(keyring))
