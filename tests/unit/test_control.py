"""Control messages: what fronts and the engine say to each other."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records.errors import MalformedError
from modelyard.workers import control
from modelyard.workers.control import (
    LENGTH,
    MAX_MESSAGE,
    Ensure,
    Message,
    Reply,
    Routes,
    Stuck,
    Used,
    WorkerInfo,
    Workers,
    pack,
    unpack,
)

INFO = WorkerInfo("ops.delay.1", 0, "python", 12, "/run/1.sock", "ready", 1.5, 1 << 30, 2)
MESSAGES: list[Message] = [
    Ensure(1, "ops.delay.1"),
    Stuck("ops.delay.1", "/run/1.sock", "no answer in 30 s"),
    Used({"requests": 3.0}, ("ops.delay.1",)),
    Reply(7, ("/run/1.sock",), ("float64",), (INFO,), {"requests": 1.0}, "busy: full", "wait", "log"),
    Routes(4),
    Workers("ops.delay.1", ()),
]


def test_every_message_can_be_read_back() -> None:
    for kind in typing.get_args(control.AnyMessage):
        assert issubclass(kind, Message)
    buffer = bytearray(b"".join(map(pack, MESSAGES)))
    assert unpack(buffer) == MESSAGES
    assert not buffer


@given(st.lists(st.integers(1, 60)))
def test_messages_cut_anywhere_arrive_whole(cuts: list[int]) -> None:
    stream = b"".join(map(pack, MESSAGES))
    buffer, found, at = bytearray(), [], 0
    for size in [*cuts, len(stream)]:
        buffer += stream[at : at + size]
        at += size
        found += unpack(buffer)
    assert found == MESSAGES
    assert not buffer


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused_and_nothing_else(data: bytes) -> None:
    try:
        found = unpack(bytearray(LENGTH.pack(len(data)) + data))
    except MalformedError:
        return
    assert pack(found[0])


@pytest.mark.parametrize("data", [LENGTH.pack(MAX_MESSAGE + 1), LENGTH.pack(2) + b"\xc1\xc1", LENGTH.pack(0)])
def test_one_that_is_too_large_or_not_ours(data: bytes) -> None:
    with pytest.raises(MalformedError):
        unpack(bytearray(data))
