"""The duty of letting go: logs and curves of jobs that ended long ago, but not those of models in use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from modelyard.records.audit import YARD
from modelyard.records.retention import FOR_EVER, Retention
from modelyard.store import audit, departments, jobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty

KIND, SUBJECT = "forget", "jobs"
_EVERY = timedelta(hours=6)
_AT_ONCE = 200  # jobs a transaction


class ForgetStep:
    """The step of the duty `forget`.

    A job itself stays, with what led to it, its data, cost and last metrics. Its log and the curves stay as
    well while an alias points to the version that it published.

    Args:
        clock: what time it is.
    """

    def __init__(self, database: Database, retention: Retention, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock

    def __call__(self, _: Duty) -> datetime:
        """Let go of what has had its time; when to look again."""
        now = self._clock()
        with self._database.read() as connection:
            places = departments.names(connection)
        for department in places:
            days = self._retention.of(department)
            while days != FOR_EVER and self._let_go(department, now, days) == _AT_ONCE:
                pass
        return now + _EVERY

    def _let_go(self, department: str, now: datetime, days: int) -> int:
        before = now - timedelta(days=days)
        with self._database.read() as connection:
            if not jobs.outlived(connection, department, before, 1):
                return 0
        with self._database.write() as connection:
            found = jobs.outlived(connection, department, before, _AT_ONCE)
            if found:
                jobs.forget(connection, found, now)
                told = {"jobs": len(found), "days": days, "before": before}
                audit.append(connection, by=YARD, action="jobs.forget", subject=department, after=told)
            return len(found)
