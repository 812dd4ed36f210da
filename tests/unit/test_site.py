"""The way to a yard: whether it is safe."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.web.site import Site


def scope(host: str, scheme: str) -> Any:
    return {"scheme": scheme, "headers": [(b"host", host.encode())]}


@pytest.mark.parametrize(
    ("address", "host", "scheme", "exposed", "secure"),
    [
        ("", "127.0.0.1:8080", "http", False, False),
        ("", "localhost:8080", "http", False, False),
        ("", "[::1]:8080", "http", False, False),
        ("", "yard.example.com", "http", True, False),
        ("", "10.0.0.5:8080", "http", True, False),
        ("", "127.0.0.1.evil.example", "http", True, False),
        ("", "yard.example.com", "https", False, True),
        ("https://yard.example.com", "yard.example.com", "http", False, True),
        ("http://yard.example.com", "yard.example.com", "http", False, False),
    ],
)
def test_what_is_typed_goes_over_no_open_line(
    address: str, host: str, scheme: str, exposed: bool, secure: bool
) -> None:
    site, asked = Site(address), scope(host, scheme)
    assert (site.is_exposed(asked), site.is_secure(asked)) == (exposed, secure)
