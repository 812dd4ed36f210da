"""The door alone: which addresses come in, and what every answer carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.door import METHODS, Door, check_address, check_site
from modelyard.records.errors import (
    ForbiddenError,
    MalformedError,
    NotFoundError,
    TooLargeError,
    YardError,
)
from modelyard.settings import Settings


def scope(path: str, raw: bytes | None = None, method: str = "GET") -> dict[str, Any]:
    raw = path.encode() if raw is None else raw
    return {"type": "http", "method": method, "path": path, "raw_path": raw, "headers": []}


def enter(asked: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the application behind the door was asked, and what went out."""
    seen: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        seen.append(dict(scope))
        headers = [(b"Cache-Control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"content"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def go() -> None:
        await Door(app)(asked, receive, send)

    anyio.run(go)
    return seen, sent


@pytest.mark.parametrize("path", ["/", "/health/live", "/api/v1/models/finance/fuel-cost", "/v2", "/a..b/.c"])
def test_plain_addresses_come_in(path: str) -> None:
    check_address(scope(path))
    assert enter(scope(path))[1][0]["status"] == 200


@given(
    st.text(max_size=30),
    st.sampled_from(["//", "/./", "/../", "\\", "\0", "\n", "\x7f"]),
    st.text(max_size=30),
)
def test_no_odd_address_comes_in_whatever_stands_around_it(before: str, odd: str, after: str) -> None:
    with pytest.raises(NotFoundError):
        check_address(scope("/" + before + odd + after, b"/x"))


@pytest.mark.parametrize("raw", [b"/a%2fb", b"/a%2Fb", b"/a%5cb", b"/%2f"])
def test_a_hidden_slash_does_not_come_in(raw: bytes) -> None:
    with pytest.raises(NotFoundError):
        check_address(scope("/a/b", raw))


def test_a_long_address_does_not_come_in() -> None:
    with pytest.raises(TooLargeError):
        check_address(scope("/" + "a" * 5_000))


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", max_size=8))
def test_methods_that_are_not_ours_do_not_come_in(method: str) -> None:
    if method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        check_address(scope("/", method=method))
    else:
        with pytest.raises(YardError):
            check_address(scope("/", method=method))


def test_a_refusal_does_not_reach_the_application() -> None:
    seen, sent = enter(scope("/../x"))
    assert seen == []
    assert sent[0]["status"] == 404


def test_head_is_get_without_the_body() -> None:
    seen, sent = enter(scope("/x", method="HEAD"))
    assert (seen[0]["method"], seen[0]["state"]["head"]) == ("GET", True)
    assert sent[1]["body"] == b""


def test_a_handlers_own_header_stays_and_the_others_are_added() -> None:
    headers = enter(scope("/x"))[1][0]["headers"]
    assert [v for k, v in headers if k == b"cache-control"] == [b"max-age=60"]
    assert (b"x-content-type-options", b"nosniff") in headers
    assert len({k for k, _ in headers}) == len(headers)


def test_request_ids_differ_and_reach_the_application() -> None:
    first, second = (enter(scope("/x")) for _ in range(2))
    ids = [dict(sent[0]["headers"])[b"x-request-id"].decode() for _, sent in (first, second)]
    assert ids[0] != ids[1]
    assert ids == [seen[0]["state"]["request_id"] for seen, _ in (first, second)]


def test_websockets_are_closed() -> None:
    seen, sent = enter({"type": "websocket", "path": "/"})
    assert seen == []
    assert sent[0]["type"] == "websocket.close"


def test_the_lifespan_passes() -> None:
    seen, _ = enter({"type": "lifespan"})
    assert seen == [{"type": "lifespan"}]


OURS = frozenset({"localhost", "127.0.0.1", "[::1]", "yard.example.com"})


def asked_of(host: str, **headers: str) -> dict[str, Any]:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return scope("/api/v1/models") | {"headers": [(b"host", host.encode()), *given]}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "wrong",
    [
        asked_of("evil.example"),
        asked_of("127.0.0.1.evil.example:8080"),
        asked_of("localhost@evil.example"),
        asked_of(""),
        asked_of("yard.example.com", origin="https://evil.example"),
        asked_of("yard.example.com", origin="null"),
        asked_of("yard.example.com", origin="file://"),
        asked_of("yard.example.com", origin="https://yard.example.com.evil.example"),
        asked_of("localhost:8080", origin="http://localhost:9090"),
        asked_of("yard.example.com", origin="https://evil.example", sec_fetch_site="cross-site"),
    ],
)
def test_52_a_foreign_host_or_origin_gets_nothing_by_any_method(method: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ForbiddenError):
        check_site(wrong | {"method": method}, OURS)


@pytest.mark.parametrize(
    "right",
    [
        asked_of("localhost:8080"),
        asked_of("LocalHost:8080"),
        asked_of("127.0.0.1"),
        asked_of("[::1]:8080"),
        asked_of("yard.example.com", origin="https://yard.example.com"),
        asked_of("127.0.0.1:8080", origin="https://yard.example.com"),  # a proxy that puts its own host in
        asked_of("localhost:8080", origin="http://localhost:8080"),
        asked_of("10.0.0.7:8080", origin="https://elsewhere", sec_fetch_site="same-origin")
        | {"path": "/health/live"},
    ],
)
def test_our_own_hosts_and_pages_come_in(right: dict[str, Any]) -> None:
    check_site(right, OURS)


def test_a_yard_on_the_network_answers_to_any_name_but_not_to_foreign_pages() -> None:
    check_site(asked_of("any.example"), frozenset())
    with pytest.raises(ForbiddenError):
        check_site(asked_of("any.example", origin="https://evil.example"), frozenset())


def test_52_two_hosts_are_none() -> None:
    twice = asked_of("localhost")
    twice["headers"].append((b"host", b"evil.example"))
    with pytest.raises(MalformedError):
        check_site(twice, OURS)


@pytest.mark.parametrize(
    ("host", "hosts", "names"),
    [
        ("127.0.0.1", "", {"localhost", "127.0.0.1", "[::1]"}),
        ("::1", "", {"localhost", "127.0.0.1", "[::1]"}),
        ("10.1.2.3", "", set()),
        ("10.1.2.3", "Yard.Example.com, b ", {"localhost", "127.0.0.1", "[::1]", "yard.example.com", "b"}),
    ],
)
def test_the_names_a_yard_answers_to(host: str, hosts: str, names: set[str]) -> None:
    assert Settings(data=Path("x"), host=host, hosts=hosts).names == names
