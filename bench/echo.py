"""A bare ASGI program that sends a body back, on the uvicorn the yard uses: what HTTP alone costs here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import httpx

from bench.machine import ROOT
from bench.peers.install import end, free_port, wait_until

Message = MutableMapping[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer one request with its own body."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(processes: int) -> Iterator[str]:
    """The echo in so many processes; its address."""
    port = free_port()
    options = ["--port", str(port), "--workers", str(processes), "--no-access-log", "--log-level", "error"]
    command = [sys.executable, "-m", "uvicorn", "bench.echo:app", "--lifespan", "off", *options]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_until(lambda: httpx.get(url).status_code == httpx.codes.OK, "the echo")
        yield url
    finally:
        end(process)
