"""A real yard: `yard up` as a person starts it, in a process of its own, on a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from bench.machine import command_of, cpu_seconds, family

_CHECK_SECONDS = 120


class Yard:
    """A yard; use as a context manager.

    Args:
        data: the data folder.
        portable: whether models may answer in their portable form; native ones only by default, since that
            is what most figures are about.
        environment: further variables.
    """

    def __init__(
        self, data: Path, *, portable: bool = False, environment: Mapping[str, str] | None = None
    ) -> None:
        self.data = data
        self.portable = portable
        self.environment = dict(environment or {})
        self.url = ""
        self.ready_after = 0.0  # seconds
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers that it is ready."""
        program = Path(sys.executable).with_name("yard")
        command = [str(program), "up", "--data", str(self.data), "--port", "0"]
        began = time.perf_counter()
        with (self.data.parent / "yard.log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "YARD_PORTABLE": str(self.portable).lower(), **self.environment},
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if " is up at " in line:
                self.url = line.split(" is up at ")[1].split()[0]
                break
        else:
            raise RuntimeError((self.data.parent / "yard.log").read_text()[-2000:])
        httpx.get(f"{self.url}/health/ready").raise_for_status()
        self.ready_after = time.perf_counter() - began

    def stop(self) -> None:
        """Stop it as an operator does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            assert self._process.stdout is not None
            self._process.stdout.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def headers(self) -> dict[str, str]:
        """What every request must carry."""
        return {"Authorization": f"Bearer {(self.data / 'admin.token').read_text().strip()}"}

    def client(self) -> httpx.Client:
        """An HTTP client with the administrator's token."""
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=120)

    def publish(self, client: httpx.Client, model: str, bundle: bytes) -> None:
        """Publish a bundle's tar and wait until it is checked."""
        headers = {"Content-Type": "application/x-tar"}
        address = f"/api/v1/models/{model}/versions"
        answer = client.post(address, content=bundle, headers=headers).raise_for_status().json()
        deadline = time.monotonic() + _CHECK_SECONDS
        while answer["state"] not in ("checked", "failed") and time.monotonic() < deadline:
            answer = client.get(f"{address}/{answer['version']}", params={"wait": 30}).json()
        if answer["state"] != "checked":
            raise RuntimeError(f"{model}: {answer['reason']}\n{answer['log']}")

    def family(self) -> list[int]:
        """The ids of all its processes."""
        assert self._process is not None
        return family(self._process.pid)

    def processes(self) -> dict[str, list[int]]:
        """Process ids by what they are: supervisor, engine, fronts, workers."""
        assert self._process is not None
        supervisor, *others = family(self._process.pid)
        workers = [pid for pid in others if "--socket" in command_of(pid) or "worker.R" in command_of(pid)]
        engine, *fronts = [pid for pid in others if pid not in workers and parent_of(pid) == supervisor]
        return {"supervisor": [supervisor], "engine": [engine], "fronts": fronts, "workers": workers}

    def cpu(self) -> dict[str, float]:
        """CPU seconds used so far, by what uses them."""
        return {role: sum(map(cpu_seconds, pids)) for role, pids in self.processes().items()}


def parent_of(pid: int) -> int:
    """A process's parent, 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def kill(pid: int) -> None:
    """End a process as a crash does."""
    os.kill(pid, signal.SIGKILL)
