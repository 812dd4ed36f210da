"""The hub and the fronts' links to it, over a real socket."""

from __future__ import annotations

import asyncio
import errno
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.running import until

from modelyard.engine import hub as hub_file
from modelyard.engine.hub import Hub
from modelyard.records.errors import (
    BusyError,
    EnvironmentBuildError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    WorkerStartError,
    YardError,
)
from modelyard.serving.link import EngineLink
from modelyard.workers import control
from modelyard.workers.control import (
    Check,
    Ensure,
    Hello,
    Message,
    Refresh,
    Reply,
    Report,
    Routes,
    Stuck,
    Swapped,
    Used,
    Workers,
)


def _empty(message: Message) -> Reply:
    return Reply(message.call)  # type: ignore[attr-defined]


class Side:
    """The engine's side: a hub, what it was told, and how it answers."""

    def __init__(self, path: Path, answer: Callable[[Message], Reply] = _empty) -> None:
        self.path = path
        self.told: list[Message] = []
        self.asked: list[Message] = []
        self.answer = answer
        self.hub = Hub(path, self._answer, self.told.append, lambda: [Routes(1)])
        self.hub.start()

    def _answer(self, message: Message) -> Reply:
        self.asked.append(message)
        return self.answer(message)


@pytest.fixture
def path() -> Iterator[Path]:
    """A short path: a socket's has a limit."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "engine.sock"


@pytest.fixture
def side(path: Path) -> Iterator[Side]:
    made = Side(path)
    yield made
    made.hub.close()


class Fronts:
    """The fronts' side: links on an event loop of their own; each swaps as soon as it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.news: list[tuple[str, Message]] = []
        self.links: dict[str, EngineLink] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._runs: dict[str, Any] = {}

    def add(self, name: str = "front-0", patience: float = 180.0, *, swaps: bool = True) -> EngineLink:
        """A front that is connected."""

        def take(message: Message) -> None:
            self.news.append((name, message))
            if isinstance(message, Routes) and swaps:
                link.tell(Swapped(message.generation))

        link = EngineLink(self.path, name, take, patience)
        self.links[name] = link
        self._runs[name] = asyncio.run_coroutine_threadsafe(link.run(), self._loop)
        until(lambda: (name, Routes(1)) in self.news)
        return link

    def drop(self, name: str) -> None:
        """A front that dies."""
        self._runs.pop(name).cancel()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.begin(work).result(180)

    def begin(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def tell(self, link: EngineLink, message: Message) -> None:
        self._loop.call_soon_threadsafe(link.tell, message)

    def close(self) -> None:
        async def end() -> None:
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for _ in range(3):  # transports close on the loop's next rounds
                await asyncio.sleep(0)

        self.do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(180)
        self._loop.close()


@pytest.fixture
def fronts(path: Path) -> Iterator[Fronts]:
    made = Fronts(path)
    yield made
    made.close()


class Crowded:
    """A listening socket of a process that has too many files open, a few times."""

    def __init__(self, listener: socket.socket, times: int) -> None:
        self.listener, self.left = listener, times

    def accept(self) -> tuple[socket.socket, Any]:
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listener.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.listener, name)


def test_fronts_come_in_again_after_too_many_files_were_open(
    path: Path, fronts: Fronts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_file, "_AGAIN_SECONDS", 0.01)
    hub = Hub(path, _empty, lambda _: None, lambda: [Routes(1)])
    crowded = Crowded(hub._listener, 3)
    hub._listener = crowded  # type: ignore[assignment]
    hub.start()
    try:
        fronts.add()
        assert crowded.left == 0
    finally:
        hub.close()


def test_calls_and_their_answers(side: Side, fronts: Fronts) -> None:
    link = fronts.add()
    side.answer = lambda m: Reply(m.call, ("/run/1.sock",), ("float64",), counters={"requests": 2.0})  # type: ignore[attr-defined]
    fleet = fronts.do(link.ensure("ops.double.1"))
    assert (fleet.sockets, fleet.takes) == (("/run/1.sock",), ("float64",))
    fronts.do(link.refresh())
    fronts.do(link.check())
    assert fronts.do(link.report()).counters == {"requests": 2.0}
    assert [type(m) for m in side.asked] == [Ensure, Refresh, Check, Report]


def test_a_slow_call_holds_up_no_other(side: Side, fronts: Fronts) -> None:
    link = fronts.add()
    go = threading.Event()

    def answer(message: Message) -> Reply:
        if isinstance(message, Ensure):
            go.wait(10)
        return Reply(message.call)  # type: ignore[attr-defined]

    side.answer = answer
    slow = fronts.begin(link.ensure("ops.slow.1"))
    fronts.do(link.refresh())
    assert not slow.done()
    go.set()
    slow.result(180)


def test_many_calls_at_once_get_their_own_answers(side: Side, fronts: Fronts) -> None:
    links = [fronts.add(f"front-{n}") for n in range(3)]
    side.answer = lambda m: Reply(m.call, (m.version_id,))  # type: ignore[attr-defined]
    asked = [(f"ops.m{n}.1", fronts.begin(links[n % 3].ensure(f"ops.m{n}.1"))) for n in range(60)]
    for version_id, answer in asked:
        assert answer.result(180).sockets == (version_id,)


@pytest.mark.parametrize(
    ("raised", "arrives"),
    [
        (WorkerStartError("does not load", "mend it", log="Traceback"), WorkerStartError),
        (EnvironmentBuildError("no R", "install R"), EnvironmentBuildError),
        (UnavailableError("keeps dying", "wait"), UnavailableError),
        (NotFoundError("no such version"), NotFoundError),
        (BusyError("full", "wait"), BusyError),
        (InvalidError("not a pin: a: b"), InvalidError),
        (YardError("something"), UnavailableError),
    ],
)
def test_an_error_arrives_as_its_class_with_its_words(
    side: Side, fronts: Fronts, raised: YardError, arrives: type[YardError]
) -> None:
    def fail(_: Message) -> Reply:
        raise raised

    side.answer = fail
    with pytest.raises(arrives) as caught:
        fronts.do(fronts.add().ensure("ops.double.1"))
    assert type(caught.value) is arrives
    assert (caught.value.message, caught.value.hint) == (raised.message, raised.hint)
    assert getattr(caught.value, "log", "") == getattr(raised, "log", "")


def test_a_failure_of_the_engine_itself_is_told_and_the_link_stays(
    side: Side, fronts: Fronts, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Message) -> Reply:
        raise ZeroDivisionError("division by zero")

    link = fronts.add()
    side.answer = fail
    with pytest.raises(UnavailableError, match="the engine failed: division by zero"):
        fronts.do(link.refresh())
    assert "the engine failed on Refresh" in caplog.text
    side.answer = lambda m: Reply(m.call)  # type: ignore[attr-defined]
    fronts.do(link.refresh())


def test_an_engine_that_dies_in_the_middle_of_a_call_is_asked_again(path: Path, fronts: Fronts) -> None:
    first = Side(path)
    link = fronts.add()
    stuck, go = threading.Event(), threading.Event()

    def hang(message: Message) -> Reply:
        stuck.set()
        go.wait(20)
        return Reply(message.call)  # type: ignore[attr-defined]

    first.answer = hang
    call = fronts.begin(link.ensure("ops.double.1"))
    assert stuck.wait(180)
    first.hub.close()
    second = Side(path, lambda m: Reply(m.call, ("/run/new.sock",)))  # type: ignore[attr-defined]
    assert call.result(180).sockets == ("/run/new.sock",)
    go.set()
    second.hub.close()


def test_no_engine_is_an_error_after_a_while(path: Path) -> None:
    async def ask() -> None:
        link = EngineLink(path, "front-0", lambda _: None, 0.1)
        run = asyncio.create_task(link.run())
        try:
            await link.refresh()
        finally:
            run.cancel()
            with suppress(asyncio.CancelledError):
                await run

    with pytest.raises(UnavailableError, match=r"did not answer within 0\.1 s"):
        asyncio.run(ask())


def test_an_engine_that_does_not_answer_is_an_error_after_a_while(side: Side, fronts: Fronts) -> None:
    go = threading.Event()
    side.answer = lambda m: (go.wait(20), Reply(m.call))[1]  # type: ignore[attr-defined]
    with pytest.raises(UnavailableError, match=r"within 0\.1 s"):
        fronts.do(fronts.add().ensure("ops.double.1", patience=0.1))
    go.set()


def test_what_needs_no_answer_is_told(side: Side, fronts: Fronts) -> None:
    link = fronts.add()
    stuck = Stuck("ops.double.1", "/run/1.sock", "no answer")
    used = Used({"requests": 1.0}, ("ops.double.1",))
    fronts.tell(link, stuck)
    fronts.tell(link, used)
    until(lambda: stuck in side.told and used in side.told)


def test_every_front_hears_the_news(side: Side, fronts: Fronts) -> None:
    fronts.add("front-0")
    fronts.add("front-1")
    news = Workers("ops.double.1", ("/run/1.sock",), ("float64",))
    side.hub.broadcast(news)
    until(lambda: {name for name, message in fronts.news if message == news} == {"front-0", "front-1"})


def test_news_that_cannot_be_used_does_not_end_the_link(side: Side, path: Path) -> None:
    fronts = Fronts(path)
    link = fronts.add()
    link._news = lambda _: (_ for _ in ()).throw(UnavailableError("the routes file is damaged"))
    side.hub.broadcast(Routes(2))
    fronts.do(link.refresh())
    fronts.close()


def test_a_swap_waits_for_every_front(side: Side, fronts: Fronts) -> None:
    fronts.add("front-0")
    slow = fronts.add("front-1", swaps=False)
    with ThreadPoolExecutor(1) as pool:
        swap = pool.submit(side.hub.swap, 2, 20.0)
        until(lambda: ("front-0", Routes(2)) in fronts.news and ("front-1", Routes(2)) in fronts.news)
        assert not swap.done()
        fronts.tell(slow, Swapped(1))
        assert not swap.done()
        fronts.tell(slow, Swapped(2))
        assert swap.result(180)


def test_a_swap_says_when_a_front_does_not_follow(side: Side, fronts: Fronts) -> None:
    fronts.add(swaps=False)
    assert not side.hub.swap(2, 0.1)


def test_a_front_that_dies_does_not_hold_up_a_swap(side: Side, fronts: Fronts) -> None:
    fronts.add("front-0")
    fronts.add("front-1", swaps=False)
    with ThreadPoolExecutor(1) as pool:
        swap = pool.submit(side.hub.swap, 2, 20.0)
        until(lambda: ("front-1", Routes(2)) in fronts.news)
        fronts.drop("front-1")
        assert swap.result(180)


def test_no_front_no_wait(side: Side) -> None:
    assert side.hub.swap(1, 0.0)


def connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return sock


def test_a_front_that_hangs_is_dropped_and_the_others_hear_the_news(
    path: Path, fronts: Fronts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_file, "_SEND_SECONDS", 1)
    side = Side(path)
    fronts.add("front-0")
    with connect(path) as hanging:
        hanging.sendall(control.pack(Hello("front-1", 1)))
        until(lambda: len(side.hub._fronts) == 2)
        large = Workers("ops.double.1", tuple("x" * 1000 for _ in range(2000)))
        side.hub.broadcast(large)
        until(lambda: len(side.hub._fronts) == 1)
        until(lambda: ("front-0", large) in fronts.news)
    side.hub.close()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"\x01\x00\x00\x00\xc1"])
def test_64_one_that_speaks_otherwise_is_dropped_alone(side: Side, fronts: Fronts, garbage: bytes) -> None:
    link = fronts.add()
    with connect(side.path) as stranger:
        stranger.settimeout(180)
        stranger.sendall(garbage)
        with suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
    fronts.do(link.refresh())


def count(sock: socket.socket, value: float) -> None:
    sock.sendall(control.pack(Used({"requests": value})))


def test_counters_add_up_and_a_front_that_went_still_counts(side: Side) -> None:
    first, second = connect(side.path), connect(side.path)
    first.sendall(control.pack(Hello("front-0", 1)))
    second.sendall(control.pack(Hello("front-1", 2)))
    count(first, 5.0)
    count(second, 3.0)
    until(lambda: side.hub.counters() == {"requests": 8.0})
    first.close()
    until(lambda: len(side.hub._fronts) == 1)
    assert side.hub.counters() == {"requests": 8.0}
    with connect(side.path) as again:  # the same process, that lost its link, counts on
        again.sendall(control.pack(Hello("front-0", 1)))
        count(again, 6.0)
        until(lambda: side.hub.counters() == {"requests": 9.0})
        with connect(side.path) as replaced:  # another process in its place begins at nothing
            replaced.sendall(control.pack(Hello("front-0", 99)))
            count(replaced, 1.0)
            until(lambda: side.hub.counters() == {"requests": 10.0})
    second.close()


def test_only_the_owner_may_connect_and_an_old_socket_is_replaced(path: Path) -> None:
    path.touch()
    side = Side(path)
    assert path.stat().st_mode & 0o077 == 0
    side.hub.close()
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(OSError, match="refused"):
        sock.connect(str(path))
