"""A steady load of one-row requests, with every answer kept: what was answered, what failed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

import httpx

from tests.journeys.running import PATIENCE


class Load:
    """Sends rows from several connections until stopped; use as a context manager.

    Each row carries a number as the key `n`, so that an answer can be looked up in what was recorded.

    Args:
        lanes: connections.
        retry: whether a request whose connection broke is sent again (as a caller that may repeat does).
    """

    def __init__(self, url: str, token: str, model: str, *, lanes: int = 4, retry: bool = False) -> None:
        self._url = f"{url}/models/{model}/predict"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._lanes = lanes
        self._retry = retry
        self._stop = False
        self.answered: dict[int, dict[str, Any]] = {}
        self.failed: list[str] = []
        self.broken = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(PATIENCE)

    async def _run(self) -> None:
        async with httpx.AsyncClient(headers=self._headers, timeout=PATIENCE) as client:
            await asyncio.gather(*(self._lane(client, lane) for lane in range(self._lanes)))

    async def _lane(self, client: httpx.AsyncClient, lane: int) -> None:
        number = lane
        while not self._stop:
            try:
                answer = await client.post(self._url, json=[{"x": number, "n": number}])
            except httpx.TransportError as error:
                self.broken += 1
                if not self._retry:
                    number += self._lanes
                elif self.broken > 10_000:
                    self.failed.append(repr(error))
                    return
                continue
            if answer.status_code == 200:
                self.answered[number] = answer.json()
            else:
                self.failed.append(f"{answer.status_code} {answer.text[:300]}")
            number += self._lanes
