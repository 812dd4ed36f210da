"""The engine of a node: who starts its workers, and the steps of its loop."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TypeVar

from modelyard import __version__, logs
from modelyard.app.records import alerts_of, jobs_of, nodes_of, open_records, queue_of, tracing_of
from modelyard.catalog.audit import Audit, Checkpoints
from modelyard.catalog.conditions import Conditions, Seldom
from modelyard.catalog.history import node_of
from modelyard.catalog.leases import Leases
from modelyard.catalog.nodes import Nodes
from modelyard.catalog.refits import Refits
from modelyard.catalog.registry import Registry
from modelyard.catalog.training import Training
from modelyard.catalog.troubles import Troubles
from modelyard.engine.again import Again
from modelyard.engine.comparing import Comparing
from modelyard.engine.engine import Engine
from modelyard.engine.heldout import HeldOutRows
from modelyard.engine.metering import Meter, Metered, of_fronts
from modelyard.engine.portable import is_settled
from modelyard.loop import alert, backup, forget, ledger
from modelyard.loop.beat import Beat
from modelyard.loop.gate import GateStep
from modelyard.loop.rollout import RolloutStep
from modelyard.loop.rounds import Rounds
from modelyard.loop.ship import Shipper
from modelyard.loop.tick import Clock, Step, Tick
from modelyard.loop.train import Holdings, TrainStep
from modelyard.loop.trigger import TriggerStep
from modelyard.records.checkup import of_walls
from modelyard.records.diagnosis import Finding
from modelyard.records.errors import UnavailableError, YardError
from modelyard.records.rollouts import Rollout
from modelyard.settings import Settings
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.web.provider import read_provider
from modelyard.workers import sandbox
from modelyard.workers.certificates import certificates
from modelyard.workers.clusters import read_clusters
from modelyard.workers.local import LocalWorkers
from modelyard.workers.plans import Workers as Hands
from modelyard.workers.recipes import Recipes
from modelyard.workers.tasks import Grounds, LocalGrounds

log = logging.getLogger(__name__)
_AGAIN_SECONDS = 2.0
LookAtClusters = Callable[[], tuple[Finding, ...]]
T = TypeVar("T")
R = TypeVar("R")


def run_engine(settings: Settings, ready: Callable[[], object]) -> None:
    """Be the engine until SIGTERM."""
    logs.set_up(settings.log_level, settings.log_format, "engine")
    tracing = tracing_of(settings, "engine")
    traced: Callable[[dict[str, Step]], dict[str, Step]] = tracing.steps if tracing else dict
    database, blobs, registry = open_records(settings)
    nodes = nodes_of(settings, database)
    beat = Beat(nodes, settings.node_address, __version__)
    leases = Leases(database, nodes.here, beat.now, beat.may_act)
    hands, grounds, look_at_clusters = _hands(settings)
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
    told = traced({alert.KIND: _alert_step(settings, database, nodes, beat)})
    engine.drive(tick(told, standing={alert.KIND: alert.SUBJECT}))
    for kind, subject, step in own_ticks(settings, database, blobs, registry, beat.now, again):
        engine.drive(tick(traced({kind: step}), standing={kind: subject}))
    engine.drive(_rounds(settings, engine, database, nodes, beat, look_at_clusters))
    signal.signal(signal.SIGTERM, lambda *_: engine.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    threading.Thread(target=_upgrade_at_last, args=(database,), name="upgrade", daemon=True).start()
    engine.run(ready)
    if tracing:
        tracing.close()


def _hands(settings: Settings) -> tuple[Hands, Grounds, LookAtClusters]:
    """Who starts workers, and who runs jobs: this machine, or Ray clusters; and how it stands with these."""
    if settings.engine == "local":
        return LocalWorkers(settings), LocalGrounds(_recipes(settings), settings.data), tuple
    from modelyard.workers.cluster import Places  # noqa: PLC0415 - only where they are used
    from modelyard.workers.ray import RayWorkers  # noqa: PLC0415
    from modelyard.workers.ray_jobs import RayGrounds  # noqa: PLC0415

    places = Places(settings, read_clusters(settings.ray_file))
    return RayWorkers(settings, places), RayGrounds(places), places.look


def _alert_step(settings: Settings, database: Database, nodes: Nodes, beat: Beat) -> alert.AlertStep:
    """Tells people what has happened to models, and what is wrong with the yard."""
    every = settings.backup_every if settings.backup else 0.0
    troubles = Troubles(database, nodes, every, beat.now)
    return alert.AlertStep(alerts_of(settings, database, beat.now), beat.now, troubles.note, beat.is_steady)


def _rounds(
    settings: Settings, engine: Engine, database: Database, nodes: Nodes, beat: Beat, clusters: LookAtClusters
) -> Rounds:
    """Has all nodes know how this one is."""
    issuer = read_provider(settings.oidc_file).issuer if settings.oidc_file else ""
    servers = (settings.address, settings.blobs_endpoint, issuer)
    certified = Seldom(lambda: tuple(certificates(servers, must_answer=False)))

    def workers() -> list[int]:
        return [worker.memory for worker in engine.keeper.report()]

    def problems() -> Iterator[Finding]:
        yield of_walls(sandbox.missing(), allowed=settings.allow_uncontained)
        yield from certified()
        yield from clusters()

    look = Conditions(database, settings.data, settings.max_spool, workers, problems, beat.now).look
    return Rounds(look, nodes.say, beat.may_act)


def _recipes(settings: Settings) -> Recipes:
    threads = max(1, len(os.sched_getaffinity(0)) // settings.jobs)
    return Recipes.of(settings, settings.data / "environments", threads)


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
        "trigger": TriggerStep(Refits(database, queue_of(settings)), now),
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
    jobs = jobs_of(settings, database, blobs)
    holdings = Holdings(jobs, Training(database, jobs.queue), registry, registry.datasets)
    return TrainStep(holdings, grounds, settings.data / "jobs", settings.cpu_hour_cost, now)


def own_ticks(
    settings: Settings, database: Database, blobs: Blobs, registry: Registry, now: Clock, again: ledger.Again
) -> Iterator[tuple[str, str, Step]]:
    """Kind, subject and step of duties with a tick each: one may take long and must hold up nothing else.

    The ledger; backups, on a node that is told where to keep them. (Alerts, whose places may not answer, are
    another.)
    """
    scratch, rhythm = settings.data / "scratch", ledger.Rhythm(settings.ledger_every)
    step = ledger.LedgerStep(database, blobs, registry, scratch, rhythm, now, again)
    yield ledger.KIND, ledger.SUBJECT, step
    if settings.backup:
        yield backup.KIND, backup.SUBJECT, backup.BackupStep(settings, database, blobs, __version__, now)
