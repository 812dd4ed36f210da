"""Load: the same request from several connections for some seconds, and how it was answered.

`wrk` where it is installed, for it takes little of the machine that is measured; else a generator of our own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("\\nYARD %d %d %d %.1f %.1f\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


class Request(Struct, frozen=True):
    """What is sent, over and over.

    Attributes:
        url: `http://host:port/path`.
        socket: a Unix socket to use instead of the URL's host and port.
        paths: asked in turn instead of the URL's path, where there are any.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]
    socket: str = ""
    paths: tuple[str, ...] = ()

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return self.raws[0]

    @property
    def raws(self) -> list[bytes]:
        """Its bytes, path by path."""
        parts = urlsplit(self.url)
        headers = {"Host": parts.netloc, **self.headers, "Content-Length": str(len(self.body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        paths = self.paths or (parts.path,)
        return [f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + self.body for path in paths]


class Sample(Struct, frozen=True):
    """How a load was answered: requests a second, times in milliseconds, failures."""

    rate: float
    p50: float
    p99: float
    failed: int

    def words(self) -> str:
        """In one line."""
        failed = f", {self.failed} FAILED" if self.failed else ""
        return f"{self.rate:,.0f}/s, p50 {self.p50:.2f} ms, p99 {self.p99:.2f} ms{failed}"


def generator() -> str:
    """Which generator is used, for the report."""
    return "wrk" if shutil.which("wrk") else "bench/load.py"


def load(request: Request, connections: int, seconds: float) -> Sample:
    """Send a request from some connections at once, each sending the next when it has its answer."""
    if request.socket or not shutil.which("wrk"):
        return asyncio.run(_own(request, connections, seconds))
    return _wrk(request, connections, seconds)


def _wrk(request: Request, connections: int, seconds: float) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "load.lua")
        body.write_bytes(request.body)
        lines = [f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}\n" for k, v in request.headers.items()]
        read = f'wrk.method = "POST"\nwrk.body = io.open({json.dumps(str(body))}, "rb"):read("*a")\n'
        script.write_text(read + "".join(lines) + _in_turn(request.paths) + _REPORT)
        # wrk takes whole seconds only
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
        said = subprocess.run([*command, request.url], capture_output=True, text=True, check=True).stdout
    count, micros, failed, p50, p99 = map(float, said.rpartition("YARD ")[2].split())
    return Sample(count / (micros / 1e6), p50 / 1e3, p99 / 1e3, int(failed))


def _in_turn(paths: tuple[str, ...]) -> str:
    if not paths:
        return ""
    known = ", ".join(map(json.dumps, paths))
    turn = "n = n % #paths + 1; return wrk.format(nil, paths[n])"
    return f"local n, paths = 0, {{{known}}}\nrequest = function() {turn} end\n"


class _Lane(asyncio.Protocol):
    """One connection that always has one request on its way; opens another where the server closes it."""

    def __init__(self, request: Request, until: float, times: list[float], failures: list[str]) -> None:
        self._request, self._raws = request, itertools.cycle(request.raws)
        self._until, self._times, self._failures = until, times, failures
        self._transport: asyncio.WriteTransport | None = None
        self._answered = True
        self.done = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect; the first request follows."""
        loop = asyncio.get_running_loop()
        self._began = time.perf_counter()  # a new connection is part of what the answer costs
        if self._request.socket:
            await loop.create_unix_connection(lambda: self, self._request.socket)
        else:
            parts = urlsplit(self._request.url)
            await loop.create_connection(lambda: self, parts.hostname or "", parts.port or 80)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._buffer, self._answered = b"", False
        self._transport.write(next(self._raws))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = next((h for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), None)
        if not found or length is None or len(body) < int(length.partition(b":")[2]):
            return
        self._answered = True
        if head.split(b" ", 2)[1] != b"200":
            self._failures.append(self._buffer[:500].decode(errors="replace"))
        self._times.append(time.perf_counter() - self._began)
        self._began = time.perf_counter()
        if self._began >= self._until:
            self._finish()
        elif b"connection: close" not in head.lower():
            self._ask()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if not self._answered:
            self._failures.append(f"the connection ended: {error}")
        if time.perf_counter() >= self._until:
            self._finish()
        else:
            self._opening = asyncio.get_running_loop().create_task(self.open())


async def _own(request: Request, connections: int, seconds: float) -> Sample:
    times: list[float] = []
    failures: list[str] = []
    began = time.perf_counter()
    lanes = [_Lane(request, began + seconds, times, failures) for _ in range(connections)]
    for lane in lanes:
        await lane.open()
    await asyncio.wait_for(asyncio.gather(*(lane.done for lane in lanes)), seconds + 60)
    took = time.perf_counter() - began
    times.sort()
    p50, p99 = (times[int(len(times) * share)] * 1e3 if times else 0.0 for share in (0.5, 0.99))
    return Sample(len(times) / took, p50, p99, len(failures))
