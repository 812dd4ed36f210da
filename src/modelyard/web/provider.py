"""`oidc.toml`: how people sign in with the company's accounts; the pure parts of OpenID Connect."""

from __future__ import annotations

import base64
import hashlib
import tomllib
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from modelyard.catalog.people import check_place
from modelyard.catalog.signing import Identity
from modelyard.records.errors import InvalidError
from modelyard.records.people import Held, Role
from modelyard.records.references import check_name


class GroupRole(Struct, frozen=True, forbid_unknown_fields=True):
    """What a group at the provider gives here: a role in a department, or (None) in the whole yard."""

    group: str
    role: Role
    department: str | None = None


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """`oidc.toml`: how people sign in with the company's accounts.

    Attributes:
        issuer: the provider's address; `/.well-known/openid-configuration` is asked for under it.
        client, secret: what the provider calls this yard, and how it knows it; a public client has no secret.
        name: what people call these accounts.
        groups: the claim that holds a person's groups, `person` the one that holds their name here.
        roles: what groups give. Who is in none of them does not come in.
    """

    issuer: str
    client: str
    secret: str = ""
    name: str = "your company's account"
    groups: str = "groups"
    person: str = "preferred_username"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    roles: tuple[GroupRole, ...] = field(default=())


class Asked(Struct, frozen=True):
    """What a browser keeps of a sign-in that it has begun, until it comes back from the provider."""

    state: str
    nonce: str
    verifier: str
    after: str


class Accounts(Protocol):
    """The company's accounts, as the pages use them; `web.oidc` has them from a provider."""

    provider: Provider

    async def begin(self, redirect: str, after: str) -> tuple[str, Asked]:
        """The provider's address to send a browser to, and what the browser keeps."""

    async def finish(self, code: str, redirect: str, asked: Asked) -> Identity:
        """Who it is that comes back with a code."""


def read_provider(path: Path) -> Provider:
    """`oidc.toml` as a record.

    Raises:
        InvalidError: it cannot be read, or says what cannot be; the message names it.
    """
    hint = "See docs/administrator.md for its form."
    try:
        found = msgspec.convert(tomllib.loads(path.read_text("utf-8")), type=Provider)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidError(f"{path} cannot be used: {error}.", hint) from error
    for given in found.roles:
        check_place(given.role, given.department)
        if given.department is not None:
            check_name(given.department, "department")
    if not is_safe(found.issuer):
        raise InvalidError(f"The issuer {found.issuer!r} in {path} is not an https:// address.", hint)
    return found


def is_safe(address: str) -> bool:
    """Whether what goes to an address cannot be read on the way: TLS, or this very machine."""
    parts = urlsplit(address)
    if parts.scheme == "https":
        return bool(parts.hostname)
    if parts.scheme != "http" or not parts.hostname:
        return False
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


def roles_of(provider: Provider, groups: Iterable[str]) -> tuple[tuple[str | None, Role], ...]:
    """What somebody in these groups may be here; of several roles in one place the highest."""
    own, held = frozenset(groups), Held()
    for given in provider.roles:
        if given.group in own:
            held = held.plus(given.department, given.role)
    whole = () if held.yard is None else ((None, held.yard),)
    return (*whole, *sorted(held.departments.items()))


def challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636, its appendix B has this example).

    >>> challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    """
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
