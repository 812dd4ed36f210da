"""Portable forms: tried in the background once a version is checked, used only where they are proved equal.

A version answers natively from its check on, so publishing waits for nothing here. Whatever goes wrong is
said in `form_reason` and leaves the native form answering.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from modelyard.catalog.forms import Forms
from modelyard.engine.checks import ask_rows
from modelyard.engine.proof import DiffersError, Proved, Row, prove, rows_to_ask
from modelyard.records.errors import (
    DeadlineError,
    EnvironmentBuildError,
    UnavailableError,
    WorkerLostError,
    WorkerStartError,
    YardError,
)
from modelyard.records.models import EXAMPLE_FILE, Version
from modelyard.serving.inputs import InputPlan
from modelyard.serving.tables import from_table, read_csv
from modelyard.settings import Settings
from modelyard.workers import environments, sandbox
from modelyard.workers.plans import PROOF, Plan, Worker, Workers
from modelyard.workers.processes import how_it_ended
from modelyard.workers.runtimes import find_runtime, runtimes_folder
from modelyard.workers.wire import to_values

log = logging.getLogger(__name__)

LANGUAGE = "portable"
MODEL_FILE, DESCRIPTION_FILE = "model.onnx", "portable.json"
_FILES = (MODEL_FILE, DESCRIPTION_FILE)
_HINTS_FILE, _REFUSED_FILE = "hints.json", "refused.txt"
_REFUSED = 3  # the converter's exit code
_MAX_HINTS = 64 * 1024 * 1024
_MAX_EXAMPLE = 100
_REPLICA = 1_000_000  # workers of a proof have numbers, and so logs, of their own
_LOOK_EVERY = 30.0


class NotPortableError(Exception):
    """The native form stays; the message says why."""


class _Hints(Struct, frozen=True):
    thresholds: dict[str, list[float]]


class Portables:
    """Tries the portable forms of a node's checked versions, one at a time.

    Args:
        workers: who starts the workers of a proof; they are none of the keeper's.
        native_plan: the plan of a version's native form (lays the bundle out).
        changed: called when another form answers from now on.
    """

    def __init__(
        self,
        settings: Settings,
        forms: Forms,
        workers: Workers,
        native_plan: Callable[[Version], Plan],
        changed: Callable[[], object],
    ) -> None:
        self._settings = settings
        self._forms = forms
        self._workers = workers
        self._native_plan = native_plan
        self._changed = changed
        self._wake = threading.Event()
        self._stopped = False
        self._converter: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Try what is untried until stopped, in a thread."""
        if self._settings.portable:
            threading.Thread(target=self._run, name="portable", daemon=True).start()

    def wake(self) -> None:
        """A version has passed its check."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no further one, and end the converter that runs."""
        self._stopped = True
        self._wake.set()
        if (converter := self._converter) is not None:
            _kill(converter)

    def _run(self) -> None:
        while not self._stopped:
            try:
                for version in self._forms.untried():
                    if not self._stopped:
                        self.decide(version)
            except YardError as error:
                log.warning("portable forms are put off: %s", error)
            except Exception:
                log.exception("trying portable forms failed in the yard itself")
            self._wake.wait(_LOOK_EVERY)
            self._wake.clear()

    def decide(self, version: Version) -> None:
        """Try a version's portable form and say which form answers.

        Raises:
            UnavailableError: the database or the blobs do not answer; nothing is said, and it is tried again.
        """
        with tempfile.TemporaryDirectory(dir=self._settings.data / "scratch", prefix="portable-") as own:
            folder = Path(own)
            try:
                proved = self._try(version, folder)
            except NotPortableError as error:
                if not self._stopped:
                    self._forms.stay_native(version, str(error))
                return
            if not self._stopped:
                self._forms.go_portable(version, folder, _FILES, str(proved))
                self._changed()

    def _try(self, version: Version, folder: Path) -> Proved:
        _refuse_unknown(version)
        try:
            plan = self._native_plan(version)
            example = _example(version, Path(plan.bundle))
            self._convert(plan, example, folder)
            return self._prove(version, plan, example, folder)
        except UnavailableError:
            raise
        except DiffersError as error:
            raise NotPortableError(str(error)) from error
        except EnvironmentBuildError as error:
            raise NotPortableError(f"converter not available: {error.message}") from error
        except (WorkerStartError, DeadlineError, WorkerLostError) as error:
            raise NotPortableError(f"the forms could not be compared: {error.message}") from error
        except YardError as error:
            raise NotPortableError(f"not converted: {error.message}") from error

    def _convert(self, plan: Plan, example: list[Row], folder: Path) -> None:
        """Run the converter once, in the model's own environment.

        Raises:
            NotPortableError: it refuses, crashes or takes too long.
            EnvironmentBuildError: there is no converter for this environment.
        """
        home = self._settings.data / "environments"
        program = self._settings.programs.get("python") or environments.python_for(
            Path(plan.bundle), plan.language_version, home, _silent
        )
        overlay = environments.converter_for(program, plan.language_version, home)
        command = [program, "-I", "-B", str(runtimes_folder() / "python" / "convert.py"), str(folder)]
        with (folder / "log").open("wb") as output:
            converter = subprocess.Popen(
                self._within_walls(command, plan, overlay, folder),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=_variables(folder),
                start_new_session=True,
            )
        self._converter = converter
        try:
            code = self._outcome(converter, _question(plan, example, overlay))
        finally:
            _kill(converter)
            self._converter = None
        if code == _REFUSED:
            words = _read(folder / _REFUSED_FILE, 4_000).decode(errors="replace")
            raise NotPortableError(words or "not converted")
        if code != 0:
            last = _read(folder / "log", 1 << 20).decode(errors="replace").strip().splitlines()[-1:]
            raise NotPortableError(" ".join([f"the converter ended: {how_it_ended(code)}", *last]))

    def _within_walls(self, command: list[str], plan: Plan, overlay: str, folder: Path) -> list[str]:
        why = sandbox.missing()
        if why and not self._settings.allow_uncontained:
            raise NotPortableError(f"the converter runs the model's code, which cannot be contained: {why}")
        if why:
            return sandbox.limited(command, self._settings.worker_memory)
        sandbox.show(Path(plan.bundle))
        sandbox.hand_over(folder)
        code = str(runtimes_folder() / "python")
        own = (overlay,) if overlay else ()
        walls = sandbox.Walls(
            read_only=(*sandbox.needs(command[0]), code, *own, plan.bundle),
            writable=(str(folder),),
            hidden=(str(self._settings.data),),
            folder=str(folder),
            environment=_variables(folder),
            memory=self._settings.worker_memory,
        )
        return sandbox.contained(command, walls)

    def _outcome(self, converter: subprocess.Popen[bytes], question: bytes) -> int:
        """The converter's exit code. Its input stays open: when this engine is gone, it ends by itself."""
        seconds = self._settings.portable_timeout
        assert converter.stdin is not None  # noqa: S101  # for the type checker: it was started with a pipe
        with suppress(BrokenPipeError):
            converter.stdin.write(question + b"\n")
            converter.stdin.flush()
        try:
            return converter.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise NotPortableError(f"the converter did not end within {seconds:g} s") from error

    def _prove(self, version: Version, plan: Plan, example: list[Row], folder: Path) -> Proved:
        inputs = version.bundle.signature.inputs
        for name in _FILES:  # what a model's own process left there
            if not (folder / name).is_file() or (folder / name).is_symlink():
                raise NotPortableError(f"the converter left no {name}")
        try:
            hints = msgspec.json.decode(_read(folder / _HINTS_FILE, _MAX_HINTS), type=_Hints)
        except msgspec.MsgspecError as error:
            raise NotPortableError(f"the converter's hints cannot be read: {error}") from error
        rows = rows_to_ask(inputs, example, hints.thresholds, version.digest)
        timeout = self._settings.answer_timeout
        portable = msgspec.structs.replace(plan_of(version, folder), purpose=PROOF, replica=_REPLICA + 1)
        native = msgspec.structs.replace(plan, purpose=PROOF, replica=_REPLICA)
        with self._started(portable) as theirs, self._started(native) as ours:
            return prove(
                lambda columns, count: ask_rows(ours, columns, count, timeout),
                lambda columns, count: ask_rows(theirs, columns, count, timeout),
                inputs,
                rows,
                self._settings.portable_timeout,
            )

    @contextmanager
    def _started(self, plan: Plan) -> Iterator[Worker]:
        worker = self._workers.start(plan, _silent)
        try:
            yield worker
        finally:
            self._workers.stop(worker)


def is_settled(version: Version, settings: Settings, now: datetime) -> bool:
    """Whether it is known in which form a version will answer, or it has taken too long to wait for."""
    longest = timedelta(seconds=2 * settings.portable_timeout)
    return bool(version.form_reason) or not settings.portable or now - version.created_at > longest


def plan_of(version: Version, folder: Path) -> Plan:
    """The plan of a worker for a portable form that lies in this folder."""
    return Plan(
        version_id=version.id,
        replica=0,
        language=LANGUAGE,
        language_version="",
        bundle=str(folder),
        entry=MODEL_FILE,
        options={},
        inputs=version.bundle.signature.inputs,
    )


def _refuse_unknown(version: Version) -> None:
    """What can be told without starting anything.

    Raises:
        NotPortableError: there is nothing to try.
    """
    bundle = version.bundle
    if bundle.options.get("form") == "native":
        raise NotPortableError("the publisher asked for the native form")
    if bundle.language == LANGUAGE:
        raise NotPortableError("published as a portable form already")
    if bundle.language != "python":
        title = find_runtime(bundle.language).title
        raise NotPortableError(f"there is no converter for {title} models yet")
    if ":" in bundle.entry:
        raise NotPortableError("not a model the converter knows: it is Python code (module:name)")


def _example(version: Version, bundle: Path) -> list[Row]:
    plan = InputPlan(version.bundle.signature, _MAX_EXAMPLE * 1000)
    inputs = from_table(plan, read_csv((bundle / EXAMPLE_FILE).read_bytes()))
    columns = [to_values(column) for column in plan.columns_of([inputs])]
    return list(zip(*columns, strict=True))[:_MAX_EXAMPLE]


def _question(plan: Plan, example: list[Row], overlay: str) -> bytes:
    """What the converter reads; a missing number goes as null, as in the model's own example."""
    columns = [list(map(_plain, values)) for values in zip(*example, strict=True)]
    told: dict[str, Any] = {
        "bundle": plan.bundle,
        "entry": plan.entry,
        "options": plan.options,
        "inputs": [[c.name, c.type.value, c.missing, list(c.levels or ())] for c in plan.inputs],
        "example": {c.name: values for c, values in zip(plan.inputs, columns, strict=True)},
        "overlay": overlay,
    }
    return json.dumps(told).encode()


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _variables(folder: Path) -> dict[str, str]:
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    own = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "TZ": "UTC"}
    return {**own, **one, "HOME": str(folder), "TMPDIR": str(folder), "ORT_DISABLE_TELEMETRY": "1"}


def _read(path: Path, limit: int) -> bytes:
    """The beginning of a file that a model's process wrote; a link is not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as file:
        return file.read(limit)


def _kill(converter: subprocess.Popen[bytes]) -> None:
    """End it and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(converter.pid, signal.SIGKILL)
    converter.wait()
    if converter.stdin is not None:
        with suppress(OSError):
            converter.stdin.close()


def _silent(_: str) -> None:
    """Progress that nobody watches."""
