"""The engine process: workers, checks and routes of one node."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from modelyard.catalog.bundles import is_laid_out
from modelyard.catalog.forms import NATIVE, PORTABLE, Forms
from modelyard.catalog.leases import Hold, alone
from modelyard.catalog.registry import Registry
from modelyard.engine.checks import Checker, answers_example
from modelyard.engine.hub import Hub
from modelyard.engine.keeper import Keeper
from modelyard.engine.portable import LANGUAGE as PORTABLE_LANGUAGE
from modelyard.engine.portable import Portables, plan_of
from modelyard.engine.sizing import Sizing
from modelyard.engine.trying import Trying
from modelyard.records.capacity import Demand
from modelyard.records.errors import NotFoundError, UnavailableError, WorkerStartError, YardError
from modelyard.records.models import Version, VersionState
from modelyard.records.provenance import What
from modelyard.records.references import CHAMPION
from modelyard.records.rollouts import MANY_ROWS, RouteTable, ServedVersion, version_of
from modelyard.serving.table import EMPTY, TableFile, confirm_table, load_table
from modelyard.settings import Settings
from modelyard.store.folder import whole_file
from modelyard.workers import control
from modelyard.workers.control import (
    Check,
    Ensure,
    Message,
    Refresh,
    Reply,
    Report,
    Routes,
    Stuck,
    Tried,
    Used,
)
from modelyard.workers.plans import PROOF, Plan, Progress, Worker, Workers

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_SWAP_SECONDS = 5.0
_APART = itertools.cycle(range(2_000_000, 2_000_100))  # workers that serve nobody have logs of their own


class Part(Protocol):
    """Something that works in threads of its own as long as the engine does."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, soon."""


class Engine:
    """Keeps workers, checks versions and builds the routes of one node.

    Args:
        workers: who starts and ends workers.
        hold: has the nodes of the yard do once what one of them is to do.
    """

    def __init__(self, settings: Settings, registry: Registry, workers: Workers, hold: Hold = alone) -> None:
        self._settings = settings
        self._registry = registry
        self._workers = workers
        self._bundles = settings.data / "bundles"
        self._file = TableFile(settings.routes_file)
        self._table = last_table(settings.routes_file)
        self._built = False
        self._held: list[ServedVersion] = []  # champions that wait for workers
        self._refreshing = threading.Lock()
        self._swapping = threading.Lock()
        self._saving = threading.Lock()
        self._stopping = threading.Event()
        self._parts: list[Part] = []
        self._closers: list[Callable[[], None]] = []
        self._end, self._say_end = os.pipe()
        self.keeper = Keeper(settings, workers, self._plan, self._warm, self._changed)
        self.checker = Checker(registry, self.keeper, settings.answer_timeout, self._checked, hold)
        self._forms: Forms = registry.forms
        self.portables = Portables(settings, self._forms, workers, self._native_plan, self.refresh, hold)
        self.sizing = Sizing(self.keeper, self._demand, settings.replicas, settings.most_replicas)
        self.trying = Trying(registry.rollouts, self.keeper, self.sizing.replicas)
        self.hub = Hub(settings.engine_socket, self._answer, self._tell, self._greet)

    @contextmanager
    def apart(self, version: Version) -> Iterator[Worker]:
        """A worker of a version, in the form that answers now, that serves nobody; it ends with the block.

        Raises:
            WorkerStartError: it does not start.
        """
        plan = self._plan(version.id, next(_APART), lambda _: None)
        try:
            worker = self._workers.start(msgspec.structs.replace(plan, purpose=PROOF), lambda _: None)
        except WorkerStartError as error:
            words = f"Version {version.version} does not start: {error.message}"
            raise WorkerStartError(words, error.hint, error.log) from error
        try:
            yield worker
        finally:
            self._workers.stop(worker)

    def drive(self, part: Part, close: Callable[[], None] = lambda: None) -> None:
        """Have a part run for as long as this engine does; before `run`.

        Args:
            close: called when the engine ends, so that steps that take long end as well.
        """
        self._parts.append(part)
        self._closers.append(close)

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Work until `stop` is called.

        Args:
            ready: called once the workers of an earlier engine are adopted and fronts may ask.
        """
        self._bundles.mkdir(parents=True, exist_ok=True)
        self.keeper.adopt()
        with suppress(UnavailableError):  # the database is away: the last routes go on
            self.refresh()
        self.hub.start()
        self.checker.start()
        self.portables.start()
        for part in self._parts:
            part.start()
        rounds: dict[str, tuple[Callable[[], object], ...]] = {
            "sweep": (self.keeper.sweep, self.sizing.round),
            "poll": (lambda: self.trying.warm(self._table), self.trying.write_down, self._follow),
            "settle": (self._settle,),  # waits for workers to start
        }
        for name, works in rounds.items():
            threading.Thread(target=self._again, args=works, name=name, daemon=True).start()
        ready()
        os.read(self._end, 1)
        with self._saving:
            self._stopping.set()
        self.hub.close()
        for close in self._closers:
            close()
        for part in self._parts:
            part.stop()
        self.checker.stop()
        self.portables.stop()
        self.keeper.stop()

    def close(self) -> None:
        """Let go of an engine that was never run, as `apart` alone needs one."""
        self.hub.close()
        os.close(self._end)
        os.close(self._say_end)

    def stop(self) -> None:
        """Make `run` end, and the workers with it. Signal handlers may call it, so it takes no lock."""
        os.write(self._say_end, b".")

    def refresh(self) -> int:
        """Build the routes from the database and have all fronts swap; the generation.

        A front that hangs is waited for for some seconds only: it swaps when it comes back.

        Raises:
            UnavailableError: the database does not answer; the routes stay as they are.
        """
        self._renew()
        self._settle()
        self._swap()  # also to what another thread has built meanwhile
        return self._table.generation

    def _renew(self, tried: frozenset[str] = frozenset()) -> None:
        """Have all fronts swap to what the database says.

        Of a model whose new champion has no workers yet the old one goes on: nothing else, least of all a
        revoked right, may wait until it has them.

        Args:
            tried: champions that need not have any: they did not start.
        """
        with self._refreshing:
            table = self._registry.route_table()
            is_kept = self._built and self._settings.routes_file.exists()  # else a backup may be older
            if table.generation != self._table.generation or not is_kept:
                self._held = [c for c in self._cold(table) if c.id not in tried]
                shown = held_back(self._table, table, self._held)
                if shown != self._table or not is_kept:
                    self._save(shown)
                    self._table, self._built = shown, True
                    if self._held:
                        self.hub.broadcast(Routes(shown.generation))
        self._swap()

    def _save(self, table: RouteTable) -> None:
        with self._saving:
            if self._stopping.is_set():  # the file is the next engine's
                raise UnavailableError("The yard is going down.", "Ask again when it is up.")
            self._file.save(table)

    def _swap(self) -> None:
        if not self.hub.swap(self._table.generation, _SWAP_SECONDS):
            log.warning("not every front swapped to generation %s in time", self._table.generation)

    def _settle(self) -> None:
        """Have workers as the routes say: those of new champions first, which answer from then on."""
        if held := self._held:
            for champion in held:
                try:
                    self.keeper.ensure(champion.id, self.sizing.replicas(champion.id))
                except YardError as error:
                    log.warning("the new champion %s does not start: %s", champion.id, error)
            self._renew(frozenset(champion.id for champion in held))
        self._swap_forms(self._table)
        self._let_go_of_the_gone(self._table)
        self._let_go_of_the_untrusted(self._table)

    def _cold(self, table: RouteTable) -> list[ServedVersion]:
        """Champions without workers that take over from one with workers, which could go on."""
        live = self.keeper.live()
        return [
            champion
            for old, champion in taking_over(self._table, table)
            if old.id in live and champion.id not in live and old.version in table.models[old.model].versions
        ]

    def _checked(self) -> None:
        self.refresh()
        self.portables.wake()

    def _swap_forms(self, table: RouteTable) -> None:
        """Live workers that hold another form than the routes say give way to workers that hold this one."""
        with self._swapping:
            for version_id in self.keeper.live():
                if served := table.served(version_id):
                    self._swap_form(served)

    def _swap_form(self, served: ServedVersion) -> None:
        is_portable = PORTABLE in (served.form, served.language)
        try:
            self.keeper.replace(served.id, lambda plan: holds_portable(plan) is is_portable)
        except WorkerStartError as error:
            log.warning("%s does not start in its %s form: %s", served.id, served.form, error)
            with suppress(UnavailableError):  # the database is away: the next round tries again
                self._fall_back(served.id, error)
        except YardError as error:  # the next round tries again
            log.warning("%s keeps its form for now: %s", served.id, error)

    def _fall_back(self, version_id: str, error: WorkerStartError) -> bool:
        """Where a portable form does not start, the native one answers again; whether it is so now."""
        if self._stopping.is_set():  # that is why
            return False
        version = self._version(version_id)
        if version.form == NATIVE or version_id.endswith(MANY_ROWS):
            return False
        self._forms.stay_native(version, f"the portable form does not start: {error.message}")
        return True

    def _ensure(self, version_id: str) -> list[Worker]:
        replicas = self.sizing.replicas(version_id)
        try:
            return self.keeper.ensure(version_id, replicas)
        except WorkerStartError as error:
            if not self._fall_back(version_id, error):
                raise
            return self.keeper.ensure(version_id, replicas)

    def _let_go_of_the_untrusted(self, table: RouteTable) -> None:
        for version_id, workers in self.keeper.live().items():
            is_code = any(not holds_portable(worker.plan) for worker in workers)
            if is_code and version_id.split(".")[0] in table.untrusted:
                self.keeper.release(version_id)

    def _let_go_of_the_gone(self, table: RouteTable) -> None:
        for version_id in self.keeper.live():
            if table.served(version_id) is None and not self._is_being_checked(version_id):
                self.keeper.release(version_id)

    def _is_being_checked(self, version_id: str) -> bool:
        if version_id.endswith(MANY_ROWS):
            return False
        try:
            version = self._version(version_id)
        except NotFoundError:
            return False
        except UnavailableError:  # unknown just now; an idle one goes by itself
            return True
        return version.state is not VersionState.FAILED

    def _again(self, *works: Callable[[], object]) -> None:
        """Do this about once a second, in a thread of its own, whatever else waits for something."""
        while not self._stopping.wait(_POLL_SECONDS):
            try:
                for work in works:
                    work()
            except YardError as error:
                log.warning("the engine's round goes on in %g s: %s", _POLL_SECONDS, error)
            except Exception:
                log.exception("the engine's round failed; the next comes in %g s", _POLL_SECONDS)

    def _follow(self) -> None:
        """Notice what others have changed."""
        if self._registry.generation() != self._table.generation:
            self._renew()
        confirm_table(self._settings.routes_file)

    def _answer(self, message: Message) -> Reply:
        match message:
            case Ensure(call=call, version_id=version_id):
                workers = self._ensure(version_id)
                return Reply(call, tuple(w.socket for w in workers), workers[0].takes if workers else ())
            case Refresh(call=call):
                self.refresh()
                return Reply(call)
            case Check(call=call):
                self.checker.wake()
                return Reply(call)
            case Report(call=call):
                return Reply(call, workers=self.keeper.report(), counters=self.hub.counters())
            case _:
                return Reply(getattr(message, "call", 0), error="invalid: no such call")

    def _tell(self, message: Message) -> None:
        match message:
            case Stuck(version_id=version_id, socket=socket, why=why):
                self.keeper.kill(version_id, socket, why)
            case Tried(evidence=evidence):
                self.trying.tell(evidence)
            case Used(versions=versions, waits=waits):
                self.keeper.used(versions)
                self.sizing.tell(waits)
            case _:
                log.warning("nothing to do for %s", type(message).__name__)

    def _greet(self) -> list[Message]:
        news: list[Message] = [Routes(self._table.generation)]
        news += [_workers_news(version_id, workers) for version_id, workers in self.keeper.live().items()]
        return news

    def _changed(self, version_id: str, workers: list[Worker]) -> None:
        self.hub.broadcast(_workers_news(version_id, workers))

    def _demand(self, version_id: str) -> Demand | None:
        """What the model of a version asks for, as the routes say."""
        routes = self._table.models.get(version_of(version_id)[0])
        return routes.demand if routes else None

    def _version(self, version_id: str) -> Version:
        return self._registry.version(*version_of(version_id))

    def _plan(self, version_id: str, replica: int, progress: Progress) -> Plan:
        """The plan for a worker; kept beside the bundle, so that it can be had while the database is away."""
        kept = self._bundles / f"{version_id}.plan"
        try:
            plan = self._plan_from_registry(version_id, progress)
        except UnavailableError:
            if not kept.exists():
                raise
            plan = msgspec.json.decode(kept.read_bytes(), type=Plan)
            if not is_laid_out(Path(plan.bundle), Path(plan.bundle).name):
                raise
        else:
            with whole_file(kept) as file:
                file.write(msgspec.json.encode(plan))
        return msgspec.structs.replace(plan, replica=replica, demand=self._demand(version_id) or Demand())

    def _plan_from_registry(self, version_id: str, progress: Progress) -> Plan:
        version = self._version(version_id)
        if version_id.endswith(MANY_ROWS):
            return msgspec.structs.replace(self._native_plan(version, progress), version_id=version_id)
        if version.form == PORTABLE:
            self._registry.provenance.vouch(version, What.FORM)
            return plan_of(version, self._forms.lay_out(version, self._bundles))
        return self._native_plan(version, progress)

    def _native_plan(self, version: Version, progress: Progress = lambda _: None) -> Plan:
        department = version.model.split("/")[0]
        if version.bundle.language != PORTABLE_LANGUAGE and department in self._table.untrusted:
            raise WorkerStartError(
                f"The department {department} is not trusted with code of its own, and this model is code.",
                f"An administrator decides: yard users trust {department}.",
            )
        self._registry.provenance.vouch(version, What.BUNDLE)
        folder = self._bundles / version.digest
        if not folder.is_dir():
            progress("laying out the bundle")
        self._registry.lay_out(version, folder)
        bundle = version.bundle
        return Plan(
            version_id=version.id,
            replica=0,
            language=bundle.language,
            language_version=bundle.language_version,
            bundle=str(folder),
            entry=bundle.entry,
            options=bundle.options,
            inputs=bundle.signature.inputs,
        )

    def _warm(self, worker: Worker) -> None:
        """Have a worker answer its example before it takes traffic; what it answers is the check's matter."""
        try:
            signature = self._version(worker.plan.version_id).bundle.signature
            answers_example(worker, signature, self._settings.answer_timeout)
        except YardError as error:
            log.info("%s did not warm up: %s", worker.plan.version_id, error)


def last_table(path: Path) -> RouteTable:
    """The routes as they were last written; none if that cannot be read, for they are built anew."""
    try:
        return load_table(path)
    except UnavailableError as error:
        log.warning("%s", error)
        return EMPTY


def holds_portable(plan: Plan) -> bool:
    """Whether a worker of this plan holds a version's portable form (or a version published as one)."""
    return plan.language == PORTABLE_LANGUAGE


def taking_over(old: RouteTable, new: RouteTable) -> list[tuple[ServedVersion, ServedVersion]]:
    """Where the champion is another one now: the one before, and it."""
    pairs = [
        (old.models[model].champion, new.models[model].champion)
        for model in new.models
        if model in old.models
    ]
    return [(before, after) for before, after in pairs if before and after and before.id != after.id]


def held_back(old: RouteTable, new: RouteTable, champions: Sequence[ServedVersion]) -> RouteTable:
    """The new table, but for these champions, in whose place the old ones stay.

    It has the old one's generation as long as there are any, so that it is not taken for the newest.
    """
    if not champions:
        return new
    models = dict(new.models)
    for model in (champion.model for champion in champions):
        aliases = new.models[model].aliases | {CHAMPION: old.models[model].aliases[CHAMPION]}
        models[model] = msgspec.structs.replace(new.models[model], aliases=aliases)
    return msgspec.structs.replace(new, generation=old.generation, models=models)


def _workers_news(version_id: str, workers: list[Worker]) -> Message:
    takes = workers[0].takes if workers else ()
    return control.Workers(version_id, tuple(w.socket for w in workers), takes)
