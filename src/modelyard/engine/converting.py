"""From a native model to the files of a portable form: programs that run once, each within walls.

A Python model is converted by one program in its own environment. Of other languages the runtime writes the
model's numbers as data (contract/numbers.md), and a program that never meets the model makes files of these.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from modelyard.engine.proof import Row
from modelyard.settings import Settings
from modelyard.workers import environments, sandbox
from modelyard.workers.plans import Plan
from modelyard.workers.processes import how_it_ended
from modelyard.workers.runtimes import find_runtime, program_of, runtimes_folder
from modelyard.workers.wire import encode

PYTHON = "python"
_REFUSED_FILE = "refused.txt"
_REFUSED = 3  # a program's exit code
_RUNS_CODE = "the converter runs the model's code, which cannot be contained"


class NotPortableError(Exception):
    """The native form stays; the message says why."""


class _Step(Struct, frozen=True):
    """A program that is run once.

    Attributes:
        question: what it reads on its standard input, which then stays open.
        read_only: what it may see beside the system and the runtimes.
    """

    command: list[str]
    question: bytes
    read_only: tuple[str, ...]
    environment: dict[str, str]
    runs_code: bool = True


class Converter:
    """Runs what turns a model into a portable form, one program at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopped = False
        self._running: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End the program that runs, and start no more."""
        self._stopped = True
        if (running := self._running) is not None:
            _kill(running)

    def convert(self, plan: Plan, example: list[Row], folder: Path) -> None:
        """Leave the portable form's files in the folder; what they are worth is for the proof.

        Args:
            plan: of the native form.
            example: rows of the bundle's example.

        Raises:
            NotPortableError: a program refuses, crashes or takes too long.
            EnvironmentBuildError: there is no converter for this environment.
        """
        steps = self._python(plan, example) if plan.language == PYTHON else self._numbers(plan)
        for step in steps:
            self._run(step, plan, folder)

    def _python(self, plan: Plan, example: list[Row]) -> tuple[_Step, ...]:
        """The Python converter, in the model's own environment."""
        home = self._settings.data / "environments"
        program = self._settings.programs.get(PYTHON) or environments.python_for(
            Path(plan.bundle), plan.language_version, home, _silent
        )
        overlay = environments.converter_for(program, plan.language_version, home)
        command = [program, "-I", "-B", str(runtimes_folder() / PYTHON / "convert.py")]
        seen = (*sandbox.needs(program), *((overlay,) if overlay else ()), plan.bundle)
        return (_Step(command, _question(plan, example, overlay), seen, {}),)

    def _numbers(self, plan: Plan) -> tuple[_Step, ...]:
        """The runtime's own program that writes numbers, and the builder."""
        runtime = find_runtime(plan.language)
        program = program_of(runtime, self._settings.programs)
        home = str(runtimes_folder() / plan.language)
        command = [part.format(program=program, folder=home) for part in runtime.numbers]
        seen = (*sandbox.needs(program), plan.bundle)
        build = [sys.executable, "-I", "-B", str(runtimes_folder() / "portable" / "build.py")]
        inputs = json.dumps({"inputs": _inputs(plan)}).encode() + b"\n"
        return (
            _Step(command, encode(plan.load_question()), seen, runtime.environment),
            _Step(build, inputs, sandbox.needs(sys.executable), {}, runs_code=False),
        )

    def _run(self, step: _Step, plan: Plan, folder: Path) -> None:
        command = self._within_walls(step, plan, folder)
        with (folder / "log").open("wb") as output:
            running = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=_variables(step, folder),
                start_new_session=True,
            )
        self._running = running
        try:
            if self._stopped:
                raise NotPortableError("the yard goes down")
            code = self._outcome(running, step.question)
        finally:
            _kill(running)
            self._running = None
        if code == _REFUSED:
            words = read_left(folder / _REFUSED_FILE, 4_000).decode(errors="replace")
            raise NotPortableError(words or "not converted")
        if code != 0:
            last = read_left(folder / "log", 1 << 20).decode(errors="replace").strip().splitlines()[-1:]
            raise NotPortableError(" ".join([f"the converter ended: {how_it_ended(code)}", *last]))

    def _within_walls(self, step: _Step, plan: Plan, folder: Path) -> list[str]:
        command = [*step.command, str(folder)]
        why = sandbox.missing()
        if why and step.runs_code and not self._settings.allow_uncontained:
            raise NotPortableError(f"{_RUNS_CODE}: {why}")
        if why:
            return sandbox.limited(command, self._settings.worker_memory)
        sandbox.show(Path(plan.bundle))
        sandbox.show(folder)  # what an earlier program left there, with another user
        sandbox.hand_over(folder)
        walls = sandbox.Walls(
            read_only=(*step.read_only, str(runtimes_folder())),
            writable=(str(folder),),
            hidden=(str(self._settings.data),),
            folder=str(folder),
            environment=_variables(step, folder),
            memory=self._settings.worker_memory,
            dies_with_parent=True,
        )
        return sandbox.contained(command, walls)

    def _outcome(self, running: subprocess.Popen[bytes], question: bytes) -> int:
        """The program's exit code. Its input stays open: when this engine is gone, it ends by itself."""
        seconds = self._settings.portable_timeout
        assert running.stdin is not None  # noqa: S101  # for the type checker: it was started with a pipe
        with suppress(BrokenPipeError):
            running.stdin.write(question)
            running.stdin.flush()
        try:
            return running.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise NotPortableError(f"the converter did not end within {seconds:g} s") from error


def read_left(path: Path, limit: int) -> bytes:
    """The beginning of a file that a model's process wrote; a link is not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as file:
        return file.read(limit)


def _inputs(plan: Plan) -> list[list[Any]]:
    return [[c.name, c.type.value, c.missing, list(c.levels or ())] for c in plan.inputs]


def _question(plan: Plan, example: list[Row], overlay: str) -> bytes:
    """What the Python converter reads; a missing number goes as null, as in the model's own example."""
    columns = [list(map(_plain, values)) for values in zip(*example, strict=True)]
    told: dict[str, Any] = {
        "bundle": plan.bundle,
        "entry": plan.entry,
        "options": plan.options,
        "inputs": _inputs(plan),
        "example": {c.name: values for c, values in zip(plan.inputs, columns, strict=True)},
        "overlay": overlay,
    }
    return json.dumps(told).encode() + b"\n"


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _variables(step: _Step, folder: Path) -> dict[str, str]:
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    own = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "TZ": "UTC"}
    home = {"HOME": str(folder), "TMPDIR": str(folder), "ORT_DISABLE_TELEMETRY": "1"}
    return {**own, **one, **home, **step.environment}


def _kill(running: subprocess.Popen[bytes]) -> None:
    """End it and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    if running.stdin is not None:
        with suppress(OSError):
            running.stdin.close()


def _silent(_: str) -> None:
    """Progress that nobody watches."""
