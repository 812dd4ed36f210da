"""The short way: a prediction whose request comes whole and small is answered without ASGI in between.

Of a small request three quarters of a front's time went into reading the same head anew, a task, and an
application's messages. A head is read once and remembered by its bytes: reading is a function of them alone.
Who asks, for which version, and with which rows is decided for each request as on the long way, by the same
functions; whatever is not plain goes the long way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from modelyard.api.exchange import (
    CSV,
    JSON_KINDS,
    PARQUET,
    Reply,
    headers_of,
    kind_of,
    only,
    wait_of,
)
from modelyard.api.heads import HeadsInTime
from modelyard.api.predict import Head, PredictDoor, target_of

_START = b"POST /models/"
_END = b"\r\n\r\n"
_LONGEST_HEAD = 8 * 1024
_LONGEST_BODY = 64 * 1024
_HEADS = 1024  # remembered
_HELD_SECONDS = 0.5  # a body that takes longer goes the long way, where slow ones are dealt with
_LATER_BYTES = 64 * 1024
_LONG_WAY = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"trailer"})


class _Said:
    """Collects what httptools finds in a head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.ends = 0
        self.body = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.ends += 1

    def on_body(self, _: bytes) -> None:
        self.body = True


def read_head(data: bytes) -> Head | None:
    """What a head says, or None where it is not as plain as the short way needs it.

    Args:
        data: up to and with its empty line.
    """
    said = _Said()
    parser = httptools.HttpRequestParser(said)
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    if said.ends != 1 or said.body or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
        return None
    names = [name for name, _ in said.headers]
    path = said.url.decode("latin-1")
    target = target_of(path)
    length = only(said.headers, b"content-length")
    is_plain = (
        parser.get_method() == b"POST"
        and target is not None
        and _LONG_WAY.isdisjoint(names)
        and kind_of(only(said.headers, b"content-type")) in JSON_KINDS
        and not any(kind in only(said.headers, b"accept") for kind in (CSV, PARQUET))
        and length.isdigit()
        and len(length) <= len(str(_LONGEST_BODY))
        and 0 < int(length) <= _LONGEST_BODY
    )
    if target is None or not is_plain:
        return None
    authorization = only(said.headers, b"authorization").decode("latin-1")
    return Head(path, target, authorization, int(length), wait_of(only(said.headers, b"prefer")))


class ShortWay:
    """What all connections of a front share: the heads they have seen, and the door.

    Args:
        door: called at each connection, for a front makes it only when it starts.
    """

    def __init__(self, door: Callable[[], PredictDoor]) -> None:
        self.door = door
        self._heads: dict[bytes, Head | None] = {}

    def head(self, data: bytes) -> Head | None:
        """As `read_head`, remembered."""
        try:
            return self._heads[data]
        except KeyError:
            pass
        if len(self._heads) >= _HEADS:
            self._heads.clear()
        found = self._heads[data] = read_head(data)
        return found

    def forget(self) -> None:
        """Heads hold tokens: they are kept no longer than routes and tokens stay as they are."""
        self._heads.clear()


class ShortWayProtocol(HeadsInTime):
    """uvicorn's protocol, with the short way before it.

    A request is taken by the short way only between two requests: none is being read, none is being answered.

    Args:
        way: shared by the front's connections; the rest is uvicorn's.
    """

    def __init__(self, way: ShortWay, **given: Any) -> None:  # noqa: ANN401  # uvicorn's own
        super().__init__(**given)
        self._way = way
        self._door = way.door()
        self._is_between = True  # the parser is between two requests
        self._is_open = True  # nothing was said that makes of this connection something else
        self._is_asking = False
        self._is_ending = False
        self._held = b""  # a head whose body is on its way
        self._later = b""  # what came while an answer was awaited
        self._release: asyncio.TimerHandle | None = None
        self._answered_at = 0.0

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._is_asking:
            self._keep(data)
            return
        if self._held:
            data = self._unhold() + data
        if not (self._is_free() and data.startswith(_START)):
            super().data_received(data)
            return
        end = data.find(_END, 0, _LONGEST_HEAD) + len(_END)
        head = self._way.head(data[:end]) if end >= len(_END) else None
        if head is None or len(data) > end + head.length:
            super().data_received(data)
        elif len(data) < end + head.length:
            self._hold(data)
        else:
            self._is_asking = True
            if not self._door.ask_plainly(head, data[end:], self):
                self._is_asking = False
                super().data_received(data)

    def _is_free(self) -> bool:
        cycle = self.cycle
        is_answered = cycle is None or (cycle.response_complete and cycle.keep_alive)
        return self._is_between and is_answered and self._is_open and not self.flow.write_paused

    def _keep(self, data: bytes) -> None:
        """The client does not wait for its answer before it asks again: that is in its turn."""
        self._later += data
        if len(self._later) > _LATER_BYTES:
            self.flow.pause_reading()

    def _hold(self, data: bytes) -> None:
        """Many clients send head and body apart; what follows is most often here in a moment."""
        self._held = data
        self._release = self.loop.call_later(_HELD_SECONDS, self._go_long)

    def _unhold(self) -> bytes:
        if self._release is not None:
            self._release.cancel()
        held, self._held, self._release = self._held, b"", None
        return held

    def _go_long(self) -> None:
        super().data_received(self._unhold())

    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return bool(self.transport.is_closing())

    def answer(self, reply: Reply, request_id: str) -> None:
        """Send the answer, and go on with what has come meanwhile."""
        self._is_asking = False
        if self.transport.is_closing():
            return
        parts = [STATUS_LINE[reply.status]]
        for name, value in (*self.server_state.default_headers, *headers_of(reply, request_id)):
            parts += (name, b": ", value, b"\r\n")
        if self._is_ending:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", reply.body)
        self.transport.write(b"".join(parts))
        self.server_state.total_requests += 1
        if self._is_ending:
            self.transport.close()
            return
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_for_more(self.timeout_keep_alive)
        if self._later:
            data, self._later = self._later, b""
            self.flow.resume_reading()
            self.data_received(data)

    def _wait_for_more(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle for too long; one timer serves many answers of the short way."""
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if self._is_asking or self._held or left > 0:
            self._wait_for_more(max(1.0, left))
        else:
            super().timeout_keep_alive_handler()

    def is_late(self, since: float) -> bool:
        """As of all heads; those of the short way come whole."""
        is_heard = self._is_asking or bool(self._held) or self._answered_at >= since
        return not is_heard and super().is_late(since)

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._is_between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        super().on_headers_complete()
        self._is_open = self._is_open and not self.parser.should_upgrade()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        super().on_message_complete()
        self._is_between = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._unhold()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Called by the server: end when what was asked is answered."""
        if self._is_asking:
            self._is_ending = True
            return
        if self._held:
            self._go_long()
        super().shutdown()
