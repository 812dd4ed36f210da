"""What Ray starts on a machine of the cluster: a process that is a worker's host, and nothing else."""

from __future__ import annotations

import os
import socket
from typing import Any


class Seat:
    """An actor. Ray imports it on the machine by its name, so Modelyard must be installed there.

    Args:
        certificate: of the yard node that may connect.
    """

    def __init__(self, certificate: str) -> None:
        import ray.util  # noqa: PLC0415 - only where Ray is

        from modelyard.workers.host import Host, folder_of_host  # noqa: PLC0415 - with the server's parts

        address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        self._host = Host(address, certificate, folder_of_host(), lambda: os._exit(0))
        self._host.start()

    def far(self) -> dict[str, Any]:
        """Where its host listens, its certificate, and the machine's name."""
        far = self._host.far
        return {
            "host": far.host,
            "port": far.port,
            "certificate": far.certificate,
            "node": f"{socket.gethostname()} {far.host}",
        }
