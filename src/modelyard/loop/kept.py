"""What was made and may be wanted again, so many of it in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """The last few that were wanted, by what they were made of; the one that was not for longest goes.

    Examples:
        >>> squares: Kept[int, int] = Kept(1)
        >>> squares.of(3, lambda: 9), squares.of(3, lambda: 0)
        (9, 9)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[K, V] = {}

    def of(self, key: K, make: Callable[[], V]) -> V:
        """The one of this key, made where it is not there; where that fails nothing is kept."""
        found = self._kept.pop(key) if key in self._kept else make()
        self._kept[key] = found
        if len(self._kept) > self._most:
            self._kept.pop(next(iter(self._kept)))
        return found
