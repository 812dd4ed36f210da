"""Where connections outwards may go: by the address, however it is spelled."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records.errors import InvalidError, UnavailableError
from modelyard.workers import outbound


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "::1", "::ffff:127.0.0.1"),
        *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "169.254.169.254", "fe80::1"),
        *("10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fc00::1", "224.0.0.1", "255.255.255.255"),
        *("0.0.0.0", "::", "localhost"),  # noqa: S104 - an address to refuse
    ],
)
def test_55_every_spelling_of_an_address_within_is_refused(host: str) -> None:
    with pytest.raises((InvalidError, UnavailableError)):
        outbound.check(host, 443)


@pytest.mark.parametrize("host", ["", "/var/run/postgresql", "a" * 300, "a\0b", "a\nb"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidError, match="is no host"):
        outbound.check(host, 443)


def test_public_addresses_and_those_the_operator_allows_pass() -> None:
    assert outbound.check("93.184.215.14", 443) == "93.184.215.14"
    assert outbound.check("127.1", 443, outbound.networks("127.0.0.0/8")) == "127.0.0.1"
    assert outbound.check("::ffff:10.0.0.7", 443, outbound.networks("10.0.0.7")) == "::ffff:a00:7"
    with pytest.raises(InvalidError):
        outbound.check("10.0.0.8", 443, outbound.networks("10.0.0.7"))


def test_57_what_is_connected_to_is_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])

    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (address, 443)) for address in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert outbound.check("rebinding.example", 443) == "93.184.215.14"
    with pytest.raises(InvalidError):
        outbound.check("rebinding.example", 443)


def test_a_setting_that_is_no_network_is_said() -> None:
    with pytest.raises(InvalidError, match="YARD_OUTBOUND"):
        outbound.networks("10.0.0.0/8, example.org")


@given(st.ip_addresses(v=4))
def test_an_ipv6_form_is_allowed_only_where_its_ipv4_address_is(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    forms = [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
    ]
    for form in forms:
        assert outbound.is_allowed(form) == outbound.is_allowed(address)
