"""A body for a thread: pulled piece by piece, bounded, and never waited for without end."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import pytest
from anyio import to_thread
from litestar.exceptions import InternalServerException

from modelyard.api import incoming
from modelyard.api.incoming import Incoming
from modelyard.records.errors import MalformedError, TooLargeError

MIB = 1024 * 1024


def pull(stream: AsyncGenerator[bytes, None], limit: int = 100 * MIB) -> list[bytes]:
    async def go() -> list[bytes]:
        return await to_thread.run_sync(lambda: list(Incoming(stream, limit)))

    return anyio.run(go)


async def of(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


def test_small_pieces_are_joined_and_nothing_is_lost() -> None:
    pieces = [bytes([i % 256]) * 50_000 for i in range(100)]
    found = pull(of(*pieces))
    assert b"".join(found) == b"".join(pieces)
    assert all(len(piece) >= MIB for piece in found[:-1])
    assert pull(of()) == []


def test_no_more_is_read_than_is_asked_for() -> None:
    given = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal given
        while True:
            given += 1
            yield bytes(MIB)

    async def go() -> None:
        def first_two() -> None:
            pieces = iter(Incoming(endless(), 100 * MIB))
            next(pieces)
            assert given == 1
            next(pieces)
            assert given == 2

        await to_thread.run_sync(first_two)

    anyio.run(go)


def test_the_limit_is_counted_not_believed() -> None:
    assert len(b"".join(pull(of(bytes(10)), limit=10))) == 10
    with pytest.raises(TooLargeError, match="limit of 10 bytes"):
        pull(of(bytes(10), bytes(1)), limit=10)


def test_a_connection_that_ends_is_said_so() -> None:
    async def cut() -> AsyncGenerator[bytes, None]:
        yield b"half"
        raise InternalServerException("client disconnected prematurely")

    with pytest.raises(MalformedError, match="connection ended"):
        pull(cut())


def test_30_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "_PATIENCE", 0.05)

    async def silent() -> AsyncGenerator[bytes, None]:
        yield b"half"
        await anyio.Event().wait()

    with pytest.raises(MalformedError, match="stopped arriving"):
        pull(silent())


def test_30_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "_ALLOWANCE", -1.0)
    monkeypatch.setattr(incoming, "_SLOWEST", 1e15)
    with pytest.raises(MalformedError, match="stopped arriving"):
        pull(of(b"x"))
