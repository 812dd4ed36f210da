"""Signing in: a cookie that no script can read holds what was pasted; only pages take it, the API does not.

A form sent after the session ended is not lost: the sign-in page keeps what was typed and sends it on.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, cast
from urllib.parse import urlsplit

from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from modelyard.api.auth import identify
from modelyard.api.services import Services
from modelyard.records.errors import ForbiddenError, UnauthenticatedError
from modelyard.records.people import Need
from modelyard.records.rollouts import RouteTable
from modelyard.web.look import go, page
from modelyard.web.requests import FORM, PageRequest

COOKIE = "yard_session"
SIGN_IN = "/sign-in"
HOURS = 12
_SAFE = ("GET", "HEAD")
_KEPT = "kept."  # before the names of fields that wait for the sign-in
_HTTP, _HTTPS = 80, 443


class Session:
    """ASGI middleware around the pages: the cookie becomes the token that the guard asks for.

    What changes something must come from our own pages: browsers say so by `Sec-Fetch-Site`, older ones by
    `Origin`. Where neither is there nothing is changed on a cookie's word.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sign a request, or refuse it, or keep its form."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = [(k, v) for k, v in scope["headers"] if k != b"authorization"]
        secret = cookie_of(scope["headers"])
        if secret:
            headers.append((b"authorization", b"Bearer " + secret))
        changes = scope["method"] not in _SAFE
        if changes and not is_own(scope):
            raise ForbiddenError(
                "This form was sent from another site, so nothing was changed.",
                "Open the page here and send it again.",
            )
        scope["headers"] = headers
        if changes and not scope["path"].startswith(SIGN_IN) and not _known(scope, secret):
            await _keep_form(scope, receive, send)
            return
        await self._app(scope, receive, send)


def cookie_of(headers: Any) -> bytes:  # noqa: ANN401 - as ASGI has them
    """The session's secret, or nothing."""
    for name, value in headers:
        if name == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                continue
            if found is not None and found.value.isascii() and found.value.isprintable():
                return cast("bytes", found.value.encode())
    return b""


def is_own(scope: MutableMapping[str, Any] | Scope) -> bool:
    """Whether a request comes from a page of this very address."""
    headers = dict(scope["headers"])
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return bool(site == b"same-origin")
    origin = urlsplit(headers.get(b"origin", b"").decode("latin-1"))
    host = headers.get(b"host", b"").decode("latin-1")
    return bool(host) and origin.scheme in ("http", "https") and origin.netloc == host


def _known(scope: Scope, secret: bytes) -> bool:
    services = cast("Services", scope["litestar_app"].state.services)
    try:
        identify(f"Bearer {secret.decode()}", services.table())
    except UnauthenticatedError:
        return False
    return True


async def _keep_form(scope: Scope, receive: Receive, send: Send) -> None:
    """The session has ended: a sign-in page that has what was typed."""
    request: PageRequest = PageRequest(scope, receive, send)
    if request.is_part:
        answer = page(request, "parts/signed_out.html", status=401)
    elif request.headers.get("content-type", "").startswith(FORM):
        kept = await request.all_fields()
        answer = page(request, "sign_in.html", status=401, next=request.address, kept=kept, error="", hint="")
    else:
        answer = page(request, "sign_in.html", status=401, next="/", kept=[], error="", hint="")
    response = answer.to_asgi_response(app=None, request=request)
    await response(scope, receive, send)


def safe_next(address: str) -> str:
    """Where to go after the sign-in: an address of ours, or the first page.

    >>> safe_next("/models/a/b?x=1"), safe_next("//evil.example"), safe_next("https://evil.example")
    ('/models/a/b?x=1', '/', '/')
    """
    parts = urlsplit(address)
    ours = address.startswith("/") and not parts.netloc and not parts.scheme and "\\" not in address
    return address if ours and address.isprintable() and not address.startswith("//") else "/"


@get(SIGN_IN, opt={"need": Need.NOTHING})
async def sign_in_page(request: PageRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """The page for a person who is not known yet."""
    after = safe_next(request.query_params.get("next", "/"))
    if _is_signed_in(request, services.table()):
        return go(request, after)
    return page(request, "sign_in.html", next=after, kept=[], error="", hint="")


@post(SIGN_IN, opt={"need": Need.NOTHING, "takes": (FORM,)}, status_code=200)
async def sign_in(request: PageRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Check what was pasted; right: a cookie, and on to the page (or the form) that was asked for."""
    pairs = await request.all_fields()
    fields = dict(pairs)
    kept = [(name[len(_KEPT) :], value) for name, value in pairs if name.startswith(_KEPT)]
    after = safe_next(fields.get("next", "/"))
    secret = fields.get("token", "").strip()
    try:
        identify(f"Bearer {secret}" if secret.isascii() else None, services.table())
    except UnauthenticatedError:
        error = "This token is unknown, has expired or was revoked."
        hint = "Paste it whole; it begins with yard_. An owner of your department makes tokens."
        return page(request, "sign_in.html", status=401, next=after, kept=kept, error=error, hint=hint)
    answer = page(request, "send_on.html", next=after, kept=kept) if kept else go(request, after)
    answer.cookies.append(_cookie(request, secret, HOURS * 3_600))
    return answer


@post("/sign-out", opt={"need": Need.NOTHING, "takes": (FORM,)}, status_code=200)
async def sign_out(request: PageRequest) -> Response[bytes]:
    """Forget who this is."""
    answer = go(request, SIGN_IN)
    answer.cookies.append(_cookie(request, "", 0))
    return answer


def _is_signed_in(request: PageRequest, table: RouteTable) -> bool:
    try:
        identify(request.headers.get("authorization"), table)
    except UnauthenticatedError:
        return False
    return True


def _cookie(request: PageRequest, secret: str, seconds: int) -> Cookie:
    return Cookie(
        COOKIE,
        value=secret,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="lax",  # so that an address a colleague has sent opens
        secure=request.scope["scheme"] == "https",
    )


HANDLERS = (sign_in_page, sign_in, sign_out)
