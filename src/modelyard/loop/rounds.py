"""Rounds: a node looks from time to time how its machine is, and has the others know."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from modelyard.records.conditions import Condition
from modelyard.records.errors import UnavailableError

log = logging.getLogger(__name__)
EVERY = 30.0  # seconds


class Rounds:
    """Looks in a thread of the engine.

    Args:
        look: how the machine is.
        say: has the others know.
        may_act: whether this node may say anything: of two under one id, one does.
    """

    def __init__(
        self, look: Callable[[], Condition], say: Callable[[Condition], None], may_act: Callable[[], bool]
    ) -> None:
        self._look, self._say, self._may_act = look, say, may_act
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)

    def start(self) -> None:
        """Work in a thread until `stop`."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Begin no further round."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def once(self) -> None:
        """Look, and say it."""
        try:
            if self._may_act():
                self._say(self._look())
        except (UnavailableError, OSError) as error:
            log.warning("this node cannot say how its machine is: %s", error)

    def _run(self) -> None:
        while True:
            try:
                self.once()
            except Exception:
                log.exception("looking at the machine failed in the yard itself; the next round comes soon")
            if self._stopping.wait(EVERY):
                return
