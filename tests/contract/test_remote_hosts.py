"""A worker's host and who may talk to it: real TLS on this machine, without Ray."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from modelyard import __version__
from modelyard.records.errors import EnvironmentBuildError, MalformedError, ReleaseError, UnavailableError
from modelyard.settings import MIB
from modelyard.workers import host as hosts
from modelyard.workers import remote
from modelyard.workers.host import Host
from modelyard.workers.local import LocalWorkers
from modelyard.workers.plans import Plan
from modelyard.workers.ray import as_error
from modelyard.workers.remote import (
    Beat,
    Channel,
    Ended,
    Message,
    Ready,
    Refused,
    Said,
    Start,
    Stop,
    Watch,
)
from modelyard.workers.talk import Talk
from modelyard.workers.wire import to_values
from tests.contract.hands import DOUBLE, is_alive, plan, question, quiet, settings
from tests.journeys.running import PATIENCE


class Placed:
    """A host that runs in a thread, and the node it was placed for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left = threading.Event()
        self._channels: list[Channel] = []
        certificate = remote.make_identity(folder / "identity")
        self.host = Host("127.0.0.1", certificate, folder / "hosts", self.left.set)
        self.host.start()
        self.far = msgspec.structs.replace(self.host.far, identity=str(folder / "identity"))

    def start(
        self, source: str = DOUBLE, until: int = 99, **changes: object
    ) -> tuple[Channel, list[Message]]:
        """Ask for a worker; the connection, and what was said (so many messages) up to its fate."""
        wanted: Plan = plan(self.folder / "bundle", source)
        start = Start(__version__, wanted, 0, 1024 * MIB, PATIENCE)
        channel, said = self.open(), list[Message]()
        channel.send_tar(
            lambda size: msgspec.structs.replace(start, size=size, **changes),
            {".": Path(wanted.bundle)},
            self.folder,
        )
        while len(said) < until and (not said or isinstance(said[-1], Said)):
            said.append(channel.receive())
        return channel, said

    def open(self) -> Channel:
        """A connection that is closed with the test."""
        self._channels.append(Channel(self.far))
        return self._channels[-1]

    def end(self) -> None:
        """End the worker, or what waits for one."""
        channel = self.open()
        channel.send(Stop())
        channel.close()

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def socket_file(self) -> Path:
        """What stands for the worker's socket."""
        path = self.folder / remote.FILE
        path.write_bytes(msgspec.json.encode(self.far))
        return path


@pytest.fixture
def placed(tmp_path: Path) -> Iterator[Placed]:
    made = Placed(tmp_path)
    yield made
    if not made.left.is_set():
        made.end()
    made.close()
    assert made.left.wait(PATIENCE)
    assert {p.name for p in (tmp_path / "hosts").iterdir()} <= {"hosts.lock", "environments"}


def test_it_starts_answers_beats_and_stops(placed: Placed) -> None:
    channel, said = placed.start("print('hello from inside')\n" + DOUBLE)
    assert said[:-1] == [Said("starting the worker")]
    ready = said[-1]
    assert isinstance(ready, Ready)
    with Talk(placed.socket_file()) as talk:
        assert to_values(talk.ask(question(1.5), PATIENCE).columns[0]) == [3.0]
        second = placed.open()
        second.send(Watch())
        beats = [channel.receive(), second.receive()]
        assert all(isinstance(beat, Beat) and beat.memory > MIB for beat in beats)
        assert b"hello from inside" in beats[0].log  # type: ignore[attr-defined]
        second.send(Stop())
        last = [channel.receive(), second.receive()]
    while not isinstance(last[-1], Ended):
        last.append(channel.receive())
    assert placed.left.wait(PATIENCE)
    assert not is_alive(ready.pid)
    with pytest.raises(OSError, match=r"\w"):
        Channel(placed.far)


def test_a_stranger_gets_nothing(placed: Placed, tmp_path: Path) -> None:
    """Without a certificate, with another one, and with another protocol."""
    (tmp_path / "stranger").mkdir()
    remote.make_identity(tmp_path / "stranger/identity")
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    other = remote.context_to(
        msgspec.structs.replace(placed.far, identity=str(tmp_path / "stranger/identity")), remote.MESSAGES
    )
    for context in (bare, other):
        with socket.create_connection((placed.far.host, placed.far.port), PATIENCE) as plain:
            plain.settimeout(PATIENCE)
            with pytest.raises(OSError, match=r"\w"), context.wrap_socket(plain) as sock:  # noqa: PT012
                sock.sendall(remote.pack(Watch()))
                if sock.recv(1) == b"":
                    raise ConnectionResetError("hung up")
    with socket.create_connection((placed.far.host, placed.far.port), PATIENCE) as plain:
        plain.settimeout(PATIENCE)
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n" * 10)
        assert not plain.recv(100).startswith(b"HTTP")
    assert placed.start()[1][-1].__class__ is Ready, "and it goes on for whom it was placed"


def test_the_node_does_not_talk_to_another_host(placed: Placed, tmp_path: Path) -> None:
    """One that listens where the host was, with a certificate of its own."""
    (tmp_path / "other").mkdir()
    wrong = remote.make_identity(tmp_path / "other/identity")
    with pytest.raises(ssl.SSLError, match="certificate"):
        remote.connect(msgspec.structs.replace(placed.far, certificate=wrong), remote.FRAMES)


def test_another_release_is_refused(placed: Placed) -> None:
    _, said = placed.start(release="0.0.1")
    refused = said[-1]
    assert isinstance(refused, Refused)
    assert refused.code == "release"
    assert isinstance(as_error(refused), ReleaseError)
    assert "this yard 0.0.1" in refused.message
    assert placed.left.wait(PATIENCE)


def test_who_asked_hangs_up_while_it_loads(placed: Placed) -> None:
    channel, _ = placed.start("import time\ntime.sleep(99)\n", until=1)
    channel.close()
    assert placed.left.wait(PATIENCE), "it does not wait for a model that nobody wants"


def test_a_host_that_nobody_watches_ends(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    channel, said = placed.start()
    assert isinstance(said[-1], Ready)
    monkeypatch.setattr(hosts, "_ALONE_SECONDS", 0.5)
    channel.close()
    assert placed.left.wait(PATIENCE)
    assert not is_alive(said[-1].pid)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x01\0\0\0\xc1", b"\x04\0\0\0oops"])
def test_what_is_no_message_ends_the_connection_alone(placed: Placed, data: bytes) -> None:
    channel, _ = placed.start()
    bad = remote.connect(placed.far, remote.MESSAGES)
    bad.settimeout(PATIENCE)
    bad.sendall(data)
    assert bad.recv(10) == b""
    bad.close()
    assert isinstance(channel.receive(), Beat)


def test_the_tools_of_the_wire(tmp_path: Path) -> None:
    said = Said("now")
    packed = remote.pack(said)
    assert remote.unpack(packed[4:]) == said
    assert remote.length(packed[:4]) == len(packed) - 4
    with pytest.raises(MalformedError):
        remote.unpack(b"\xc1")
    identity = tmp_path / "identity"
    certificate = remote.identity_at(identity)
    assert remote.identity_at(identity) == certificate
    assert identity.stat().st_mode & 0o077 == 0
    assert remote.far_of(tmp_path / "s") is None
    with pytest.raises(OSError, match="No such file"):
        remote.far_of(tmp_path / remote.FILE)


def test_what_a_killed_host_left_is_cleared_by_the_next(tmp_path: Path, placed: Placed) -> None:
    left = tmp_path / "hosts/0123"
    left.mkdir(parents=True)
    (left / "lock").touch()
    hosts.clear_left(tmp_path / "hosts")
    assert not left.exists()
    assert placed.host._own.exists(), "one that runs is left alone"


def test_what_a_killed_host_left_running_is_ended_by_the_next(tmp_path: Path) -> None:
    """Where there are no walls that fall with it, its worker goes on; so does the place of its sockets."""
    left = tmp_path / "hosts/0123"
    workers = LocalWorkers(settings(left))
    worker = workers.start(plan(tmp_path / "bundle"), quiet)
    (left / "lock").touch()
    hosts.clear_left(tmp_path / "hosts")
    assert not is_alive(worker.pid)
    assert not left.exists()
    assert not workers.folder.exists()
    workers.wait(worker)  # who started it reaps it


def test_hosts_that_start_at_once_clear_away_none_of_each_other(tmp_path: Path) -> None:
    certificate = remote.make_identity(tmp_path / "identity")
    at_once = threading.Barrier(6)

    def start(_: int) -> Host:
        at_once.wait(PATIENCE)
        return Host("127.0.0.1", certificate, tmp_path / "hosts", lambda: None)

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(start, range(6)))
    try:
        hosts.clear_left(tmp_path / "hosts")
        assert all((host._own / "identity").exists() for host in made)
    finally:
        for host in made:
            host._socket.close()
            host.clear()


def test_a_folder_that_another_has_made_is_not_used(tmp_path: Path) -> None:
    """By default it is where everybody may make one, and the environments in it are run."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "hosts").symlink_to(tmp_path / "theirs")
    with pytest.raises(EnvironmentBuildError, match="another user's"):
        Host("127.0.0.1", "", tmp_path / "hosts", lambda: None)


def test_a_host_that_fails_says_how(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(remote, "unpack_folders", full)
    _, said = placed.start()
    refused = said[-1]
    assert isinstance(refused, Refused)
    assert (refused.code, "No space left" in refused.message) == ("unavailable", True)
    assert isinstance(as_error(refused), UnavailableError), "which is tried again"
    assert placed.left.wait(PATIENCE)


def test_a_worker_that_is_busy_for_long_is_not_taken_for_gone() -> None:
    """It leaves what it is asked lying meanwhile: TCP must set no time for that, only ask who is there."""
    with socket.socket() as sock:
        remote.notice_silence(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 2
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
