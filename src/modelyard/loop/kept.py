"""What was made and may be wanted again, so many of it in memory. Steps of the loop run in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """The last few that were wanted, by what they were made of; the one that was not for longest goes.

    Thread-safe; who wants the same at the same time may make it twice.

    Examples:
        >>> squares: Kept[int, int] = Kept(1)
        >>> squares.of(3, lambda: 9), squares.of(3, lambda: 0)
        (9, 9)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[K, V] = {}
        self._lock = threading.Lock()

    def of(self, key: K, make: Callable[[], V]) -> V:
        """The one of this key, made where it is not there; where that fails nothing is kept."""
        with self._lock:
            if key in self._kept:
                self._kept[key] = found = self._kept.pop(key)
                return found
        found = make()
        with self._lock:
            self._kept[key] = found
            if len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
        return found


def drop_old(kept: dict[K, V], before: datetime, time_of: Callable[[V], datetime]) -> None:
    """Take out what is of this time or before; other threads may change the dictionary meanwhile."""
    for key, value in list(kept.items()):
        if time_of(value) <= before:
            kept.pop(key, None)
