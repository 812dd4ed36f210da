"""The watch over the yard itself: what is wrong with it becomes alerts, and is over when it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from modelyard.catalog.backups import Backups
from modelyard.catalog.checkup import late_duties
from modelyard.catalog.nodes import Nodes
from modelyard.records.checkup import of_all_duties, of_backups, troubles
from modelyard.records.troubles import as_alerts
from modelyard.store import alerts
from modelyard.store.database import Database

_CALM = 1.5  # times as much room as is too little: what was told of is over from there on


class Troubles:
    """Looks at the yard.

    Args:
        every_hours: how often it is backed up by itself; 0 if it is not.
        clock: what time it is, by the database's clock.
    """

    def __init__(
        self, database: Database, nodes: Nodes, every_hours: float, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._backups = Backups(database, every_hours)
        self._clock = clock

    def note(self) -> int:
        """Open an alert for each problem that has come, close those of what is over; how many are new."""
        now, nodes, backups = self._clock(), self._nodes.listed(), self._backups.state()
        with self._database.read() as connection:
            late, is_open = late_duties(connection, now), alerts.open_troubles(connection)
        others = [*of_all_duties(late, now), *of_backups(backups, now)]
        found = as_alerts([*troubles(nodes), *others], now)
        lingering = {h.key for h in (*found, *as_alerts(troubles(nodes, _CALM), now))}
        new = [happening for happening in found if happening.key not in is_open]
        over = [key for name, key in is_open.items() if name not in lingering]
        if new or over:
            with self._database.write(unaudited="alerts: told of what stands elsewhere") as connection:
                alerts.settle_troubles(connection, new, over, now)
        return len(new)
