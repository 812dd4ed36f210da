"""Predictions for a CSV or Parquet body of any size: kept on disk, answered part by part, in bounded memory.

The body is read whole before the first row is answered: a client that sends all before it reads would
otherwise wait for us while we wait for it. A CSV answer is sent as it comes; a Parquet answer is put together
on disk first, for its directory stands at its end.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import aclosing
from pathlib import Path
from typing import IO, Any, TypeVar

import polars as pl
from msgspec import Struct

from modelyard.api.exchange import (
    CSV,
    PARQUET,
    HungUpError,
    Receive,
    Reply,
    Scope,
    header,
    read_file,
)
from modelyard.records.errors import BusyError, YardError
from modelyard.records.people import Grant
from modelyard.records.rollouts import ServedVersion
from modelyard.serving import answers, tables
from modelyard.serving.answers import Answer
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.parquet import read_parts
from modelyard.serving.pieces import csv_tables
from modelyard.serving.predict import Predictor
from modelyard.serving.tap import Asked

T = TypeVar("T")

_PATIENCE = 120.0  # seconds a part waits for a model that is busy
_SENT = 1024 * 1024  # bytes of a file that are sent at once


class FileLimits(Struct, frozen=True):
    """Which bodies go by this way.

    Attributes:
        scratch: the folder their files are in; they have no names there.
        least: bytes from which on a body does; shorter ones are answered in memory.
        most: bytes of a body.
        rows: of a part.
    """

    scratch: Path
    least: int
    most: int
    rows: int = 50_000


class Asking(Struct, frozen=True):
    """Who asks what.

    Attributes:
        pinned: of the version that answered the first part, its route: the others are answered by it, too.
    """

    grant: Grant
    served: ServedVersion
    route: str
    wait: float | None
    pinned: Callable[[int], ServedVersion]


def has_tables(kinds: tuple[bytes, bytes]) -> bool:
    """Whether a table comes in and a table is wanted."""
    kind, accept = kinds
    return kind in (CSV, PARQUET) and (CSV in accept or PARQUET in accept)


class Files:
    """Answers such requests."""

    def __init__(self, predictor: Predictor, limits: FileLimits) -> None:
        self._predictor = predictor
        self._limits = limits

    def takes(self, scope: Scope, kinds: tuple[bytes, bytes]) -> bool:
        """Whether a request goes by this way at once: tables in and out, long or of an unknown length."""
        length = header(scope, b"content-length")
        return has_tables(kinds) and not (length.isdigit() and int(length[:18]) <= self._limits.least)

    async def reply(
        self, scope: Scope, receive: Receive, asking: Asking, kinds: tuple[bytes, bytes], request_id: str
    ) -> Reply:
        """The answer to a request whose body has not been read yet.

        Raises:
            YardError, HungUpError: as `reply_to` does.
        """
        file = await read_file(scope, receive, self._limits.most, self._limits.scratch)
        return await self.reply_to(file, receive, asking, kinds, request_id)

    def kept(self, body: bytes) -> IO[bytes]:
        """A body that has been read, as a file."""
        file = tempfile.TemporaryFile(dir=self._limits.scratch)  # noqa: SIM115  # `reply_to` closes it
        file.write(body)
        file.seek(0)
        return file

    async def reply_to(
        self, file: IO[bytes], receive: Receive, asking: Asking, kinds: tuple[bytes, bytes], request_id: str
    ) -> Reply:
        """The answer; of a CSV the first part, and the others to come.

        Raises:
            YardError: as a smaller request would meet it; with a CSV answer in the first part alone.
            HungUpError: the client went away.
        """
        kind, accept = kinds
        gone = asyncio.ensure_future(receive())  # nothing comes any more but that the client has left
        answered = _ahead(self._answers(file, kind, asking, request_id, gone))
        try:
            first = await anext(answered)
            if CSV in accept:
                version = version_header(first)
                begin = await asyncio.to_thread(answers.to_csv, first)
                return Reply(begin, CSV, headers=version, more=_as_csv(answered))
            return await self._as_parquet(first, answered)
        except BaseException:
            await answered.aclose()
            raise

    async def _answers(
        self,
        file: IO[bytes],
        kind: bytes,
        asking: Asking,
        request_id: str,
        gone: asyncio.Future[MutableMapping[str, Any]],
    ) -> AsyncGenerator[Answer]:
        plan, rows = self._predictor.plan(asking.served), 0
        parts = _ahead(self._inputs(plan, kind, file))
        try:
            async with aclosing(parts):
                async for inputs in parts:
                    if gone.done():
                        raise HungUpError
                    answer = await self._answer(asking, inputs, request_id)
                    yield answer
                    rows += inputs.count
                    # One version answers all, whatever the routes become; each part has an id of its own.
                    request_id, served = self._predictor.new_request_id(), asking.pinned(answer.version)
                    asking = Asking(asking.grant, served, "version", asking.wait, asking.pinned)
        except YardError as error:
            if rows:  # what it says counts a part's rows
                error.message = f"In the part that begins at row {rows}: {error.message}"
            raise
        finally:
            gone.cancel()
            file.close()

    def _inputs(self, plan: InputPlan, kind: bytes, file: IO[bytes]) -> AsyncGenerator[Inputs]:
        rows = min(self._limits.rows, plan.max_rows)  # a part is a request like any other
        if kind == PARQUET:
            return read_parts(plan, file.fileno(), rows)
        return _from_csv(plan, file, rows)

    async def _answer(self, asking: Asking, inputs: Inputs, request_id: str) -> Answer:
        """One part's answer; a model that is busy is asked again."""
        until = time.monotonic() + _PATIENCE
        while True:
            began = time.monotonic()
            asked = Asked(
                request_id,
                asking.grant.principal,
                asking.route,
                inputs.count,
                began,
                inputs.keys,
                asking.wait,
            )
            try:
                self._predictor.admit(asking.grant, inputs.count)
                return await self._predictor.answer(asking.served, inputs, asked)
            except BusyError as error:
                if time.monotonic() + error.retry_after > until:
                    raise
                await asyncio.sleep(error.retry_after)

    async def _as_parquet(self, first: Answer, others: AsyncGenerator[Answer]) -> Reply:
        """All parts, each a file first: polars puts them together without having them all in memory."""
        with tempfile.TemporaryDirectory(dir=self._limits.scratch, prefix="answer-") as name:
            folder, number = Path(name), 0
            await asyncio.to_thread(_write, folder, number, first)
            async for answer in others:
                number += 1
                await asyncio.to_thread(_write, folder, number, answer)
            whole = folder / "whole"
            await asyncio.to_thread(_join, folder, number + 1, whole)
            file = whole.open("rb")  # it outlives its name
            size = whole.stat().st_size
        return Reply(b"", PARQUET, headers=version_header(first), more=_sent(file), length=size)


async def _ahead(found: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The same; while one is used the next is made, and no more: reading, predicting and writing overlap."""
    coming = asyncio.ensure_future(anext(found, None))
    try:
        while (one := await coming) is not None:
            coming = asyncio.ensure_future(anext(found, None))
            yield one
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await found.aclose()


def _write(folder: Path, number: int, answer: Answer) -> None:
    (folder / f"{number}.parquet").write_bytes(answers.to_parquet(answer))


def _join(folder: Path, count: int, whole: Path) -> None:
    pl.scan_parquet([folder / f"{number}.parquet" for number in range(count)]).sink_parquet(whole)


async def _sent(file: IO[bytes]) -> AsyncGenerator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, _SENT):
            yield piece


async def _as_csv(answered: AsyncGenerator[Answer]) -> AsyncGenerator[bytes]:
    async with aclosing(answered):
        async for answer in answered:
            yield await asyncio.to_thread(answers.to_csv, answer, has_header=False)


async def _from_csv(plan: InputPlan, file: IO[bytes], rows: int) -> AsyncGenerator[Inputs]:
    found = csv_tables(file, rows, numbers=plan.numbers)  # type: ignore[arg-type]
    while (table := await asyncio.to_thread(next, found, None)) is not None:
        yield await asyncio.to_thread(tables.from_table, plan, table)


def version_header(answer: Answer) -> tuple[tuple[bytes, bytes], ...]:
    """Which version answered, beside a table that has no room for it."""
    return ((b"x-yard-version", f"{answer.model}/{answer.version}".encode()),)
