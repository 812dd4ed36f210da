"""A load at a steady rate, whatever is answered: each request with a number of its own, so that none is lost
without being noticed.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from msgspec import Struct

_LANES = 16
_LATE = 5.0  # seconds
_PATIENCE = 35.0  # seconds: longer than a yard lets a request wait
_TRIES = 20
_PAUSE = 0.25  # seconds before a request whose connection broke is sent again


class Told(Struct, frozen=True):
    """What became of a load.

    Attributes:
        sent: requests.
        failed: answered by another status than 200.
        broken: whose connection ended without an answer, the last time they were sent.
        again: that had to be sent again.
        late: answered more than five seconds after they were due.
        slowest: seconds from when a request was due until it was answered, and in which second of the load.
        words: what failures said, a few.
    """

    sent: int
    answered: int
    failed: int
    broken: int
    again: int
    late: int
    slowest: tuple[float, float]
    words: tuple[str, ...]

    @property
    def availability(self) -> float:
        """The share of requests that were answered in time."""
        return (self.answered - self.late) / self.sent if self.sent else 1.0

    def as_words(self) -> str:
        """In one line."""
        lost = self.failed + self.broken
        return (
            f"{lost} of {self.sent:,} requests failed ({self.failed} refused, {self.broken} broken off), "
            f"{self.again} sent again, {self.late} over {_LATE:g} s (the slowest {self.slowest[0]:.2f} s, "
            f"in second {self.slowest[1]:.0f}), availability {self.availability:.4%}"
        )


class Rate:
    """So many requests a second from a thread; use as a context manager.

    Args:
        retry: a request whose connection broke, or that was answered 503, is sent again, as a caller does
            that may repeat it.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], model: str, rate: float = 200.0, *, retry: bool = False
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._path = f"/models/{model}/predict"
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._rate, self._retry = rate, retry
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._failed = self._broken = self._again = self._sent = self._late = 0
        self._slowest = (0.0, 0.0)
        self._words: list[str] = []
        self.answered: set[int] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def told(self) -> Told:
        """What has become of it so far."""
        count = len(self.answered)
        words = tuple(self._words)
        again, late = self._again, self._late
        return Told(self._sent, count, self._failed, self._broken, again, late, self._slowest, words)

    async def _run(self) -> None:
        due: asyncio.Queue[tuple[int, float] | None] = asyncio.Queue()
        lanes = [asyncio.create_task(self._lane(due)) for _ in range(_LANES)]
        began, number = time.monotonic(), 0
        while not self._stop.is_set():
            now = time.monotonic()
            while number < (now - began) * self._rate:
                due.put_nowait((number, began + number / self._rate))
                number += 1
            await asyncio.sleep(0.004)
        for _ in lanes:
            due.put_nowait(None)
        await asyncio.gather(*lanes)

    async def _lane(self, due: asyncio.Queue[tuple[int, float] | None]) -> None:
        lane = _Lane(self._host, self._port)
        while (found := await due.get()) is not None:
            number, at = found
            self._sent += 1
            await self._ask(lane, number)
            took = time.monotonic() - at
            self._late += took > _LATE and number in self.answered
            self._slowest = max(self._slowest, (took, number / self._rate))
        lane.close()

    async def _ask(self, lane: _Lane, number: int) -> None:
        body = json.dumps([{"x": number, "n": number}])
        head = f"POST {self._path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{self._headers}"
        request = (
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        status, words = 0, ""
        for left in reversed(range(_TRIES if self._retry else 1)):
            status, words = await lane.send(request)
            if status == 200 or not left or status not in (0, 502, 503):
                break
            self._again += 1
            await asyncio.sleep(_PAUSE)
        if status == 200:
            self.answered.add(number)
            return
        self._failed += status != 0
        self._broken += status == 0
        if len(self._words) < 20:
            self._words.append(f"{number}: {status} {words[:300]}")


class _Lane:
    """A connection that is kept as long as it lasts."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> tuple[int, str]:
        """Status and body of the answer; 0 and why if there is none."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._send(request)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.close()
            return 0, repr(error)

    async def _send(self, request: bytes) -> tuple[int, str]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # idle connections may be ended, which is no failure
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.lower().split("\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith("content-length:"))
        body = await reader.readexactly(length)
        if "connection: close" in lines:
            self.close()
        return int(head.split(" ", 2)[1]), body.decode(errors="replace")

    def close(self) -> None:
        """Let go of it."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None
