"""How many workers a version has: from the queue's depth, within what its model may have. Pure.

The depth is told in seconds: how long a newcomer would wait behind what is queued already. Rows alone say
little, for one model answers a thousand in the time another takes for one. The rule is that of Kubernetes'
HorizontalPodAutoscaler, `replicas * measured / target`, with a window against peaks; it goes up at once and
down slowly, because a worker too many costs little and one too few makes callers wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
from msgspec import Struct

TARGET_SECONDS = 0.25  # a newcomer may wait so long
WINDOW = 5  # rounds that are averaged
CALM_ROUNDS = 60  # rounds in a row in which fewer would have done, before one is let go
_CALM_SHARE = 0.5  # fewer would do if even with one less the wait were under this share of the target


class Scale(Struct, frozen=True):
    """How many workers a version has on a node, and what led to it.

    Attributes:
        replicas: how many it is to have.
        waits: seconds that newcomers had to wait, of the last rounds since the number changed, oldest first.
        calm: rounds in a row in which one worker less would have done.
    """

    replicas: int
    waits: tuple[float, ...] = ()
    calm: int = 0


def step(before: Scale, wait: float, least: int, most: int) -> Scale:
    """A version's scale after one more round.

    Args:
        wait: seconds a newcomer would have waited now, with the workers there are.
        least: workers it has at any time.
        most: and at most.

    >>> busy = step(Scale(1, (0.5, 0.5, 0.5, 0.5)), 0.5, 1, 8)
    >>> busy.replicas, busy.waits
    (2, ())
    """
    replicas = min(max(before.replicas, least), most)
    waits = (*before.waits, wait)[-WINDOW:]
    if replicas != before.replicas:
        return Scale(replicas)
    mean = sum(waits) / len(waits)
    if len(waits) == WINDOW and mean > TARGET_SECONDS and replicas < most:
        due = math.ceil(min(replicas * mean / TARGET_SECONDS, 2 * replicas))  # at most twice as many at once
        return Scale(min(most, max(replicas + 1, due)))
    calm = before.calm + 1 if _fewer_would_do(replicas, mean) else 0
    if calm >= CALM_ROUNDS and replicas > least:
        return Scale(replicas - 1)
    return Scale(replicas, waits, calm)


def _fewer_would_do(replicas: int, mean: float) -> bool:
    return replicas > 1 and mean * replicas / (replicas - 1) < _CALM_SHARE * TARGET_SECONDS


class Scales:
    """The scales of a node's versions. Not thread-safe."""

    def __init__(self) -> None:
        self._scales: dict[str, Scale] = {}

    def replicas(self, version_id: str, least: int, most: int) -> int:
        """How many workers a version is to have now."""
        known = self._scales.get(version_id)
        return min(max(known.replicas if known else least, least), most)

    def round(
        self, waits: Mapping[str, float], live: Mapping[str, int], limits: Mapping[str, tuple[int, int]]
    ) -> dict[str, int]:
        """One round, about a second after the last: the versions whose number of workers is to change.

        Args:
            waits: seconds that a newcomer would wait, by version; 0 for one that is not there.
            live: versions with workers, and how many are ready; others are forgotten.
            limits: the least and most workers of each of these.
        """
        changes: dict[str, int] = {}
        scales: dict[str, Scale] = {}
        for version_id, ready in live.items():
            least, most = limits[version_id]
            before = self._scales.get(version_id, Scale(least))
            # While those it got last are still starting, the queue says nothing about how many are enough.
            is_starting = ready < before.replicas
            waited = 0.0 if is_starting else waits.get(version_id, 0.0)
            after = msgspec.structs.replace(before, waits=()) if is_starting else before
            scales[version_id] = after if is_starting else step(before, waited, least, most)
            if scales[version_id].replicas != ready:
                changes[version_id] = scales[version_id].replicas
        self._scales = scales
        return changes
