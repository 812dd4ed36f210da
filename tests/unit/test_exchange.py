"""One HTTP exchange: the body within its limits, the answer, the problem."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from modelyard.api import exchange as door
from modelyard.api.errors import MethodError
from modelyard.api.exchange import HungUpError, Reply, exchange, header, read_body
from modelyard.records.errors import (
    BusyError,
    InvalidError,
    MalformedError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedError,
    YardError,
)

Message = dict[str, Any]


def scope(*headers: tuple[bytes, bytes], method: str = "POST") -> Message:
    return {"method": method, "path": "/models/finance/fuel-cost/predict", "headers": list(headers)}


def body_of(*messages: Message, limit: int = 10, headers: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    coming = iter(messages)

    async def receive() -> Message:
        return next(coming)

    return asyncio.run(read_body(scope(*headers), receive, limit))


def part(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


END = part(b"", more=False)
GONE = {"type": "http.disconnect"}


def test_a_body_in_one_piece_or_in_many() -> None:
    assert body_of(part(b"0123456789", more=False)) == b"0123456789"
    assert body_of(*(part(bytes([c])) for c in b"0123456789"), END) == b"0123456789"
    assert body_of({"type": "http.request"}) == b""


def test_a_body_over_the_limit_is_not_read_further() -> None:
    with pytest.raises(TooLargeError):
        body_of(part(b"x" * 11, more=False))
    with pytest.raises(TooLargeError):
        body_of(part(b"x" * 6), part(b"x" * 6))  # a third call would end the iterator


@pytest.mark.parametrize("length", [b"11", b"9" * 30, b"9" * 5000])
def test_a_length_over_the_limit_is_refused_before_anything_is_read(length: bytes) -> None:
    with pytest.raises(TooLargeError):
        body_of(headers=((b"content-length", length),))


@pytest.mark.parametrize("length", [b"-1", b"x", b"1.5", b""])
def test_what_the_server_would_not_let_through_counts_for_nothing(length: bytes) -> None:
    assert body_of(part(b"abc", more=False), headers=((b"content-length", length),)) == b"abc"


def test_compressed_bodies_are_not_unpacked() -> None:
    """HARDENING 12."""
    with pytest.raises(UnsupportedError):
        body_of(headers=((b"content-encoding", b"gzip"),))
    assert body_of(END, headers=((b"content-encoding", b"identity"),)) == b""


def test_a_client_that_hangs_up() -> None:
    for messages in ([GONE], [part(b"x"), GONE]):
        with pytest.raises(HungUpError):
            body_of(*messages)


def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """HARDENING 30."""
    monkeypatch.setattr(door, "_BODY_SECONDS", 0.01)

    async def test() -> None:
        with pytest.raises(MalformedError, match="did not come within"):
            await read_body(scope(), asyncio.Event().wait, 10)  # type: ignore[arg-type]

    asyncio.run(test())


def test_a_body_that_trickles_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """HARDENING 30: one byte now and then must not keep a request open; all of it has a minute."""
    monkeypatch.setattr(door, "_BODY_SECONDS", 0.05)

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return part(b"x")

    async def test() -> None:
        with pytest.raises(MalformedError, match="did not come within"):
            await read_body(scope(), receive, 1_000_000)

    asyncio.run(test())


def test_a_doubled_header_is_taken_for_none() -> None:
    twice = scope((b"accept", b"text/csv"), (b"accept", b"*/*"), (b"one", b"1"))
    assert (header(twice, b"accept"), header(twice, b"one"), header(twice, b"none")) == (b"", b"1", b"")


def exchanged(
    answer: Awaitable[Reply], method: str = "POST", **more: Any
) -> tuple[int, dict[str, str], bytes]:
    went: list[Message] = []

    async def send(message: Message) -> None:
        went.append(message)

    async def test() -> None:
        await exchange(scope(method=method), send, "id-1", answer, **more)  # type: ignore[arg-type]

    asyncio.run(test())
    start, body = went
    headers = {k.decode(): v.decode() for k, v in start["headers"]}
    return start["status"], headers, body["body"]


async def gives(reply: Reply) -> Reply:
    return reply


async def fails(error: BaseException) -> Reply:
    raise error


def test_an_answer() -> None:
    reply = Reply(b"hello", b"text/plain", 201, ((b"x-more", b"1"),))
    status, headers, body = exchanged(gives(reply))
    assert (status, body) == (201, b"hello")
    assert headers == {
        "content-type": "text/plain",
        "content-length": "5",
        "x-request-id": "id-1",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "x-more": "1",
    }


def test_head_has_no_body_but_its_length() -> None:
    _, headers, body = exchanged(gives(Reply(b"hello")), "HEAD")
    assert (headers["content-length"], body) == ("5", b"")


@pytest.mark.parametrize(
    ("error", "status", "name", "value"),
    [
        (InvalidError("No.", "Do.", column="x", row=3), 422, "content-type", "application/problem+json"),
        (BusyError("Wait.", retry_after=2.4), 503, "retry-after", "2"),
        (UnauthenticatedError("Who?"), 401, "www-authenticate", "Bearer"),
        (MethodError("Not so.", allow="POST"), 405, "allow", "POST"),
    ],
)
def test_an_error_is_a_problem(error: YardError, status: int, name: str, value: str) -> None:
    found, headers, body = exchanged(fails(error))
    problem = msgspec.json.decode(body)
    assert (found, headers[name]) == (status, value)
    assert (problem["status"], problem["detail"], problem["hint"]) == (status, error.message, error.hint)
    assert error.fields.items() <= problem.items()
    assert headers["content-length"] == str(len(body))


def test_an_unexpected_error_tells_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    status, _, body = exchanged(fails(ValueError("secret")))
    assert (status, b"secret" in body, b"id-1" in body) == (500, False, True)
    assert "secret" in caplog.text


def test_inference_clients_find_the_error_under_their_key() -> None:
    _, _, body = exchanged(fails(InvalidError("No.", "Do.")), error_key=True)
    assert msgspec.json.decode(body)["error"] == "No. Do."


def test_nobody_is_answered_who_is_gone() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        exchanged(fails(HungUpError()))  # nothing was sent
