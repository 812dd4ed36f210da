"""The pulse of the yard: what was asked in the last quarter of an hour, sampled from the counters.

Each front asks the engine now and then for the counters of all fronts and keeps the differences. Nothing is
written anywhere; a front that has just started knows little yet, and pages say so. Looks of the same quarter
of a minute are kept as one, and what is worked out for one open page is there for all until the next look.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from modelyard.records.errors import YardError
from modelyard.serving.counters import BUCKETS

log = logging.getLogger(__name__)

KEPT = 900.0  # seconds
QUIET, WATCHED = 10.0, 2.0  # seconds between two looks: with nobody watching, and with somebody
POINTS = 60  # of a line over `KEPT`
_SLOT = KEPT / POINTS  # seconds of which looks are kept as one
NOW = 20.0  # seconds that "now" means
_SAMPLE = re.compile(
    r"modelyard_predict_(?P<what>requests_total|rows_total|seconds_sum|seconds_bucket)"
    r'\{model="(?P<model>[^"]*)",version="(?P<version>\d+)"'
    r'(?:,outcome="(?P<outcome>[^"]*)")?(?:,le="(?P<le>[^"]*)")?\}'
)

Key = tuple[str, int]
T = TypeVar("T")


@dataclass
class Counted:
    """What was counted of one version over some time.

    Attributes:
        buckets: how many answers took up to each bound of `BUCKETS`, and longer.
    """

    answered: float = 0.0
    failed: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0
    buckets: list[float] = field(default_factory=lambda: [0.0] * (len(BUCKETS) + 1))

    @property
    def requests(self) -> float:
        """All of them."""
        return self.answered + self.failed

    def add(self, other: Counted) -> None:
        """Add what another has."""
        self.answered += other.answered
        self.failed += other.failed
        self.rows += other.rows
        self.seconds += other.seconds
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]

    def quantile(self, q: float) -> float | None:
        """Seconds within which this share of the answers came, read off the buckets; None of none."""
        due = q * sum(self.buckets)
        if due <= 0:
            return None
        below, low = 0.0, 0.0
        for bound, many in zip((*BUCKETS, BUCKETS[-1]), self.buckets, strict=True):
            if below + many >= due:
                return low + (bound - low) * (due - below) / many
            below, low = below + many, bound
        return BUCKETS[-1]


@dataclass(frozen=True)
class Beat:
    """The differences over one interval, by model and version, of those that were asked."""

    at: float
    seconds: float
    changes: Mapping[str, Mapping[int, Counted]]

    def plus(self, later: Beat) -> Beat:
        """This interval with the one that follows."""
        changes: dict[str, dict[int, Counted]] = {}
        for beat in (self, later):
            for model, versions in beat.changes.items():
                own = changes.setdefault(model, {})
                for version, counted in versions.items():
                    own.setdefault(version, Counted()).add(counted)
        return Beat(later.at, self.seconds + later.seconds, changes)


class Pulse:
    """Samples the counters.

    Args:
        counters: asks the engine for the counters of all fronts.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        counters: Callable[[], Awaitable[Mapping[str, float]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._before: Mapping[str, float] | None = None
        self._looked_at = clock()
        self._beats: deque[Beat] = deque()
        self._names: dict[str, tuple[Key, str, str] | None] = {}
        self._known: dict[str, Any] = {}
        self._beat = asyncio.Event()
        self._watchers = 0
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                self.take(await self._counters())
            except YardError as error:
                log.info("no pulse: %s", error)
            self._beat.set()
            self._beat = asyncio.Event()
            self._hurry.clear()
            try:
                async with asyncio.timeout(WATCHED if self._watchers else QUIET):
                    await self._hurry.wait()
            except TimeoutError:
                pass

    def take(self, counters: Mapping[str, float]) -> None:
        """Keep the differences from the last look; the first look has none."""
        now = self._clock()
        before, self._before = self._before, counters
        elapsed, self._looked_at = now - self._looked_at, now
        while self._beats and self._beats[0].at < now - KEPT:
            self._beats.popleft()
        if before is not None and elapsed > 0:
            changes: dict[str, dict[int, Counted]] = {}
            for name, value in counters.items():
                if (more := value - before.get(name, 0.0)) > 0:
                    self._count(changes, name, more)
            self._keep(Beat(now, elapsed, changes))
        self._known.clear()

    def _keep(self, beat: Beat) -> None:
        if self._beats and self._beats[-1].at // _SLOT == beat.at // _SLOT:
            beat = self._beats.pop().plus(beat)
        self._beats.append(beat)

    def once(self, what: str, find: Callable[[], T]) -> T:
        """What `find` says, asked once between two looks for all who want it."""
        if what not in self._known:
            self._known[what] = find()
        found: T = self._known[what]
        return found

    def _count(self, changes: dict[str, dict[int, Counted]], name: str, more: float) -> None:
        parsed = self._names.get(name, ...)
        if parsed is ...:
            found = _SAMPLE.fullmatch(name)
            parsed = self._names[name] = (
                (
                    (found["model"], int(found["version"])),
                    found["what"],
                    found["outcome"] or found["le"] or "",
                )
                if found
                else None
            )
        if parsed is None:
            return
        (model, version), what, label = parsed
        counted = changes.setdefault(model, {}).setdefault(version, Counted())
        match what:
            case "requests_total" if label == "answered":
                counted.answered += more
            case "requests_total":
                counted.failed += more
            case "rows_total":
                counted.rows += more
            case "seconds_sum":
                counted.seconds += more
            case _:
                place = len(BUCKETS) if label == "+Inf" else BUCKETS.index(float(label))
                counted.buckets[place] += more

    async def next(self, patience: float) -> bool:
        """Wait for the next look; whether it came within `patience` seconds."""
        self._watchers += 1
        if self._watchers == 1:
            self._hurry.set()
        try:
            async with asyncio.timeout(patience):
                await self._beat.wait()
        except TimeoutError:
            return False
        finally:
            self._watchers -= 1
        return True

    def counted(self, model: str, seconds: float = KEPT, version: int | None = None) -> Counted:
        """What was counted of a model (or of one version) in the last seconds."""
        total = Counted()
        since = self._looked_at - seconds
        for beat in reversed(self._beats):
            if beat.at <= since:
                break
            for number, counted in beat.changes.get(model, {}).items():
                if version in (None, number):
                    total.add(counted)
        return total

    def versions(self, model: str) -> dict[int, Counted]:
        """What was counted of each version of a model that was asked."""
        found: dict[int, Counted] = {}
        for beat in self._beats:
            for version, counted in beat.changes.get(model, {}).items():
                found.setdefault(version, Counted()).add(counted)
        return found

    def asked(self) -> frozenset[str]:
        """The models that were asked at all in the time kept."""
        return frozenset(model for beat in self._beats for model in beat.changes)

    def rates(self) -> dict[str, float]:
        """Requests a second now, of the models that were asked at all lately."""
        recent = [b for b in self._beats if b.at > self._looked_at - NOW] or list(self._beats)[-1:]
        time_taken = sum(b.seconds for b in recent) or 1.0
        totals: dict[str, float] = {}
        for beat in recent:
            for model, versions in beat.changes.items():
                totals[model] = totals.get(model, 0.0) + sum(c.requests for c in versions.values())
        return {model: total / time_taken for model, total in totals.items()}

    def lines(self, models: frozenset[str]) -> dict[str, list[float]]:
        """Requests a second over the time kept, `POINTS` values a model, oldest first."""
        begin, width = self._looked_at - KEPT, KEPT / POINTS
        sums: dict[str, list[float]] = {}
        for beat in self._beats:
            parts = _spread(beat.at - beat.seconds - begin, beat.at - begin, width)
            for model in models & beat.changes.keys():
                line = sums.setdefault(model, [0.0] * POINTS)
                requests = sum(counted.requests for counted in beat.changes[model].values())
                for place, part in parts:
                    line[place] += requests * part
        return {model: [value / width for value in line] for model, line in sums.items()}

    @property
    def known(self) -> float:
        """Seconds of which the pulse knows, up to `KEPT`."""
        return sum(beat.seconds for beat in self._beats)


def _spread(begin: float, end: float, width: float) -> list[tuple[int, float]]:
    """Over which points of a line an interval lies, and with which share of it on each.

    >>> _spread(5.0, 15.0, 10.0)
    [(0, 0.5), (1, 0.5)]
    """
    begin, end = max(0.0, begin), min(end, width * POINTS)
    if end <= begin:
        return []
    shares = []
    for place in range(int(begin / width), min(POINTS - 1, int(end / width)) + 1):
        overlap = min(end, (place + 1) * width) - max(begin, place * width)
        if overlap > 0:
            shares.append((place, overlap / (end - begin)))
    return shares
