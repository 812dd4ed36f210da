"""A worker that does as a test says: a real server on a Unix socket that speaks frames."""

from __future__ import annotations

import asyncio
import selectors
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from modelyard.records.errors import YardError
from modelyard.records.rollouts import ServedVersion
from modelyard.records.signatures import Column, Signature
from modelyard.serving import batcher as batcher_module
from modelyard.serving import tap as tap_module
from modelyard.serving import trials as trials_module
from modelyard.serving.batcher import Batcher, Fleet, Limits
from modelyard.serving.inputs import InputPlan
from modelyard.serving.tap import Tap
from modelyard.workers import wire
from modelyard.workers.wire import Frame, Value, decode, from_values, to_values
from tests.rows import FLOAT64, PREDICTION

SIGNATURE = Signature((Column("x", FLOAT64),), PREDICTION)
SERVED = ServedVersion("finance.fuel-cost.1", "finance/fuel-cost", 1, "r", SIGNATURE)
LIMITS = Limits(batch_rows=8, queue_rows=16, answer_timeout=20.0)
TAKES = ("float64", "int64", "bool", "string")

Behave = Callable[["Worker", Frame], Awaitable[Frame | bytes | None]]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test in an event loop of its own; anything the loop would only log is a failure."""
    asyncio.run(_guarded(test))


async def _guarded(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    async with asyncio.timeout(180):
        await test()
    assert not seen, seen


def run_timed(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """As `run`, by a clock that stands while there is anything to do and then jumps to what is due next: what
    depends on seconds is the same on a machine of any speed, and takes none.
    """
    with asyncio.Runner(loop_factory=_JumpingLoop) as runner, ExitStack() as stack:
        clock = SimpleNamespace(**{**vars(time), "monotonic": runner.get_loop().time})
        for module in (batcher_module, tap_module, trials_module):
            stack.enter_context(patch.object(module, "time", clock))
        runner.run(_guarded(test))


class _JumpingLoop(asyncio.SelectorEventLoop):
    """Sockets of one process have what was sent to them at once, so nothing that is on its way is missed."""

    def __init__(self) -> None:
        self._seconds = time.monotonic()
        super().__init__(_Jumping(self._jump))

    def time(self) -> float:
        return self._seconds

    def _jump(self, seconds: float) -> None:
        self._seconds += seconds


class _Jumping(selectors.DefaultSelector):
    """Waits by telling the loop how long."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(None if timeout is None else 0)
        if not found and timeout:
            self._jump(timeout)
        return found


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="w") as name:
        yield Path(name)


async def turns() -> None:
    """Let the loop do what is to be done."""
    for _ in range(20):
        await asyncio.sleep(0)


def answer(question: Frame, values: list[Value]) -> Frame:
    """An answer of one float64 column."""
    column = from_values("prediction", FLOAT64, values)
    return Frame("answer", (("id", question.get("id")),), len(values), (column,))


def error(question: Frame, message: str) -> Frame:
    """What a worker says of a model that failed."""
    return Frame("error", (("id", question.get("id")), ("kind", "model"), ("message", message)))


def numbers(question: Frame) -> list[float]:
    """The values of the first column."""
    return [float(v or 0) for v in to_values(question.columns[0])]


async def doubles(_: Worker, question: Frame) -> Frame:
    """The model of these tests: y = 2 x."""
    return answer(question, [2 * x for x in numbers(question)])


class Worker:
    """Listens on a socket and answers each frame as `behave` says; None closes the connection.

    Attributes:
        batches: the values of each question, in order.
        gate: answers wait until it is set.
        asked: released once for each question that came.
    """

    def __init__(self, path: Path, behave: Behave = doubles) -> None:
        self.path = str(path)
        self.behave = behave
        self.batches: list[list[float]] = []
        self.questions: list[Frame] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Semaphore(0)
        self.connections = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while head := await reader.read(wire.PREFIX.size):
                head += await reader.readexactly(wire.PREFIX.size - len(head))
                question = decode(head + await reader.readexactly(sum(wire.lengths(head))))
                self.questions.append(question)
                self.batches.append(numbers(question))
                self.asked.release()
                await self.gate.wait()
                reply = await self.behave(self, question)
                if reply is None:
                    break
                writer.write(reply if isinstance(reply, bytes) else wire.encode(reply))
        except ConnectionError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def end(self) -> None:
        """Close the socket and all connections: the process is gone."""
        self._server.close()
        self.gate.set()
        for writer in list(self._open):
            writer.transport.abort()
        await turns()


class Dock:
    """An engine's part: starts scripted workers and says where they are.

    Attributes:
        ensured: how often workers were asked for.
        refuse: what `ensure` raises, if anything.
        told: what was said of stuck workers.
        spool: the frames that were recorded.
    """

    def __init__(
        self, folder: Path, behave: Behave = doubles, replicas: int = 1, version_id: str = SERVED.id
    ) -> None:
        self.folder = folder
        self.version_id = version_id
        self.behave = behave
        self.replicas = replicas
        self.workers: list[Worker] = []
        self.living: list[Worker] = []
        self.batchers: list[Batcher] = []
        self.takes: tuple[str, ...] = TAKES
        self.ensured = 0
        self.refuse: YardError | None = None
        self.told: list[tuple[str, str, str]] = []
        self.heard = asyncio.Event()
        self.spool: list[Frame] = []
        self.full: YardError | None = None
        self._numbers = count()

    async def ensure(self, version_id: str) -> Fleet:
        """Workers for the version: those that live, else new ones."""
        assert version_id == self.version_id
        self.ensured += 1
        await asyncio.sleep(0)
        if self.refuse is not None:
            raise self.refuse
        while len(self.living) < self.replicas:
            await self.add()
        return self.fleet()

    async def add(self) -> Worker:
        """One more worker."""
        worker = Worker(self.folder / f"{next(self._numbers)}.sock", self.behave)
        await worker.start()
        self.workers.append(worker)
        self.living.append(worker)
        return worker

    async def kill(self, worker: Worker) -> None:
        """End a worker, as a crash would."""
        if worker in self.living:
            self.living.remove(worker)
        await worker.end()

    def fleet(self) -> Fleet:
        """Where the living workers are."""
        return Fleet(tuple(w.path for w in self.living), self.takes)

    def stuck(self, version_id: str, path: str, why: str) -> None:
        """As the engine is told; it would end that worker."""
        self.told.append((version_id, path, why))
        self.heard.set()
        self.living = [w for w in self.living if w.path != path]

    def append(self, record: bytes) -> None:
        """The spool."""
        if self.full is not None:
            raise self.full
        self.spool.append(decode(record))

    def batcher(self, limits: Limits = LIMITS, served: ServedVersion = SERVED) -> Batcher:
        """A batcher that is fed by this dock."""
        plan = InputPlan(served.signature, 1000)
        made = Batcher(served, plan, limits, self.ensure, self.stuck, Tap(self.append))
        self.batchers.append(made)
        return made


@asynccontextmanager
async def dock(
    behave: Behave = doubles, replicas: int = 1, version_id: str = SERVED.id
) -> AsyncIterator[Dock]:
    """A dock, and the end of all its workers."""
    async with AsyncExitStack() as stack:
        made = Dock(stack.enter_context(short_folder()), behave, replicas, version_id)
        yield made
        for batcher in made.batchers:
            batcher.close()
        for worker in made.workers:
            await worker.end()
        await turns()
