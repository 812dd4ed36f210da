"""Before and around every handler: what an address may look like, request ids, headers that protect."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from modelyard.api.errors import NOWHERE, MethodError, explain
from modelyard.logs import REQUEST
from modelyard.records.errors import (
    ForbiddenError,
    MalformedError,
    NotFoundError,
    TooLargeError,
    YardError,
)
from modelyard.records.references import shown

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
_MAX_PATH = 2_000  # characters; the longest address of ours has under 300
# Steps that a proxy, a file system or a second decoding could read differently from us.
_ODD = re.compile(r"//|\\|[\x00-\x1f\x7f]|/\.{1,2}(?=/|$)|.+/$", re.DOTALL)
_HIDDEN_SLASH = re.compile(rb"%2f|%5c", re.IGNORECASE)
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}


class Door:
    """ASGI middleware around the API; fit for the other parts of a front, too.

    - An address with `//`, `.`, `..`, a hidden slash or a control character is 404 before any routing.
    - A request for a name that is not ours, or from a page of another site, is refused, whatever its method:
      a browser that was made to believe that this address is another's (DNS rebinding) gets nothing.
    - Only GET, HEAD, POST, PUT and DELETE come in. HEAD is GET without the body, so it has GET's policy.
    - Each answer has `X-Request-Id`, made here and never taken from outside, and the headers above
      unless the handler has set its own.

    Args:
        names: the hosts it answers to, without ports, in lower case; empty: to any.
    """

    def __init__(self, app: App, names: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = secrets.token_hex(8)
        REQUEST.set(request_id)
        head = scope["method"] == "HEAD"

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_headers(message.get("headers", ()), request_id)
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            check_address(scope)
            check_site(scope, self._names)
        except YardError as error:
            await _refuse(scope, guarded_send, error, request_id)
            return
        state = {**scope.get("state", {}), "request_id": request_id, "head": head}
        method = "GET" if head else scope["method"]
        await self._app({**scope, "method": method, "state": state}, receive, guarded_send)


def check_address(scope: Scope) -> None:
    """Nothing if the method and the path may come in.

    Raises:
        MethodError, NotFoundError, TooLargeError: they may not.
    """
    if scope["method"] not in METHODS:
        raise MethodError("This method is not used here.", f"Use {', '.join(METHODS)}.")
    path, raw = scope["path"], scope.get("raw_path") or b""
    if len(path) > _MAX_PATH:
        raise TooLargeError(f"The address is over {_MAX_PATH} characters.", "Names have up to 63.")
    if _ODD.search(path) or _HIDDEN_SLASH.search(raw):
        raise NotFoundError(NOWHERE)


def check_site(scope: Scope, names: frozenset[str]) -> None:
    """Nothing if a request is meant for us, and does not come from a page of another site.

    Raises:
        MalformedError: it names two hosts.
        ForbiddenError: another host than ours, or a foreign page.
    """
    hosts, origins, sites = (
        [value.decode("latin-1").strip().lower() for name, value in scope["headers"] if name == wanted]
        for wanted in (b"host", b"origin", b"sec-fetch-site")
    )
    if len(hosts) > 1 or len(origins) > 1:
        raise MalformedError("The request has two Host or Origin headers.", "Send one.")
    host = hosts[0] if hosts else ""
    if names and without_port(host) not in names and not scope["path"].startswith("/health/"):
        raise ForbiddenError(
            f"This yard does not answer under the name {shown(host)}.",
            "Ask under a name of its own; an operator adds names with YARD_HOSTS=yard.example.com.",
        )
    ours = {"same-origin", "none"}
    if origins and not (sites and sites[0] in ours) and _host_of(origins[0]) not in ({host} | names):
        raise ForbiddenError(
            f"The request was sent by a page of {shown(origins[0])}, and pages of other sites have no leave.",
            "Ask from the yard's own pages, or from a program.",
        )


def without_port(host: str) -> str:
    """The name in a Host header.

    >>> without_port("yard.example:8080"), without_port("[::1]:8080"), without_port("[::1]")
    ('yard.example', '[::1]', '[::1]')
    """
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and not name.endswith(":") else host


def _host_of(origin: str) -> str:
    scheme, mark, host = origin.partition("://")
    return host if mark and scheme in ("http", "https") else "null"


async def _refuse(scope: Scope, send: Send, error: YardError, request_id: str) -> None:
    answer = explain(error, method=scope["method"], path=scope["path"], request_id=request_id)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    if isinstance(error, MethodError):
        headers.append((b"allow", ", ".join(METHODS).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _with_headers(given: Any, request_id: str) -> list[tuple[bytes, bytes]]:  # noqa: ANN401 - as ASGI has it
    headers = [(name.lower(), value) for name, value in given]
    there = {name for name, _ in headers}
    headers += [(name, value) for name, value in _HEADERS.items() if name not in there]
    return [*headers, (b"x-request-id", request_id.encode())]
