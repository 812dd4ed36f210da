"""A tiny HTTP server that keeps what it was asked and answers as a test says: for the shape of requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What to answer; `body` is sent as JSON. Status 0 hangs up without a word."""

    body: Any
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class SmallYard:
    """What was asked, and what will be answered: the answers in turn, the last one for ever."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Answer] = []
        self.url = ""

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def small_yard() -> Iterator[SmallYard]:
    """A server on a free port of this machine, for as long as the block lasts."""
    yard = SmallYard()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            yard.asked.append(Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body))
            answer = yard.next_answer()
            if answer.status == 0:
                self.close_connection = True
                return
            data = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
            self.send_response(answer.status)
            for name, value in (*answer.headers, ("Content-Length", str(len(data)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  # names of http.server

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    yard.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield yard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
