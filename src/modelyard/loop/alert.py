"""The step that opens alerts and sends them: one duty for the yard, looked at every few seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from modelyard.catalog.alerts import Alerts
from modelyard.store.duties import Duty

KIND, SUBJECT = "alert", "yard"
_LOOK_EVERY = timedelta(seconds=5)


class AlertStep:
    """The step of the duty `alert`.

    Args:
        clock: what time it is.
    """

    def __init__(self, alerts: Alerts, clock: Callable[[], datetime]) -> None:
        self._alerts = alerts
        self._clock = clock

    def __call__(self, _: Duty) -> datetime:
        """Look once; when to look again. Both halves are idempotent, so a step may be repeated."""
        self._alerts.note()
        self._alerts.deliver()
        return self._clock() + _LOOK_EVERY
