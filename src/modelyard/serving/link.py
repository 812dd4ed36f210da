"""A front's link to the engine: calls with an answer, and news. It reconnects by itself."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from modelyard.records import errors
from modelyard.records.errors import DeadlineError, MalformedError, UnavailableError, YardError
from modelyard.serving.batcher import Fleet
from modelyard.workers import control
from modelyard.workers.control import Check, Ensure, Hello, Message, Refresh, Reply, Report

log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.05
_CHUNK = 1 << 16


class EngineLink:
    """Talks to the engine over its socket.

    Args:
        path: the engine's socket.
        front: this front's name.
        news: called with each message that is no reply (Routes, Workers).
        patience: seconds a call waits for the engine to be there and to answer.
    """

    def __init__(self, path: Path, front: str, news: Callable[[Message], None], patience: float) -> None:
        self._path = path
        self._front = front
        self._news = news
        self._patience = patience
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        self._numbers = itertools.count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self.tell(Hello(self._front, os.getpid()))
            self._connected.set()
            try:
                await self._listen(reader)
            except (OSError, MalformedError) as error:
                log.warning("the link to the engine broke: %s", error)
            finally:
                self._connected.clear()
                self._drop()

    def tell(self, message: Message) -> None:
        """Say something that needs no answer; lost if the engine is away."""
        if self._writer is not None:
            with suppress(OSError, RuntimeError):
                self._writer.write(control.pack(message))

    async def ensure(self, version_id: str, patience: float | None = None) -> Fleet:
        """Have workers for a version.

        Raises:
            YardError: as the engine says, or UnavailableError if it does not answer.
        """
        reply = await self._call(lambda number: Ensure(number, version_id), patience)
        return Fleet(reply.sockets, reply.takes)

    async def refresh(self) -> None:
        """Have new routes built from the database; all fronts of the node answer by them afterwards."""
        await self._call(Refresh)

    async def check(self) -> None:
        """Wake the checker."""
        await self._call(Check)

    async def report(self) -> Reply:
        """The node's workers and the counters of all its fronts."""
        return await self._call(Report)

    async def _call(self, make: Callable[[int], Message], patience: float | None = None) -> Reply:
        number = next(self._numbers)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        limit = self._patience if patience is None else patience
        try:
            async with asyncio.timeout(limit):
                while True:
                    await self._connected.wait()
                    self.tell(make(number))
                    with suppress(ConnectionResetError):
                        return _unwrap(await future)
                    future = self._calls[number] = asyncio.get_running_loop().create_future()
        except TimeoutError as error:
            raise UnavailableError(
                f"The engine did not answer within {limit:g} s.",
                "It is restarted by itself if it died; see `yard doctor` if this goes on.",
            ) from error
        finally:
            self._calls.pop(number, None)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        buffer = bytearray()
        while data := await reader.read(_CHUNK):
            buffer += data
            for message in control.unpack(buffer):
                if isinstance(message, Reply):
                    call = self._calls.get(message.call)
                    if call is not None and not call.done():
                        call.set_result(message)
                else:
                    self._take_news(message)

    def _take_news(self, message: Message) -> None:
        try:
            self._news(message)
        except YardError as error:  # a routes file that cannot be read: the next news may be better
            log.warning("news from the engine is passed over: %s", error)

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for call in self._calls.values():
            if not call.done():
                call.set_exception(ConnectionResetError())


def _unwrap(reply: Reply) -> Reply:
    if reply.error:
        raise _as_error(reply)
    return reply


_KINDS: dict[str, type[YardError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, YardError)
}


def _as_error(reply: Reply) -> YardError:
    code, _, message = reply.error.partition(": ")
    kind = _KINDS.get(code, UnavailableError)
    if kind in (YardError, DeadlineError):
        kind = UnavailableError
    error = kind(message, reply.hint)
    if isinstance(error, errors.WorkerStartError):
        error.log = reply.log
    return error
