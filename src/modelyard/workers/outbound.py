"""Where a connection outwards may go: decided on the address that is connected to, at the time it is.

A name is resolved once, each of its addresses is looked at, and the one that passes is what is connected to:
a name that resolves differently the second time is not asked a second time. Spellings of an address (127.1,
decimal, octal, `::ffff:`) are read by the system's resolver, so that what is looked at is what is meant.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from modelyard.records.errors import InvalidError, UnavailableError
from modelyard.records.references import shown

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_LOW_32 = (1 << 32) - 1
_LONGEST = 253  # characters of a host's name


def networks(text: str) -> tuple[Network, ...]:
    """The networks in a setting: addresses and prefixes, with commas between them.

    Raises:
        InvalidError: one is none.

    >>> networks("10.0.0.0/8, 192.168.1.7")
    (IPv4Network('10.0.0.0/8'), IPv4Network('192.168.1.7/32'))
    """
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        hint = "Write networks as 10.0.0.0/8, with commas between them."
        raise InvalidError(f"YARD_OUTBOUND cannot be used: {error}.", hint) from error


def check(host: str, port: int, allowed: Sequence[Network] = ()) -> str:
    """The address to connect to for a host: the first that is public, or in a network the operator allows.

    Args:
        host: a name or an address, however it is spelled.
        port: 1 to 65535.
        allowed: networks beside the public ones.

    Raises:
        InvalidError: all of them are inward; the same words whether anything is there or not.
        UnavailableError: the name does not resolve.
    """
    for address in _resolved(host, port):
        if is_allowed(address, allowed):
            return str(address)
    raise InvalidError(
        f"{shown(host)} is no address that the yard connects to: it is within the machine or its network.",
        "The operator can allow a network: YARD_OUTBOUND=10.1.2.0/24.",
        field="address",
    )


def is_allowed(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether an address may be connected to.

    >>> is_allowed(ipaddress.ip_address("93.184.215.14"))
    True
    >>> is_allowed(ipaddress.ip_address("::ffff:127.0.0.1"))
    False
    """
    inner = _inner(address)
    if is_named(str(address), allowed):
        return True
    return inner.is_global and not inner.is_multicast


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, or itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or address in _NAT64_LOCAL or int(address) <= _LOW_32:
        return ipaddress.IPv4Address(int(address) & _LOW_32)
    return address


def _resolved(host: str, port: int) -> list[Address]:
    if not host or len(host) > _LONGEST or host.startswith("/") or not host.isprintable():
        hint = "Write a host's name or address; a path to a socket is none."
        raise InvalidError(f"{shown(host)} is no host.", hint, field="address")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnavailableError(f"The host {shown(host)} is not known.", "Correct its name.") from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def is_named(address: str, allowed: Sequence[Network]) -> bool:
    """Whether an address is in a network that the operator has named."""
    inner = _inner(ipaddress.ip_address(address))
    return any(inner.version == network.version and inner in network for network in allowed)
