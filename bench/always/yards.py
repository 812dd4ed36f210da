"""What stands behind the nodes: PostgreSQL with a cable, a server that speaks S3; and what was recorded."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import polars as pl
from tests.conftest import find_postgresql
from tests.contract.postgresql import Server
from tests.journeys.cable import Cable
from tests.journeys.models import times
from tests.journeys.running import RunningYard, in_bucket, publish, until

from bench.always.rate import Rate

MODEL = "bench/steady"
_SHIPPED_SECONDS = 180


class Base:
    """PostgreSQL, its cable, S3, and a folder.

    Attributes:
        variables: what leads a node to them.
    """

    def __init__(self, folder: Path, server: Server, cable: Cable, endpoint: str, name: str) -> None:
        self.folder, self.server, self.cable = folder, server, cable
        self.variables = {
            "YARD_DATABASE": f"postgresql://yard@127.0.0.1:{cable.port}/{name}",
            **in_bucket(endpoint),
            "YARD_FRONTS": "1",
            "YARD_KEYS": str(folder / "keys"),
        }

    def node(self, name: str) -> RunningYard:
        """A node that is not started yet."""
        return RunningYard(self.folder / name, self.variables)


@contextmanager
def base() -> Iterator[Base]:
    """All of it, on this machine."""
    binaries = find_postgresql()
    if binaries is None:
        raise SystemExit("PostgreSQL's server programs are not installed: `make setup` says how to get them.")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yard-always-")))
        server = stack.enter_context(Server(binaries))
        name = server.create()
        cable = stack.enter_context(Cable(server.socket))
        endpoint = stack.enter_context(_s3(folder))
        yield Base(folder, server, cable, endpoint, name)


@contextmanager
def _s3(folder: Path) -> Iterator[str]:
    with (folder / "s3.log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        endpoint = until(lambda: _said(folder / "s3.log"), 60)
        httpx.put(f"{endpoint}/yard").raise_for_status()
        yield endpoint
    finally:
        process.terminate()
        process.wait(20)


def _said(log: Path) -> str:
    _, found, rest = log.read_text().partition("Running on ")
    return rest.split()[0] if found and rest else ""


def prepare(node: RunningYard) -> dict[str, str]:
    """Publish the model; the headers of its callers."""
    with node.client() as client:
        publish(client, MODEL, times(2))
        until(lambda: client.post(f"/models/{MODEL}/predict", json=[{"x": 2}]).status_code == 200, 60)
    return {"Authorization": f"Bearer {node.token}"}


def closing(what: str, load: Rate, node: RunningYard) -> str:
    """A figure: what was done, what became of the load, and what a node has recorded of it in the end."""
    told = load.told()
    with node.client() as client:
        missing = _lost(client, load.answered)
    said = "".join(f"\n  {line}" for line in told.words)
    return f"{what}: {told.as_words()}; {missing} answered predictions lost{said}"


def _lost(client: httpx.Client, answered: set[int], seconds: float = _SHIPPED_SECONDS) -> int:
    """How many answered predictions are not in what was recorded, once all nodes have shipped."""
    deadline = time.monotonic() + seconds
    while True:
        missing = answered - _recorded(client)
        if not missing or time.monotonic() > deadline:
            return len(missing)
        time.sleep(2)


def _recorded(client: httpx.Client) -> set[int]:
    with suppress(httpx.HTTPError):
        answer = client.get(f"/api/v1/models/{MODEL}/predictions", headers={"Accept": "application/json"})
        if answer.status_code == 200:
            table = pl.read_parquet(io.BytesIO(answer.content))
            return set(table["keys"].str.json_decode(pl.Struct({"n": pl.Int64})).struct["n"].drop_nulls())
    return set()


def kill_all(node: RunningYard) -> None:
    """Everything of a node at once, as when its machine loses power."""
    assert node.process is not None
    for pid in [*node.processes(), node.process.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    node.stop(signal.SIGKILL)
