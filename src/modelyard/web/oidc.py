"""OpenID Connect: the authorization code flow with PKCE, state and nonce against one provider.

OpenID Connect Core 1.0 (3.1.2 and 3.1.3) and Discovery 1.0, RFC 7636 (PKCE), RFC 9700 (what to keep to).
"""

from __future__ import annotations

import secrets
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from msgspec import Struct

from modelyard.catalog.signing import Identity
from modelyard.records.errors import UnauthenticatedError, UnavailableError
from modelyard.web.provider import Asked, Provider, challenge, is_safe, roles_of

# None that a provider's public key could be taken for a secret of, and never `none`.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_SECONDS = 10.0
_KEPT = 3_600.0  # seconds that the provider's description and keys are believed
_LARGEST = 1024 * 1024  # bytes of an answer
_LEEWAY = 60  # seconds that two clocks may differ


class _Description(Struct, frozen=True):
    """What is used of the provider's description of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Company:
    """One provider, asked over HTTPS; its description and keys are kept for an hour.

    Args:
        provider: as `oidc.toml` says.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._description: _Description | None = None
        self._keys: KeySet | None = None
        self._until = 0.0

    async def begin(self, redirect: str, after: str) -> tuple[str, Asked]:
        """The provider's address to send a browser to, and what the browser keeps.

        Args:
            redirect: our address to come back to.
            after: where to go then.

        Raises:
            UnavailableError: the provider does not answer, or not as one.
        """
        description, _ = await self._known()
        asked = Asked(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(32), after)
        query = {
            "response_type": "code",
            "client_id": self.provider.client,
            "redirect_uri": redirect,
            "scope": " ".join(self.provider.scopes),
            "state": asked.state,
            "nonce": asked.nonce,
            "code_challenge": challenge(asked.verifier),
            "code_challenge_method": "S256",
        }
        mark = "&" if "?" in description.authorization_endpoint else "?"
        return f"{description.authorization_endpoint}{mark}{urlencode(query)}", asked

    async def finish(self, code: str, redirect: str, asked: Asked) -> Identity:
        """Who it is that comes back with a code.

        Raises:
            UnauthenticatedError: the code or what it gives is not good.
            UnavailableError: the provider does not answer.
        """
        description, keys = await self._known()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": asked.verifier,
            "client_id": self.provider.client,
        }
        tokens = await self._ask("POST", description.token_endpoint, form=form, methods=description)
        claims = await self._checked(str(tokens.get("id_token", "")), keys, asked.nonce)
        if self.provider.groups not in claims and description.userinfo_endpoint:
            bearer = str(tokens.get("access_token", ""))
            told = await self._ask("GET", description.userinfo_endpoint, bearer=bearer)
            if told.get("sub") == claims["sub"]:  # OpenID Connect Core 5.3.2
                claims = told | claims
        return self._identity(claims)

    async def _checked(self, token: str, keys: KeySet, nonce: str) -> dict[str, Any]:
        """The claims of an ID token that this provider has made for us, now, for this sign-in."""
        try:
            try:
                found = jwt.decode(token, keys, algorithms=_ALGORITHMS)
            except (JoseError, ValueError):
                self._until = 0.0  # its keys may have changed
                _, keys = await self._known()
                found = jwt.decode(token, keys, algorithms=_ALGORITHMS)
            registry = jwt.JWTClaimsRegistry(
                leeway=_LEEWAY,
                iss={"essential": True, "value": self.provider.issuer},
                aud={"essential": True, "value": self.provider.client},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            )
            registry.validate(found.claims)
        except (JoseError, ValueError) as error:
            raise _not_good(f"its ID token is not valid ({type(error).__name__})") from error
        claims: dict[str, Any] = found.claims
        if claims.get("azp", self.provider.client) != self.provider.client:
            raise _not_good("its ID token was made for another")
        return claims

    def _identity(self, claims: dict[str, Any]) -> Identity:
        groups = claims.get(self.provider.groups, [])
        groups = groups if isinstance(groups, list) else [groups]
        name = claims.get(self.provider.person) or claims.get("email") or claims["sub"]
        roles = roles_of(self.provider, [group for group in groups if isinstance(group, str)])
        return Identity(self.provider.issuer, str(claims["sub"]), str(name), roles)

    async def _known(self) -> tuple[_Description, KeySet]:
        if self._description is None or self._keys is None or time.monotonic() > self._until:
            issuer = self.provider.issuer
            told = await self._ask("GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
            try:
                found = msgspec.convert(told, type=_Description, strict=False)
            except msgspec.ValidationError as error:
                raise _away(f"its description is not as it must be ({error})") from error
            if found.issuer != issuer:
                raise _away(f"it calls itself {found.issuer!r}, not {issuer!r}")
            used = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)
            # This very machine is only where the operator has said that the provider is there.
            schemes = {"https", urlsplit(issuer).scheme}
            for address in (*used, found.userinfo_endpoint or issuer):
                if not is_safe(address) or urlsplit(address).scheme not in schemes:
                    raise _away("it names addresses without TLS")
            try:
                self._keys = KeySet.import_key_set(await self._ask("GET", found.jwks_uri))  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError) as error:
                raise _away("its keys cannot be read") from error
            self._description, self._until = found, time.monotonic() + _KEPT
        return self._description, self._keys

    async def _ask(
        self,
        method: str,
        address: str,
        *,
        form: dict[str, str] | None = None,
        methods: _Description | None = None,
        bearer: str = "",
    ) -> dict[str, Any]:
        """A JSON object from the provider: no redirect is followed, no large or late answer read."""
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        login: httpx.BasicAuth | None = None
        if form is not None and methods is not None and self.provider.secret:
            if "client_secret_basic" in methods.token_endpoint_auth_methods_supported:
                login = httpx.BasicAuth(self.provider.client, self.provider.secret)
            else:
                form = form | {"client_secret": self.provider.secret}
        try:
            async with (
                httpx.AsyncClient(timeout=_SECONDS, trust_env=False, follow_redirects=False) as client,
                client.stream(method, address, data=form, headers=headers, auth=login) as answer,
            ):
                body = await _read(answer)
        except httpx.HTTPError as error:
            raise _away(f"it does not answer ({type(error).__name__})") from error
        if form is not None and answer.status_code in (400, 401):
            raise _not_good("it does not take the code")
        try:
            told = msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise _away(f"it answers {answer.status_code} without JSON") from error
        if answer.status_code != httpx.codes.OK or not isinstance(told, dict):
            raise _away(f"it answers {answer.status_code}")
        return told


async def _read(answer: httpx.Response) -> bytes:
    body, until = bytearray(), time.monotonic() + _SECONDS
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > _LARGEST or time.monotonic() > until:
            raise _away("its answer is too large or too slow")
    return bytes(body)


def _away(why: str) -> UnavailableError:
    hint = "Try again, or sign in with a password or a token; the operator finds the provider in oidc.toml."
    return UnavailableError(f"The identity provider cannot be used: {why}.", hint, retry_after=5)


def _not_good(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"The identity provider did not let you in: {why}.", "Try to sign in again.")
