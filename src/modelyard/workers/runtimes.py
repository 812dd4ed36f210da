"""The languages: each a folder under `runtimes/` with a `runtime.toml` that says how to start it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from modelyard.records.errors import EnvironmentBuildError
from modelyard.workers import sandbox

SERVER = "server"  # as a runtime's program: the interpreter that this is
_PROBE_SECONDS = 30


class Runtime(Struct, frozen=True):
    """How a language's worker is started.

    Attributes:
        program: the interpreter, unless settings name another for the language; `server` is the server's own.
        command: the worker's command line; `{program}` and `{folder}` are filled in.
        check: a command that prints the language's version.
        minimum: the oldest version that works, as "4.1".
        transport: `socket` if the worker listens on a Unix socket, `pipes` if a bridge must.
        hint: what to do where the language is not installed.
        environment: variables the worker is started with.
        numbers: a command that writes a model's numbers (contract/numbers.md) into the folder appended to it.
    """

    language: str
    title: str
    program: str
    command: tuple[str, ...]
    check: tuple[str, ...]
    minimum: str
    transport: Literal["socket", "pipes"]
    hint: str
    environment: dict[str, str] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()


def runtimes_folder() -> Path:
    """Where the runtimes are: in the package when installed, beside `src` in a checkout."""
    installed = Path(__file__).parent.parent / "_runtimes"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "runtimes"


@cache
def find_runtimes() -> dict[str, Runtime]:
    """All runtimes of this installation, by language."""
    found = {}
    for path in sorted(runtimes_folder().glob("*/runtime.toml")):
        runtime = msgspec.toml.decode(path.read_bytes(), type=Runtime)
        found[runtime.language] = runtime
    return found


def find_runtime(language: str) -> Runtime:
    """The runtime of a language.

    Raises:
        EnvironmentBuildError: there is none.
    """
    runtime = find_runtimes().get(language)
    if runtime is None:
        known = ", ".join(find_runtimes())
        raise EnvironmentBuildError(
            f"There is no runtime for the language {language!r}.", f"Use one of {known}."
        )
    return runtime


def program_of(runtime: Runtime, programs: dict[str, str]) -> str:
    """The interpreter to use: the operator's choice or the runtime's own, which may be the server's."""
    own = sys.executable if runtime.program == SERVER else runtime.program
    return programs.get(runtime.language, own)


def environment_of(runtime: Runtime, home: Path) -> dict[str, str]:
    """Nothing of the server's own environment goes to a model but where programs are."""
    return {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(home),
        "TMPDIR": str(home),
        **runtime.environment,
    }


def installed_version(runtime: Runtime, program: str) -> str:
    """The language's version on this machine, as it says itself where its workers will run: within walls.

    Raises:
        EnvironmentBuildError: it is not installed, does not start or is too old.
    """
    command = [part.format(program=program) for part in runtime.check]
    if shutil.which(command[0]) is None:
        raise EnvironmentBuildError(f"{runtime.title} is not installed here: no {command[0]}.", runtime.hint)
    if not sandbox.missing():
        walls = sandbox.Walls(
            read_only=sandbox.needs(command[0]), environment=environment_of(runtime, Path(sandbox.HOME))
        )
        command = sandbox.contained(command, walls)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentBuildError(
            f"{runtime.title} is not installed here, or does not start: {error}.", runtime.hint
        ) from error
    version = done.stdout.strip()
    if done.returncode != 0 or not version_numbers(version):
        raise EnvironmentBuildError(
            f"{runtime.title} does not start (exit code {done.returncode}).", runtime.hint, log=done.stderr
        )
    if version_numbers(version) < version_numbers(runtime.minimum):
        raise EnvironmentBuildError(
            f"{runtime.title} {version} is older than {runtime.minimum}, the oldest that works.", runtime.hint
        )
    return version


def version_numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version.

    >>> version_numbers("4.2.2 Patched")
    (4, 2, 2)
    """
    found = re.match(r"\d+(?:\.\d+)*", version.strip())
    return tuple(map(int, found[0].split("."))) if found else ()
