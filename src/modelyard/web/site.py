"""Under which address people reach this yard, and whether that line is safe."""

from __future__ import annotations

import ipaddress
from collections.abc import MutableMapping
from typing import Any

from litestar.types import Scope


class Site:
    """What an operator says of the way to this yard.

    Args:
        address: as in a browser, `https://yard.example.com`; empty: whatever the browser says.
        company: with whose accounts people may sign in as well, in words; empty: nobody's.
    """

    def __init__(self, address: str = "", company: str = "") -> None:
        self.address = address
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


def _header(scope: MutableMapping[str, Any] | Scope, name: bytes) -> str:
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else ""
