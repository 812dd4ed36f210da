"""From where a request comes, behind the operator's own proxies and without them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelyard.api.requests import caller_address
from modelyard.app.front import server_config
from modelyard.settings import Settings

PROXIES = "10.1.0.0/16, 10.2.0.1"


def address(proxies: str, client: str, *said: str) -> str:
    """The address that the app is told, behind all that the server puts before it."""
    found: list[str] = []

    async def app(scope: Any, _receive: object, _send: object) -> None:
        found.append(caller_address(scope))

    config = server_config(Settings(data=Path("yard"), proxies=proxies), app, asyncio.Protocol)
    config.load()
    headers = [(b"x-forwarded-for", text.encode()) for text in said]
    scope: Any = {"type": "http", "scheme": "http", "headers": headers, "client": (client, 1)}
    asyncio.run(config.loaded_app(scope, None, None))
    return found[0]


@pytest.mark.parametrize(
    ("client", "said", "found"),
    [
        ("10.0.0.9", (), "10.0.0.9"),
        ("10.0.0.9", ("1.2.3.4",), "10.0.0.9"),  # not a proxy of ours: it may say what it likes
        ("10.1.0.7", ("1.2.3.4",), "1.2.3.4"),
        ("10.1.0.7", ("6.6.6.6, 1.2.3.4",), "1.2.3.4"),  # what the caller put in front is not believed
        ("10.1.0.7", ("6.6.6.6", "1.2.3.4"), "1.2.3.4"),
        ("10.1.0.7", ("6.6.6.6, 1.2.3.4, 10.2.0.1",), "1.2.3.4"),
        ("10.1.0.7", ("not an address",), "not an address"),
        ("10.1.0.7", ("x" * 5_000,), "x" * 100),
        ("10.1.0.7", (), "10.1.0.7"),
    ],
)
def test_hardening_38_a_forged_forwarded_address_is_not_believed(
    client: str, said: tuple[str, ...], found: str
) -> None:
    assert address(PROXIES, client, *said) == found
    assert address("", client, *said) == client
