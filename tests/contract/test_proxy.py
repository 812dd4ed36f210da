"""The way out of a job: exactly the hosts that are named, whatever it asks and whatever they resolve to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelyard.records.jobs import JobState
from modelyard.workers import outbound, proxy
from modelyard.workers.proxy import MOST, Proxy
from tests.contract.training_house import MODEL, TrainingHouse, described

LOOPBACK = outbound.networks("127.0.0.0/8, ::1")
SECRET = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data\r\n\r\n"


class Out:
    """A proxy for one far server at `localhost`, and what a job would say to it."""

    def __init__(self, port: int, far: int, lines: list[str], proxied: Proxy) -> None:
        self.port, self.far, self.lines, self.proxy = port, far, lines, proxied

    async def say(self, words: str) -> bytes:
        """What comes back for a head as it stands here."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(words.encode("latin-1"))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def connect(self, target: str) -> bytes:
        """What comes back for a `CONNECT`."""
        return await self.say(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")


@asynccontextmanager
async def way_out(
    allowed: tuple[outbound.Network, ...] = LOOPBACK, name: str = "localhost"
) -> AsyncIterator[Out]:
    """A proxy, and behind it a server that answers each connection with a redirect."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(SECRET)
            writer.write_eof()
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    far = server.sockets[0].getsockname()[1]
    lines: list[str] = []
    proxied = Proxy([f"{name}:{far}"], allowed, lines.append)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = await proxied.serve(listener)
    try:
        yield Out(listener.getsockname()[1], far, lines, proxied)
    finally:
        serving.close()
        server.close()


def run(probe: Callable[[Out], Awaitable[None]], *, allowed: tuple[outbound.Network, ...] = LOOPBACK) -> None:
    async def whole() -> None:
        async with asyncio.timeout(60), way_out(allowed) as out:
            await probe(out)

    asyncio.run(whole())


def test_a_named_host_is_reached_and_counted() -> None:
    async def probe(out: Out) -> None:
        answer = await out.connect(f"LocalHost:{out.far}")
        assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n" + SECRET
        out.proxy.total()
        assert out.lines == [
            f"yard: network: connected to localhost:{out.far} at 127.0.0.1",
            f"yard: network: localhost:{out.far}: 1 connection, 0 bytes sent, {len(SECRET)} received",
        ]

    run(probe)


def test_bytes_pass_both_ways_as_they_are() -> None:
    async def whole() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        far = server.sockets[0].getsockname()[1]
        proxied = Proxy([f"localhost:{far}"], LOOPBACK, lambda _: None)
        listener = socket.create_server(("127.0.0.1", 0))
        async with await proxied.serve(listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(f"CONNECT localhost:{far} HTTP/1.1\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            sent = bytes(range(256)) * 8_000
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == sent
            writer.close()
            await writer.wait_closed()
        assert proxied.traffic[f"localhost:{far}"] == proxy.Traffic(1, len(sent), len(sent))
        server.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


@pytest.mark.parametrize(
    "target",
    [
        *(
            "example.com:443",
            "localhost:1",
            "127.0.0.1:{far}",
            "[::1]:{far}",
            "127.1:{far}",
            "2130706433:{far}",
        ),
        *("localhost.:{far}", "localhost:0{far}", "localhost", "localhost:{far}@example.com:443", ":{far}"),
        *(
            "169.254.169.254:80",
            "0x7f.1:{far}",
            "localhost%00:{far}",
            "localhost\0:{far}",
            "//localhost:{far}",
        ),
    ],
)
def test_61_other_hosts_ports_and_spellings_are_refused(target: str) -> None:
    async def probe(out: Out) -> None:
        answer = await out.connect(target.format(far=out.far))
        assert answer.startswith(b"HTTP/1.1 403"), answer
        assert b"is not among hosts of [train]" in answer
        assert SECRET not in answer
        assert out.proxy.traffic[f"localhost:{out.far}"].connections == 0
        assert len(out.lines) == 1

    run(probe)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET http://localhost:{far}/ HTTP/1.1\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: localhost:{far}\r\n\r\n", 405),
        ("CONNECT localhost:{far} HTTP/2.0\r\n\r\n", 405),
        ("CONNECT localhost:{far}\r\n\r\n", 405),
        ("\r\n\r\n", 405),
        ("CONNECT localhost:{far} HTTP/1.1\r\nX: " + "a" * 20_000 + "\r\n\r\n", 431),
    ],
)
def test_what_is_no_connect_is_refused(head: str, status: int) -> None:
    async def probe(out: Out) -> None:
        assert (await out.say(head.replace("{far}", str(out.far)))).startswith(f"HTTP/1.1 {status}".encode())

    run(probe)


def test_57_a_named_host_that_resolves_inwards_is_not_reached() -> None:
    async def probe(out: Out) -> None:
        answer = await out.connect(f"localhost:{out.far}")
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"no address that the yard connects to" in answer

    run(probe, allowed=())


def test_57_what_is_connected_to_is_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name leads outwards when it is looked at, and inwards from then on."""
    asked, connected = [], []
    real = asyncio.open_connection

    def resolve(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(2, 1, 6, "", ("93.184.215.14" if len(asked) == 1 else "127.0.0.1", port))]

    async def connect(host: str, _: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connected.append(host)
        raise ConnectionRefusedError

    async def whole() -> None:
        async with way_out(()) as out:
            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            monkeypatch.setattr(asyncio, "open_connection", connect)
            for expected in (b"HTTP/1.1 502", b"HTTP/1.1 403"):
                reader, writer = await real("127.0.0.1", out.port)
                writer.write(f"CONNECT localhost:{out.far} HTTP/1.1\r\n\r\n".encode())
                assert (await reader.read()).startswith(expected)
                writer.close()
                await writer.wait_closed()

    asyncio.run(asyncio.wait_for(whole(), 60))
    assert connected == ["93.184.215.14"], "never by the name, which could lead elsewhere by then"


def test_a_job_has_so_many_connections_at_once() -> None:
    async def probe(out: Out) -> None:
        held = [await asyncio.open_connection("127.0.0.1", out.port) for _ in range(MOST)]
        answer = await out.connect(f"localhost:{out.far}")
        assert answer.startswith(b"HTTP/1.1 503")
        for _, writer in held:
            writer.close()
            await writer.wait_closed()

    run(probe)


# The whole of it: a job within walls

PROBES = """
import json, os, socket, ssl, sys, urllib.error, urllib.request

print("proxy", os.environ["https_proxy"], flush=True)

def tunnel(target):
    with socket.create_connection(("127.0.0.1", 3128), 20) as way:
        way.sendall(f"CONNECT {target} HTTP/1.1\\r\\n\\r\\n".encode())
        answer = b""
        while piece := way.recv(65536):
            answer += piece
        return answer.decode()

far = int(sys.argv[1])
print("named", tunnel(f"localhost:{far}").splitlines()[-1])
print("other", tunnel("example.com:443").splitlines()[0])
print("literal", tunnel(f"127.0.0.1:{far}").splitlines()[0])
for address in (("127.0.0.1", far), ("93.184.215.14", 443)):
    try:
        socket.create_connection(address, 5)
        print("DIRECT", address)
    except OSError as error:
        print("no way", address[0])
try:
    socket.getaddrinfo("example.com", 443)
    print("RESOLVED")
except OSError:
    print("no names")
print("stdin", os.fstat(0).st_rdev == os.stat("/dev/null").st_rdev, sorted(os.listdir("/proc/self/fd")))
raise ValueError("so it ends")
"""


@pytest.fixture
def far() -> Iterator[int]:
    """A server of this machine that says one line."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello from outside\n")
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    import threading  # noqa: PLC0415 - of this fixture alone

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.close()


@pytest.mark.bubblewrap
def test_61_a_job_reaches_its_approved_host_and_nothing_else(tmp_path: Path, far: int) -> None:
    house = TrainingHouse(tmp_path, tmp_path / "environments", outbound="127.0.0.0/8")
    train = f'hosts = ["localhost:{far}"]'
    files = {"yard.toml": described(train, run=f"python train.py {far}"), "train.py": PROBES}
    job = house.run(files)
    assert (job.state, house.due) == (JobState.QUEUED, None)
    assert f"yard hosts approve {MODEL} localhost:{far}" in job.progress
    house.approvals.approve(MODEL, [f"localhost:{far}"], by="owner")
    house.do()
    log = house.jobs.log(job.id).text
    assert house.jobs.job(job.id).words == "exit code 1: ValueError: so it ends", log
    for line in (
        "proxy http://127.0.0.1:3128",
        "named hello from outside",
        "other HTTP/1.1 403 Refused",
        "literal HTTP/1.1 403 Refused",
        "no way 127.0.0.1",
        "no way 93.184.215.14",
        "no names",
        "stdin True ['0', '1', '2', '3']",
        f"yard: network: connected to localhost:{far} at 127.0.0.1",
        "yard: network: refused: 'example.com:443' is not among hosts of [train] in yard.toml",
        f"yard: network: localhost:{far}: 1 connection, 0 bytes sent, 19 received",
    ):
        assert line in log.splitlines(), (line, log)
    house.database.close()
