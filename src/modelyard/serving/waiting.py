"""Who waits for a version's workers, whose turn it is, and how long a newcomer would wait.

Callers take turns by rows (start-time fair queueing; Goyal, Vin, Cheng, SIGCOMM 1996): each has a clock that
its rows move on, and the one whose clock is furthest behind is next. A caller who floods the queue waits
behind its own requests, not others behind them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from modelyard.records.errors import YardError
from modelyard.serving.answers import Answer
from modelyard.serving.inputs import Inputs
from modelyard.serving.tap import Asked

_SPAN = 0.2  # seconds a batch should take at most, where it has more than one row
_WEIGHT = 0.3  # of the newest batch among those before it


class Ask:
    """One request on its way.

    Args:
        then: called at most once, with its answer or its error; must not raise.
        gone: whether nobody waits for the answer any more.
        wait: seconds it may take in all,
        deadline: and the monotonic seconds when they are over.
    """

    __slots__ = (
        "alone",
        "asked",
        "deadline",
        "deaths",
        "deaths_alone",
        "gone",
        "inputs",
        "settled",
        "then",
        "wait",
    )

    def __init__(  # what, of whom, how it is answered and until when
        self,
        inputs: Inputs,
        asked: Asked,
        then: Callable[[Answer | YardError], object],
        gone: Callable[[], bool],
        wait: float,
        deadline: float,
    ) -> None:
        self.inputs = inputs
        self.asked = asked
        self.then = then
        self.gone = gone
        self.wait = wait
        self.deadline = deadline
        self.settled = False
        self.alone = inputs.columns is not None  # tables travel alone; so do suspects
        self.deaths = 0
        self.deaths_alone = 0

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do for it."""
        return self.settled or self.gone()

    def settle(self, outcome: Answer | YardError) -> None:
        """Pass its answer or its error on, unless it has one."""
        if not self.settled:
            self.settled = True
            self.then(outcome)


class Waiting:
    """Requests that wait, in an order that is fair to their callers.

    Args:
        limit: rows that may wait; beyond it only callers with less than their share may add more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._again: deque[Ask] = deque()  # what a worker has had before, first of all
        self._lanes: dict[str, _Lane] = {}
        self._clock = 0  # of the caller who was served last
        self.rows = 0

    def __iter__(self) -> Iterator[Ask]:
        yield from self._again
        for lane in self._lanes.values():
            yield from lane.asks

    def __bool__(self) -> bool:
        return bool(self._again) or bool(self._lanes)

    def has_room(self, caller: str, rows: int) -> bool:
        """Whether so many rows more of this caller may wait.

        Where nothing waits there is always room; where the queue is full, there is for who has less in it
        than its share, up to twice the limit in all.
        """
        if not self.rows or self.rows + rows <= self._limit:
            return True
        lane = self._lanes.get(caller)
        share = self._limit / (len(self._lanes) + (lane is None))
        return (lane.rows if lane else 0) + rows <= share and self.rows + rows <= 2 * self._limit

    def add(self, ask: Ask) -> None:
        """At the end of its caller's requests."""
        lane = self._lanes.get(ask.asked.caller)
        if lane is None:
            lane = self._lanes[ask.asked.caller] = _Lane(self._clock)
        lane.asks.append(ask)
        lane.rows += ask.inputs.count
        self.rows += ask.inputs.count

    def put_back(self, ask: Ask) -> None:
        """Before all others."""
        self._again.appendleft(ask)
        self.rows += ask.inputs.count

    def first(self) -> Ask | None:
        """Whose turn it is; None if nobody waits."""
        if self._again:
            return self._again[0]
        return self._next().asks[0] if self._lanes else None

    def take(self) -> Ask:
        """Take the first out."""
        if self._again:
            ask = self._again.popleft()
        else:
            lane = self._next()
            ask = lane.asks.popleft()
            self._clock = lane.clock
            lane.clock += ask.inputs.count
            lane.rows -= ask.inputs.count
            if not lane.asks:
                del self._lanes[ask.asked.caller]
        self.rows -= ask.inputs.count
        return ask

    def drop(self, gone: Callable[[Ask], bool]) -> None:
        """Take out all of which this is true."""
        self._again = deque(ask for ask in self._again if not gone(ask))
        for caller, lane in list(self._lanes.items()):  # whose clocks stay: turns go on as they were
            lane.asks = deque(ask for ask in lane.asks if not gone(ask))
            lane.rows = sum(ask.inputs.count for ask in lane.asks)
            if not lane.asks:
                del self._lanes[caller]
        self.rows = sum(ask.inputs.count for ask in self)

    def _next(self) -> _Lane:
        if len(self._lanes) == 1:
            return next(iter(self._lanes.values()))
        return min(self._lanes.values(), key=lambda lane: lane.clock)


class _Lane:
    """One caller's waiting requests; rows served so far, counted from where the others stood at its start."""

    __slots__ = ("asks", "clock", "rows")

    def __init__(self, clock: int) -> None:
        self.asks: deque[Ask] = deque()
        self.clock = clock
        self.rows = 0


class Pace:
    """How long batches take, and from that how many rows one may have and how long a newcomer waits.

    Args:
        most_rows: of a batch, however fast the model is.
    """

    def __init__(self, most_rows: int) -> None:
        self._limit = most_rows
        self.rows = most_rows
        self.seconds = 0.0

    def took(self, rows: int, seconds: float) -> None:
        """A batch of so many rows took so long.

        Where batches take longer than 0.2 s they get smaller, so that a slow model's requests do not all wait
        for each other; where full ones take half of that they grow again.
        """
        if rows > self.rows:  # a table, which is not divided: what its share of a batch would have taken
            seconds *= self.rows / rows
        self.seconds += _WEIGHT * (seconds - self.seconds) if self.seconds else seconds
        if seconds > _SPAN and rows > 1:
            self.rows = max(1, int(min(rows, self.rows) * _SPAN / seconds))
        elif seconds < _SPAN / 2 and rows >= self.rows:
            self.rows = min(self._limit, 2 * self.rows)

    def wait(self, rows: int, workers: int) -> float:
        """Seconds until so many rows before one are answered; too few where batches are not full yet."""
        return rows / self.rows * self.seconds / max(1, workers)
