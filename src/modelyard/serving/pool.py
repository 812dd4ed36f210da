"""The pool: for each version that is asked for, a batcher with its connections to warm workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from modelyard.records.rollouts import RouteTable, ServedVersion
from modelyard.serving.batcher import Batcher, Fleet, Limits
from modelyard.serving.inputs import InputPlan
from modelyard.serving.tap import Tap


class Pool:
    """Batchers by version.

    Args:
        max_rows: the most rows of one request.
        ensure: has the engine start a version's workers.
        stuck: tells the engine of a worker that does not answer.
    """

    def __init__(
        self,
        limits: Limits,
        max_rows: int,
        ensure: Callable[[str], Awaitable[Fleet]],
        stuck: Callable[[str, str, str], None],
        tap: Tap,
    ) -> None:
        self._limits = limits
        self._max_rows = max_rows
        self._ensure = ensure
        self._stuck = stuck
        self._tap = tap
        self._batchers: dict[str, Batcher] = {}
        self._fleets: dict[str, Fleet] = {}
        self._used: set[str] = set()

    def batcher(self, served: ServedVersion) -> Batcher:
        """The version's batcher, made at its first request."""
        self._used.add(served.id)
        found = self._batchers.get(served.id)
        if found is None:
            plan = InputPlan(served.signature, self._max_rows)
            found = Batcher(served, plan, self._limits, self._ensure, self._stuck, self._tap)
            self._batchers[served.id] = found
            if served.id in self._fleets:
                found.set_fleet(self._fleets[served.id])
        return found

    def answering(self, served: ServedVersion, rows: int) -> Batcher:
        """The batcher for a request of so many rows.

        Many go to native workers, where those were measured to be faster. Nobody waits for these to start:
        until they are there the others answer.
        """
        if not served.native_from or rows < served.native_from:
            return self.batcher(served)
        native = self.batcher(served.for_many_rows)
        if native.is_warm:
            return native
        native.warm()
        return self.batcher(served)

    def set_fleet(self, version_id: str, fleet: Fleet) -> None:
        """The engine says where a version's workers are now."""
        if fleet.sockets:
            self._fleets[version_id] = fleet
        else:
            self._fleets.pop(version_id, None)
        if version_id in self._batchers:
            self._batchers[version_id].set_fleet(fleet)

    def swap(self, table: RouteTable) -> None:
        """Let go of versions that are in no route any more."""
        for version_id in list(self._batchers):
            if table.served(version_id) is None:
                self._batchers.pop(version_id).close()

    def waits(self) -> dict[str, float]:
        """Versions with a queue, and the seconds that a newcomer would wait in it now."""
        found = ((version_id, batcher.backlog) for version_id, batcher in self._batchers.items())
        return {version_id: seconds for version_id, seconds in found if seconds}

    def take_used(self) -> tuple[str, ...]:
        """The versions asked for since the last call."""
        used, self._used = self._used, set()
        return tuple(used)
