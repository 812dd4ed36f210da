"""The short way answers as the long one does, and takes only what is plainly a request of its own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from modelyard.api import short
from modelyard.api.heads import HeadsInTime
from modelyard.api.predict import Asker, Head
from modelyard.api.short import ShortWay, ShortWayProtocol, read_head
from modelyard.records.rollouts import RouteTable, StageKind, Trial
from modelyard.serving.table import EMPTY
from tests.contract.scripted import dock, run, turns
from tests.contract.test_doors import FUEL, Front, behave

MIXED = "/models/finance/mixed/predict"
ROWS = b'[{"x": 2}]'


class Shore:
    """A front that listens, and what went the short way.

    Attributes:
        short: the bodies that did.
    """

    def __init__(self, front: Front) -> None:
        self.front = front
        self.short: list[bytes] = []
        self.protocols: list[ShortWayProtocol] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.path = ""
        plainly = front.predict.ask_plainly

        def ask(head: Head, body: bytes, asker: Asker) -> bool:
            took = plainly(head, body, asker)
            self.short += [body] if took else []
            return took

        front.predict.ask_plainly = ask  # type: ignore[method-assign]

    async def send(self, *pieces: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to which these pieces were sent, each after what could be done about the last."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        self.writers.append(writer)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            for _ in range(5):
                await asyncio.sleep(0)
        return reader, writer

    async def ask(self, *pieces: bytes, answers: int = 1) -> list[Any]:
        """The answers to what these pieces ask."""
        reader, writer = await self.send(*pieces)
        found = [await read_answer(reader) for _ in range(answers)]
        writer.close()
        await writer.wait_closed()
        return found


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split()[1]), headers, json.loads(body) if body else None


@asynccontextmanager
async def shore(keep_alive: float = 5.0) -> AsyncIterator[Shore]:
    async with dock(behave) as yard:
        made = Shore(Front(yard))
        config = uvicorn.Config(made.front, lifespan="off", proxy_headers=False, log_config=None)
        config.timeout_keep_alive = keep_alive  # type: ignore[assignment]
        way, state = ShortWay(lambda: made.front.predict), ServerState()

        def protocol() -> ShortWayProtocol:
            one = ShortWayProtocol(way, config=config, server_state=state, app_state={})
            made.protocols.append(one)
            return one

        made.path = str(yard.folder / "front.sock")
        server = await asyncio.get_running_loop().create_unix_server(protocol, made.path)
        yield made
        server.close()
        for writer in made.writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        for one in made.protocols:
            if one.transport is not None and not one.transport.is_closing():
                one.transport.close()
        await made.front.predict.close()
        made.front.scratch.cleanup()
        made.front.pool.swap(EMPTY)
        await asyncio.sleep(0)


def served(test: Callable[[Shore], Coroutine[Any, Any, None]], keep_alive: float = 5.0) -> None:
    async def whole() -> None:
        async with shore(keep_alive) as made:
            await test(made)

    run(whole)


def request(body: bytes = ROWS, path: str = FUEL, who: str = "anna", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: yard\r\nAuthorization: Bearer {who}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(asked: bytes) -> bytes:
    """The same request in a form that goes the long way."""
    head, _, body = asked.partition(b"\r\n\r\n")
    head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
    return head + b"\r\n\r\n" + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"


def like(answer: tuple[int, dict[str, str], Any]) -> Any:
    """An answer without its request's id."""
    status, headers, body = answer
    known = {"x-request-id", "content-length"}
    cleaned = {k: v for k, v in body.items() if k != "request_id"}
    return status, {k: v for k, v in headers.items() if k not in known}, cleaned


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request(b'{"records": [{"x": 1}, {"x": null}]}'),
        request(b'[{"x": 1, "key": "a"}]'),
        request(b"[]"),
        request(b'[{"x": 13}]'),
        request(b'[{"x": "text"}]'),
        request(b"[{}]"),
        request(b"not json"),
        request(b"[" * 5000),
        request(b'[{"x": 1, "n": 2, "b": true, "s": "a"}]', MIXED),
        request(b'[{"x": 1, "n": 2.5, "b": true, "s": "a"}]', MIXED),
        request(b'[{"x": 1}]' + b" " * 20_000),
        request(path="/models/finance/fuel-cost/versions/1/predict"),
        request(path="/models/finance/fuel-cost/versions/9/predict"),
        request(path="/models/finance/fuel-cost/aliases/challenger/predict"),
        request(path="/models/finance/new/predict"),
        request(path="/models/finance/none/predict"),
        request(who="eve"),
        request(who="vera"),
        request(who="old"),
        request(who="nobody"),
        request(more="X-Forwarded-For: 1.2.3.4\r\nAccept: */*\r\nContent-Type: application/json\r\n"),
        request(more="Content-Type: text/plain\r\n"),
        request(more="Prefer: wait=5\r\n"),
    ],
)
def test_both_ways_answer_alike(asked: bytes) -> None:
    async def test(made: Shore) -> None:
        long, short = [(await made.ask(form))[0] for form in (chunked(asked), asked)]
        assert like(long) == like(short)
        again = (await made.ask(asked))[0]
        assert like(again) == like(short)
        assert again[1]["x-request-id"] != short[1]["x-request-id"]

    served(test)


def test_a_plain_request_goes_the_short_way_and_is_recorded() -> None:
    async def test(made: Shore) -> None:
        ((status, headers, body),) = await made.ask(request())
        assert (status, body["predictions"]) == (200, [4.0])
        assert body["request_id"] == headers["x-request-id"]
        assert headers["x-yard-version"] == "finance/fuel-cost/2"
        assert made.short == [ROWS]
        assert [frame.get("model") for frame in made.front.yard.spool] == ["finance/fuel-cost"]
        counted = made.front.counters.values
        key = 'modelyard_predict_requests_total{model="finance/fuel-cost",version="2",outcome="answered"}'
        assert counted[key] == 1

    served(test)


@pytest.mark.parametrize(
    "asked",
    [
        request(more="Transfer-Encoding: identity\r\n"),
        request(more="Content-Encoding: gzip\r\n"),
        request(more="Expect: 100-continue\r\n"),
        request(more="Connection: close\r\n"),
        request(more="Connection: upgrade\r\nUpgrade: websocket\r\n"),
        request(more="Content-Length: 10\r\n"),
        request(more="Authorization: Bearer adam\r\nContent-Length : 10\r\n"),
        request(more="Accept: text/csv\r\n"),
        request(more="Content-Type: text/csv\r\n"),
        request(more=" folded\r\n"),
        request(more="Bad Name: x\r\n"),
        request(more="X: \0\r\n"),
        request(path=FUEL + "?a=1"),
        request(path="/models/finance/fuel%2Dcost/predict"),
        request(path="/models/finance/../finance/fuel-cost/predict"),
        request(b""),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request().replace(b"POST", b"PUT"),
        request().replace(b"\r\n\r\n", b"\n\r\n\r\n"),
        request().replace(b"Length: 10", b"Length: +10"),
        request().replace(b"Length: 10", b"Length: 1_0"),
        request().replace(b"Length: 10", b"Length: 99999999999999999999"),
    ],
)
def test_whatever_is_not_plain_is_left_to_the_long_way(asked: bytes) -> None:
    head = asked[: asked.index(b"\r\n\r\n") + 4]
    assert read_head(head) is None


def test_a_token_is_looked_up_each_time() -> None:
    async def test(made: Shore) -> None:
        assert (await made.ask(request()))[0][0] == 200
        table = made.front.table
        made.front.table = RouteTable(2, table.models, {})
        assert (await made.ask(request()))[0][0] == 401

    served(test)


def test_limits_and_deadlines_hold_on_the_short_way() -> None:
    async def test(made: Shore) -> None:
        many = request(b'[{"x": 1}, {"x": 2}, {"x": 3}, {"x": 4}]', who="lena")
        found = [(await made.ask(many))[0] for _ in range(2)]
        assert [one[0] for one in found] == [200, 429]
        assert found[1][1]["retry-after"] == "1"
        worker = made.front.yard.workers[0]
        worker.gate.clear()
        assert (await made.ask(request(more="Prefer: wait=0.05\r\n")))[0][0] == 504
        worker.gate.set()

    served(test)


def test_what_looks_like_a_request_in_anothers_body_is_none() -> None:
    """The first is refused before its body has come; what follows is still that body."""

    async def test(made: Shore) -> None:
        inner = request()
        outer = request(b" " * 70_000, who="nobody").replace(b" " * 70_000, b"")
        reader, writer = await made.send(outer)
        status, _, _ = await read_answer(reader)
        assert status == 401
        writer.write(inner)
        writer.write(b" " * (70_000 - len(inner)))
        writer.write(request(b'[{"x": 4}]'))
        status, _, body = await read_answer(reader)
        assert (status, body["predictions"]) == (200, [8.0])
        writer.close()

    served(test)


def test_head_and_body_may_come_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short, "_HELD_SECONDS", 180.0)

    async def test(made: Shore) -> None:
        asked = request()
        end = asked.index(b"\r\n\r\n") + 4
        for cut in (5, end - 2, end, end + 4):
            assert (await made.ask(asked[:cut], asked[cut:]))[0][2]["predictions"] == [4.0]
        assert made.short == [ROWS] * 2  # those whose head came whole

    served(test)


def test_a_slow_body_goes_the_long_way() -> None:
    async def test(made: Shore) -> None:
        asked = request()
        reader, writer = await made.send(asked[:-3])
        while made.protocols[0]._held:  # noqa: ASYNC110 - until its patience is over
            await asyncio.sleep(0.01)
        writer.write(asked[-3:])
        assert (await read_answer(reader))[2]["predictions"] == [4.0]
        assert made.short == []
        writer.close()

    served(test)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=6), st.data(), st.booleans()
)
def test_answers_come_in_order_however_the_bytes_are_cut(
    asked: list[tuple[int, bool]], data: st.DataObject, wait: bool
) -> None:
    """Requests that do not wait for answers, some of them for the long way, cut anywhere."""
    whole = [request(b'[{"x": %d}]' % x) for x, _ in asked]
    stream = b"".join(chunked(one) if long else one for one, (_, long) in zip(whole, asked, strict=True))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    async def test(made: Shore) -> None:
        if wait:
            found = [(await made.ask(one))[0] for one in whole]
        else:
            found = await made.ask(*pieces, answers=len(asked))
        assert [body["predictions"] for _, _, body in found] == [[2.0 * x] for x, _ in asked]

    served(test)


def test_a_client_that_hangs_up_harms_nobody() -> None:
    async def test(made: Shore) -> None:
        worker = await made.front.yard.add()
        worker.gate.clear()
        _, writer = await made.send(request())
        await worker.asked.acquire()
        writer.close()
        await writer.wait_closed()
        worker.gate.set()
        assert (await made.ask(request()))[0][0] == 200

    served(test)


def test_a_server_that_ends_answers_first() -> None:
    async def test(made: Shore) -> None:
        worker = await made.front.yard.add()
        worker.gate.clear()
        reader, _ = await made.send(request())
        await worker.asked.acquire()
        made.protocols[0].shutdown()
        worker.gate.set()
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""

    served(test)


def test_a_server_that_ends_does_not_wait_for_the_idle() -> None:
    async def test(made: Shore) -> None:
        reader, _ = await made.send(request())
        await read_answer(reader)
        made.protocols[0].shutdown()
        assert await reader.read() == b""

    served(test)


def test_an_idle_connection_is_closed() -> None:
    async def test(made: Shore) -> None:
        reader, _ = await made.send(request())
        await read_answer(reader)
        assert await reader.read() == b""

    served(test, keep_alive=0.05)


def test_30_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing at all, a byte now and then, a second head without end; one that has asked keeps its line."""

    async def test(made: Shore) -> None:
        whole, asking = await made.send(request())
        assert (await read_answer(whole))[0] == 200
        second, _ = await made.send(request(), b"POST /mo")
        assert (await read_answer(second))[0] == 200
        dripping = [(await made.send(*pieces))[0] for pieces in ((), (request()[:40],), (b"P", b"O", b"S"))]
        await turns()
        looks = [one._look_at for one in made.protocols]
        assert all(look and look.when() <= made.protocols[0].loop.time() + 30 for look in looks)
        monkeypatch.setattr(HeadsInTime, "head_seconds", 0.0)  # the time is over
        for one in made.protocols:
            one._look()
        async with asyncio.timeout(20):
            for reader in (second, *dripping):
                with suppress(ConnectionError):
                    assert await reader.read() == b""
        asking.write(request())
        assert (await read_answer(whole))[0] == 200

    served(test)


def test_29_a_head_without_end_is_not_kept() -> None:
    async def test(made: Shore) -> None:
        reader, writer = await made.send(f"POST {FUEL} HTTP/1.1\r\nHost: yard".encode())
        with suppress(ConnectionError):
            for _ in range(64):
                writer.write(b"\r\nX-More: " + b"a" * 16_000)
                await writer.drain()
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        assert made.protocols[0].transport.is_closing()
        assert [answer[0] for answer in await made.ask(request())] == [200]

    served(test)


def test_30_one_that_does_not_read_its_answers_is_not_answered_on() -> None:
    """A slow reader: what waits for it is bounded, others are answered, and it gets all when it reads."""
    asked = request(json.dumps([{"x": 2}] * 100).encode())
    count = 700

    async def test(made: Shore) -> None:
        reader, writer = await made.send(request())
        await read_answer(reader)
        slow = made.protocols[0]
        sending = asyncio.create_task(sent_on(writer, asked * count))
        while not slow.flow.write_paused:
            await turns()
        for _ in range(20):
            assert [answer[0] for answer in await made.ask(request())] == [200]
            assert slow.transport.get_write_buffer_size() < 100_000
        answers = [await read_answer(reader) for _ in range(count)]
        assert [len(answer[2]["predictions"]) for answer in answers] == [100] * count
        await sending

    served(test)


async def sent_on(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def test_a_rollout_is_served_on_the_long_way() -> None:
    async def test(made: Shore) -> None:
        front = made.front
        routes = front.table.models["finance/fuel-cost"]
        trial = Trial(1, 1, StageKind.CANARY, 0.0)
        models = {"finance/fuel-cost": msgspec.structs.replace(routes, rollout=trial)}
        front.table = msgspec.structs.replace(front.table, models=models)
        front.trials.swap(front.table)
        assert (await made.ask(request()))[0][2]["predictions"] == [4.0]
        assert made.short == []
        version = request(path="/models/finance/fuel-cost/versions/2/predict")
        assert (await made.ask(version))[0][0] == 200
        assert made.short == [ROWS]  # a version named by its number is in no rollout

    served(test)


def test_heads_are_forgotten() -> None:
    way = ShortWay(lambda: pytest.fail("no door is needed"))
    head = request()[: -len(ROWS)]
    first = way.head(head)
    assert first is not None
    assert way.head(head) is first
    way.forget()
    assert way.head(head) is not first
