"""Workers as processes of this machine: they outlive the engine that started them, the next adopts them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from modelyard.records.errors import (
    DeadlineError,
    EnvironmentBuildError,
    MalformedError,
    ModelError,
    WorkerLostError,
    WorkerStartError,
)
from modelyard.settings import Settings
from modelyard.workers import cgroups, environments, gpus, processes, sandbox
from modelyard.workers.cgroups import held_together
from modelyard.workers.logs import tail
from modelyard.workers.plans import Plan, Progress, Taken, Worker
from modelyard.workers.processes import gone, how_it_ended, name_of, start_time, tree
from modelyard.workers.runtimes import (
    SERVER,
    Runtime,
    environment_of,
    find_runtime,
    installed_version,
    program_of,
    runtimes_folder,
)
from modelyard.workers.talk import Talk
from modelyard.workers.taming import Taming
from modelyard.workers.wire import Frame

_POLITE_SECONDS = 2.0
_CONNECT_EVERY = 0.005


class LocalWorkers:
    """Starts workers on this machine.

    Args:
        settings: the node's settings.
        environments: where model environments are kept; by default in the data folder.
        outlives: whether workers outlive this process, to be adopted by the next.

    Attributes:
        folder: where workers' sockets and records are.
    """

    def __init__(
        self, settings: Settings, *, environments: Path | None = None, outlives: bool = True
    ) -> None:
        self._settings = settings
        self._environments = environments or settings.data / "environments"
        self._outlives = outlives
        self.folder = settings.run / "workers"
        self._logs = settings.data / "logs" / "workers"
        self._versions: dict[str, str] = {}
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._loading: set[int] = set()
        self._closed = False
        self._taming = Taming(cgroups.put_behind)
        self._lock = threading.Lock()
        for folder in (self.folder, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)  # who can connect to a worker can ask it anything

    def start(self, plan: Plan, progress: Progress) -> Worker:
        """See `Workers.start`."""
        runtime = find_runtime(plan.language)
        self._refuse_code_without_walls(runtime)
        program = self._program(runtime, plan, progress)
        progress("starting the worker")
        log = self._logs / f"{plan.version_id}-{plan.replica}.log"
        before = log.stat().st_size if log.exists() else 0
        # Each worker has a socket of its own: one that is still on its way out shares nothing with the next,
        # and a front that connects to a replaced worker's socket is refused instead of kept waiting.
        path = self.folder / secrets.token_hex(8) / "s"
        child = self._spawn(runtime, program, plan, path, log)
        worker = Worker(plan, str(path), child.pid, start_time(child.pid), log=str(log))
        try:
            _record(worker)  # so that the next engine ends it, should this one die while it loads
            ready = self._load(child, path, plan)
        except BaseException as error:
            _end(worker)
            self.wait(worker)
            if isinstance(error, WorkerStartError):
                error.log = tail(log, before)
            raise
        finally:
            self._loading.discard(child.pid)
        worker = msgspec.structs.replace(
            worker,
            takes=_values(ready, "takes"),
            runtime=" ".join(_values(ready, "runtime")),
            since=time.time(),
        )
        _record(worker)
        return worker

    def stop(self, worker: Worker) -> None:
        """See `Workers.stop`."""
        if _is(worker):
            for pid in tree(worker.pid):
                if name_of(pid) != "bwrap":  # the walls would fall at once, and end what is inside unasked
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
            gone(worker.pid, _POLITE_SECONDS)
        _end(worker)
        self.wait(worker)

    def close(self) -> None:
        """See `Workers.close`."""
        with self._lock:
            self._closed = True
            loading = list(self._loading)
        for pid in loading:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def alive(self) -> list[Worker]:
        """See `Workers.alive`: those whose record, process and start time agree; others' records go.

        A worker that was still loading is ended: nobody has its answer to `load`.
        """
        found = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                worker = msgspec.json.decode(path.read_bytes(), type=Worker)
            except (msgspec.MsgspecError, OSError):
                path.unlink(missing_ok=True)
                continue
            if _is(worker) and worker.since:
                found.append(worker)
            else:
                _end(worker)
                _forget(worker)
        return found

    def wait(self, worker: Worker) -> str:
        """See `Workers.wait`."""
        child = self._children.get(worker.pid)
        if child is None:
            if _is(worker):
                gone(worker.pid, None)
            how = "it ended"
        else:
            how = how_it_ended(child.wait())
            self._children.pop(worker.pid, None)
        _end(worker)  # what it has forked goes with it
        _forget(worker)
        self._taming.forget(_group(worker))
        return how

    def look(self, worker: Worker) -> Taken:
        """See `Workers.look`; what processes share counts once where that decides."""
        found = processes.look(worker.pid)
        if found.started < 0 or found.started != worker.started:
            return Taken()
        self._taming.look(_group(worker), found.cpu_seconds, time.monotonic())
        memory = found.resident
        if memory > worker.plan.memory(self._settings.worker_memory):
            memory = held_together(_group(worker), found.pids)
        return Taken(memory, found.cpu_seconds)

    def _refuse_code_without_walls(self, runtime: Runtime) -> None:
        why = sandbox.missing()
        if why and runtime.program != SERVER and not self._settings.allow_uncontained:
            raise EnvironmentBuildError(
                f"Models with code of their own are not run here: they cannot be contained, for {why}.",
                "Install bubblewrap and util-linux on the server and start the yard again. An administrator "
                "who trusts everybody who can publish may set YARD_ALLOW_UNCONTAINED=true instead.",
            )

    def _program(self, runtime: Runtime, plan: Plan, progress: Progress) -> str:
        if runtime.language == "python" and "python" not in self._settings.programs:
            home = self._environments
            return environments.python_for(Path(plan.bundle), plan.language_version, home, progress)
        program = program_of(runtime, self._settings.programs)
        if program not in self._versions:
            self._versions[program] = installed_version(runtime, program)
        return program

    def _spawn(
        self, runtime: Runtime, program: str, plan: Plan, path: Path, log: Path
    ) -> subprocess.Popen[bytes]:
        folder = str(runtimes_folder() / runtime.language)
        command = [part.format(program=program, folder=folder) for part in runtime.command]
        socket_option = ["--socket", str(path)]
        if runtime.transport == "pipes":
            bridge = str(Path(__file__).with_name("bridge.py"))
            command = [sys.executable, "-I", "-S", bridge, *socket_option, "--", *command]
        else:
            command += socket_option
        with log.open("ab") as output, self._lock:
            if self._closed:
                raise WorkerStartError("The yard is going down.", "Ask again when it is up.")
            path.parent.mkdir()
            try:
                child = subprocess.Popen(
                    self._within_walls(command, runtime, program, plan, path.parent),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=plan.bundle,
                    env=environment_of(runtime, path.parent),
                    start_new_session=True,
                )
            except OSError as error:
                path.parent.rmdir()
                cgroups.remove(path.parent.name)
                raise EnvironmentBuildError(
                    f"The {runtime.title} worker does not start: {error}.", runtime.hint
                ) from error
            self._children[child.pid] = child
            self._loading.add(child.pid)
        return child

    def _within_walls(
        self, command: list[str], runtime: Runtime, program: str, plan: Plan, home: Path
    ) -> list[str]:
        """The command within walls; without, where there are none and the model is data or trusted."""
        memory = plan.memory(self._settings.worker_memory)
        if sandbox.missing():
            return sandbox.limited(command, memory)
        own = sandbox.needs(sys.executable) if runtime.transport == "pipes" else ()
        code = (str(runtimes_folder()), str(Path(__file__).with_name("bridge.py")))
        sandbox.show(Path(plan.bundle))
        sandbox.hand_over(home)
        granted = gpus.grant(plan.demand.gpus)
        walls = sandbox.Walls(
            read_only=(*sandbox.needs(program), *own, *code, *granted.read_only, plan.bundle),
            writable=(str(home),),
            devices=granted.devices,
            hidden=(str(self._settings.data),),
            folder=plan.bundle,
            environment=environment_of(runtime, Path(sandbox.HOME)) | granted.environment,
            memory=memory,
            groups=self._groups(home.name, memory),
            dies_with_parent=not self._outlives,
        )
        return sandbox.contained(command, walls)

    @staticmethod
    def _groups(name: str, memory: int) -> tuple[str, ...]:
        scratch = sandbox.Walls().scratch  # memory as well, and counted by the group alone
        return cgroups.make(name, memory + scratch, sandbox.Walls().processes)

    def _load(self, child: subprocess.Popen[bytes], path: Path, plan: Plan) -> Frame:
        deadline = time.monotonic() + self._settings.load_timeout
        try:
            with self._connect(child, path, deadline) as talk:
                path.parent.chmod(0o555)  # it listens: before model code runs, nothing more can be put there
                return talk.ask(plan.load_question(), max(0.001, deadline - time.monotonic()))
        except ModelError as error:
            raise WorkerStartError(f"The model does not load: {error.message}") from error
        except DeadlineError as error:
            raise WorkerStartError(
                f"The model did not load within {self._settings.load_timeout:g} s.",
                "Make it load faster, or have the operator raise YARD_LOAD_TIMEOUT.",
            ) from error
        except WorkerLostError as error:
            ended = gone(child.pid, _POLITE_SECONDS)
            how = how_it_ended(child.wait()) if ended else "it hung up"
            raise WorkerStartError(f"The worker died while it loaded the model: {how}.") from error
        except MalformedError as error:
            raise WorkerStartError(
                f"The worker answered `load` with something else: {error.message}"
            ) from error

    @staticmethod
    def _connect(child: subprocess.Popen[bytes], path: Path, deadline: float) -> Talk:
        while True:
            with suppress(OSError):
                return Talk(path)
            if child.poll() is not None:
                raise WorkerLostError("The worker ended before it listened.")
            if time.monotonic() > deadline:
                raise DeadlineError("The worker does not listen.")
            time.sleep(_CONNECT_EVERY)


def _group(worker: Worker) -> str:
    return Path(worker.socket).parent.name


def _record(worker: Worker) -> None:
    """Write down that it runs, whole or not at all, for an engine that comes after this one."""
    new = Path(worker.socket).parent.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(worker))
    new.rename(new.with_suffix(".json"))


def _forget(worker: Worker) -> None:
    """Remove what a worker leaves in the folder of sockets."""
    home = Path(worker.socket).parent
    home.with_suffix(".json").unlink(missing_ok=True)
    with suppress(OSError):
        home.chmod(0o700)
    shutil.rmtree(home, ignore_errors=True)
    cgroups.remove(_group(worker))


def _values(frame: Frame, key: str) -> tuple[str, ...]:
    return next((field[1:] for field in frame.fields if field[0] == key), ())


def _is(worker: Worker) -> bool:
    return worker.started >= 0 and start_time(worker.pid) == worker.started


def _end(worker: Worker) -> None:
    """Kill its process group, also where the worker itself is gone; not one that has got its number since."""
    if start_time(worker.pid) in (-1, worker.started):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
