"""Machines for nodes: network namespaces joined by a bridge, each with an address and a cable of its own.

Where no namespaces can be made (no root, no iproute2) they are further addresses of this machine, and a cable
that is pulled is a machine that stands still.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

from tests.journeys.running import RunningYard

log = logging.getLogger(__name__)


class Machine(NamedTuple):
    """A machine.

    Attributes:
        address: its own.
        inside: the words before a command that is to run on it.
    """

    address: str
    inside: tuple[str, ...]
    name: str

    def cut_off(self, node: RunningYard) -> None:
        """Pull its cable."""
        if self.inside:
            _ip("link", "set", self.name, "down")
        else:
            _signal(node, signal.SIGSTOP)

    def join(self, node: RunningYard) -> None:
        """Put it in again."""
        if self.inside:
            _ip("link", "set", self.name, "up")
        else:
            _signal(node, signal.SIGCONT)


class Network(NamedTuple):
    """What machines reach each other by: the address of this machine in it, and they."""

    host: str
    machines: tuple[Machine, ...]


@contextmanager
def network(count: int) -> Iterator[Network]:
    """So many machines."""
    with ExitStack() as stack:
        try:
            found = _namespaces(count, stack.callback)
        except (OSError, subprocess.CalledProcessError) as error:
            log.warning("no network namespaces here (%s): other addresses of this machine instead", error)
            machines = tuple(Machine(f"127.0.0.{n + 2}", (), "") for n in range(count))
            found = Network("127.0.0.1", machines)
        yield found


def _namespaces(count: int, finally_: Callable[..., object]) -> Network:
    mark = secrets.token_hex(3)
    net = f"10.{64 + int(mark[:2], 16) % 64}.{int(mark[2:4], 16)}"
    bridge = f"yb{mark}"
    _ip("link", "add", bridge, "type", "bridge")
    finally_(_ip, "link", "del", bridge, check=False)
    _ip("address", "add", f"{net}.1/24", "dev", bridge)
    _ip("link", "set", bridge, "up")
    machines = []
    for n in range(count):
        name, near, far = f"yard-{mark}-{n}", f"yn{mark}{n}", f"yf{mark}{n}"
        _ip("netns", "add", name)
        finally_(_ip, "netns", "del", name, check=False)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        _ip("link", "set", near, "master", bridge, "up")
        _ip("-n", name, "address", "add", f"{net}.{n + 2}/24", "dev", far)
        for device in ("lo", far):
            _ip("-n", name, "link", "set", device, "up")
        machines.append(Machine(f"{net}.{n + 2}", ("ip", "netns", "exec", name), near))
    return Network(f"{net}.1", tuple(machines))


def _ip(*words: str, check: bool = True) -> None:
    program = shutil.which("ip", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin") or "ip"
    subprocess.run([program, *words], check=check, capture_output=True)


def _signal(node: RunningYard, number: signal.Signals) -> None:
    assert node.process is not None
    for pid in (node.process.pid, *node.processes()):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
