"""Parquet is read in a process of its own, for a damaged file can end the process that reads it.

Polars asks for as much memory as a page says that it has values; where that cannot be had, Rust aborts, and
no `except` sees it. `python -m modelyard.serving.parquet` is that process: requests on standard input,
replies on standard output, each a length and a msgpack; it ends with its input.
"""

from __future__ import annotations

import asyncio
import os
import resource
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import polars as pl
from msgspec import Struct

import modelyard
from modelyard.records import errors
from modelyard.records.errors import InvalidError, MalformedError, UnavailableError, YardError
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.tables import from_table, read_parquet, readable
from modelyard.workers import sandbox
from modelyard.workers.wire import ColumnData

MEMORY = 4 << 30  # bytes of address space the reader may have
SECONDS = 60.0
_THREADS = 64
_LENGTH = struct.Struct("<Q")
_HOUSE = str(Path(modelyard.__file__).parents[1])
_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
    "PYTHONPATH": _HOUSE,
    "POLARS_MAX_THREADS": "1",
    "RUST_BACKTRACE": "0",
}
_KINDS = {kind.code: kind for kind in (errors.InvalidError, errors.MalformedError, errors.TooLargeError)}


class _Request(Struct):
    columns: tuple[Column, ...]
    max_rows: int
    body: bytes


class _Reply(Struct):
    count: int = 0
    columns: Sequence[tuple[str, ColumnType, bytes, bytes | None]] = ()
    keys: list[str | None] | None = None
    code: str = ""
    message: str = ""
    hint: str = ""
    fields: dict[str, Any] = {}


async def read_parts(plan: InputPlan, file: int, rows: int) -> AsyncGenerator[Inputs]:
    """The rows of a Parquet file of any size, at most so many at once, by a process of their own.

    Args:
        file: a descriptor of it.

    Raises:
        YardError: as `ParquetReader.read`.
    """
    request = msgspec.msgpack.encode(_Request(plan.columns, rows, b""))
    process = await _started(*_command("--parts", str(file)), pass_fds=(file,))
    assert process.stdin is not None  # noqa: S101 - they are pipes
    assert process.stdout is not None  # noqa: S101
    done = 0
    try:
        process.stdin.write(request)
        process.stdin.close()
        while True:
            try:
                async with asyncio.timeout(SECONDS):
                    head = await process.stdout.readexactly(_LENGTH.size)
                    reply = await process.stdout.readexactly(*_LENGTH.unpack(head))
            except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
                if isinstance(error, asyncio.IncompleteReadError) and await process.wait() == 0:
                    return
                message = f"The Parquet file cannot be read behind row {done}: its reader did not survive it."
                raise MalformedError(message, "Write the file anew.") from error
            inputs = _inputs(msgspec.msgpack.decode(reply, type=_Reply))
            done += inputs.count
            yield inputs
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _started(*command: str, pass_fds: tuple[int, ...] = ()) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=_ENVIRONMENT, pass_fds=pass_fds
        )
    except OSError as error:
        raise UnavailableError(f"Parquet cannot be read now: {error}.", "Send CSV or JSON.") from error


class ParquetReader:
    """Starts the process at the first file, hands it one file at a time, and replaces it if it dies."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def read(self, plan: InputPlan, body: bytes) -> Inputs:
        """The rows of a Parquet file, checked as `serving.tables` checks them.

        Raises:
            YardError: see `read_parquet` and `from_table`; MalformedError where the file ended its reader.
            UnavailableError: no reader can be started.
        """
        request = msgspec.msgpack.encode(_Request(plan.columns, plan.max_rows, body))
        async with self._turn:
            reply = await self._ask(request)
        return _inputs(msgspec.msgpack.decode(reply, type=_Reply))

    async def _ask(self, request: bytes) -> bytes:
        process = await self._running()
        assert process.stdin is not None  # noqa: S101 - they are pipes
        assert process.stdout is not None  # noqa: S101
        answered = False
        try:
            async with asyncio.timeout(self._seconds):
                process.stdin.write(_LENGTH.pack(len(request)) + request)
                await process.stdin.drain()
                (size,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
                reply = await process.stdout.readexactly(size)
                answered = True
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            message = "The body is not a Parquet file that can be read: its reader did not survive it."
            raise MalformedError(message, "Write the file anew, or send fewer rows.") from error
        finally:
            if not answered:  # also where the caller was cancelled: the next reply would be this one's
                await self.close()
        return reply

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await _started(*_command())
        return self._process

    async def close(self) -> None:
        """End the process; the next file starts another."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


def _command(*more: str) -> list[str]:
    """How the process is started. It runs nobody's code: where no walls can be had, limits are enough."""
    command = [sys.executable, "-P", "-s", "-m", "modelyard.serving.parquet", *more]
    if sandbox.missing():
        return command
    read_only = (*sandbox.needs(sys.executable), _HOUSE)
    walls = sandbox.Walls(
        read_only=read_only,
        environment=_ENVIRONMENT,
        memory=MEMORY,
        processes=_THREADS,
        dies_with_parent=True,
    )
    return sandbox.contained(command, walls)


def _inputs(reply: _Reply) -> Inputs:
    if reply.code:
        raise _KINDS.get(reply.code, InvalidError)(reply.message, reply.hint, **reply.fields)
    columns = tuple(ColumnData(*column) for column in reply.columns)
    return Inputs(reply.count, columns=columns, keys=reply.keys)


def answer(request: _Request) -> _Reply:
    """What the process answers to one file."""
    return _answer(request, lambda: read_parquet(request.body, request.max_rows))


def _answer(request: _Request, table: Callable[[], pl.DataFrame]) -> _Reply:
    plan = InputPlan(Signature(request.columns), request.max_rows)
    try:
        inputs = from_table(plan, table())
    except YardError as error:
        return _Reply(code=error.code, message=error.message, hint=error.hint, fields=error.fields)
    columns = [
        (c.name, c.type, bytes(c.data), None if c.validity is None else bytes(c.validity))
        for c in inputs.columns or ()
    ]
    return _Reply(inputs.count, columns, None if inputs.keys is None else list(inputs.keys))


def serve(questions: BinaryIO, replies: BinaryIO) -> None:
    """Answer until the questions end."""
    decoder = msgspec.msgpack.Decoder(_Request)
    while len(head := questions.read(_LENGTH.size)) == _LENGTH.size:
        reply = msgspec.msgpack.encode(answer(decoder.decode(questions.read(*_LENGTH.unpack(head)))))
        replies.write(_LENGTH.pack(len(reply)) + reply)
        replies.flush()


def serve_parts(file: BinaryIO, question: bytes, replies: BinaryIO) -> None:
    """Answer one large file in parts, until one cannot be read."""
    request = msgspec.msgpack.decode(question, type=_Request)
    for reply in answer_parts(request, file):
        encoded = msgspec.msgpack.encode(reply)
        replies.write(_LENGTH.pack(len(encoded)) + encoded)
        replies.flush()
        if reply.code:
            return


def answer_parts(request: _Request, file: BinaryIO) -> Iterator[_Reply]:
    """What the process answers to a large file: a reply a part; a file without rows has one."""
    try:
        with readable("a Parquet file", "Write it anew."):
            whole = pl.scan_parquet(file)
            count = whole.select(pl.len()).collect().item()
    except YardError as error:
        yield _Reply(code=error.code, message=error.message, hint=error.hint, fields=error.fields)
        return
    for at in range(0, max(count, 1), request.max_rows):

        def part(at: int = at) -> pl.DataFrame:
            with readable("a Parquet file", "Write it anew."):
                return whole.slice(at, request.max_rows).collect()

        yield _answer(request, part)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if "--parts" in sys.argv:
        with os.fdopen(int(sys.argv[-1]), "rb") as opened:
            serve_parts(opened, sys.stdin.buffer.read(), sys.stdout.buffer)
    else:
        serve(sys.stdin.buffer, sys.stdout.buffer)
