"""How many workers versions have on a node: what the fronts say of their queues, put into effect."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from modelyard.engine.keeper import Keeper
from modelyard.engine.scaling import Scales
from modelyard.records.capacity import Demand
from modelyard.records.errors import YardError

log = logging.getLogger(__name__)

_AGAIN_AFTER = 30.0  # seconds until more workers are tried again where they did not start


class Sizing:
    """Sees to it that live versions have as many workers as they need and may have.

    Args:
        demand: what a version's model asks for; None where nobody has said.
        least: workers of each version on this node.
        most: whatever a model asks for.
    """

    def __init__(self, keeper: Keeper, demand: Callable[[str], Demand | None], least: int, most: int) -> None:
        self._keeper = keeper
        self._demand = demand
        self._least = least
        self._most = max(least, most)
        self._scales = Scales()
        self._waits: dict[str, float] = {}
        self._not_before: dict[str, float] = {}  # version id to the earliest next start
        self._lock = threading.Lock()

    def tell(self, waits: Mapping[str, float]) -> None:
        """A front says how long newcomers would wait there, in seconds; what several say adds up."""
        with self._lock:
            for version_id, seconds in waits.items():
                self._waits[version_id] = self._waits.get(version_id, 0.0) + seconds

    def replicas(self, version_id: str) -> int:
        """How many workers a version is to have."""
        with self._lock:
            return self._scales.replicas(version_id, *self._limits(version_id))

    def round(self) -> None:
        """Start and let go of workers as the queues of the last second say. Returns at once."""
        live = {version_id: len(workers) for version_id, workers in self._keeper.live().items()}
        with self._lock:
            waits, self._waits = self._waits, {}
            limits = {version_id: self._limits(version_id) for version_id in live}
            changes = self._scales.round(waits, live, limits)
        for version_id, replicas in changes.items():
            if replicas < live[version_id]:
                log.info("%s goes down to %d workers", version_id, replicas)
                self._keeper.shrink(version_id, replicas)
            elif time.monotonic() >= self._not_before.get(version_id, 0.0):
                self._not_before[version_id] = time.monotonic() + _AGAIN_AFTER
                log.info("%s goes up to %d workers", version_id, replicas)
                threading.Thread(target=self._grow, args=(version_id, replicas), daemon=True).start()

    def _limits(self, version_id: str) -> tuple[int, int]:
        demand = self._demand(version_id) or Demand()
        least = min(max(self._least, demand.min_replicas), self._most)
        return least, max(least, min(demand.max_replicas, self._most))

    def _grow(self, version_id: str, replicas: int) -> None:
        try:
            self._keeper.grow(version_id, replicas)
        except YardError as error:
            log.warning("%s has no more workers for now: %s", version_id, error)
        else:
            self._not_before.pop(version_id, None)
