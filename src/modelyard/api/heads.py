"""Heads of requests: they come in time and are not too long, or the connection ends.

uvicorn waits for the rest of a head for ever, and keeps of it whatever comes. A body's time and size are the
door's affair (`api.exchange`, `api.incoming`), that of a connection between two requests uvicorn's.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 30.0  # that a head may take, and up to as long again, for it is looked at now and then
_LONGEST_HEAD = 128 * 1024  # bytes
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class HeadsInTime(HttpToolsProtocol):
    """uvicorn's protocol, which waits for no head for ever.

    Args:
        given: uvicorn's own.
    """

    head_seconds = HEAD_SECONDS

    def __init__(self, **given: Any) -> None:  # noqa: ANN401  # uvicorn's own
        super().__init__(**given)
        self._head_since: float | None = None  # when the head began that is not whole yet
        self._head_bytes = 0  # of it, in pieces after its first
        self._look_at: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Called by the event loop."""
        super().connection_made(transport)
        self._head_since = self.loop.time()
        self._look_at = self.loop.call_later(self.head_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        if self._look_at is not None:
            self._look_at.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        before = self._head_since
        super().data_received(data)
        if before is None or self._head_since != before:
            return
        self._head_bytes += len(data)
        if self._head_bytes > _LONGEST_HEAD and not self.transport.is_closing():
            self.transport.write(_TOO_LONG)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._head_since, self._head_bytes = self.loop.time(), 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._head_since = None
        super().on_headers_complete()

    def is_late(self, since: float) -> bool:
        """Whether a head that began then is not whole yet, and should be."""
        return self.loop.time() - since >= self.head_seconds

    def _look(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete and self._head_since is not None:
            self._head_since = self.loop.time()  # we may not be reading: what was asked before comes first
        if self._head_since is not None and self.is_late(self._head_since):
            self.transport.close()
        else:
            self._look_at = self.loop.call_later(self.head_seconds, self._look)
