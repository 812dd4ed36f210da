"""One HTTP exchange of the prediction doors: read a body within limits, answer, explain errors."""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import aclosing
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from modelyard.api.errors import PROBLEM_TYPE, MethodError, explain, tell_refused
from modelyard.records.errors import (
    MalformedError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
    YardError,
)

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"
CSV = b"text/csv"
PARQUET = b"application/vnd.apache.parquet"
JSON_KINDS = (b"", JSON, b"application/x-www-form-urlencoded")  # the last is what `curl -d` says by itself

_BODY_SECONDS = 60.0
_SLOWEST = 16 * 1024  # bytes a second; who sends less for a minute in all is not waited for
_LONGEST_NUMBER = 18  # digits of a length; Python refuses to read one of 5,000
_WAIT = re.compile(rb"""(?:^|[,;\s])wait\s*=\s*"?(\d{1,6}(?:\.\d{1,3})?)"?(?=\s*(?:[,;]|$))""", re.IGNORECASE)
_COMMON = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class Reply(Struct, frozen=True):
    """What goes back: status, content type, body and further headers.

    Attributes:
        more: what comes behind the body, as it is made.
        length: bytes of all of it; None where that is not known before.
    """

    body: bytes
    content_type: bytes = JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    more: AsyncGenerator[bytes] | None = None
    length: int | None = None


class CutError(Exception):
    """An answer cannot be made to its end, and its head has been sent."""


class HungUpError(Exception):
    """The client went away before its request was whole."""


def header(scope: Scope, name: bytes) -> bytes:
    """A header's value, empty where it is not there; a doubled one is taken for none."""
    return only(scope["headers"], name)


def only(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The value of the only header with this name, empty where there is none or there are more."""
    found = [value for key, value in headers if key == name]
    return found[0] if len(found) == 1 else b""


def kind_of(content_type: bytes) -> bytes:
    """A content type without its parameters.

    >>> kind_of(b"Text/CSV; charset=utf-8")
    b'text/csv'
    """
    return content_type.partition(b";")[0].strip().lower()


def wait_of(prefer: bytes) -> float | None:
    """The seconds a caller wants to wait at most, by `Prefer: wait=SECONDS` (RFC 7240); None: no wish.

    >>> wait_of(b"respond-async, wait=2.5"), wait_of(b"return=minimal")
    (2.5, None)
    """
    found = _WAIT.search(prefer)
    return float(found[1]) if found else None


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body.

    Raises:
        UnsupportedError: it is compressed: it could unfold to any size.
        TooLargeError: over `limit` bytes; what comes after is not read.
        MalformedError: it did not come within a minute, and what had come by then was slow.
        HungUpError: the client went away.
    """
    _refuse_compressed(scope)
    _refuse_long(scope, limit)
    patience = asyncio.get_running_loop().time() + _BODY_SECONDS
    message = await _receive(receive, patience)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return _within(body, limit)
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await _receive(receive, patience + size / _SLOWEST)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
    return b"".join(parts)


async def read_file(scope: Scope, receive: Receive, limit: int, scratch: Path) -> IO[bytes]:
    """The whole body in a file without a name, at its beginning.

    Raises:
        YardError, HungUpError: as `read_body` does.
        UnavailableError: the disk is full.
    """
    _refuse_compressed(scope)
    _refuse_long(scope, limit)
    patience = asyncio.get_running_loop().time() + _BODY_SECONDS
    file, size, more = tempfile.TemporaryFile(dir=scratch), 0, True  # noqa: SIM115  # for who asked
    try:
        while more:
            message = await _receive(receive, patience + size / _SLOWEST)
            piece, more = message.get("body", b""), bool(message.get("more_body"))
            file.write(_within(piece, limit, size))  # to the page cache: quicker than a thread would be
            size += len(piece)
        file.seek(0)
    except OSError as error:
        file.close()
        raise UnavailableError(
            f"The request cannot be kept: {error.strerror}.", "Ask the operator."
        ) from error
    except BaseException:
        file.close()
        raise
    return file


async def _receive(receive: Receive, until: float) -> MutableMapping[str, Any]:
    try:
        async with asyncio.timeout_at(until):
            message = await receive()
    except TimeoutError as error:
        words = f"The request's body did not come within {_BODY_SECONDS:g} s."
        hint = f"A large one may take longer if it comes at {_SLOWEST >> 10} KiB a second or more."
        raise MalformedError(words, hint) from error
    if message["type"] == "http.disconnect":
        raise HungUpError
    return message


def _refuse_compressed(scope: Scope) -> None:
    if header(scope, b"content-encoding") not in (b"", b"identity"):
        raise UnsupportedError("Compressed requests are not taken.", "Send the request as it is.")


def _refuse_long(scope: Scope, limit: int) -> None:
    length = header(scope, b"content-length")
    if length.isdigit() and (len(length) > _LONGEST_NUMBER or int(length) > limit):
        raise _too_large(limit)


def _within(body: bytes, limit: int, before: int = 0) -> bytes:
    if before + len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"The request is over the limit of {limit >> 20} MiB.",
        "Send it in parts; `yard predict REF FILE` does so by itself.",
    )


async def exchange(
    scope: Scope, send: Send, request_id: str, answer: Awaitable[Reply], *, error_key: bool = False
) -> None:
    """Send what `answer` gives, or the problem it raises.

    Args:
        error_key: name the problem under `error` as well, where inference clients look for it.
    """
    try:
        reply = await answer
    except HungUpError:
        return
    except Exception as error:  # noqa: BLE001  # whatever it is, it is explained and logged
        tell_refused(scope, error, request_id)
        reply = refusal(error, scope["method"], scope["path"], request_id, error_key=error_key)
    start = {"type": "http.response.start", "status": reply.status, "headers": headers_of(reply, request_id)}
    await send(start)
    body = b"" if scope["method"] == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body, "more_body": reply.more is not None})
    if reply.more is not None:
        await _send_more(send, reply.more)


async def _send_more(send: Send, more: AsyncGenerator[bytes]) -> None:
    """What comes behind the head. Where it fails the connection is cut, so that nobody takes a part for all.

    Raises:
        CutError: it failed; it is logged why.
    """
    try:
        async with aclosing(more):
            async for piece in more:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    except HungUpError:
        return
    except YardError as error:
        log.warning("an answer that was being sent is cut: %s", error)
        raise CutError from None
    await send({"type": "http.response.body", "body": b""})


def refusal(error: Exception, method: str, path: str, request_id: str, *, error_key: bool = False) -> Reply:
    """The answer that tells of an error, which is logged."""
    found = explain(error, method=method, path=path, request_id=request_id)
    more = tuple((k.lower().encode(), v.encode()) for k, v in found.headers.items())
    if isinstance(error, MethodError) and "allow" in error.fields:
        more += ((b"allow", str(error.fields["allow"]).encode()),)
    body = _with_error_key(found.body) if error_key else found.body
    return Reply(body, PROBLEM_TYPE.encode(), found.status, more)


def headers_of(reply: Reply, request_id: str) -> list[tuple[bytes, bytes]]:
    """All headers of an answer."""
    return [
        (b"content-type", reply.content_type),
        *_length_of(reply),
        (b"x-request-id", request_id.encode()),
        *_COMMON,
        *reply.headers,
    ]


def _length_of(reply: Reply) -> list[tuple[bytes, bytes]]:
    known = len(reply.body) if reply.more is None else reply.length
    return [] if known is None else [(b"content-length", str(known).encode())]


def _with_error_key(problem: bytes) -> bytes:
    fields = msgspec.json.decode(problem)
    return msgspec.json.encode({"error": f"{fields['detail']} {fields['hint']}".strip(), **fields})
