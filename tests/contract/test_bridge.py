"""The bridge: many clients before one worker that reads descriptor 3 and writes descriptor 4."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard.records.errors import WorkerLostError
from modelyard.records.signatures import ColumnType
from modelyard.workers import wire
from modelyard.workers.bridge import take_frames
from modelyard.workers.talk import Talk
from modelyard.workers.wire import ColumnData, Frame
from tests.conftest import ROOT
from tests.journeys.running import PATIENCE, until

BRIDGE = ROOT / "src/modelyard/workers/bridge.py"
READ = """
import os, struct, sys, time, signal
questions, answers = os.fdopen(3, "rb"), os.fdopen(4, "wb")
def read():
    prefix = questions.read(12)
    if len(prefix) < 12:
        raise SystemExit(0)
    header, body = struct.unpack("<4sII", prefix)[1:]
    return prefix, questions.read(header), questions.read(body)
def write(*parts):
    for part in parts:
        answers.write(part)
    answers.flush()
"""
ECHO = READ + "while True: write(*read())\n"

Start = Callable[..., tuple[subprocess.Popen[bytes], Path]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a bridge before a worker with this source; the bridge's process and socket."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(source: str, *command: str) -> tuple[subprocess.Popen[bytes], Path]:
        path = tmp_path / "worker.sock"
        worker = command or (sys.executable, "-I", "-S", "-c", source)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(BRIDGE), "--socket", str(path), "--", *worker],
            start_new_session=True,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        until(lambda: path.exists() or process.poll() is not None)
        return process, path

    yield begin
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def connect(path: Path) -> Talk:
    def attempt() -> Talk | None:
        with contextlib.suppress(ConnectionRefusedError):  # bound, but not listening yet
            return Talk(path)
        return None

    return until(attempt)


def big(size: int, number: int = 1) -> Frame:
    column = ColumnData("x", ColumnType.BOOL, bytes(size))
    return Frame("infer", (("id", str(number)),), size, (column,))


def ping(number: int) -> Frame:
    return Frame("ping", (("id", str(number)),))


def test_many_clients_at_once_get_their_own_answers(start: Start) -> None:
    _, path = start(ECHO)

    def client(number: int) -> bool:
        with connect(path) as talk:
            return all(
                talk.ask(ping(number * 1000 + n), PATIENCE).get("id") == str(number * 1000 + n)
                for n in range(50)
            )

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(client, range(20)))


def test_questions_sent_ahead_are_answered_in_order(start: Start) -> None:
    _, path = start(ECHO)
    with connect(path) as talk:
        sock = talk._socket
        sock.sendall(b"".join(wire.encode(ping(n)) for n in range(100)))
        received = bytearray()
        while len(received) < sum(len(wire.encode(ping(n))) for n in range(100)):
            received += sock.recv(1 << 16)
        assert [wire.decode(f).get("id") for f in take_frames(received)] == [str(n) for n in range(100)]


def test_large_frames_both_ways(start: Start) -> None:
    _, path = start(ECHO)
    with connect(path) as talk:
        answer = talk.ask(big(64 << 20), PATIENCE)
        assert answer.rows == 64 << 20
        assert talk.ask(ping(2), PATIENCE).verb == "ping"


GATED = (
    READ
    + """
while True:
    frame = read()
    if b"verb-slow" in frame[1]:
        open(sys.argv[1], "w").close()
        while not os.path.exists(sys.argv[2]): time.sleep(0.005)
    write(*frame)
"""
)


def test_a_client_that_hangs_up_with_its_question_in_the_worker(start: Start, tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    _, path = start("", sys.executable, "-I", "-S", "-c", GATED, str(begun), str(go))
    with connect(path) as talk:
        talk._socket.sendall(wire.encode(Frame("verb-slow", (("id", "1"),))))
        until(begun.exists)
    with connect(path) as talk, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(talk.ask, ping(2), PATIENCE)
        go.touch()
        assert answer.result().get("id") == "2", "not the answer that was due to the other"


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"YRD1" + b"\xff" * 8, bytes(64)])
def test_a_malformed_frame_drops_only_its_client(start: Start, garbage: bytes) -> None:
    _, path = start(ECHO)
    with connect(path) as good, connect(path) as bad:
        bad._socket.sendall(garbage)
        bad._socket.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError):
            assert bad._socket.recv(1) == b""
        assert good.ask(ping(1), PATIENCE).get("id") == "1"


def test_half_a_frame_and_then_nothing_holds_up_nobody(start: Start) -> None:
    _, path = start(ECHO)
    with connect(path) as slow, connect(path) as other:
        slow._socket.sendall(wire.encode(ping(1))[:9])
        assert other.ask(ping(2), PATIENCE).get("id") == "2"


def test_a_slow_reader_holds_up_nobody(start: Start) -> None:
    _, path = start(ECHO)
    with connect(path) as slow, connect(path) as other:
        slow._socket.sendall(wire.encode(big(8 << 20)))  # its answer is larger than a socket's buffer
        for number in range(20):
            assert other.ask(ping(number), PATIENCE).get("id") == str(number)
        received = bytearray()
        while not (frames := take_frames(received)):
            received += slow._socket.recv(1 << 20)
        assert frames == [wire.encode(big(8 << 20))]


def test_a_worker_that_answers_garbage_is_ended(start: Start) -> None:
    process, path = start(READ + "read(); write(b'x' * 100); time.sleep(99)\n")
    with connect(path) as talk, pytest.raises(WorkerLostError):
        talk.ask(ping(1), PATIENCE)
    assert process.wait(PATIENCE) == 65
    assert not path.exists()


def test_a_worker_that_answers_unasked_is_ended(start: Start) -> None:
    """From then on its answers would go to the wrong questions."""
    process, path = start(READ + "frame = read(); write(*frame); write(*frame); time.sleep(99)\n")
    with connect(path) as talk:
        talk.ask(ping(1), PATIENCE)
    assert process.wait(PATIENCE) == 65


@pytest.mark.parametrize(
    ("end", "code"), [("sys.exit(1)", 1), ("os._exit(0)", 0), ("os.kill(os.getpid(), 9)", 137)]
)
def test_it_ends_with_the_workers_code(start: Start, end: str, code: int) -> None:
    process, path = start(READ + f"read(); {end}\n")
    with connect(path) as talk, pytest.raises(WorkerLostError):
        talk.ask(ping(1), PATIENCE)
    assert process.wait(PATIENCE) == code
    assert not path.exists()


def test_the_last_answer_arrives_whole_though_the_worker_has_ended(start: Start) -> None:
    process, path = start(READ + "write(*read()); sys.exit(1)\n")
    with connect(path) as talk:
        assert talk.ask(big(32 << 20), PATIENCE).rows == 32 << 20
    assert process.wait(PATIENCE) == 1


def test_a_worker_that_reads_no_more_may_still_answer(start: Start) -> None:
    process, path = start(READ + "frame = read(); questions.close(); write(*frame); sys.exit(1)\n")
    with connect(path) as talk:
        assert talk.ask(ping(1), PATIENCE).get("id") == "1"
        with pytest.raises(WorkerLostError):
            talk.ask(ping(2), PATIENCE)
    assert process.wait(PATIENCE) == 1


def test_sigterm_is_passed_on(start: Start) -> None:
    source = "signal.signal(signal.SIGTERM, lambda *_: os._exit(42))\nwrite(*read())\nread()\n"
    process, path = start(READ + source)
    with connect(path) as talk:
        talk.ask(ping(1), PATIENCE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 42


def test_a_worker_whose_bridge_is_killed_ends(start: Start, tmp_path: Path) -> None:
    note = tmp_path / "ended"
    code = ECHO.replace("raise SystemExit(0)", "open(sys.argv[1], 'w').close(); raise SystemExit(0)")
    process, path = start("", sys.executable, "-I", "-S", "-c", code, str(note))
    with connect(path) as talk:
        talk.ask(ping(1), PATIENCE)
        process.kill()
        until(note.exists)


def test_a_program_that_is_not_there(start: Start) -> None:
    process, _ = start("", "/nowhere/at-all")
    assert process.wait(PATIENCE) == 127
    assert process.stderr is not None
    assert b"/nowhere/at-all does not start" in process.stderr.read()


def test_the_worker_has_its_three_streams_and_the_two_pipes_alone(start: Start, tmp_path: Path) -> None:
    note = tmp_path / "open"
    code = READ + "open(sys.argv[1], 'w').write(' '.join(sorted(os.listdir('/proc/self/fd'))))\nread()\n"
    start("", sys.executable, "-I", "-S", "-c", code, str(note))
    until(lambda: note.exists() and note.read_text())
    assert note.read_text().split()[:5] == ["0", "1", "2", "3", "4"]
    assert len(note.read_text().split()) <= 7, "and the note itself and the folder being read"


def test_only_the_owner_may_connect(start: Start) -> None:
    _, path = start(ECHO)
    assert path.stat().st_mode & 0o077 == 0


def test_it_serves_while_clients_come_and_go(start: Start) -> None:
    _, path = start(ECHO)
    stop = threading.Event()

    def restless() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(wire.encode(ping(7)))

    with connect(path) as talk, ThreadPoolExecutor(2) as pool:
        pool.submit(restless)
        pool.submit(restless)
        try:
            for number in range(200):
                assert talk.ask(ping(number), PATIENCE).get("id") == str(number)
        finally:
            stop.set()


def test_take_frames_takes_whole_ones_and_leaves_the_rest() -> None:
    one, two = wire.encode(ping(1)), wire.encode(big(3))
    buffer = bytearray(one + two + one[:5])
    assert take_frames(buffer) == [one, two]
    assert buffer == one[:5]
    with pytest.raises(ValueError, match="nope"):
        take_frames(bytearray(b"nope" + bytes(8)))
