"""ID tokens that a provider did not make for this sign-in let nobody in (HARDENING 35)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, cast

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from modelyard.catalog.signing import Identity
from modelyard.records.errors import UnauthenticatedError, UnavailableError
from modelyard.records.people import Role
from modelyard.web.oidc import Company
from modelyard.web.provider import Asked, GroupRole, Provider

ASKED = Asked("state", "nonce-of-this-sign-in", "verifier", "/")
KEY, ANOTHER = (ECKey.generate_key("P-256", {"kid": "1", "alg": "ES256"}) for _ in range(2))
Forge = Callable[[dict[str, Any]], str]


class Issuer(BaseHTTPRequestHandler):
    """A provider that gives out the token it is told to."""

    token: ClassVar[str] = ""

    def do_GET(self) -> None:
        own = f"http://127.0.0.1:{cast('ThreadingHTTPServer', self.server).server_port}"
        told = {"issuer": own} | {
            name: f"{own}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        }
        self._answer({"keys": [KEY.as_dict(private=False)]} if self.path == "/jwks_uri" else told)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer({"id_token": self.token, "access_token": "x"})

    def _answer(self, told: object) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Issuer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def come_back(issuer: str, forge: Forge) -> Identity:
    """What the yard makes of the token that is forged of good claims."""
    now = int(time.time())
    times = {"iat": now, "exp": now + 300}
    who = {"sub": "7", "preferred_username": "eve", "groups": ["analysts"]}
    Issuer.token = forge({"iss": issuer, "aud": "yard", "nonce": ASKED.nonce, **times, **who})
    roles = (GroupRole("analysts", Role.BUILDER, "finance"),)
    company = Company(Provider(issuer, "yard", "its-secret", roles=roles))
    return asyncio.run(company.finish("code", "http://yard/sign-in/company/back", ASKED))


def signed(claims: dict[str, Any], key: ECKey = KEY) -> str:
    return jwt.encode({"alg": "ES256", "kid": "1"}, claims, key)


def part(told: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()


def without_signature(claims: dict[str, Any]) -> str:
    return f"{part({'alg': 'none'})}.{part(claims)}."


def by_the_public_key(claims: dict[str, Any]) -> str:
    """As if the key that everybody knows were a secret."""
    body = f"{part({'alg': 'HS256', 'kid': '1'})}.{part(claims)}"
    made = hmac.digest(KEY.as_pem(private=False), body.encode(), hashlib.sha256)
    return f"{body}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"


def altered(claims: dict[str, Any]) -> str:
    head, _, signature = signed(claims).split(".")
    return f"{head}.{part(claims | {'groups': ['ml-admins']})}.{signature}"


def without(name: str) -> Forge:
    return lambda claims: signed({key: value for key, value in claims.items() if key != name})


def with_(**changes: object) -> Forge:
    return lambda claims: signed(claims | changes)


def test_a_good_token_is_taken(issuer: str) -> None:
    found = come_back(issuer, signed)
    assert (found.subject, found.name, found.roles) == ("7", "eve", (("finance", Role.BUILDER),))


@pytest.mark.parametrize(
    "name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"]
)
def test_a_provider_elsewhere_does_not_send_the_yard_into_its_own_machine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = "https://login.example.com"
    told = {"issuer": issuer, "authorization_endpoint": issuer, "token_endpoint": issuer, "jwks_uri": issuer}

    async def answer(*_: object, **__: object) -> dict[str, str]:
        return told | {name: "http://127.0.0.1:8080/api"}

    company = Company(Provider(issuer, "yard"))
    monkeypatch.setattr(company, "_ask", answer)
    with pytest.raises(UnavailableError, match="without TLS"):
        asyncio.run(company.begin("http://yard/sign-in/company/back", "/"))


@pytest.mark.parametrize(
    "forge",
    [
        with_(exp=int(time.time()) - 3_600),
        with_(aud="another"),
        with_(iss="https://login.example.com"),
        with_(nonce="of another sign-in"),
        with_(aud=["yard", "another"], azp="another"),
        *map(without, ("iss", "aud", "sub", "exp", "iat", "nonce")),
        without_signature,
        by_the_public_key,
        altered,
        lambda claims: signed(claims, ANOTHER),
        lambda _: "no token",
        lambda _: "",
    ],
)
def test_35_an_id_token_that_is_not_for_this_sign_in_lets_nobody_in(issuer: str, forge: Forge) -> None:
    with pytest.raises(UnauthenticatedError, match="did not let you in"):
        come_back(issuer, forge)
