"""The composition: the only file that picks SQLite or PostgreSQL, disk or S3, local or Ray."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, TypeVar, cast

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from modelyard import __version__, logs
from modelyard.api.application import create_api
from modelyard.api.auth import identify, take_used
from modelyard.api.errors import REFUSED
from modelyard.api.files import FileLimits
from modelyard.api.inference_v2 import InferenceV2
from modelyard.api.metrics import Metrics
from modelyard.api.outcomes import OutcomesDoor
from modelyard.api.predict import PredictDoor
from modelyard.api.refusals import Refusals
from modelyard.api.services import Services
from modelyard.api.short import ShortWay, ShortWayProtocol
from modelyard.api.traced import TracedFront, TracedPredictor
from modelyard.catalog.alerts import Alerts
from modelyard.catalog.audit import Audit, Checkpoints
from modelyard.catalog.backups import Backups
from modelyard.catalog.bundles import Limits as BundleLimits
from modelyard.catalog.checkup import Checkups
from modelyard.catalog.datasets import Datasets
from modelyard.catalog.history import History, node_of
from modelyard.catalog.hosts import Approvals
from modelyard.catalog.jobs import Jobs, Queue
from modelyard.catalog.leases import Leases
from modelyard.catalog.ledger import Ledgers
from modelyard.catalog.nodes import Nodes
from modelyard.catalog.people import People
from modelyard.catalog.provenance import Provenance
from modelyard.catalog.refits import Refits
from modelyard.catalog.registry import Registry
from modelyard.catalog.sharing import Sharing
from modelyard.catalog.signing import Signing
from modelyard.catalog.sources import Sources
from modelyard.catalog.training import Training
from modelyard.catalog.watch import Watching
from modelyard.engine.again import Again
from modelyard.engine.comparing import Comparing
from modelyard.engine.engine import Engine
from modelyard.engine.heldout import HeldOutRows
from modelyard.engine.metering import Meter, Metered, of_fronts
from modelyard.engine.portable import is_settled
from modelyard.loop import alert, backup, forget, ledger
from modelyard.loop.beat import Beat, refuse_twin
from modelyard.loop.gate import GateStep
from modelyard.loop.rollout import RolloutStep
from modelyard.loop.ship import Shipper
from modelyard.loop.tick import Clock, Step, Tick, now
from modelyard.loop.train import Holdings, TrainStep
from modelyard.loop.trigger import TriggerStep
from modelyard.records.errors import UnavailableError, YardError
from modelyard.records.models import Version
from modelyard.records.people import OTHERS_GRACE
from modelyard.records.rollouts import Rollout, RouteTable
from modelyard.serving.batcher import Fleet, Limits
from modelyard.serving.counters import Counters
from modelyard.serving.link import EngineLink
from modelyard.serving.memory import keep_freed_memory
from modelyard.serving.pool import Pool
from modelyard.serving.predict import Predictor
from modelyard.serving.table import EMPTY, Confirmed, TableFile
from modelyard.serving.tap import Tap
from modelyard.serving.trials import Trials
from modelyard.settings import Settings
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.secrets import Keyring, Secrets, Signer
from modelyard.store.spool import SpoolWriter
from modelyard.traces import Tracing
from modelyard.web.behind import Behind
from modelyard.web.pages import create_pages
from modelyard.web.provider import Accounts, read_provider
from modelyard.web.pulse import Pulse
from modelyard.web.site import Site
from modelyard.workers import outbound, sandbox
from modelyard.workers.clerk import Clerk
from modelyard.workers.clusters import read_clusters
from modelyard.workers.control import Message, Routes, Stuck, Swapped, Tried, Used, WorkerInfo, Workers
from modelyard.workers.local import LocalWorkers
from modelyard.workers.plans import Workers as Hands
from modelyard.workers.recipes import Recipes
from modelyard.workers.tasks import Grounds, LocalGrounds

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_AGAIN_SECONDS = 2.0
_TELL_SECONDS = 1.0
_IN_MEMORY = 16 * 1024 * 1024  # bytes of a table; a larger one goes by the disk where the answer is one, too
_NOTE_SECONDS = 30.0
T = TypeVar("T")
R = TypeVar("R")

_ASKED = "/predict"  # the end of all addresses of predictions; what else begins as they do is a page
_CAME = "/outcomes"
_KEEP_ALIVE_SECONDS = 75
DRAIN = signal.SIGUSR1  # to a front: say that this node is not ready any more, and go on answering


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
    nodes = _nodes(settings, database)
    if settings.apart:
        nodes.part()
    refuse_twin(nodes, settings.node_address)
    if not settings.keys_file.exists():  # else what is not signed is not ours
        Provenance(database, Signer(Keyring(settings.keys_file))).begin()
    People(database).first_administrator(keep)


def _nodes(settings: Settings, database: Database) -> Nodes:
    return Nodes(database, node_of(settings.data / "spool"), settings.pulse_file)


def run_engine(settings: Settings, ready: Callable[[], object]) -> None:
    """Be the engine until SIGTERM."""
    logs.set_up(settings.log_level, settings.log_format, "engine")
    tracing = _tracing(settings, "engine")
    traced: Callable[[dict[str, Step]], dict[str, Step]] = tracing.steps if tracing else dict
    database, blobs, registry = open_records(settings)
    nodes = _nodes(settings, database)
    beat = Beat(nodes, settings.node_address, __version__)
    leases = Leases(database, nodes.here, beat.now)
    hands, grounds = _hands(settings)
    workers = Metered(hands)
    engine = Engine(settings, registry, workers, leases.hold)
    engine.drive(beat)  # the first, for the others go by its time
    spool, scratch = settings.data / "spool", settings.data / "scratch"
    engine.drive(Shipper(database, blobs, spool, scratch, settings.ship_after, beat.now, beat.may_act))
    meters = (workers.read, of_fronts(engine.hub.by_front))
    kept, every = settings.data / "meters.json", settings.ledger_every
    engine.drive(Meter(database, node_of(spool), kept, meters, every, beat.now))
    tick = partial(Tick, database, nodes.here, clock=beat.now, may_act=beat.may_act)
    for steps in loop_steps(settings, database, blobs, registry, engine, beat.now):
        standing = {forget.KIND: forget.SUBJECT} if forget.KIND in steps else {}
        engine.drive(tick(traced(steps), standing=standing))
    engine.drive(Checkpoints(Audit(database, settings.checkpoint_file)))
    train = train_step(settings, database, blobs, registry, grounds, beat.now)
    again = Again(engine.apart, settings.answer_timeout)
    engine.drive(tick(traced({"train": train}), at_once=settings.jobs), train.close)
    for kind, subject, step in own_ticks(settings, database, blobs, registry, beat.now, again):
        engine.drive(tick(traced({kind: step}), standing={kind: subject}))
    signal.signal(signal.SIGTERM, lambda *_: engine.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    threading.Thread(target=_upgrade_at_last, args=(database,), name="upgrade", daemon=True).start()
    engine.run(ready)
    if tracing:
        tracing.close()


def _hands(settings: Settings) -> tuple[Hands, Grounds]:
    """Who starts workers, and who runs jobs: this machine, or Ray clusters."""
    if settings.engine == "local":
        return LocalWorkers(settings), LocalGrounds(_recipes(settings), settings.data)
    from modelyard.workers.cluster import Places  # noqa: PLC0415 - only where they are used
    from modelyard.workers.ray import RayWorkers  # noqa: PLC0415
    from modelyard.workers.ray_jobs import RayGrounds  # noqa: PLC0415

    places = Places(settings, read_clusters(settings.ray_file))
    return RayWorkers(settings, places), RayGrounds(places)


def _recipes(settings: Settings) -> Recipes:
    threads = max(1, len(os.sched_getaffinity(0)) // settings.jobs)
    return Recipes(
        programs=settings.programs,
        environments=settings.data / "environments",
        threads=threads,
        allow_uncontained=settings.allow_uncontained,
        outbound=settings.outbound,
        r_repository=settings.r_repository,
    )


def _upgrade_at_last(database: Database) -> None:
    """Where the yard started without its database: bring that up to date as soon as it answers."""
    while True:
        try:
            database.upgrade()
        except UnavailableError:
            time.sleep(_AGAIN_SECONDS)
        except YardError:
            log.exception("the database cannot be used by this release")
            return
        else:
            return


def loop_steps(
    settings: Settings, database: Database, blobs: Blobs, registry: Registry, engine: Engine, now: Clock
) -> tuple[dict[str, Step], ...]:
    """The steps of the loop by kind of duty: the quick ones, and those that may take minutes.

    They run in ticks of their own, so that a rollback does not wait for a comparison of models.
    """
    quick: dict[str, Step] = {
        forget.KIND: forget.ForgetStep(database, settings.retention, now),
        "trigger": TriggerStep(Refits(database, _queue(settings)), now),
        "rollout": RolloutStep(
            registry.rollouts,
            _when_wanted(lambda: _losses(settings, database, blobs, registry)),
            engine.refresh,
            now,
        ),
    }
    rows = HeldOutRows(blobs, registry.datasets, settings.data / "scratch")
    compare = Comparing(engine.apart, rows, settings.answer_timeout)
    slow: dict[str, Step] = {
        "watch": _when_wanted(lambda: _watch_step(settings, database, blobs, registry, now)),
        "gate": GateStep(
            registry.gates, compare, lambda v: is_settled(v, settings, now()), engine.refresh, now
        ),
    }
    return quick, slow


def _when_wanted(make: Callable[[], Callable[[T], R]]) -> Callable[[T], R]:
    """What is made at its first call: the watch's arithmetic (scipy) takes a second and 60 MB to load."""
    made = cache(make)

    def call(subject: T) -> R:
        return made()(subject)

    return call


def _watch_step(settings: Settings, database: Database, blobs: Blobs, registry: Registry, now: Clock) -> Step:
    from modelyard.loop.watch import WatchStep  # noqa: PLC0415 - see `_when_wanted`

    data = settings.data
    return WatchStep(database, blobs, registry, data / "spool", data / "scratch", now)


def _losses(
    settings: Settings, database: Database, blobs: Blobs, registry: Registry
) -> Callable[[Rollout], tuple[float, ...]]:
    from modelyard.loop.watch import Losses  # noqa: PLC0415 - see `_when_wanted`

    return Losses(database, blobs, registry, settings.data / "scratch")


def train_step(
    settings: Settings, database: Database, blobs: Blobs, registry: Registry, grounds: Grounds, now: Clock
) -> TrainStep:
    """The step that runs jobs on this node; in a tick of its own, for a job takes as long as it takes."""
    jobs = _jobs(settings, database, blobs)
    holdings = Holdings(jobs, Training(database, jobs.queue), registry, registry.datasets)
    return TrainStep(holdings, grounds, settings.data / "jobs", settings.cpu_hour_cost, now)


def _jobs(settings: Settings, database: Database, blobs: Blobs) -> Jobs:
    limits = BundleLimits(total=settings.max_bundle, noun="project")
    return Jobs(database, blobs, settings.data / "scratch", _queue(settings), limits)


def _queue(settings: Settings) -> Queue:
    return Queue(settings.department_queue, settings.department_jobs)


def own_ticks(
    settings: Settings, database: Database, blobs: Blobs, registry: Registry, now: Clock, again: ledger.Again
) -> Iterator[tuple[str, str, Step]]:
    """Kind, subject and step of duties with a tick each: one may take long and must hold up nothing else.

    Alerts, whose places may not answer; the ledger; backups, on a node that is told where to keep them.
    """
    yield alert.KIND, alert.SUBJECT, alert.AlertStep(_alerts(settings, database, now), now)
    scratch, rhythm = settings.data / "scratch", ledger.Rhythm(settings.ledger_every)
    step = ledger.LedgerStep(database, blobs, registry, scratch, rhythm, now, again)
    yield ledger.KIND, ledger.SUBJECT, step
    if settings.backup:
        yield backup.KIND, backup.SUBJECT, backup.BackupStep(settings, database, blobs, __version__, now)


def _alerts(settings: Settings, database: Database, now: Clock = now) -> Alerts:
    secrets = Secrets(Keyring(settings.keys_file))
    return Alerts(database, secrets, outbound.networks(settings.outbound), settings.smtp, now)


def run_front(settings: Settings, name: str, listener: socket.socket, ready: Callable[[], object]) -> None:
    """Be a front until SIGTERM: answer HTTP on this socket."""
    logs.set_up(settings.log_level, settings.log_format, name)
    keep_freed_memory()
    tracing = _tracing(settings, name)
    front = Front(settings, name, ready, tracing)
    short_way = cast("type[asyncio.Protocol]", partial(ShortWayProtocol, front.short_way))
    config = server_config(settings, front, short_way)
    if tracing:  # every request goes the longer way, where spans are made
        config = server_config(settings, TracedFront(front, tracing), HttpToolsProtocol)
    uvicorn.Server(config).run(sockets=[listener])
    if tracing:
        tracing.close()


def server_config(
    settings: Settings, app: Callable[..., object], protocol: type[asyncio.Protocol]
) -> uvicorn.Config:
    """How a front speaks HTTP."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),  # of nobody else: a caller could forge them
        forwarded_allow_ips=[str(network) for network in settings.proxy_networks],
        log_config=None,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
    )


def _tracing(settings: Settings, process: str) -> Tracing | None:
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


def _company(settings: Settings) -> Accounts | None:
    if settings.oidc_file is None:
        return None
    from modelyard.web.oidc import Company  # noqa: PLC0415 - loads cryptography: 0.2 s, only where it is used

    return Company(read_provider(settings.oidc_file))


def _warning(settings: Settings) -> str:
    """What every page has to say of this node."""
    if not settings.allow_uncontained or not (why := sandbox.missing()):
        return ""
    return f"Models with code run WITHOUT WALLS on this machine, as YARD_ALLOW_UNCONTAINED says: {why}."


class Front:
    """One front process: the doors, and what stands behind them.

    It is an ASGI application; predictions go their own short way, everything else through the API.
    """

    def __init__(
        self, settings: Settings, name: str, ready: Callable[[], object], tracing: Tracing | None = None
    ) -> None:
        self._settings = settings
        self._tracing = tracing
        self._ready: Callable[[], object] | None = ready
        self._name = name
        self._table: RouteTable = EMPTY
        self._tasks: set[asyncio.Task[None]] = set()
        self._file = TableFile(settings.routes_file)
        self._counters = Counters()
        self._draining = False
        self.short_way = ShortWay(lambda: self._predict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request, or run the lifespan."""
        if scope["type"] == "http":
            scope[REFUSED] = self._refusals.note
            path = scope["path"]
            if path.startswith("/models/") and path.endswith(_ASKED):
                await self._predict(scope, receive, send)
            elif path.startswith("/models/") and path.endswith(_CAME):
                await self._outcomes(scope, receive, send)
            elif path.startswith("/v2"):
                await self._v2(scope, receive, send)
            elif path == "/metrics":
                await self._metrics(scope, receive, send)
            else:
                await self._api(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._start()
        except Exception as error:
            log.exception("the front cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._tell()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await send({"type": "lifespan.shutdown.complete"})

    def _start(self) -> None:
        settings = self._settings
        asyncio.get_running_loop().add_signal_handler(DRAIN, self._drain)
        with contextlib.suppress(UnavailableError):  # the engine writes it anew and tells
            self._table = self._file.load()
        self._confirmed = Confirmed(settings.routes_file)
        self._look_confirmed()
        spool = SpoolWriter(
            settings.data / "spool", self._name, sync=settings.spool_sync, most=settings.max_spool
        )
        self._link = EngineLink(settings.engine_socket, self._name, self._news, settings.load_timeout)
        limits = Limits(
            settings.batch_rows, settings.queue_rows, settings.answer_timeout, settings.queue_seconds
        )
        self._pool = Pool(limits, settings.max_rows, self._ensure, self._stuck, Tap(spool.append))
        self._trials = Trials(self._pool, settings.answer_timeout)
        self._trials.swap(self._table)
        parts = self._pool, self._counters, self._trials
        predictor = TracedPredictor(self._tracing, *parts) if self._tracing else Predictor(*parts)
        files = FileLimits(settings.data / "scratch", _IN_MEMORY, settings.max_file)
        self._predict = PredictDoor(lambda: self._table, predictor, settings.max_body, files)
        self._outcomes = OutcomesDoor(
            lambda: self._table,
            spool.append_many,
            predictor.new_request_id,
            settings.max_body,
            settings.max_rows,
        )
        self._v2 = InferenceV2(lambda: self._table, predictor, settings.max_body, __version__)
        pulse = Pulse(self._count)
        company = _company(settings)
        site = Site(settings.address, company.provider.name if company else "")
        behind = Behind(
            pulse=pulse,
            ask=self._predict.ask,
            max_body=settings.max_body,
            site=site,
            company=company,
            warning=_warning(settings),
        )
        services = self._services()
        self._metrics = Metrics(lambda: self._table, self._link.report, services.alerts.alerts)
        self._refusals = Refusals(services.audit.note_refused, lambda sent: identify(sent, self._table))
        self._api = create_api(services, create_pages(behind), names=settings.names)
        self._keep(self._refusals.run())
        self._keep(self._link.run())
        self._keep(pulse.run())
        self._keep(self._tell_used())
        self._keep(self._note_uses(services.people))

    def _services(self) -> Services:
        database, blobs, registry = open_records(self._settings)
        return Services(
            registry=registry,
            jobs=_jobs(self._settings, database, blobs),
            approvals=Approvals(database),
            people=People(database),
            signing=Signing(database),
            sharing=Sharing(database),
            backups=Backups(database, self._settings.backup_every if self._settings.backup else 0.0),
            nodes=_nodes(self._settings, database),
            checkups=Checkups(database, self._settings.data, self._settings.data / "spool", now),
            datasets=registry.datasets,
            sources=self._sources(database, registry.datasets),
            alerts=_alerts(self._settings, database),
            audit=Audit(database, self._settings.checkpoint_file),
            blobs=blobs,
            table=lambda: self._table,
            refresh=self._link.refresh,
            check=self._check,
            warm=self._warm,
            workers=self._workers,
            not_ready=self._not_ready,
            watching=Watching(database),
            ledgers=Ledgers(database),
            history=History(database, blobs, self._settings.data / "spool"),
            scratch=self._settings.data / "scratch",
            max_bundle=self._settings.max_bundle,
            max_dataset=self._settings.max_dataset,
            version=__version__,
        )

    def _sources(self, database: Database, datasets: Datasets) -> Sources:
        secrets = Secrets(Keyring(self._settings.keys_file))
        clerk = Clerk(self._settings.data)
        return Sources(database, datasets, secrets, clerk, outbound.networks(self._settings.outbound))

    async def _check(self, _: Version) -> None:
        await self._link.check()

    async def _warm(self, version: Version) -> None:
        await self._link.ensure(version.id, self._settings.load_timeout)

    async def _count(self) -> dict[str, float]:
        return (await self._link.report()).counters

    async def _workers(self) -> list[WorkerInfo]:
        return list((await self._link.report()).workers)

    def _not_ready(self) -> str:
        if self._draining:
            return "this node is being stopped"
        return "the route table is not there yet" if self._table.generation < 0 else ""

    def _drain(self) -> None:
        """The node will stop soon: balancers are told to go elsewhere; what comes is answered as ever."""
        self._draining = True

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ensure(self, version_id: str) -> Fleet:
        return await self._link.ensure(version_id, self._settings.answer_timeout)

    def _stuck(self, version_id: str, path: str, why: str) -> None:
        self._link.tell(Stuck(version_id, path, why))

    def _news(self, message: Message) -> None:
        match message:
            case Routes():
                self._table = self._file.load()
                self._look_confirmed()
                self._pool.swap(self._table)
                self._trials.swap(self._table)
                self.short_way.forget()
                self._link.tell(Swapped(self._table.generation))
                self._say_ready()
            case Workers(version_id=version_id, sockets=sockets, takes=takes):
                self._pool.set_fleet(version_id, Fleet(sockets, takes))
            case _:
                log.warning("unexpected news: %s", type(message).__name__)

    def _look_confirmed(self) -> None:
        """Have the table say for how long the database has not confirmed it, where that begins to matter."""
        ago = self._confirmed.ago()
        silent = ago if ago > OTHERS_GRACE else 0.0
        if silent != self._table.silent:
            self._table = msgspec.structs.replace(self._table, silent=silent)

    def _say_ready(self) -> None:
        """Once, when the engine has said which routes hold."""
        if self._ready is not None:
            self._ready()
            self._ready = None

    async def _note_uses(self, people: People) -> None:
        """Write down from time to time which tokens came in: for people who tidy up, so to the minute."""
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            if tokens := take_used():
                try:
                    await asyncio.to_thread(people.mark_used, tokens, datetime.now(UTC))
                except UnavailableError as error:
                    log.warning("the last use of tokens is not written down: %s", error)

    async def _tell_used(self) -> None:
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            self._look_confirmed()
            self._tell()

    def _tell(self) -> None:
        """What was counted; also as the last word, or the last second would be missing."""
        self._link.tell(Used(self._counters.values, self._pool.take_used(), self._pool.waits()))
        if evidence := self._trials.take():
            self._link.tell(Tried(evidence))
