"""Talks to one Ray cluster: a program of its own, `python -m modelyard.workers.ray_driver ADDRESS`.

Apart from the engine, because a Ray driver ends with its node's raylet, and because of its size. It reads
orders from standard input and writes what became of them to standard output, a JSON line each. It alone
knows Ray; all that Ray does is to find a machine with room and to start a process there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import msgspec
from msgspec import Struct

from modelyard.workers.seat import Seat

NAMESPACE = "modelyard"
_AT_ONCE = 64
_LONGEST = 400  # characters; what differs between two releases is on the lines after the first


class Place(Struct, frozen=True, tag="place"):
    """Have a process for a worker's host on a machine with room; `timeout` in seconds.

    Attributes:
        certificate: of the yard node that will connect.
        memory: bytes to reserve, or 0.
    """

    call: int
    name: str
    certificate: str
    cpus: float
    gpus: float
    memory: int
    timeout: float


class Kill(Struct, frozen=True, tag="kill"):
    """End such a process, if it should still be there."""

    call: int
    name: str


class Placed(Struct, frozen=True, tag="placed"):
    """It listens there."""

    call: int
    host: str
    port: int
    certificate: str
    node: str


class Failed(Struct, frozen=True, tag="failed"):
    """It did not come about; why, in words. `is_full`: no machine has room, or not yet."""

    call: int
    words: str
    is_full: bool = False


class Joined(Struct, frozen=True, tag="joined"):
    """The cluster is reached."""


Order = Place | Kill
Said = Placed | Failed | Joined


class Driver:
    """Carries out orders, each in a thread.

    Args:
        ray: the module; imported by `main` alone.
    """

    def __init__(self, ray: ModuleType) -> None:
        self._ray = ray
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what Ray prints belongs to the log
        self._saying = threading.Lock()
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._placing: dict[str, Any] = {}

    def run(self) -> None:
        """Until standard input ends; then what was still being placed is given up."""
        decoder = msgspec.json.Decoder(Order)
        for line in sys.stdin.buffer:
            order: Order = decoder.decode(line)
            self._pool.submit(self._place if isinstance(order, Place) else self._kill, order)  # type: ignore[arg-type]
        for actor in list(self._placing.values()):
            with contextlib.suppress(Exception):
                self._ray.kill(actor)

    def say(self, said: Said) -> None:
        """Write a line."""
        with self._saying:
            self._out.write(msgspec.json.encode(said) + b"\n")
            self._out.flush()

    def _place(self, order: Place) -> None:
        ray = self._ray
        try:
            options: dict[str, Any] = {"memory": order.memory} if order.memory else {}
            actor = (
                ray.remote(Seat)
                .options(
                    name=order.name,
                    lifetime="detached",  # predictions go on without the driver and the engine
                    num_cpus=order.cpus,
                    num_gpus=order.gpus,
                    max_restarts=0,  # the yard starts another, elsewhere if need be
                    scheduling_strategy="SPREAD",
                    **options,
                )
                .remote(order.certificate)
            )
            self._placing[order.name] = actor
            far = ray.get(actor.far.remote(), timeout=order.timeout)
            self.say(Placed(order.call, far["host"], far["port"], far["certificate"], far["node"]))
        except Exception as error:  # noqa: BLE001 - whatever Ray says, the engine is told
            is_full = isinstance(error, ray.exceptions.GetTimeoutError)
            with contextlib.suppress(Exception):
                ray.kill(self._placing[order.name])
            self.say(Failed(order.call, words_of(error), is_full))
        finally:
            self._placing.pop(order.name, None)

    def _kill(self, order: Kill) -> None:
        with contextlib.suppress(Exception):  # it has ended by itself
            self._ray.kill(self._ray.get_actor(order.name, namespace=NAMESPACE))


def words_of(error: Exception) -> str:
    r"""What Ray says, without the traceback in the middle: where it ends stands what went wrong.

    >>> words_of(RuntimeError("The actor died.\n  File seat.py, line 20\nOSError: the disk is full"))
    'RuntimeError: The actor died. … OSError: the disk is full'
    """
    first, *rest = filter(None, (line.strip() for line in f"{type(error).__name__}: {error}".splitlines()))
    return " … ".join((first, *rest[-1:]))


def main(address: str) -> None:
    """Join the cluster and serve."""
    import ray  # noqa: PLC0415 - an extra, and heavy: this program alone has it

    driver = Driver(ray)
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # noqa: BLE001 - the engine is told, and decides
        driver.say(Failed(0, " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]))
        os._exit(1)
    driver.say(Joined())
    driver.run()
    os._exit(0)  # its threads may wait for Ray for long


if __name__ == "__main__":
    main(sys.argv[1])
