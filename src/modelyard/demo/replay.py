"""Replays flights as live traffic: one request a flight and model, as an application would send them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

import httpx
import msgspec
import polars as pl
from msgspec import Struct

from modelyard.demo.departments import Department
from modelyard.demo.scores import Answer

IN_FLIGHT = 4  # requests of one model that wait for an answer at once


class Request(Struct, frozen=True):
    """One request: its JSON body, and what really happened."""

    body: bytes
    actual: object


class Reply(Struct):
    """What is read of an answer to one row."""

    version: int
    predictions: list[object]
    request_id: str


def requests_for(department: Department, flights: pl.DataFrame) -> list[Request]:
    """One request a flight. Every second flight comes first, then the ones between.

    So both versions, before and after the switch half way, meet the same days, and their figures compare.
    """
    ordered = pl.concat([flights.gather_every(2), flights.gather_every(2, offset=1)])
    rows = ordered.select(department.columns).iter_rows(named=True)
    actuals = ordered[department.target].to_list()
    return [Request(msgspec.json.encode([row]), actual) for row, actual in zip(rows, actuals, strict=True)]


async def replay(
    client: httpx.AsyncClient,
    department: Department,
    requests: Sequence[Request],
    half_way: Callable[[], Awaitable[None]],
    answered: Callable[[Answer], None],
) -> list[Answer]:
    """Send all requests, a few at a time; the answers in order of time.

    Args:
        client: knows the yard's address and the token.
        half_way: called once when half of the requests have been answered, while the others go on.
        answered: called with each answer.
    """
    answers: list[Answer] = []
    queue = iter(requests)
    half_answered = asyncio.Event()

    async def send_on(queue: Iterator[Request]) -> None:
        for request in queue:
            answer = await ask(client, department, request)
            answers.append(answer)
            answered(answer)
            if len(answers) >= len(requests) // 2:
                half_answered.set()

    async def switch() -> None:
        await half_answered.wait()
        await half_way()

    await asyncio.gather(switch(), *(send_on(queue) for _ in range(IN_FLIGHT)))
    return answers


async def ask(client: httpx.AsyncClient, department: Department, request: Request) -> Answer:
    """Send one request and compare its prediction with what really happened."""
    began = time.perf_counter()
    try:
        response = await client.post(f"/models/{department.model}/predict", content=request.body)
        seconds = time.perf_counter() - began
        if response.status_code != httpx.codes.OK:
            return Answer(0, seconds, right=False, failure=f"{response.status_code}: {response.text[:200]}")
        reply = msgspec.json.decode(response.content, type=Reply)
    except (httpx.HTTPError, msgspec.MsgspecError) as error:
        return Answer(0, time.perf_counter() - began, right=False, failure=f"{type(error).__name__}: {error}")
    right = department.is_right(reply.predictions[0], request.actual)
    return Answer(reply.version, seconds, right, request_id=reply.request_id, actual=request.actual)
