"""A Ray cluster as the engine sees it: ask for a place, get where a host listens. Ray is behind a program."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from modelyard.records.capacity import Demand
from modelyard.records.clusters import Cluster, Clusters
from modelyard.records.diagnosis import Finding
from modelyard.records.errors import EnvironmentBuildError, ReleaseError, UnavailableError, YardError
from modelyard.settings import Settings
from modelyard.workers import ray_driver, remote
from modelyard.workers.plans import Progress
from modelyard.workers.ray_driver import Failed, Joined, Kill, Place, Placed
from modelyard.workers.remote import Channel, Far

_JOIN_SECONDS = 60.0
_REACH_SECONDS = 3.0
_REMEMBERED = 600.0  # seconds for which what went wrong is told; while it goes on going wrong it is told anew
_GRACE = 15.0  # seconds that a driver has beyond the timeout of what it was told
_OPEN = 0o077
_VERSIONS = "ersion mismatch"  # in what Ray says where its or Python's releases differ
Trouble = Literal["ray-away", "ray-missing", "ray-room", "ray-token", "ray-version"]
_COMMANDS: dict[Trouble, str] = {
    "ray-away": "ray status --address {address}",
    "ray-missing": "pip install 'modelyard[server,ray]'",
    "ray-room": "ray status --address {address}",
    "ray-token": "ls -l {token}",
    "ray-version": "ray --version",
}


class RayCluster:
    """One cluster, joined at the first need and again when its driver has ended. Thread-safe.

    Args:
        name: in `ray.toml`.
        log_file: what Ray prints goes there.
    """

    def __init__(self, name: str, cluster: Cluster, log_file: Path) -> None:
        self.name = name
        self._cluster = cluster
        self._log_file = log_file
        self._calls = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._joining: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._wrong: tuple[float, Trouble, YardError | None] = (0.0, "ray-away", None)

    def look(self) -> Finding:
        """How it stands, without joining it for that: whether it answers, and what went wrong lately."""
        address = self._cluster.address
        if find_spec("ray") is None:
            return self._found("ray-missing", _not_installed())
        try:
            self._environment()
        except UnavailableError as error:
            return self._found("ray-token", error)
        parts = urlsplit(f"//{address}")
        try:
            socket.create_connection((str(parts.hostname), parts.port or 0), _REACH_SECONDS).close()
        except OSError as error:
            words = f"Nothing answers at {address}: {error}."
            hint = "Start its head again, or see to the network between. What runs there goes on."
            return self._found("ray-away", UnavailableError(words, hint))
        at, code, wrong = self._wrong
        if wrong is None or time.monotonic() - at > _REMEMBERED:
            return Finding("ok", f"cluster {self.name}", f"{address} answers")
        return self._found(code, wrong)

    def _found(self, code: Trouble, error: YardError) -> Finding:
        command = _COMMANDS[code].format(address=self._cluster.address, token=self._cluster.token_file)
        return Finding("problem", f"cluster {self.name}", error.message, error.hint, code, command)

    def note(self, code: Trouble, error: YardError | None) -> None:
        """Remember what went wrong, for `look`; None: it went well."""
        self._wrong = time.monotonic(), code, error

    def place(self, name: str, certificate: str, demand: Demand, timeout: float) -> Placed:
        """Have a process for a worker's host, on a machine with room.

        Raises:
            UnavailableError: the cluster cannot be reached, or has no room.
        """
        number, answer = next(self._calls), Future[Any]()
        memory = demand.memory_bytes
        order = Place(number, name, certificate, demand.cpus, demand.gpus, memory, timeout)
        self._send(order, answer)
        try:
            found = answer.result(timeout + _GRACE)
        except TimeoutError:
            found = Failed(number, "it does not answer")
        finally:
            self._waiting.pop(number, None)
        if isinstance(found, Placed):
            self.note("ray-away", None)
            return found
        error = self._not_placed(found, demand, timeout)
        self.note("ray-room" if found.is_full else "ray-away", error)
        raise error

    def _not_placed(self, found: Failed, demand: Demand, timeout: float) -> UnavailableError:
        asked = f"{demand.cpus:g} CPU, {demand.gpus:g} GPU" + (f", {demand.memory}" if demand.memory else "")
        if found.is_full:
            return UnavailableError(
                f"No machine of the cluster {self.name} had room for {asked} within {timeout:g} s.",
                "Add machines, or have models ask for less: yard capacity. It is tried again.",
            )
        return UnavailableError(
            f"The cluster {self.name} did not place a worker: {found.words}.",
            f"Look at the cluster, and at {self._log_file}.",
        )

    def kill(self, name: str) -> None:
        """End a process of that name, if it should still be there and the cluster can be reached."""
        with suppress(UnavailableError, EnvironmentBuildError):
            self._send(Kill(next(self._calls), name), None)

    def close(self) -> None:
        """Leave the cluster; what is still being placed is given up, what runs is left alone."""
        self._closed = True
        if (joining := self._joining) is not None:  # who joins holds the lock, for as long as a minute
            joining.kill()
        with self._lock:
            process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _send(self, order: ray_driver.Order, answer: Future[Any] | None) -> None:
        with self._lock:
            self._refuse_closed()
            if self._process is not None and self._process.poll() is not None:
                _reap(self._process)
                self._process = None
            if self._process is None:
                self._process = self._join()
            if answer is not None:
                self._waiting[order.call] = answer
            assert self._process.stdin is not None  # noqa: S101 - it was started with a pipe
            try:
                self._process.stdin.write(msgspec.json.encode(order) + b"\n")
                self._process.stdin.flush()
            except OSError as error:
                self._waiting.pop(order.call, None)
                raise UnavailableError(f"The cluster {self.name} is gone: {error}.", "Ask again.") from error

    def _refuse_closed(self) -> None:
        if self._closed:
            raise UnavailableError("The yard is going down.", "Ask again when it is up.")

    def _join(self) -> subprocess.Popen[bytes]:
        if find_spec("ray") is None:
            raise _not_installed()
        with self._log_file.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.workers.ray_driver", self._cluster.address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=self._environment(),
                start_new_session=True,
            )
        self._joining = process
        if self._closed:
            process.kill()
        joined = Future[Any]()
        self._waiting = waiting = {0: joined}
        name = f"ray-{self.name}"
        threading.Thread(target=self._listen, args=(process, waiting), name=name, daemon=True).start()
        try:
            said = joined.result(_JOIN_SECONDS)
        except TimeoutError:
            said = Failed(0, f"no answer in {_JOIN_SECONDS:g} s")
        self._joining = None
        if not isinstance(said, Joined):
            process.kill()
            _reap(process)
            self._refuse_closed()
            error = UnavailableError(
                f"The cluster {self.name} at {self._cluster.address} cannot be joined: {said.words}.",
                "This machine must be a node of it (ray start --address …) and have its token; see "
                f"docs/ray.md and {self._log_file}.",
            )
            self.note("ray-version" if _VERSIONS in said.words else "ray-away", error)
            raise error
        return process

    def _environment(self) -> dict[str, str]:
        """The yard's own, with this cluster's token and no other, and without reports to Ray's makers."""
        token = Path(self._cluster.token_file)
        try:
            mode = token.stat().st_mode
        except OSError as error:
            raise UnavailableError(
                f"The token of the cluster {self.name} cannot be read: {error}.",
                "Put the cluster's token there, readable by the yard's user alone.",
            ) from error
        if mode & _OPEN:
            raise UnavailableError(
                f"{token} can be read by others: whoever has it can run anything on the cluster.",
                f"chmod 600 {token}",
            )
        clean = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        return {
            **clean,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    @staticmethod
    def _listen(process: subprocess.Popen[bytes], waiting: dict[int, Future[Any]]) -> None:
        """Hand out what a driver says; when it is gone, tell those who wait for it, and nobody else."""
        decoder = msgspec.json.Decoder(ray_driver.Said)
        assert process.stdout is not None  # noqa: S101 - it was started with a pipe
        with process.stdout as lines:
            for line in lines:
                said: ray_driver.Said = decoder.decode(line)
                number = 0 if isinstance(said, Joined) else said.call
                if (answer := waiting.pop(number, None)) is not None:
                    answer.set_result(said)
        process.wait()
        while waiting:
            number, answer = waiting.popitem()
            answer.set_result(Failed(number, "the link to it broke"))


def _not_installed() -> EnvironmentBuildError:
    return EnvironmentBuildError(
        "Ray is not installed with this yard.", "Install it: pip install 'modelyard[server,ray]'."
    )


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


class Places:
    """Has hosts placed on the clusters of their departments.

    Args:
        settings: the node's; its key is kept in `settings.run`.
        clusters: see `ray.toml`.
    """

    def __init__(self, settings: Settings, clusters: Clusters) -> None:
        logs = settings.data / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        settings.run.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self._clusters = clusters
        self._identity = settings.run / "ray.identity"
        self._certificate = remote.identity_at(self._identity)
        self._rays = {
            name: RayCluster(name, cluster, logs / f"ray-{name}.log")
            for name, cluster in clusters.by_name.items()
        }

    def place(self, department: str, name: str, demand: Demand, progress: Progress) -> Spot:
        """Have a host placed, and connect to it.

        Raises:
            UnavailableError: no cluster, no room, or it cannot be reached.
        """
        ray = self._rays[self._clusters.of(department)]
        progress(f"waiting for room on the cluster {ray.name}")
        placed = ray.place(name, self._certificate, demand, self._settings.load_timeout)
        far = Far(placed.host, placed.port, placed.certificate, str(self._identity))
        try:
            return Spot(far, placed.node, Channel(far), lambda: ray.kill(name))
        except OSError as error:
            ray.kill(name)
            raise UnavailableError(
                f"{placed.node} of the cluster {ray.name} cannot be reached at port {far.port}: {error}.",
                "Let the yard's machines connect to all ports of the cluster's; see docs/ray.md.",
            ) from error

    def look(self) -> tuple[Finding, ...]:
        """How this node stands with each."""
        return tuple(ray.look() for ray in self._rays.values())

    def note(self, department: str, error: BaseException) -> None:
        """Remember, for `look`, that a machine of a department's cluster has another release of the yard."""
        if isinstance(error, ReleaseError):
            self._rays[self._clusters.of(department)].note("ray-version", error)

    def close(self) -> None:
        """Leave the clusters."""
        for ray in self._rays.values():
            ray.close()


class Spot(NamedTuple):
    """A host that was placed: where, on which machine, a connection to it, and how to give it up."""

    far: Far
    node: str
    channel: Channel
    give_up: Callable[[], None]
