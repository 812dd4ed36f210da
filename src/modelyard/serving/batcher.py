"""Batching, in one place: while workers are busy requests gather; an idle worker takes all that wait.

Requests of one event-loop tick travel together; an idle worker adds no delay beyond that tick.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from modelyard.records.errors import (
    BusyError,
    DeadlineError,
    ModelError,
    UnavailableError,
    WorkerLostError,
    YardError,
)
from modelyard.records.rollouts import ServedVersion
from modelyard.records.signatures import ColumnType
from modelyard.serving.answers import Answer, read_answer
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.line import Line
from modelyard.serving.tap import Asked, Tap
from modelyard.serving.waiting import Ask, Pace, Waiting
from modelyard.workers import wire
from modelyard.workers.wire import Block, Frame

_DEATHS_ALONE = 2  # a request that was alone with so many dying workers is the cause
_ASK_AGAIN_SECONDS = 0.02
_DEATHS_IN_ALL = 4  # and one that met so many is given up, cause or not
_AHEAD = 2  # batches a worker may have at once: while it answers one, the next is there already
_SHORT = 0.02  # seconds of a batch
_WARM_AGAIN = 30.0  # seconds
_LOOK_SECONDS = 0.025  # between two looks for requests whose time is up


class Limits(Struct, frozen=True):
    """See the settings of the same names."""

    batch_rows: int
    queue_rows: int
    answer_timeout: float
    queue_seconds: float = 5.0


class Fleet(Struct, frozen=True):
    """Where a version's workers listen, and the column types they take."""

    sockets: tuple[str, ...]
    takes: tuple[str, ...]


class Batch(Struct):
    """Requests that went to a worker together, as the question `id`; `began` when it could begin with it."""

    id: str
    asks: list[Ask]
    block: Block
    rows: int
    began: float


class Batcher:
    """Gathers the requests of one version and keeps its workers fed, one batch at a time each.

    Args:
        served: the version.
        ensure: has the engine start workers; where they listen.
        stuck: tells the engine of a worker that does not answer.
        tap: records each batch before its answers leave.
    """

    def __init__(  # the version, its limits and four ways out
        self,
        served: ServedVersion,
        plan: InputPlan,
        limits: Limits,
        ensure: Callable[[str], Awaitable[Fleet]],
        stuck: Callable[[str, str, str], None],
        tap: Tap,
    ) -> None:
        self.served = served
        self.plan = plan
        self._limits = limits
        self._ensure = ensure
        self._stuck = stuck
        self._tap = tap
        self._queue = Waiting(limits.queue_rows)
        self._pace = Pace(limits.batch_rows)
        self._lines: dict[str, Line] = {}
        self._broken: set[str] = set()
        self._busy: dict[Line, deque[Batch]] = {}
        self._widens = False
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = 0.0
        self._kicked = False
        self._closed = False
        self._starting: asyncio.Task[None] | None = None
        self._no_start_before = 0.0
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)

    def submit(self, inputs: Inputs, asked: Asked) -> asyncio.Future[Answer]:
        """Queue a request; the future has its answer or its error.

        Raises:
            BusyError: as `ask`.
        """
        future: asyncio.Future[Answer] = self._loop.create_future()

        def then(outcome: Answer | YardError) -> None:
            if future.done():
                return
            if isinstance(outcome, YardError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.ask(inputs, asked, then, future.done)
        return future

    def ask(
        self,
        inputs: Inputs,
        asked: Asked,
        then: Callable[[Answer | YardError], object],
        gone: Callable[[], bool],
    ) -> None:
        """Queue a request.

        Args:
            then: called at most once, with the answer or the error; must not raise.
            gone: whether nobody waits for the answer any more.

        Raises:
            BusyError: too many rows wait already, or too long.
        """
        queue, limits = self._queue, self._limits
        now = time.monotonic()
        wait, deadline = limits.answer_timeout, now + limits.answer_timeout
        if asked.wait is not None and asked.began + asked.wait < deadline:
            wait, deadline = asked.wait, asked.began + asked.wait
        if queue.rows or (asked.wait is not None and self._busy):
            self._check_room(inputs.count, asked.caller, deadline - now)
        queue.add(Ask(inputs, asked, then, gone, wait, deadline))
        if self._timer is None or deadline < self._look_at:
            self._look(deadline)
        if not self._kicked:
            self._kick()

    def _check_room(self, rows: int, caller: str, patience: float) -> None:
        """Refuse what would be answered too late: work for nobody is taken from somebody."""
        queue, pace = self._queue, self._pace
        seconds = pace.wait(queue.rows, len(self._lines))
        own = pace.wait(rows, 1) + (pace.seconds if len(self._busy) >= len(self._lines) else 0.0)
        if (
            queue.has_room(caller, rows)
            and seconds <= self._limits.queue_seconds
            and seconds + own <= patience
        ):
            return
        raise BusyError(
            f"{queue.rows} rows wait for {self.served.model} already, for about {seconds:.1f} s.",
            "Ask again after the seconds of the Retry-After header.",
            retry_after=max(1.0, seconds),
        )

    def set_fleet(self, fleet: Fleet) -> None:
        """These are the version's workers now: connect to the new, leave the gone.

        A socket is never used by two workers, so one whose connection broke is not tried again: its worker
        is dying, though the engine may not know it yet.
        """
        takes_all = not fleet.takes or ColumnType.INT64 in fleet.takes
        self._widens = not takes_all and any(c.type is ColumnType.INT64 for c in self.plan.columns)
        self._broken.intersection_update(fleet.sockets)
        for socket in [s for s in self._lines if s not in fleet.sockets]:
            line = self._lines.pop(socket)
            if line not in self._busy:  # a busy one answers first; the engine ends it or it ends itself
                line.close()
        for socket in fleet.sockets:
            if socket not in self._lines and socket not in self._broken:
                line = Line(socket, self._answered, self._lost)
                self._lines[socket] = line
                line.connect(self._kick)
        self._kick()  # none left, and requests wait: more must be asked for

    def close(self) -> None:
        """Let go of the workers; what is being answered still is, what waits is refused."""
        self._closed = True
        self.set_fleet(Fleet((), ()))

    def warm(self) -> None:
        """Have workers started, though nobody waits for them; where that failed lately, not yet again."""
        if not self._lines and self._starting is None and time.monotonic() >= self._no_start_before:
            self._no_start_before = time.monotonic() + _WARM_AGAIN
            self._starting = self._loop.create_task(self._start(patiently=True))

    @property
    def is_warm(self) -> bool:
        """Whether a worker is there to answer at once."""
        return any(line.ready for line in self._lines.values())

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is on its way."""
        return not self._queue and not self._busy

    @property
    def backlog(self) -> float:
        """Seconds until what waits now has been taken by the workers there are; 0 where nothing waits."""
        return self._pace.wait(self._queue.rows, len(self._lines))

    def _kick(self) -> None:
        if not self._kicked:
            self._kicked = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._kicked = False
        if self._closed:
            self._fail_waiting(UnavailableError(f"{self.served.id} is no longer served here.", "Ask again."))
        if not self._queue:
            return
        for depth in range(_AHEAD):
            for line in self._lines.values():
                if line.ready and self._may_have(line, depth) and (asks := self._next_batch()):
                    self._send(line, asks)
                    if not self._queue:
                        return
        if self._queue and not self._lines and self._starting is None:
            self._starting = self._loop.create_task(self._start())

    async def _start(self, *, patiently: bool = False) -> None:
        try:
            while (self._queue or patiently) and not self._lines:
                fleet = await self._ensure(self.served.id)
                if self._closed:
                    return
                self.set_fleet(fleet)
                if not self._lines:  # the engine still names a worker that has died; soon it will not
                    await asyncio.sleep(_ASK_AGAIN_SECONDS)
        except YardError as error:
            self._fail_waiting(error)
        finally:
            self._starting = None

    def _may_have(self, line: Line, depth: int) -> bool:
        """Whether a worker that has so many batches gets another.

        A busy one does when as much waits as it has, and batches take so little that waking it for the next
        would count.
        """
        batches = self._busy.get(line)
        if not batches or not depth:
            return not batches and not depth
        is_worth_it = self._queue.rows >= batches[0].rows and 0 < self._pace.seconds < _SHORT
        return len(batches) == depth and is_worth_it

    def _next_batch(self) -> list[Ask]:
        """Take waiting requests up to the batch's limit; tables and suspects travel alone."""
        asks: list[Ask] = []
        rows = 0
        queue = self._queue
        while (ask := queue.first()) is not None:
            if ask.done:  # its time was up, or its caller went away
                queue.take()
                continue
            if asks and (ask.alone or rows + ask.inputs.count > self._pace.rows):
                break
            asks.append(queue.take())
            rows += ask.inputs.count
            if ask.alone:
                break
        return asks

    def _send(self, line: Line, asks: list[Ask]) -> None:
        rows = sum([ask.inputs.count for ask in asks])
        number = str(next(self._ids))
        parts = [ask.inputs for ask in asks]
        try:
            block = self.plan.block_of(parts)
            taken = self._as_taken(parts) if self._widens else block
            frame = wire.seal(f"infer\nid\t{number}\nrows\t{rows}\n{taken.lines}", taken.body)
        except YardError as error:
            self._fail_or_split(asks, error)
            return
        batch = Batch(number, asks, block, rows, time.monotonic())
        batches = self._busy.get(line)
        if batches is None:
            self._busy[line] = deque((batch,))
        else:
            batches.append(batch)
        line.send(frame)

    def _as_taken(self, parts: Sequence[Inputs]) -> Block:
        """For a runtime without 64-bit integers."""
        columns = self.plan.columns_of(parts)
        return wire.block_of([wire.as_float64(c) if c.type is ColumnType.INT64 else c for c in columns])

    def _answered(self, line: Line, frame: Frame) -> None:
        batches = self._busy.get(line)
        if not batches or frame.get("id") != batches[0].id:
            line.abort("it answered what nobody asked")  # its next answer could be another's
            return
        batch = batches.popleft()
        now = time.monotonic()
        if batches:
            batches[0].began = now
        else:
            del self._busy[line]
        self._pace.took(batch.rows, now - batch.began)
        if self._queue:
            self._flush()  # the worker need not wait until these answers have left
        try:
            outputs = self._outputs(frame, batch)
        except YardError as error:
            self._fail_or_split(batch.asks, error)
        else:
            self._record(batch, outputs, frame)
        if self._lines.get(line.path) is not line and line not in self._busy:
            line.close()
        if self._queue:
            self._kick()

    def _record(self, batch: Batch, outputs: list[list[wire.Value]], frame: Frame) -> None:
        asked = [ask.asked for ask in batch.asks]
        answered = frame.block or wire.block_of(frame.columns)
        try:
            self._tap.record(self.served.model, self.served.version, asked, batch.block, answered)
        except YardError as error:  # the disk's fault, not one row's: asking one by one would not help
            for ask in batch.asks:
                ask.settle(error)
        else:
            self._resolve(batch.asks, outputs)

    def _outputs(self, frame: Frame, batch: Batch) -> list[list[wire.Value]]:
        if frame.verb == "error":
            raise ModelError(
                f"The model failed on these rows: {frame.get('message', 'no message')}",
                "It is the model's own code that refuses them; its owner sees more in the worker's log.",
            )
        return read_answer(frame, self.served.signature, batch.rows)

    def _resolve(self, asks: Sequence[Ask], outputs: list[list[wire.Value]]) -> None:
        at = 0
        served = self.served
        for ask in asks:
            end = at + ask.inputs.count
            part = outputs if len(asks) == 1 else [column[at:end] for column in outputs]
            request, keys = ask.asked.request_id, ask.inputs.keys
            ask.settle(Answer(served.model, served.version, request, served.signature, part, keys))
            at = end

    def _fail_or_split(self, asks: Sequence[Ask], error: YardError) -> None:
        """One request fails by itself; several are asked again one by one, so that only the guilty fails."""
        if len(asks) == 1:
            asks[0].settle(error)
            return
        for ask in reversed(asks):
            ask.alone = True
            self._queue.put_back(ask)
        self._kick()

    def _lost(self, line: Line) -> None:
        """A worker ended: what it had not answered is asked again, alone, unless it is the likely cause.

        It begins a batch only when it has answered the one before, so those after the first are innocent.
        """
        self._broken.add(line.path)
        if line.fault:
            self._stuck(self.served.id, line.path, line.fault)
        self._forget(line)
        first, *others = self._busy.pop(line, None) or (None,)
        self._wait_again(others)
        blamed = first.asks if first else []
        for ask in reversed(blamed):
            ask.deaths += 1
            ask.deaths_alone += len(blamed) == 1
            if ask.deaths_alone >= _DEATHS_ALONE or ask.deaths >= _DEATHS_IN_ALL:
                ask.settle(_lost_words(self.served.model, ask.deaths))
            elif not ask.done:
                ask.alone = True
                self._queue.put_back(ask)
        self._kick()

    def _wait_again(self, batches: Sequence[Batch]) -> None:
        for batch in reversed(batches):
            for ask in reversed(batch.asks):
                if not ask.done:
                    self._queue.put_back(ask)

    def _forget(self, line: Line) -> None:
        if self._lines.get(line.path) is line:
            del self._lines[line.path]

    def _look(self, at: float) -> None:
        """Look for requests whose time is up, then."""
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = at
        self._timer = self._loop.call_later(max(0.0, at - time.monotonic()), self._expire)

    def _expire(self) -> None:
        """End the requests whose time is up, and workers that had a batch for as long as any may take."""
        self._timer = None
        now = time.monotonic()
        self._leave_stuck(now)
        there = [*self._queue, *[ask for many in self._busy.values() for batch in many for ask in batch.asks]]
        for ask in there:
            if ask.deadline <= now:
                ask.settle(_late_words(self.served.model, ask.wait))
        self._queue.drop(lambda ask: ask.done)
        due = [ask.deadline for ask in there if not ask.done]
        due += [many[0].began + self._limits.answer_timeout for many in self._busy.values()]
        if due:
            self._look(max(min(due), now + _LOOK_SECONDS))
        self._kick()

    def _leave_stuck(self, now: float) -> None:
        seconds = self._limits.answer_timeout
        for line, (first, *others) in list(self._busy.items()):
            if first.began + seconds <= now:
                del self._busy[line]
                self._forget(line)
                self._broken.add(line.path)
                self._stuck(self.served.id, line.path, f"no answer in {seconds:g} s")
                line.close()
                self._wait_again(others)
                for ask in first.asks:
                    ask.settle(_late_words(self.served.model, ask.wait))

    def _fail_waiting(self, error: YardError) -> None:
        while self._queue:
            self._queue.take().settle(error)


def _late_words(model: str, seconds: float) -> DeadlineError:
    return DeadlineError(
        f"{model} did not answer within {seconds:g} s.",
        "Send fewer rows at once, or ask its owner for more replicas or a faster version.",
    )


def _lost_words(model: str, deaths: int) -> WorkerLostError:
    return WorkerLostError(
        f"The worker of {model} died {deaths} times while it answered this request.",
        "These rows make the model's process end; its owner finds the cause in the worker's log.",
    )
