"""Sessions: a cookie that no script can read holds a session's secret; only pages take it, the API does not.

A form sent after the session ended is not lost: the sign-in page keeps what was typed and sends it on.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any, cast
from urllib.parse import urlsplit

from litestar import Response
from litestar.datastructures import Cookie
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from modelyard.api.auth import identify
from modelyard.api.services import Services
from modelyard.catalog.signing import LIFE, SESSION, SignedIn
from modelyard.records.errors import ForbiddenError, UnauthenticatedError
from modelyard.web.look import page
from modelyard.web.requests import FORM, PageRequest
from modelyard.web.site import Site

SESSION_COOKIE, BROWSER_COOKIE = "yard_session", "yard_browser"
SIGN_IN = "/sign-in"
# For who is not known yet: a form sent there is not kept for later.
_OPEN = (SIGN_IN, "/sign-out", "/invitation", "/reset")
_SAFE = ("GET", "HEAD")
_KNOWN_DAYS = 180  # a browser is known after a sign-in


class Session:
    """ASGI middleware around the pages: the cookie becomes the token that the guard asks for.

    What changes something must come from our own pages: browsers say so by `Sec-Fetch-Site`, older ones by
    `Origin`. Where neither is there nothing is changed on a cookie's word.
    """

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sign a request, or refuse it, or keep its form."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = [(k, v) for k, v in scope["headers"] if k != b"authorization"]
        secret = cookie_of(scope, SESSION_COOKIE, self._site)
        if secret.startswith(SESSION):
            headers.append((b"authorization", b"Bearer " + secret.encode()))
        changes = scope["method"] not in _SAFE
        if changes and not is_own(scope):
            raise ForbiddenError(
                "This form was sent from another site, so nothing was changed.",
                "Open the page here and send it again.",
            )
        scope["headers"] = headers
        scope["state"]["company"] = self._site.company
        if changes and scope["path"] not in _OPEN and not _known(scope, secret):
            await _keep_form(scope, receive, send)
            return
        await self._app(scope, receive, send)


def cookie_of(scope: MutableMapping[str, Any] | Scope, name: str, site: Site) -> str:
    """A cookie of ours, or nothing."""
    wanted = _name(name, secure=site.is_secure(scope))
    for key, value in scope["headers"]:
        if key == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(wanted)
            except CookieError:
                continue
            if found is not None and found.value.isascii() and found.value.isprintable():
                return str(found.value)
    return ""


def is_own(scope: MutableMapping[str, Any] | Scope) -> bool:
    """Whether a request comes from a page of this very address."""
    headers = dict(scope["headers"])
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return bool(site == b"same-origin")
    origin = urlsplit(headers.get(b"origin", b"").decode("latin-1"))
    host = headers.get(b"host", b"").decode("latin-1")
    return bool(host) and origin.scheme in ("http", "https") and origin.netloc == host


def begin(response: Response[bytes], request: PageRequest, site: Site, came: SignedIn) -> Response[bytes]:
    """The answer with the cookies of a session just begun."""
    response.cookies.append(cookie(request, site, SESSION_COOKIE, came.secret, int(LIFE.total_seconds())))
    if came.browser:
        seconds = _KNOWN_DAYS * 86_400
        response.cookies.append(cookie(request, site, BROWSER_COOKIE, came.browser, seconds))
    return response


def cookie(request: PageRequest, site: Site, name: str, value: str, seconds: int) -> Cookie:
    """A cookie that no script reads and no other site sends; over TLS where the yard is reached by it."""
    secure = site.is_secure(request.scope)
    return Cookie(
        _name(name, secure=secure),
        value=value,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="lax",  # so that an address a colleague has sent opens
        secure=secure,
    )


def safe_next(address: str) -> str:
    """Where to go after the sign-in: an address of ours, or the first page.

    >>> safe_next("/models/a/b?x=1"), safe_next("//evil.example"), safe_next("https://evil.example")
    ('/models/a/b?x=1', '/', '/')
    """
    parts = urlsplit(address)
    ours = address.startswith("/") and not parts.netloc and not parts.scheme and "\\" not in address
    return address if ours and address.isprintable() and not address.startswith("//") else "/"


def _name(name: str, *, secure: bool) -> str:
    # With this beginning a browser takes it over TLS alone, and from this very host.
    return f"__Host-{name}" if secure else name


def _known(scope: Scope, secret: str) -> bool:
    services = cast("Services", scope["litestar_app"].state.services)
    try:
        identify(f"Bearer {secret}", services.table())
    except UnauthenticatedError:
        return False
    return secret.startswith(SESSION)


async def _keep_form(scope: Scope, receive: Receive, send: Send) -> None:
    """The session has ended: a sign-in page that has what was typed."""
    request: PageRequest = PageRequest(scope, receive, send)
    if request.is_part:
        answer = page(request, "parts/signed_out.html", status=401)
    elif request.headers.get("content-type", "").startswith(FORM):
        kept = await request.all_fields()
        secret = [name for name, _ in kept if "password" in name]  # these are typed again
        kept = [pair for pair in kept if pair[0] not in secret]
        answer = sign_in_form(request, status=401, after=request.address, kept=kept)
    else:
        answer = sign_in_form(request, status=401)
    response = answer.to_asgi_response(app=None, request=request)
    await response(scope, receive, send)


def sign_in_form(
    request: PageRequest,
    *,
    status: int = 200,
    after: str = "/",
    kept: Sequence[tuple[str, str]] = (),
    **told: Any,  # noqa: ANN401 - as `page` has it
) -> Response[bytes]:
    """The sign-in page.

    Args:
        after: where to go then.
        kept: fields of a form that waits for it.
        told: `error` with its `hint`, `good` news, the `name` that was typed, whether it was `by_token`.
    """
    given: dict[str, Any] = {"error": "", "hint": "", "good": "", "name": "", "by_token": False} | told
    given["company"] = request.scope["state"].get("company", "")
    return page(request, "sign_in.html", status=status, next=after, kept=list(kept), **given)
