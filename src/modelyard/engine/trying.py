"""What a node does for rollouts: candidates have workers, and what the fronts count is written down."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from modelyard.catalog.rollouts import Rollouts
from modelyard.engine.keeper import Keeper
from modelyard.records.errors import UnavailableError, YardError
from modelyard.records.rollouts import Evidence, RouteTable, Tally

log = logging.getLogger(__name__)

_AGAIN_AFTER = 5.0  # seconds until a candidate that did not start is started again


class Trying:
    """Candidates' workers and evidence on one node.

    Args:
        replicas: how many workers a version has.
    """

    def __init__(self, rollouts: Rollouts, keeper: Keeper, replicas: Callable[[str], int]) -> None:
        self._rollouts = rollouts
        self._keeper = keeper
        self._replicas = replicas
        self._evidence: dict[int, Evidence] = {}
        self._starting: dict[str, float] = {}  # version id to the earliest next start
        self._lock = threading.Lock()

    def tell(self, evidence: Mapping[int, Evidence]) -> None:
        """A front has counted this."""
        with self._lock:
            for rollout, more in evidence.items():
                known = self._evidence.get(rollout)
                self._evidence[rollout] = more if known is None else known + more

    def write_down(self) -> None:
        """Add what was counted to the rollouts' records.

        Raises:
            UnavailableError: the database does not answer; it is written the next time.
        """
        with self._lock:
            waiting, self._evidence = self._evidence, {}
        try:
            while waiting:
                rollout = next(iter(waiting))
                self._rollouts.count(rollout, waiting[rollout])
                del waiting[rollout]
        finally:
            self.tell(waiting)

    def warm(self, table: RouteTable) -> None:
        """Start the workers of candidates that have none, each in a thread."""
        live = self._keeper.live()
        for model, routes in table.models.items():
            trial = routes.rollout
            served = routes.versions.get(trial.candidate) if trial else None
            if trial is None or served is None or served.id in live:
                continue
            with self._lock:
                if time.monotonic() < self._starting.get(served.id, 0.0):
                    continue
                self._starting[served.id] = float("inf")
            log.info("the candidate %s of %s is started", served.version, model)
            start = (served.id, trial.rollout)
            threading.Thread(target=self._start, args=start, name="candidate", daemon=True).start()

    def _start(self, version_id: str, rollout: int) -> None:
        try:
            self._keeper.ensure(version_id, self._replicas(version_id))
        except UnavailableError as error:
            log.warning("the candidate %s is not started now: %s", version_id, error)
        except YardError as error:
            failed = Tally(asked=1, failed=1, words=f"It does not start: {error.message}")
            self.tell({rollout: Evidence(candidate=failed)})
        finally:
            with self._lock:
                self._starting[version_id] = time.monotonic() + _AGAIN_AFTER
