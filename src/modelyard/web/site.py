"""Under which address people reach this yard, whether that line is safe, and from where they come."""

from __future__ import annotations

import ipaddress
from collections.abc import MutableMapping
from typing import Any

from litestar.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Site:
    """What an operator says of the way to this yard.

    Args:
        address: as in a browser, `https://yard.example.com`; empty: whatever the browser says.
        proxies: whose `X-Forwarded-For` is believed; of nobody else.
        company: with whose accounts people may sign in as well, in words; empty: nobody's.
    """

    def __init__(self, address: str = "", proxies: tuple[Network, ...] = (), company: str = "") -> None:
        self.address = address
        self.proxies = proxies
        self.company = company

    def url(self, scope: MutableMapping[str, Any] | Scope) -> str:
        """The address for a person to use, without a slash at its end."""
        if self.address:
            return self.address.rstrip("/")
        host = _header(scope, b"host") or "localhost"
        return f"{scope['scheme']}://{host}"

    def is_secure(self, scope: MutableMapping[str, Any] | Scope) -> bool:
        """Whether cookies go over TLS alone."""
        return self.url(scope).startswith("https://")

    def is_exposed(self, scope: MutableMapping[str, Any] | Scope) -> bool:
        """Whether others on a network could read what is typed, and nobody has said that they may."""
        if self.address or self.is_secure(scope):
            return False
        host = _header(scope, b"host").rpartition(":")[0] or _header(scope, b"host")
        if host in ("localhost", ""):
            return False
        try:
            return not ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return True

    def client(self, scope: MutableMapping[str, Any] | Scope) -> str:
        """The address that a request comes from: the connection's, or what our own proxies say, read from
        the end, so that what a caller has put in front of it is not believed.
        """
        client = scope.get("client")
        last = str(client[0]) if client else ""
        forwarded = [
            part.strip()
            for name, value in scope["headers"]
            if name == b"x-forwarded-for"
            for part in value.decode("latin-1").split(",")
        ]
        while forwarded and self._is_proxy(last):
            last = forwarded.pop()
        return last[:100]

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.proxies)


def _header(scope: MutableMapping[str, Any] | Scope, name: bytes) -> str:
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else ""
