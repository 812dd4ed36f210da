"""Runs the departments' own training scripts, each in its language, all at the same time."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from modelyard.demo.departments import Department
from modelyard.records.errors import EnvironmentBuildError, YardError
from modelyard.workers.runtimes import find_runtime, installed_version, program_of, runtimes_folder

_LOG_LINES = 12
Say = Callable[[Department, str], None]


class Plan(Struct, frozen=True):
    """How a department trains here.

    Attributes:
        version: of its language, as "4.2.2".
        commands: what is run, in order; the last one trains and publishes.
        environment: variables beside this process's own.
    """

    department: Department
    version: str
    commands: tuple[tuple[str, ...], ...]
    environment: dict[str, str]


def sdk_folder() -> Path:
    """Where the SDKs for R and Julia are: in the package when installed, beside `src` in a checkout."""
    return runtimes_folder().parent / ("_sdk" if runtimes_folder().name == "_runtimes" else "sdk")


def plan(department: Department, programs: Mapping[str, str], folder: Path) -> Plan:
    """How the department trains with what is installed here.

    Args:
        department: whose project it is.
        programs: language to interpreter, where it is not the runtime's own.
        folder: where the department's data lies and what the language needs is put.

    Raises:
        EnvironmentBuildError: the language is not installed.
    """
    runtime = find_runtime(department.language)
    program = sys.executable if department.language == "python" else program_of(runtime, dict(programs))
    version = installed_version(runtime, program)
    script = str(department.project / department.script)
    # Three train at once, so one thread each; and R without TZ asks systemd for it.
    environment = {"YARD_DATA": str(folder), "OMP_NUM_THREADS": "1", "TZ": os.environ.get("TZ", "UTC")}
    commands: list[tuple[str, ...]] = [(program, script)]
    if department.language == "r":
        library = folder / "r-library"
        library.mkdir(parents=True, exist_ok=True)
        environment["R_LIBS"] = os.pathsep.join(filter(None, [str(library), os.environ.get("R_LIBS")]))
        # R's other program lies beside Rscript.
        beside = str(Path(program).with_name("R")) if os.path.isabs(program) else "R"  # noqa: PTH117
        options = ("--no-docs", "--no-test-load", "--no-lock", f"--library={library}")
        commands = [
            (beside, "CMD", "INSTALL", *options, str(sdk_folder() / "r")),
            (program, "--vanilla", script),
        ]
    if department.language == "julia":
        environment["JULIA_LOAD_PATH"] = os.pathsep.join([str(sdk_folder() / "julia"), "@", "@stdlib"])
        commands = [(program, "--startup-file=no", script)]
    return Plan(department, version, tuple(commands), environment)


async def train(todo: Plan, address: Mapping[str, str], say: Say) -> None:
    """Run a plan to its end.

    Args:
        todo: what is run.
        address: `YARD_URL` and `YARD_TOKEN`, for the script.
        say: told each line that the training script prints.

    Raises:
        YardError: a command failed; the text ends with its last lines.
    """
    environment = {**os.environ, **todo.environment, **address}
    for number, command in enumerate(todo.commands, 1):
        is_script = number == len(todo.commands)
        await _run(todo.department, command, environment, say if is_script else _silent)


def _silent(_: Department, __: str) -> None:
    return


async def _run(
    department: Department, command: tuple[str, ...], environment: dict[str, str], say: Say
) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        raise EnvironmentBuildError(f"{command[0]} does not start: {error.strerror}.") from error
    assert process.stdout is not None  # noqa: S101  # they are pipes
    assert process.stderr is not None  # noqa: S101
    last: deque[str] = deque(maxlen=_LOG_LINES)

    async def follow(stream: asyncio.StreamReader, tell: Say) -> None:
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            last.append(line)
            tell(department, line)

    try:
        await asyncio.gather(follow(process.stdout, say), follow(process.stderr, _silent))
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        name = Path(command[-1]).name
        tail = "\n".join(line for line in last if line)
        raise YardError(f"{name} of {department.name} failed with exit code {code}.", tail)
