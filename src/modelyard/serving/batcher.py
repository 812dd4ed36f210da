"""Batching, in one place: while workers are busy requests gather; an idle worker takes all that wait.

Requests of one event-loop tick travel together; an idle worker adds no delay beyond that tick.
"""

from __future__ import annotations

import asyncio
import itertools
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
from modelyard.workers import wire
from modelyard.workers.wire import ColumnData, Frame

_DEATHS_ALONE = 2  # a request that was alone with so many dying workers is the cause
_ASK_AGAIN_SECONDS = 0.02
_DEATHS_IN_ALL = 4  # and one that met so many is given up, cause or not


class Limits(Struct, frozen=True):
    """See the settings of the same names."""

    batch_rows: int
    queue_rows: int
    answer_timeout: float


class Fleet(Struct, frozen=True):
    """Where a version's workers listen, and the column types they take."""

    sockets: tuple[str, ...]
    takes: tuple[str, ...]


class Ask:
    """One request on its way: its rows, and the future its answer is put into."""

    __slots__ = ("alone", "asked", "deaths", "deaths_alone", "future", "inputs", "line", "timer")

    def __init__(self, inputs: Inputs, asked: Asked, future: asyncio.Future[Answer]) -> None:
        self.inputs = inputs
        self.asked = asked
        self.future = future
        self.timer: asyncio.TimerHandle | None = None
        self.line: Line | None = None
        self.alone = False
        self.deaths = 0
        self.deaths_alone = 0

    def fail(self, error: YardError) -> None:
        """Answer with an error, unless it was answered."""
        if self.timer is not None:
            self.timer.cancel()
        if not self.future.done():
            self.future.set_exception(error)


class Batch(Struct):
    """Requests that went to a worker together, as the question `id`."""

    id: str
    asks: list[Ask]
    columns: tuple[ColumnData, ...]
    rows: int


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
        self._queue: deque[Ask] = deque()
        self._waiting_rows = 0
        self._lines: dict[str, Line] = {}
        self._broken: set[str] = set()
        self._busy: dict[Line, Batch] = {}
        self._takes: frozenset[str] = frozenset()
        self._kicked = False
        self._closed = False
        self._starting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)

    def submit(self, inputs: Inputs, asked: Asked) -> asyncio.Future[Answer]:
        """Queue a request; the future has its answer or its error.

        Raises:
            BusyError: too many rows wait already.
        """
        if self._waiting_rows and self._waiting_rows + inputs.count > self._limits.queue_rows:
            raise BusyError(
                f"{self._waiting_rows} rows wait for {self.served.model} already.",
                "Ask again after the seconds of the Retry-After header.",
                retry_after=1.0,
            )
        ask = Ask(inputs, asked, self._loop.create_future())
        ask.timer = self._loop.call_later(self._limits.answer_timeout, self._expire, ask)
        self._queue.append(ask)
        self._waiting_rows += inputs.count
        self._kick()
        return ask.future

    def set_fleet(self, fleet: Fleet) -> None:
        """These are the version's workers now: connect to the new, leave the gone.

        A socket is never used by two workers, so one whose connection broke is not tried again: its worker
        is dying, though the engine may not know it yet.
        """
        self._takes = frozenset(fleet.takes)
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

    @property
    def is_warm(self) -> bool:
        """Whether a worker is there to answer at once."""
        return any(line.ready for line in self._lines.values())

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is on its way."""
        return not self._queue and not self._busy

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
        for line in self._lines.values():
            if line.ready and line not in self._busy and (batch := self._next_batch()):
                self._send(line, batch)
        if self._queue and not self._lines and self._starting is None:
            self._starting = self._loop.create_task(self._start())

    async def _start(self) -> None:
        try:
            while self._queue and not self._lines:
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

    def _next_batch(self) -> list[Ask]:
        """Take waiting requests up to the batch's limit; tables and suspects travel alone."""
        asks: list[Ask] = []
        rows = 0
        while self._queue:
            ask = self._queue[0]
            if ask.future.done():  # its time was up, or its caller went away
                self._take()
                continue
            single = ask.alone or ask.inputs.columns is not None
            if asks and (single or rows + ask.inputs.count > self._limits.batch_rows):
                break
            asks.append(self._take())
            rows += ask.inputs.count
            if single:
                break
        return asks

    def _take(self) -> Ask:
        ask = self._queue.popleft()
        self._waiting_rows -= ask.inputs.count
        return ask

    def _send(self, line: Line, asks: list[Ask]) -> None:
        rows = sum(ask.inputs.count for ask in asks)
        number = str(next(self._ids))
        try:
            columns = self.plan.columns_of([ask.inputs for ask in asks])
            taken = [self._as_taken(c) for c in columns]
            frame = wire.encode(Frame("infer", (("id", number),), rows, tuple(taken)))
        except YardError as error:
            self._fail_or_split(asks, error)
            return
        for ask in asks:
            ask.line = line
        self._busy[line] = Batch(number, asks, columns, rows)
        line.send(frame)

    def _as_taken(self, column: ColumnData) -> ColumnData:
        if column.type is ColumnType.INT64 and self._takes and ColumnType.INT64 not in self._takes:
            return wire.as_float64(column)
        return column

    def _answered(self, line: Line, frame: Frame) -> None:
        batch = self._busy.get(line)
        if batch is None or frame.get("id") != batch.id:
            line.abort("it answered what nobody asked")  # its next answer could be another's
            return
        del self._busy[line]
        try:
            outputs = self._outputs(frame, batch)
        except YardError as error:
            self._fail_or_split(batch.asks, error)
        else:
            self._record(batch, outputs, frame)
        if self._lines.get(line.path) is not line:
            line.close()
        self._kick()

    def _record(self, batch: Batch, outputs: list[list[wire.Value]], frame: Frame) -> None:
        asked = [ask.asked for ask in batch.asks]
        try:
            self._tap.record(self.served.model, self.served.version, asked, batch.columns, frame.columns)
        except YardError as error:  # the disk's fault, not one row's: asking one by one would not help
            for ask in batch.asks:
                ask.fail(error)
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
        for ask in asks:
            end = at + ask.inputs.count
            if ask.timer is not None:
                ask.timer.cancel()
            if not ask.future.done():
                part = outputs if len(asks) == 1 else [column[at:end] for column in outputs]
                served = self.served
                request = ask.asked.request_id
                keys = ask.inputs.keys
                ask.future.set_result(
                    Answer(served.model, served.version, request, served.signature, part, keys)
                )
            at = end

    def _fail_or_split(self, asks: Sequence[Ask], error: YardError) -> None:
        """One request fails by itself; several are asked again one by one, so that only the guilty fails."""
        if len(asks) == 1:
            asks[0].fail(error)
            return
        for ask in reversed(asks):
            ask.alone = True
            self._put_back(ask)
        self._kick()

    def _put_back(self, ask: Ask) -> None:
        ask.line = None
        self._queue.appendleft(ask)
        self._waiting_rows += ask.inputs.count

    def _lost(self, line: Line) -> None:
        """A worker ended: what it had not answered is asked again, alone, unless it is the likely cause."""
        self._broken.add(line.path)
        if line.fault:
            self._stuck(self.served.id, line.path, line.fault)
        if self._lines.get(line.path) is line:
            del self._lines[line.path]
        batch = self._busy.pop(line, None)
        for ask in reversed(batch.asks if batch else []):
            ask.deaths += 1
            ask.deaths_alone += len(batch.asks) == 1 if batch else 0
            if ask.deaths_alone >= _DEATHS_ALONE or ask.deaths >= _DEATHS_IN_ALL:
                ask.fail(_lost_words(self.served.model, ask.deaths))
            elif not ask.future.done():
                ask.alone = True
                self._put_back(ask)
        self._kick()

    def _expire(self, ask: Ask) -> None:
        seconds = self._limits.answer_timeout
        ask.fail(
            DeadlineError(
                f"{self.served.model} did not answer within {seconds:g} s.",
                "Send fewer rows at once, or ask its owner for more replicas or a faster version.",
            )
        )
        line = ask.line
        if line is None and ask in self._queue:
            self._queue.remove(ask)
            self._waiting_rows -= ask.inputs.count
        batch = self._busy.get(line) if line else None
        if line is not None and batch is not None and all(a.future.done() for a in batch.asks):
            del self._busy[line]
            if self._lines.get(line.path) is line:
                del self._lines[line.path]
            self._broken.add(line.path)
            self._stuck(self.served.id, line.path, f"no answer in {seconds:g} s")
            line.close()
            self._kick()

    def _fail_waiting(self, error: YardError) -> None:
        while self._queue:
            self._take().fail(error)


def _lost_words(model: str, deaths: int) -> WorkerLostError:
    return WorkerLostError(
        f"The worker of {model} died {deaths} times while it answered this request.",
        "These rows make the model's process end; its owner finds the cause in the worker's log.",
    )
