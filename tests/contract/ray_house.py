"""A real Ray cluster on this machine: a head without room, and nodes that tests add and kill."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.conftest import ROOT, find_free_port
from tests.journeys.running import PATIENCE, until

TOKEN = "a-token-of-these-tests-" + "0" * 32
_STORE = str(80 * 1024 * 1024)


class RayNode:
    """A node: `ray start --block` and all that it has started. It has an address of its own in 127/8."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, log: Path) -> None:
        self.process = process
        self.address = address
        self.log = log

    def kill(self) -> None:
        """As if the machine lost its power: everything ends at once."""
        for pid in [*_below(self.process.pid)][::-1]:
            _signal(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


class RayHouse:
    """A cluster with token authentication; use as a context manager.

    Attributes:
        address: of its head.
        token: the file with its token.
        config: a `ray.toml` that names it for all departments.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ry"))
        self.token = self.folder / "token"
        self.token.write_text(TOKEN)
        self.token.chmod(0o600)
        self.config = self.folder / "ray.toml"
        self.nodes: list[RayNode] = []
        self._hosts = itertools.count(2)
        self.address = ""

    def __enter__(self) -> Self:
        port = find_free_port()
        self.address = f"127.0.0.1:{port}"
        self.config.write_text(f'[clusters.main]\naddress = "{self.address}"\ntoken_file = "{self.token}"\n')
        head = ("--head", f"--port={port}", f"--temp-dir={self.folder / 't'}", "--include-dashboard=false")
        self._start("127.0.0.1", 0, 0, head)
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, cpus: float, gpus: int = 0) -> RayNode:
        """One more node."""
        return self._start(f"127.0.0.{next(self._hosts)}", cpus, gpus, (f"--address={self.address}",))

    def environment(self) -> dict[str, str]:
        """What a node of the cluster is started with."""
        return {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "YARD_DATA_DIR": str(self.folder / "data"),
            "PYTHONPATH": str(ROOT / "src"),
        }

    def _start(self, address: str, cpus: float, gpus: int, options: tuple[str, ...]) -> RayNode:
        ray = Path(sys.executable).with_name("ray")
        log = self.folder / f"{address}.log"
        size = (f"--num-cpus={cpus:g}", f"--num-gpus={gpus}", f"--object-store-memory={_STORE}")
        command = [str(ray), "start", "--block", "--disable-usage-stats", f"--node-ip-address={address}"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *size, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment(),
                start_new_session=True,
            )
        node = RayNode(process, address, log)
        self.nodes.append(node)
        until(lambda: self._is_up(node))
        return node

    @staticmethod
    def _is_up(node: RayNode) -> bool:
        assert node.process.poll() is None, node.log.read_text()
        return "Ray runtime started" in node.log.read_text()


def _below(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        except OSError:
            continue
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
