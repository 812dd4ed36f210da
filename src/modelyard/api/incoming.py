"""Large bodies for code that runs in a thread: bounded in size, in time and in how many come in at once."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import anyio
from anyio import CapacityLimiter, from_thread
from litestar import Request
from litestar.exceptions import HTTPException

from modelyard.api.auth import reauthorise
from modelyard.records.errors import BusyError, MalformedError, TooLargeError

AT_ONCE = 8  # bodies that come in on one front at the same time
_PIECE = 1024 * 1024
_PATIENCE = 30.0  # seconds without a byte
_SLOWEST = 1024  # bytes a second, on average
_ALLOWANCE = 60.0  # seconds before the average counts


class Upload(NamedTuple):
    """What comes in, in messages: its name, as a file and as several, what to do where it is too large, and
    the setting that allows more (or nothing).
    """

    name: str
    file: str
    several: str
    smaller: str
    setting: str = ""


BUNDLE = Upload("bundle", "bundle's archive", "bundles", "Leave files out.", "YARD_MAX_BUNDLE")
TABLE = Upload("table", "table", "files", "Push it in parts.", "YARD_MAX_DATASET")
PROJECT = Upload("project", "project's archive", "archives", "Leave files out.")
ROWS = Upload("file", "file", "files", "Send fewer rows.")


def incoming(
    request: Request[Any, Any, Any], publishing: CapacityLimiter, limit: int, what: Upload
) -> Incoming:
    """A request's body, to be pulled by a thread of `publishing`; its sender must be allowed to the end.

    Raises:
        TooLargeError: it says that it is over the limit.
        BusyError: as many come in already as may.
    """
    if int(request.headers.get("content-length") or 0) > limit:
        raise TooLargeError(f"The {what.file} is over the limit of {limit} bytes.", what.smaller)
    if publishing.available_tokens < 1:
        message = f"Too many {what.several} are coming in at the moment."
        raise BusyError(message, "Try again soon.", retry_after=5)
    return Incoming(request.stream(), limit, partial(reauthorise, request), what)


class Incoming:
    """A request's body for code that runs in a thread: it is pulled piece by piece, so nothing piles up.

    Args:
        stream: the body.
        limit: bytes it may have.
        check: called with each piece and at the end; raises to refuse it.
        what: it is, for messages.
    """

    def __init__(
        self,
        stream: AsyncGenerator[bytes, None],
        limit: int,
        check: Callable[[], None] = lambda: None,
        what: Upload = BUNDLE,
    ) -> None:
        self._stream = stream
        self._limit = limit
        self._check = check
        self._what = what
        self._size = 0
        self._begun = time.monotonic()

    def __iter__(self) -> Iterator[bytes]:
        """The pieces; to be called in a thread of anyio's.

        Raises:
            MalformedError: the connection ended, or hardly anything arrives.
            TooLargeError: over the limit.
        """
        while piece := from_thread.run(self._next):
            yield piece

    async def _next(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            while size < _PIECE:
                with anyio.fail_after(_PATIENCE):
                    part = await anext(self._stream, b"")
                if not part:
                    break
                parts.append(part)
                size += len(part)
                self._count(len(part))
        except TimeoutError as error:
            raise _slow(self._what.name) from error
        except HTTPException as error:
            raise MalformedError(
                f"The connection ended before the {self._what.name} was whole.", "Send it again."
            ) from error
        self._check()
        return b"".join(parts)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            more = self._what.setting and f", or ask the operator for a higher {self._what.setting}"
            raise TooLargeError(
                f"The {self._what.name} is over the limit of {self._limit} bytes.",
                f"Leave out what is not needed{more}.",
            )
        elapsed = time.monotonic() - self._begun
        if elapsed > _ALLOWANCE and self._size < elapsed * _SLOWEST:
            raise _slow(self._what.name)


def _slow(what: str) -> MalformedError:
    return MalformedError(f"The {what} stopped arriving.", "Send it again, over a better connection.")
