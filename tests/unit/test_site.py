"""The way to a yard: whether it is safe, and from where somebody comes."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from modelyard.web.site import Site


def scope(host: str = "127.0.0.1:8080", scheme: str = "http", client: str = "10.0.0.9", *said: str) -> Any:
    headers = [(b"host", host.encode()), *((b"x-forwarded-for", s.encode()) for s in said)]
    return {"scheme": scheme, "headers": headers, "client": (client, 1)}


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


PROXIES = (ip_network("10.1.0.0/16"), ip_network("10.2.0.1/32"))


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
    assert Site(proxies=PROXIES).client(scope("yard", "http", client, *said)) == found
    assert Site().client(scope("yard", "http", client, *said)) == client
