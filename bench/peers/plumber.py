"""plumber on the same R model, in each of the ways it can be reached; the best one counts."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.load import Request
from bench.models import R_ROW
from bench.peers.install import Started, end, free_port, memory_of, plumber, wait_until

# On a kept TCP connection its server waits for the client's delayed acknowledgement, about 40 ms a request.
SETTINGS = ("Unix socket, kept connections", "TCP, Connection: close", "TCP, kept connections")


@contextmanager
def serving(model: Path, setting: str) -> Iterator[Request]:
    """Plumber with the model; the request that asks it for one row.

    Raises:
        PeerMissingError: it cannot be installed or does not start.
    """
    with started(model, setting) as found:
        yield found.request


@contextmanager
def started(model: Path, setting: str) -> Iterator[Started]:
    """The same, and what it takes.

    Raises:
        PeerMissingError: it cannot be installed or does not start.
    """
    home = plumber()
    libraries = home / "usr/lib" / str(sysconfig.get_config_var("MULTIARCH"))
    env = {**os.environ, "R_LIBS": str(home / "usr/lib/R/site-library"), "LD_LIBRARY_PATH": str(libraries)}
    with tempfile.TemporaryDirectory() as folder:  # short enough for a socket's name
        path, port = f"{folder}/plumber", free_port()
        unix = setting.startswith("Unix")
        log = Path(folder, "log")
        command = ["Rscript", "--vanilla", str(Path(__file__).with_suffix(".R")), str(model)]
        began = time.perf_counter()
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, path if unix else str(port)],
                env=env,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        request = _request(port, path if unix else "", close="close" in setting)
        try:
            wait_until(lambda: _answers(request), "plumber", log)
            yield Started(request, time.perf_counter() - began, lambda: memory_of(process))
        finally:
            end(process)


def _request(port: int, socket: str, *, close: bool) -> Request:
    headers = {"Content-Type": "application/json"} | ({"Connection": "close"} if close else {})
    return Request(f"http://127.0.0.1:{port}/predict", json.dumps([R_ROW]).encode(), headers, socket)


def _answers(request: Request) -> bool:
    with httpx.Client(transport=httpx.HTTPTransport(uds=request.socket or None)) as client:
        return (
            client.post(request.url, content=request.body, headers=dict(request.headers)).status_code == 200
        )
