"""The step that opens alerts and sends them: one duty for the yard, looked at every few seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from modelyard.catalog.alerts import Alerts
from modelyard.store.duties import Duty

KIND, SUBJECT = "alert", "yard"
_LOOK_EVERY = timedelta(seconds=5)
_TROUBLES_EVERY = timedelta(seconds=10)


class AlertStep:
    """The step of the duty `alert`.

    Args:
        clock: what time it is.
        troubles: opens and closes the alerts of the yard itself; see `catalog.troubles`.
        is_steady: whether this engine may judge: after an outage nobody has been heard of for a while.
    """

    def __init__(
        self,
        alerts: Alerts,
        clock: Callable[[], datetime],
        troubles: Callable[[], object] = lambda: None,
        is_steady: Callable[[], bool] = lambda: True,
    ) -> None:
        self._alerts = alerts
        self._clock = clock
        self._troubles = troubles
        self._is_steady = is_steady
        self._looked: datetime | None = None

    def __call__(self, _: Duty) -> datetime:
        """Look once; when to look again. All of it is idempotent, so a step may be repeated."""
        now = self._clock()
        if self._is_steady() and (self._looked is None or now - self._looked >= _TROUBLES_EVERY):
            self._looked = now
            self._troubles()
        self._alerts.note()
        self._alerts.deliver()
        return self._clock() + _LOOK_EVERY
