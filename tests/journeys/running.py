"""A real yard for tests: `yard up` as a person starts it, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

from tests.conftest import find_free_port

T = TypeVar("T")
# Seconds, far more than anything takes: a machine on which much else runs is no failure, and nobody waits for
# them to pass where nothing has failed.
PATIENCE = 180.0
_UP = "import sys; from modelyard.cli.main import run; sys.exit(run())"


def in_bucket(endpoint: str) -> dict[str, str]:
    """The variables that have a yard keep its blobs in the bucket `yard` of this S3 server (moto's)."""
    return {
        "YARD_BLOBS": "s3://yard/blobs",
        "YARD_BLOBS_ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": "yard",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }


class RunningYard:
    """A yard on a folder; use as a context manager.

    Args:
        data: the data folder.
        environment: further variables for `yard up`.
        options: further words for `yard up`.
        watcher: a program and its options that start it, and look on.
    """

    def __init__(
        self,
        data: Path,
        environment: dict[str, str] | None = None,
        options: tuple[str, ...] = (),
        watcher: tuple[str, ...] = (),
    ) -> None:
        self.data = data
        self.environment = environment or {}
        self.options = options
        self.watcher = watcher
        self.output: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self.port = find_free_port()  # its own, so that it has it again after a restart

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it says that it is up."""
        command = [sys.executable, "-c", _UP, "up", "--data", str(self.data), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*self.watcher, *command, *self.options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **self.environment},
        )
        self._up = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._up.wait(PATIENCE), self.said
        assert self.url, f"the yard did not start:\n{self.said}"

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output.append(line)
                if "is up at " in line:
                    self.url = line.split("is up at ")[1].split()[0]
                    self.port = int(self.url.rsplit(":", 1)[1])
                    self._up.set()
        self._up.set()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    @property
    def said(self) -> str:
        """Everything it printed."""
        return "".join(self.output)

    @property
    def token(self) -> str:
        """The administrator's token."""
        return (self.data / "admin.token").read_text().strip()

    def client(self, token: str | None = None) -> httpx.Client:
        """An HTTP client with a token (the administrator's by default)."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE)

    def processes(self) -> list[int]:
        """The engine (first) and the fronts: the supervisor's children, oldest first."""
        assert self.process is not None
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def publish(client: httpx.Client, model: str, tar: bytes, **params: str) -> dict[str, Any]:
    """Publish a bundle and wait for its check; the version's record."""
    answer = client.post(
        f"/api/v1/models/{model}/versions",
        content=tar,
        params=params,
        headers={"Content-Type": "application/x-tar"},
    )
    assert answer.status_code in (200, 201), answer.text
    number = answer.json()["version"]
    return until(lambda: ended(client, model, number))


def ended(client: httpx.Client, model: str, number: int) -> dict[str, Any] | None:
    """The version's record once its check has ended."""
    record = client.get(f"/api/v1/models/{model}/versions/{number}", params={"wait": 20}).json()
    return record if record["state"] in ("checked", "failed") else None


def until(ask: Callable[[], T | None], seconds: float = PATIENCE) -> T:
    """Ask again until there is an answer that is not None or False."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.02)
    return answer
