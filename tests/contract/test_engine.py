"""The engine on a real registry with real workers: checks, routes, and a database that goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.catalog.leases import Hold, Leases, alone
from modelyard.catalog.registry import Registry
from modelyard.engine import engine as engines
from modelyard.engine.engine import Engine
from modelyard.loop.tick import now
from modelyard.records.errors import NotFoundError, UnavailableError, WorkerStartError
from modelyard.records.models import Version, VersionState
from modelyard.records.people import Grant, Role
from modelyard.records.rollouts import RouteTable
from modelyard.serving.table import load_table, save_table
from modelyard.settings import Settings
from modelyard.store import duties
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.workers.control import Ensure
from modelyard.workers.local import LocalWorkers
from tests.bundles import TAR
from tests.conftest import find_postgresql
from tests.contract.hands import ask, is_alive, settings
from tests.contract.postgresql import Server
from tests.journeys.models import code_bundle, times
from tests.journeys.running import PATIENCE, until

MODEL, FIRST, SECOND = "ops/double", "ops.double.1", "ops.double.2"


class Yard:
    """A data folder with a registry on SQLite (or the database given), and engines on it."""

    def __init__(self, data: Path, database: str = "", **changes: Any) -> None:
        data.mkdir(exist_ok=True)
        self.settings: Settings = settings(data, database=database, load_timeout=PATIENCE, **changes)
        self.database = Database(self.settings.database_url)
        self.database.upgrade()
        scratch = data / "scratch"
        scratch.mkdir(exist_ok=True)
        self.registry = Registry(self.database, Blobs(self.settings.blobs_url), scratch)

    def engine(self, hold: Hold = alone) -> Engine:
        return Engine(self.settings, self.registry, LocalWorkers(self.settings), hold)

    def publish(self, tar: bytes, alias: str | None = None) -> Version:
        return self.registry.publish(MODEL, [tar], TAR, by="anna", alias=alias, may_create_department=True)[0]

    def checked(self, engine: Engine, tar: bytes, alias: str | None = None) -> Version:
        version = self.publish(tar, alias)
        engine.checker.wake()
        return until(lambda: self.ended(version))

    def ended(self, version: Version) -> Version | None:
        now = self.registry.version(MODEL, version.version)
        return now if now.state in (VersionState.CHECKED, VersionState.FAILED) else None

    def routes(self) -> RouteTable:
        return load_table(self.settings.routes_file)


@contextmanager
def running(engine: Engine) -> Iterator[Engine]:
    """An engine at work in a thread."""
    ready = threading.Event()
    thread = threading.Thread(target=engine.run, args=(ready.set,))
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield engine
    finally:
        pids = [w.pid for workers in engine.keeper.live().values() for w in workers]
        engine.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert not any(map(is_alive, pids))


def die(engine: Engine) -> None:
    """What is left of an engine that was killed: nothing that listens, and its workers."""
    engine.hub.close()
    engine.checker.stop()
    engine.keeper._stopped = True  # it replaces nobody


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path / "data", portable=False)  # whose trial would change routes at a time of its own
    yield made
    made.database.close()


def test_a_published_version_is_checked_and_routed(yard: Yard) -> None:
    with running(yard.engine()) as engine:
        version = yard.checked(engine, times(2))
        assert version.state is VersionState.CHECKED
        assert version.aliases == ("champion",)
        assert [c.name for c in version.bundle.signature.outputs] == ["prediction"]
        table = until(lambda: yard.routes() if MODEL in yard.routes().models else None)
        champion = until(lambda: yard.routes().models[MODEL].champion)
        assert champion.id == FIRST
        assert table.generation <= yard.registry.generation()
        assert ask(engine.keeper.ensure(FIRST)[0], 1.5) == [3.0]
        assert yard.settings.routes_file.stat().st_mode & 0o077 == 0


def test_a_version_that_fails_its_check_keeps_reason_and_log(yard: Yard) -> None:
    with running(yard.engine()) as engine:
        version = yard.checked(
            engine, code_bundle("print('hello from inside')\nraise ValueError('no weights')")
        )
        assert version.state is VersionState.FAILED
        assert "no weights" in version.reason
        assert "hello from inside" in version.log
        assert engine.keeper.live() == {}


def test_one_that_dies_on_its_example_keeps_its_log_too(yard: Yard) -> None:
    source = "import os\ndef predict(columns):\n    print('last words', flush=True)\n    os._exit(3)\n"
    with running(yard.engine()) as engine:
        version = yard.checked(engine, code_bundle(source))
        assert version.state is VersionState.FAILED
        assert "ended while it answered the example" in version.reason
        assert "last words" in version.log


def test_a_check_that_an_engine_left_behind_is_done_by_the_next(yard: Yard) -> None:
    version = yard.publish(times(2))
    yard.registry.checks.start(MODEL, version.version)
    with running(yard.engine()):
        assert until(lambda: yard.ended(version)).state is VersionState.CHECKED


def test_refresh_changes_nothing_where_nothing_changed(yard: Yard) -> None:
    with running(yard.engine()) as engine:
        yard.checked(engine, times(2))
        engine.refresh()
        before = yard.settings.routes_file.stat().st_ino  # its time says when the database last confirmed it
        assert engine.refresh() == engine.refresh() == yard.registry.generation()
        assert yard.settings.routes_file.stat().st_ino == before
        yard.settings.routes_file.unlink()
        engine.refresh()
        assert MODEL in yard.routes().models, "a file that was deleted is written anew"


def test_a_change_is_noticed_without_being_told(yard: Yard) -> None:
    """Another node, or a front that died before it could tell, made it."""
    with running(yard.engine()) as engine:
        yard.checked(engine, times(2))
        yard.checked(engine, times(3))
        yard.registry.set_alias(MODEL, "champion", 2, by="anna")
        until(lambda: (c := yard.routes().models[MODEL].champion) and c.version == 2)


def test_workers_are_looked_after_while_a_refresh_waits(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh may wait for as long as a new champion takes to start."""
    monkeypatch.setattr(engines, "_POLL_SECONDS", 0.02)
    engine, swept = yard.engine(), threading.Semaphore(0)
    monkeypatch.setattr(engine.keeper, "sweep", swept.release)
    with running(engine), engine._refreshing:
        yard.publish(times(2))
        assert all(swept.acquire(timeout=PATIENCE) for _ in range(20))


def test_a_new_champion_is_warm_before_it_is_routed(yard: Yard) -> None:
    with running(yard.engine()) as engine:
        yard.checked(engine, times(2))
        yard.checked(engine, times(3))
        engine.keeper.release(SECOND)
        yard.registry.set_alias(MODEL, "champion", 2, by="anna")
        engine.refresh()
        assert SECOND in engine.keeper.live()
        assert FIRST in engine.keeper.live(), "the old one is not let go with the swap"


def test_nothing_else_waits_for_a_new_champion_to_start(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for one promoted on another node; least of all a right that was revoked."""
    with running(yard.engine()) as engine:
        yard.checked(engine, times(2))
        yard.checked(engine, times(3))
        until(lambda: 2 in yard.routes().models[MODEL].versions)
        engine.keeper.release(SECOND)
        may_start, ensure = threading.Event(), engine.keeper.ensure

        def held_up(version_id: str, *args: Any, **options: Any) -> Any:
            assert version_id != SECOND or may_start.wait(PATIENCE)
            return ensure(version_id, *args, **options)

        monkeypatch.setattr(engine.keeper, "ensure", held_up)
        yard.registry.set_alias(MODEL, "champion", 2, by="anna")
        with ThreadPoolExecutor(1) as pool:
            refreshed = pool.submit(engine.refresh)
            yard.registry.publish("ops/other", [times(4)], TAR, by="anna", may_create_department=True)
            until(lambda: "ops/other" in yard.routes().models)
            assert yard.routes().models[MODEL].aliases["champion"] == 1
            assert yard.routes().generation < yard.registry.generation()
            may_start.set()
            refreshed.result(PATIENCE)
        assert yard.routes().models[MODEL].aliases["champion"] == 2
        assert SECOND in engine.keeper.live()


def test_a_champion_that_does_not_start_is_routed_all_the_same(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(yard.engine()) as engine:
        yard.checked(engine, times(2))
        yard.checked(engine, times(3))
        engine.refresh()
        engine.keeper.release(SECOND)
        ensure = engine.keeper.ensure

        def broken(version_id: str, *args: Any, **options: Any) -> Any:
            if version_id == SECOND:
                raise WorkerStartError("no weights")
            return ensure(version_id, *args, **options)

        monkeypatch.setattr(engine.keeper, "ensure", broken)
        yard.registry.set_alias(MODEL, "champion", 2, by="anna")
        engine.refresh()
        assert yard.routes() == yard.registry.route_table()


def test_a_form_that_does_not_start_for_the_yard_goes_down_is_kept(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, stayed = yard.engine(), list[str]()
    portable = msgspec.structs.replace(yard.publish(times(2)), form="portable")
    monkeypatch.setattr(engine, "_version", lambda _: portable)
    monkeypatch.setattr(engine._forms, "stay_native", lambda version, _: stayed.append(version.id))
    error = WorkerStartError("The worker died while it loaded the model: killed by SIGKILL.")
    assert engine._fall_back(FIRST, error)
    engine._stopping.set()
    assert not engine._fall_back(FIRST, error)
    assert stayed == [FIRST]
    engine.close()


def test_replicas_as_the_settings_say(tmp_path: Path) -> None:
    yard = Yard(tmp_path / "data", replicas=2)
    with running(yard.engine()) as engine:
        yard.checked(engine, times(2))
        assert engine._answer(Ensure(1, FIRST)).sockets
        until(lambda: len(engine.keeper.live()[FIRST]) == 2)
    yard.database.close()


@pytest.mark.parametrize("damage", [b"", b"not msgpack", b"\xc0"])
def test_a_damaged_routes_file_is_built_anew(yard: Yard, damage: bytes) -> None:
    with running(yard.engine()) as engine:
        yard.checked(engine, times(2))
        until(lambda: MODEL in yard.routes().models)
    yard.settings.routes_file.write_bytes(damage)
    with running(yard.engine()):
        assert MODEL in yard.routes().models


def test_routes_of_another_database_with_the_same_generation_are_replaced(yard: Yard) -> None:
    """As after `yard restore`."""
    stale = msgspec.structs.replace(
        yard.registry.route_table(), tokens={"0" * 64: Grant("mallory", Role.ADMINISTRATOR)}
    )
    save_table(stale, yard.settings.routes_file)
    with running(yard.engine()):
        assert yard.routes() == yard.registry.route_table()


def test_a_version_of_no_model_is_not_found(yard: Yard) -> None:
    with running(yard.engine()) as engine:
        for version_id in ("ops.double.9", "ops.nothing.1", "no-department.x.1"):
            with pytest.raises(NotFoundError):
                engine.keeper.ensure(version_id)


@pytest.mark.postgresql
def test_the_database_goes_away_and_comes_back(tmp_path: Path) -> None:
    binaries = find_postgresql()
    assert binaries
    with Server(binaries) as server:
        yard = Yard(tmp_path / "data", server.url(server.create()))
        with running(yard.engine()) as engine:
            yard.checked(engine, times(2))
            until(lambda: (r := yard.routes().models.get(MODEL)) and r.champion)
            server.stop()
            with pytest.raises(UnavailableError):
                engine.refresh()
            assert yard.routes().models[MODEL].champion, "the routes stay"
            engine.keeper.release(FIRST)
            assert ask(engine.keeper.ensure(FIRST)[0], 2.0) == [4.0], "from the kept plan"
            with pytest.raises(UnavailableError):
                engine.keeper.ensure(SECOND)  # never seen here
        with running(yard.engine()) as engine:  # a start while the database is away
            assert yard.routes().models[MODEL].champion
            assert ask(engine.keeper.ensure(FIRST)[0], 2.0) == [4.0]
        yard.database.close()


def test_an_engine_that_died_leaves_its_workers_to_the_next(yard: Yard) -> None:
    first = yard.engine()
    version = yard.publish(times(2))
    first.checker.check(version)
    (worker,) = first.keeper.live()[FIRST]
    die(first)
    with running(yard.engine()) as second:
        assert second.keeper.ensure(FIRST) == [worker]
        assert ask(worker, 1.0) == [2.0]


def test_it_stops_though_a_model_is_loading(yard: Yard) -> None:
    with running(yard.engine()) as engine:
        version = yard.publish(code_bundle("import time\ntime.sleep(99)"))
        engine.checker.wake()
        until(lambda: list((yard.settings.run / "workers").glob("*.json")))
    assert yard.registry.version(MODEL, version.version).state is VersionState.CHECKING, "not failed"
    assert not list((yard.settings.run / "workers").glob("*.json"))


def test_two_nodes_check_a_version_once(tmp_path: Path, database: Database, database_url: str) -> None:
    """And what a node that died was checking the other does."""
    nodes = [
        Yard(tmp_path / name, database_url, blobs=str(tmp_path / "shared"), portable=False) for name in "ab"
    ]
    begun: list[str] = []
    engines = []

    def counted(check: Callable[[Version], Version], name: str, version: Version) -> Version:
        begun.append(name)
        return check(version)

    for node, name in zip(nodes, "ab", strict=True):
        engine = node.engine(Leases(node.database, name, now).hold)
        check = engine.checker.check
        engine.checker.check = partial(counted, check, name)  # type: ignore[method-assign]
        engines.append(engine)
    with database.write(unaudited="a test") as connection:
        dead = duties.take(connection, "check", SECOND, "gone", now(), timedelta(minutes=1))
    assert dead is not None
    with running(engines[0]), running(engines[1]):
        for factor in (2, 3):
            version = nodes[0].publish(times(factor))
            for engine in engines:
                engine.checker.wake()
            if factor == 3:
                with database.write(unaudited="a test") as connection:
                    duties.release(connection, None, "gone", now())
            until(lambda version=version: nodes[1].ended(version))  # type: ignore[misc]
    assert len(begun) == 2, begun
    for node in nodes:
        node.database.close()
