"""The machine and this checkout: where things are put, how programs are run, how people are told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
_LOG_LINES = 15


class SetupError(Exception):
    """Something could not be installed; the text says what, why and what to do."""


def is_root() -> bool:
    """Whether system packages may be installed."""
    return os.geteuid() == 0


def run(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    check: bool = True,
) -> str:
    """Run a program to its end and give back what it printed.

    Args:
        command: program and arguments; no shell.
        env: variables on top of this process's own.
        cwd: the folder it runs in.
        check: whether an exit code other than 0 is an error.

    Raises:
        SetupError: it is not there or fails; the text ends with its last lines.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise SetupError(f"{words[0]} cannot be started: {error}.") from error
    if check and done.returncode != 0:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-_LOG_LINES:])
        raise SetupError(f"`{' '.join(words[:6])} …` failed (exit code {done.returncode}):\n    {tail}")
    return done.stdout


def say(text: str) -> None:
    """One line to the person, at once."""
    print(text, flush=True)


def notice(text: str) -> None:
    """Something that is missing and can be lived without."""
    print(f"setup: NOTICE: {text}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what is being done, and how long it took."""
    started = time.monotonic()
    print(f"setup: {what} … ", end="", flush=True)
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - started:.1f} s", flush=True)
