"""A front of a node: the doors, and what stands behind them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import msgspec
import uvicorn

from modelyard import __version__, logs
from modelyard.api.application import create_api
from modelyard.api.auth import identify, take_used
from modelyard.api.errors import REFUSED
from modelyard.api.files import FileLimits
from modelyard.api.heads import HeadsInTime
from modelyard.api.inference_v2 import InferenceV2
from modelyard.api.metrics import Metrics
from modelyard.api.outcomes import OutcomesDoor
from modelyard.api.predict import PredictDoor
from modelyard.api.refusals import Refusals
from modelyard.api.services import Services
from modelyard.api.short import ShortWay, ShortWayProtocol
from modelyard.api.traced import TracedFront, TracedPredictor
from modelyard.app.records import alerts_of, jobs_of, nodes_of, open_records, tracing_of
from modelyard.catalog.audit import Audit
from modelyard.catalog.backups import Backups
from modelyard.catalog.checkup import Checkups
from modelyard.catalog.datasets import Datasets
from modelyard.catalog.history import History
from modelyard.catalog.hosts import Approvals
from modelyard.catalog.ledger import Ledgers
from modelyard.catalog.people import People
from modelyard.catalog.sharing import Sharing
from modelyard.catalog.signing import Signing
from modelyard.catalog.sources import Sources
from modelyard.catalog.watch import Watching
from modelyard.loop.tick import now
from modelyard.records.errors import UnavailableError
from modelyard.records.models import Version
from modelyard.records.people import OTHERS_GRACE
from modelyard.records.rollouts import RouteTable
from modelyard.serving.batcher import Fleet, Limits
from modelyard.serving.counters import Counters
from modelyard.serving.link import EngineLink
from modelyard.serving.memory import keep_freed_memory
from modelyard.serving.pool import Pool
from modelyard.serving.predict import Predictor
from modelyard.serving.table import EMPTY, Confirmed, TableFile
from modelyard.serving.tap import Tap
from modelyard.serving.trials import Trials
from modelyard.settings import Settings, shown_settings
from modelyard.store.database import Database
from modelyard.store.secrets import Keyring, Secrets
from modelyard.store.spool import SpoolWriter
from modelyard.traces import Tracing
from modelyard.web.behind import Behind
from modelyard.web.pages import create_pages
from modelyard.web.provider import Accounts, read_provider
from modelyard.web.pulse import Pulse
from modelyard.web.site import Site
from modelyard.workers import outbound, sandbox
from modelyard.workers.clerk import Clerk
from modelyard.workers.control import Message, Routes, Stuck, Swapped, Tried, Used, WorkerInfo, Workers

log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_TELL_SECONDS = 1.0
_IN_MEMORY = 16 * 1024 * 1024  # bytes of a table; a larger one goes by the disk where the answer is one, too
_NOTE_SECONDS = 30.0
_ASKED = "/predict"  # the end of all addresses of predictions; what else begins as they do is a page
_CAME = "/outcomes"
_KEEP_ALIVE_SECONDS = 75
DRAIN = signal.SIGUSR1  # to a front: say that this node is not ready any more, and go on answering


def run_front(settings: Settings, name: str, listener: socket.socket, ready: Callable[[], object]) -> None:
    """Be a front until SIGTERM: answer HTTP on this socket."""
    logs.set_up(settings.log_level, settings.log_format, name)
    keep_freed_memory()
    tracing = tracing_of(settings, name)
    front = Front(settings, name, ready, tracing)
    short_way = cast("type[asyncio.Protocol]", partial(ShortWayProtocol, front.short_way))
    config = server_config(settings, front, short_way)
    if tracing:  # every request goes the longer way, where spans are made
        config = server_config(settings, TracedFront(front, tracing), HeadsInTime)
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
            jobs=jobs_of(self._settings, database, blobs),
            approvals=Approvals(database),
            people=People(database),
            signing=Signing(database),
            sharing=Sharing(database),
            backups=Backups(database, self._settings.backup_every if self._settings.backup else 0.0),
            nodes=nodes_of(self._settings, database),
            checkups=Checkups(
                database, self._settings.data, self._settings.data / "spool", now, self._settings.max_spool
            ),
            datasets=registry.datasets,
            sources=self._sources(database, registry.datasets),
            alerts=alerts_of(self._settings, database),
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
            settings=shown_settings(self._settings),
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
