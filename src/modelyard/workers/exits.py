"""A job's way out: the process that answers for its named hosts, started beside the job and gone with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

import modelyard
from modelyard.records.errors import EnvironmentBuildError
from modelyard.workers import opener, sandbox
from modelyard.workers.sandbox import MIB, Walls

_HOUSE = str(Path(modelyard.__file__).parents[1])
_OPENER = str(Path(opener.__file__))
_ADDRESS = f"http://127.0.0.1:{opener.PORT}"
_VARIABLES = {
    **dict.fromkeys(("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"), _ADDRESS),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1"),
}
# What the system's resolver reads.
_NAMES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/host.conf")
_MEMORY = 512 * MIB
_PROCESSES = 64
_LAST_WORDS = 5.0  # seconds to tell what went through


def through(words: list[str]) -> list[str]:
    """The command, behind the program that opens the way out within the walls."""
    return [sys.executable, "-I", "-S", _OPENER, *words]


def with_exit(walls: Walls) -> Walls:
    """Walls in which that program can be run, and others find the proxy."""
    return msgspec.structs.replace(
        walls,
        read_only=(*walls.read_only, *sandbox.needs(sys.executable), _OPENER),
        environment=walls.environment | _VARIABLES,
    )


class Exit:
    """The proxy of one job. The thread that starts it must live as long as it does.

    Args:
        hosts: `name:port`, which it connects to and to no others.
        networks: within the house that they may be in; see `Settings.outbound`.
        hidden: folders that nothing of is to be seen: the yard's data.
        groups: control groups of the job, which what it makes its proxy do counts for.
        log: the job's output, which gets the proxy's lines.

    Attributes:
        inner: the number of the end of a socket that the job's opener gets as its standard input.

    Raises:
        EnvironmentBuildError: it does not start.
    """

    def __init__(
        self,
        hosts: tuple[str, ...],
        networks: str,
        hidden: tuple[str, ...],
        groups: tuple[str, ...],
        log: IO[bytes],
    ) -> None:
        self._inner, outer = socket.socketpair()
        self.inner = self._inner.fileno()
        walls = Walls(
            read_only=(*sandbox.needs(sys.executable), _HOUSE, *_NAMES),
            hidden=hidden,
            environment={"PATH": "/usr/bin:/bin", "PYTHONPATH": _HOUSE, "HOME": sandbox.HOME},
            memory=_MEMORY,
            processes=_PROCESSES,
            network=True,
            groups=groups,
            dies_with_parent=True,
        )
        words = [sys.executable, "-P", "-s", "-m", "modelyard.workers.proxy", networks, *hosts]
        try:
            self._child = subprocess.Popen(
                sandbox.contained(words, walls),
                stdin=outer.fileno(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            self._inner.close()
            raise EnvironmentBuildError(f"The proxy for the job's hosts does not start: {error}.") from error
        finally:
            outer.close()

    def close(self) -> None:
        """End it, once it has told what went through."""
        self._inner.close()  # the end of its input
        try:
            self._child.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
