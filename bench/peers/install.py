"""Peers are fetched once, with progress, into `.tools/peers`; one that cannot be had is left out."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import lightgbm
import sklearn
from msgspec import Struct
from tools.setup.apt import private_apt, unpack
from tools.setup.machine import VENV, SetupError, run, step
from tools.setup.pip_settings import uv_environment

from bench.load import Request
from bench.machine import TOOLS, family, memory_mb

MLSERVER = "1.7.1"
LIBRARIES = (f"scikit-learn=={sklearn.__version__}", f"lightgbm=={lightgbm.__version__}")  # of the models
_START_SECONDS = 60
_STOP_SECONDS = 20


class Started(Struct, frozen=True):
    """A peer that answers: the request to it, seconds until it did, memory of its processes in MB (PSS)."""

    request: Request
    seconds: float
    memory: Callable[[], float]


class PeerMissingError(Exception):
    """A peer is not here and cannot be installed; the text says why."""


def mlserver() -> Path:
    """The folder of MLServer's own environment.

    Raises:
        PeerMissingError: it cannot be installed.
    """
    folder = TOOLS / "mlserver"
    # With a uvloop later than MLServer 1.7.1 itself its inference processes do not start.
    wanted = [
        "uvloop<0.22",
        f"mlserver=={MLSERVER}",
        f"mlserver-sklearn=={MLSERVER}",
        *LIBRARIES,
    ]

    def install() -> None:
        packages(folder, wanted)

    return once(folder, f"MLServer {MLSERVER}", install, wanted)


def plumber() -> Path:
    """The folder plumber and what it needs are unpacked in; the machine's own R stays as it is.

    Raises:
        PeerMissingError: it cannot be installed.
    """
    folder = TOOLS / "plumber"
    if not shutil.which("Rscript"):
        raise PeerMissingError("R is not installed")

    def install() -> None:
        with private_apt() as apt:
            for file in apt.fetch_missing("r-cran-plumber"):
                unpack(file, folder)
        folder.mkdir(exist_ok=True)  # nothing was missing

    return once(folder, "plumber (Debian's r-cran-plumber)", install)


def packages(folder: Path, wanted: Sequence[str]) -> None:
    """Have these packages in a Python environment in this folder, which may be there already."""
    uv, python = str(VENV / "bin/uv"), folder / "bin/python"
    if not python.exists():
        run([uv, "venv", "--python", VENV / "bin/python", folder], uv_environment())
    run([uv, "pip", "install", "--compile-bytecode", "--python", python, *wanted], uv_environment())


def once(folder: Path, what: str, install: Callable[[], None], wanted: Sequence[str] = ()) -> Path:
    """The folder, with the peer in it; installed where that was not done yet, or something else is wanted.

    Raises:
        PeerMissingError: it cannot be.
    """
    done = folder / ".complete"
    content = "\n".join(wanted)
    if not done.exists() or done.read_text() != content:
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
        TOOLS.mkdir(parents=True, exist_ok=True)
        try:
            with step(f"{what}, into {folder.relative_to(TOOLS.parents[1])}"):
                install()
        except SetupError as error:
            raise PeerMissingError(str(error).splitlines()[0]) from error
        done.write_text(content)
    return folder


def free_port() -> int:
    """A port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(answers: Callable[[], bool], what: str, log: Path | None = None) -> None:
    """Ask until it answers.

    Raises:
        PeerMissingError: it does not, for a minute.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            if answers():
                return
        except (httpx.TransportError, OSError):
            pass
        time.sleep(0.05)
    said = log.read_text(errors="replace")[-500:] if log else "it said nothing"
    raise PeerMissingError(f"{what} did not start: {said}")


def memory_of(process: subprocess.Popen[bytes]) -> float:
    """Of a process and all it has started, in MB (PSS)."""
    return sum(memory_mb(pid)[0] for pid in family(process.pid))


def end(process: subprocess.Popen[bytes]) -> None:
    """End a peer that was started in a session of its own, with all it has started."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
