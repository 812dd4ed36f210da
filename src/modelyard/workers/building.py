"""Runs what prepares a job's environment: within walls and without network, for it is others' code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from msgspec import Struct, field

from modelyard.records.errors import EnvironmentBuildError
from modelyard.workers import sandbox

_LARGEST_FILE = 1024**3
_LOG_SHOWN = 4_000


class Step(Struct, frozen=True, kw_only=True):
    """A command, and what it may see.

    Attributes:
        program: the interpreter, whose own folders it sees.
        writable, read_only: further folders.
        hidden: a folder of which it sees nothing else: the data folder.
        environment: further variables.
        seconds: it may take.
        why: the message where it fails.
    """

    command: list[str]
    program: str
    hidden: Path
    why: str
    seconds: int
    writable: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def run(step: Step) -> str:
    """What the command says on standard output.

    Raises:
        EnvironmentBuildError: it fails; `log` has the end of what it said.
    """
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
    environment |= {"HOME": sandbox.HOME, "TMPDIR": sandbox.HOME, **step.environment}
    walls = sandbox.Walls(
        read_only=(*sandbox.needs(step.program), *step.read_only),
        writable=step.writable,
        hidden=(str(step.hidden),),
        environment=environment,
        file_bytes=_LARGEST_FILE,
        cpu_seconds=step.seconds,
        dies_with_parent=True,
    )
    command = step.command if sandbox.missing() else sandbox.contained(step.command, walls)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=step.seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", "")} | environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentBuildError(f"{step.why} {error}") from error
    if done.returncode != 0:
        log = (done.stdout + done.stderr)[-_LOG_SHOWN:]
        raise EnvironmentBuildError(step.why, "What was said is in the log.", log=log)
    return done.stdout
