"""Hosts that jobs may reach: names and ports, however they are spelled."""

from __future__ import annotations

import ipaddress
import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records.errors import InvalidError
from modelyard.records.hosts import MOST_HOSTS, check_hosts


def test_hosts_are_kept_sorted_in_small_letters_and_once() -> None:
    assert check_hosts(["b.example:443", "A.example:8443", "B.example:443"]) == (
        "a.example:8443",
        "b.example:443",
    )
    assert check_hosts([]) == ()


@pytest.mark.parametrize(
    "text",
    [
        *("files.example.org", "files.example.org:", ":443", "", "https://files.example.org:443"),
        *("*.example.org:443", "*:443", "files.example.org:*", "files.example.org:https", "a b.example:443"),
        *(
            "files.example.org:0",
            "files.example.org:65536",
            "files.example.org:0443",
            "files.example.org:+443",
        ),
        *("127.0.0.1:443", "127.1:443", "0x7f.1:443", "2130706433:443", "[::1]:443", "::1:443", "1:443"),
        *("files.example.org.:443", "files..example.org:443", "-a.example:443", "a\n.example:443"),
        *(
            "files.example.org:443/x",
            "user@files.example.org:443",
            "f\u0131les.example.org:443",
            "a" * 64 + ":443",
        ),
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="names"):
        check_hosts([text])


def test_a_list_has_an_end() -> None:
    with pytest.raises(InvalidError, match="21 hosts"):
        check_hosts(f"h{n}.example:443" for n in range(MOST_HOSTS + 1))


@given(st.text(st.sampled_from(string.hexdigits + ".:xX[]-"), max_size=20))
def test_nothing_that_reads_as_an_address_is_a_host(text: str) -> None:
    with suppress(InvalidError):
        (host,) = check_hosts([f"{text}:443"])
        name = host.rpartition(":")[0]
        with pytest.raises(ValueError, match="does not appear"):
            ipaddress.ip_address(name)
        assert not name.rpartition(".")[2][0].isdigit(), "inet_aton reads such as numbers"
