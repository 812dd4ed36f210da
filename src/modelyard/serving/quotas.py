"""How many rows a second a token may have predicted on a front: a bucket that fills with time."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelyard.records.errors import QuotaError
from modelyard.records.people import Grant

_KEPT = 10_000  # buckets; full ones are let go of first


class Quotas:
    """The buckets of a front's tokens.

    A bucket holds what a second gives, at least one row. A request may come while anything is in it and takes
    its rows out, if need be beyond nothing: so a table of many rows is answered, and what follows waits.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[int, tuple[float, float]] = {}  # token: what is in it, and when that was so

    def take(self, grant: Grant, rows: int) -> None:
        """Nothing if so many rows may be predicted now.

        Raises:
            QuotaError: too many were in the last seconds.
        """
        rate = grant.rows_per_second
        if rate is None:
            return
        now = self._clock()
        room = max(1.0, rate)
        level, at = self._buckets.get(grant.token_id, (room, now))
        level = min(room, level + (now - at) * rate)
        if level <= 0:
            raise QuotaError(
                f"This token may have {rate:g} rows a second predicted, and had more.",
                "Ask again after the seconds of the Retry-After header, or ask its maker for a higher limit.",
                retry_after=-level / rate + 1 / rate,
            )
        if len(self._buckets) >= _KEPT:
            self._buckets = {t: b for t, b in self._buckets.items() if b[1] > now - 1}
        self._buckets[grant.token_id] = (level - rows, now)
