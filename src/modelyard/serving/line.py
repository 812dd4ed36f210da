"""A front's connection to one worker: bytes out, frames in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modelyard.records.errors import MalformedError
from modelyard.workers import remote, wire
from modelyard.workers.wire import Frame

_RETRY_SECONDS = 0.02
_GIVE_UP_AFTER = 50  # tries; the engine says so when there is a new worker


class Line(asyncio.Protocol):
    """Connects to a worker's socket and passes its answers on.

    Args:
        path: the worker's socket.
        answered: called with each answer.
        lost: called once when the connection ends or cannot be made.

    Attributes:
        fault: what the worker did so that the connection was ended, or empty.
    """

    def __init__(
        self, path: str, answered: Callable[[Line, Frame], None], lost: Callable[[Line], None]
    ) -> None:
        self.path = path
        self.fault = ""
        self._answered = answered
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._most = 0  # bytes of an answer, or the worker is no longer listened to
        self._due = 0  # bytes that the buffer must have before there is a frame in it
        self._reader = wire.Reader()
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether it is connected."""
        return self._transport is not None and not self._closed

    def connect(self, then: Callable[[], None]) -> None:
        """Connect in the background; `then` is called when it stands."""
        self._task = asyncio.get_running_loop().create_task(self._connect(then))

    async def _connect(self, then: Callable[[], None]) -> None:
        for _ in range(_GIVE_UP_AFTER):
            if self._closed:
                return
            try:
                await self._reach()
            except OSError:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                then()
                return
        self.connection_lost(None)

    async def _reach(self) -> None:
        loop = asyncio.get_running_loop()
        far = remote.far_of(self.path)
        if far is None:
            await loop.create_unix_connection(lambda: self, self.path)
            return
        context = remote.context_to(far, remote.FRAMES)
        transport, _ = await loop.create_connection(lambda: self, far.host, far.port, ssl=context)
        remote.notice_silence(transport.get_extra_info("socket"))

    def send(self, frame: bytes) -> None:
        """Send a question."""
        if self._transport is not None:
            self._most = max(self._most, wire.largest_answer(len(frame)))
            self._transport.write(frame)

    def close(self) -> None:
        """End the connection; `lost` is not called."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def abort(self, fault: str) -> None:
        """End the connection at once, for the worker cannot be trusted; `lost` is called."""
        self.fault = fault
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport  # type: ignore[assignment]
        if self._closed:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._due:
                return
            data, self._buffer = bytes(self._buffer), bytearray()
        at = 0
        try:
            while not self.fault and (found := self._read(data, at)):
                frame, at = found
                self._answered(self, frame)
        except MalformedError as error:
            self.abort(f"it does not speak frames: {error.message}")
        if at < len(data):
            self._buffer += data[at:]

    def _read(self, data: bytes, at: int) -> tuple[Frame, int] | None:
        """The frame that begins there, and where it ends; None if it is not whole yet."""
        start = at + wire.PREFIX.size
        self._due = wire.PREFIX.size
        if len(data) < start:
            return None
        header, body = wire.lengths(data[at:start], self._most)
        self._due += header + body
        end = at + self._due
        if len(data) < end:
            return None
        head, rest = data[start : start + header], memoryview(data)[start + header : end]
        return self._reader.decode(head, rest), end

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Called by asyncio."""
        if not self._closed:
            self._closed = True
            self._lost(self)
