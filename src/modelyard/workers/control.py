"""What fronts and the engine say to each other over `run/engine.sock`.

Messages are msgpack, each with its length before it (4 bytes, little-endian). A front asks with a `call`
number and gets one `Reply` with the same; the engine also tells fronts things unasked.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec
from msgspec import Struct, field

from modelyard.records.errors import MalformedError
from modelyard.records.rollouts import Evidence

LENGTH = struct.Struct("<I")
MAX_MESSAGE = 64 * 1024 * 1024


class Message(Struct, frozen=True, tag=True):
    """Anything that crosses."""


class Hello(Message, frozen=True):
    """A front's first words."""

    front: str
    pid: int


class Ensure(Message, frozen=True):
    """Have workers for this version; the reply's `sockets` are theirs."""

    call: int
    version_id: str


class Refresh(Message, frozen=True):
    """The database has changed: build the routes anew; replied when every front has swapped."""

    call: int


class Check(Message, frozen=True):
    """A version waits for its check."""

    call: int


class Report(Message, frozen=True):
    """What every worker does, for the status page."""

    call: int


class Stuck(Message, frozen=True):
    """A worker does not answer within the time a request has; end it and start another."""

    version_id: str
    socket: str
    why: str


class Used(Message, frozen=True):
    """What a front counted.

    Attributes:
        counters: since it started.
        versions: those asked for since its last such message.
        waits: by version, the seconds that a newcomer would wait in its queue now.
    """

    counters: dict[str, float]
    versions: tuple[str, ...] = ()
    waits: dict[str, float] = field(default_factory=dict)


class Tried(Message, frozen=True):
    """What a front has counted of rollouts, by their id, since its last such message."""

    evidence: dict[int, Evidence]


class Swapped(Message, frozen=True):
    """A front answers by this generation now."""

    generation: int


class WorkerInfo(Struct, frozen=True):
    """One worker, as the status shows it.

    Attributes:
        state: starting or ready; a starting one has no pid and socket yet.
        memory: bytes resident.
        since: seconds since 1970.
        restarts: how often it was replaced because it died.
        node: the machine it runs on, where that is not the yard's own.
    """

    version_id: str
    replica: int
    language: str
    pid: int
    socket: str
    state: str
    since: float
    memory: int = 0
    restarts: int = 0
    node: str = ""


class Reply(Message, frozen=True):
    """The answer to a call: `error` is its code and message where it failed."""

    call: int
    sockets: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    workers: tuple[WorkerInfo, ...] = ()
    counters: dict[str, float] = field(default_factory=dict)
    error: str = ""
    hint: str = ""
    log: str = ""


class Routes(Message, frozen=True):
    """The routes file has this generation now; load it and answer `Swapped`."""

    generation: int


class Workers(Message, frozen=True):
    """These are the sockets of a version's workers now; none: it has been let go."""

    version_id: str
    sockets: tuple[str, ...]
    takes: tuple[str, ...] = ()


AnyMessage = (
    Hello | Ensure | Refresh | Check | Report | Stuck | Used | Tried | Swapped | Reply | Routes | Workers
)
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(AnyMessage)


def pack(message: Message) -> bytes:
    """A message with its length before it."""
    data = _ENCODER.encode(message)
    return LENGTH.pack(len(data)) + data


def unpack(buffer: bytearray) -> list[Message]:
    """Take whole messages off the beginning of `buffer`.

    Raises:
        MalformedError: it is not one of ours.
    """
    messages: list[Message] = []
    while len(buffer) >= LENGTH.size:
        (size,) = LENGTH.unpack_from(buffer)
        if size > MAX_MESSAGE:
            raise MalformedError(f"A control message says it has {size} bytes.")
        if len(buffer) < LENGTH.size + size:
            break
        data = bytes(memoryview(buffer)[LENGTH.size : LENGTH.size + size])
        del buffer[: LENGTH.size + size]
        try:
            messages.append(_DECODER.decode(data))
        except msgspec.MsgspecError as error:
            raise MalformedError(f"A control message cannot be read: {error}.") from error
    return messages
