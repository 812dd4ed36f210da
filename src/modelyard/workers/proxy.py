"""The way out for a job with named hosts: `CONNECT` to exactly these, counted and written into its log.

A process of its own, within walls of its own but with the machine's network: it holds no secret and sees no
file of the yard. The listening socket comes from within the job's walls (`opener.py`), on standard input;
that this input ends is the sign to stop. What is connected to is the address that `outbound.check` looked at,
so a name cannot lead inwards, whatever it resolves to the second time. What goes through is encrypted between
the job and the host, so where a redirect leads is asked of this proxy anew.

python -m modelyard.workers.proxy NETWORKS HOST:PORT…
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec import Struct

from modelyard.records.errors import UnavailableError, YardError
from modelyard.records.references import shown
from modelyard.workers import outbound

MOST = 64  # connections at once
_HEAD = 16 * 1024  # bytes
_HEAD_SECONDS = 30.0
_CONNECT_SECONDS = 30.0
_IDLE_SECONDS = 600.0  # that neither side says anything
_PIECE = 256 * 1024
_MOST_NOTES = 200  # in the log; each once
_ASKS = re.compile(rb"([A-Z]{1,20}) (\S{1,1024}) HTTP/1\.[01]\r\n")

Tell = Callable[[str], None]


class Traffic(Struct):
    """What went through to one host: connections, bytes sent and bytes received."""

    connections: int = 0
    sent: int = 0
    received: int = 0


class RefusedError(Exception):
    """What a job asks for is not done: the status and the words it gets."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Proxy:
    """Answers a job's `CONNECT`s.

    Args:
        hosts: `name:port`, in small letters.
        allowed: networks beside the public ones.
        tell: takes lines for the job's log.
    """

    def __init__(self, hosts: Sequence[str], allowed: Sequence[outbound.Network], tell: Tell) -> None:
        self.traffic = {host: Traffic() for host in hosts}
        self._allowed = allowed
        self._tell = tell
        self._open = 0
        self._told: set[str] = set()

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        """Answer whoever connects to this socket."""
        return await asyncio.start_server(self._answer, sock=listener, limit=_HEAD)

    def total(self) -> None:
        """Tell what went through in all."""
        for host, traffic in self.traffic.items():
            if traffic.connections:
                counted = f"{traffic.connections} connection{'s' * (traffic.connections > 1)}"
                said = f"{traffic.sent:,} bytes sent, {traffic.received:,} received"
                self._tell(f"yard: network: {host}: {counted}, {said}")

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            await self._connect(reader, writer)
        except RefusedError as error:
            self._note(f"refused: {error}")
            body = f"Modelyard: {error}\n".encode()
            head = f"HTTP/1.1 {error.status} Refused\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        except (OSError, EOFError):
            pass  # one side has gone, or says nothing
        finally:
            self._open -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = await self._asked(reader)
        if self._open > MOST:
            raise RefusedError(503, f"a job may have {MOST} connections at once")
        name, _, port = host.rpartition(":")
        try:
            address = await asyncio.to_thread(outbound.check, name, int(port), self._allowed)
            async with asyncio.timeout(_CONNECT_SECONDS):
                far_reader, far_writer = await asyncio.open_connection(address, int(port))
        except (OSError, UnavailableError) as error:
            raise RefusedError(502, f"{host} cannot be reached: {error}") from error
        except YardError as error:
            raise RefusedError(403, str(error)) from error
        traffic = self.traffic[host]
        traffic.connections += 1
        self._note(f"connected to {host} at {address}")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await self._relay(traffic, reader, writer, far_reader, far_writer)
        finally:
            far_writer.close()

    async def _asked(self, reader: asyncio.StreamReader) -> str:
        """The host that is asked for, which is one of the approved."""
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise RefusedError(431, "the request's head is too long") from error
        asked = _ASKS.match(head)
        if asked is None or asked[1] != b"CONNECT":
            raise RefusedError(405, "only CONNECT is answered: use https")
        host = asked[2].decode("latin-1").lower()
        if host not in self.traffic:
            raise RefusedError(403, f"{shown(host)} is not among hosts of [train] in yard.toml")
        return host

    async def _relay(
        self,
        traffic: Traffic,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        def sent(size: int) -> None:
            traffic.sent += size

        def received(size: int) -> None:
            traffic.received += size

        both = [
            asyncio.create_task(_pass_on(reader, far_writer, sent)),
            asyncio.create_task(_pass_on(far_reader, writer, received)),
        ]
        try:
            await asyncio.gather(*both)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    def _note(self, words: str) -> None:
        if words not in self._told and len(self._told) < _MOST_NOTES:
            self._told.add(words)
            self._tell(f"yard: network: {words}")


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]
) -> None:
    while True:
        async with asyncio.timeout(_IDLE_SECONDS):
            piece = await reader.read(_PIECE)
        if not piece:
            break
        count(len(piece))
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _run(networks: str, hosts: Sequence[str]) -> None:
    channel = socket.socket(fileno=0)
    _, handles, _, _ = await asyncio.to_thread(socket.recv_fds, channel, 1, 1)
    if not handles:  # the job has ended before it began
        return
    proxy = Proxy(hosts, outbound.networks(networks), lambda line: print(line, flush=True))  # noqa: T201
    server = await proxy.serve(socket.socket(fileno=handles[0]))
    await asyncio.to_thread(channel.recv, 1)
    server.close()
    proxy.total()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2:]))
