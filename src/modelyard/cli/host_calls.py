"""What the API says and takes of a model's hosts, and how a terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelyard.cli import output
from modelyard.records.hosts import Hosts
from modelyard.records.references import Reference

if TYPE_CHECKING:
    from modelyard.client.connection import Connection  # brings httpx: `yard --help` does without


class HostCalls:
    """A model's hosts over HTTP."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection = connection
        self._path = f"/api/v1/models/{Reference.parse(model).model}/hosts"

    def hosts(self) -> Hosts:
        """What is approved and asked for."""
        return self._connection.get(self._path, Hosts)

    def approve(self, hosts: Sequence[str], why: str) -> Hosts:
        """Approve exactly these."""
        return self._connection.send("PUT", self._path, Hosts, {"hosts": list(hosts), "why": why})


def print_hosts(found: Hosts) -> None:
    """What is approved, by whom, and what jobs ask for."""
    output.print_facts(
        [
            ("jobs may reach", ", ".join(found.approved) or "nothing outside"),
            ("approved", f"{output.when(found.at)} by {found.by}" if found.by else ""),
            ("why", found.why),
            *((f"job {each.job} asks for", ", ".join(each.hosts)) for each in found.asked),
        ]
    )
