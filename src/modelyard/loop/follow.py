"""Follows a job's command while it runs: what it says is kept, and what ends it early is noticed."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import msgspec
from msgspec import Struct

from modelyard.catalog.training import News, Training
from modelyard.loop.output import MetricsReader
from modelyard.records.errors import UnavailableError
from modelyard.records.jobs import Point, Usage
from modelyard.store.duties import Duty
from modelyard.workers.tasks import Run

_LOOK_EVERY = 0.2  # seconds
_TELL_EVERY = 1.0
_USAGE_EVERY = 5.0
_HOUR = 3_600.0
_KEPT_TAIL = 2_000  # characters of output that an explanation may look at
_MOST_WAITING = 4_000_000  # characters, or points, kept while the database is away


class Stop(Struct, frozen=True):
    """Why a command was ended before it ended by itself: `limit`, `cancel`, `lost` or `closing`."""

    cause: str
    words: str = ""


class Spending(Struct, frozen=True):
    """What a job takes in all: what its attempts before took, and what an hour of one core costs."""

    before: Usage
    cpu_hour_cost: float

    def with_attempt(self, usage: Usage) -> Usage:
        """With this attempt, priced."""
        cost = usage.cpu_seconds / _HOUR * self.cpu_hour_cost
        return self.before + msgspec.structs.replace(usage, cost=cost)


class Follower:
    """Follows a command that runs: what it says goes to the catalog, and what ends it early is noticed."""

    def __init__(
        self,
        training: Training,
        duty: Duty,
        job: int,
        running: Run,
        metrics: MetricsReader,
        spent: Spending,
    ) -> None:
        self._training = training
        self._duty = duty
        self._job = job
        self._running = running
        self._metrics = metrics
        self._spent = spent
        self._told_usage = 0.0
        self._text = ""
        self._points: list[Point] = []
        self._tail = ""

    def follow(self, closing: threading.Event) -> Stop | None:
        """Until it has ended (None), or is to be ended.

        Raises:
            LostLeaseError: another engine runs it now.
        """
        told = 0.0
        while not self._running.wait(_LOOK_EVERY):
            stop: Stop | None = None
            if closing.is_set():
                return Stop("closing")
            if over := self._running.look():
                stop = Stop("limit", over)
            elif time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                if why := self._tell():
                    stop = Stop("cancel", why)
            if stop is not None:
                self._running.ask_to_end()
                return stop
        return None

    def finish(self) -> str:
        """Tell the rest of what it said; the end of its output."""
        while self._gather():
            self._tell()
        self._tell()
        return self._tail

    def _gather(self) -> bool:
        text, points = self._running.output(), self._metrics.new()
        self._tail = (self._tail + text)[-_KEPT_TAIL:]
        self._text = (self._text + text)[-_MOST_WAITING:]
        self._points = (self._points + points)[-_MOST_WAITING:]
        return bool(text or points)

    def _tell(self) -> str:
        """Tell what is new; why it is to end, or "". While the database is away it waits."""
        self._gather()
        with suppress(UnavailableError):
            is_due = time.monotonic() - self._told_usage > _USAGE_EVERY
            if not self._text and not self._points and not is_due:
                return self._training.why_end(self._job)
            usage = self._spent.with_attempt(self._running.usage)
            why = self._training.tell(self._duty, self._job, News(self._text, self._points, usage))
            self._told_usage = time.monotonic()
            self._text, self._points = "", []
            return why
        return ""
