"""Signing in and out by password or token, and setting a password by a link."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from litestar import Response, get, post
from litestar.di import NamedDependency

from modelyard.api.auth import identify
from modelyard.api.requests import caller_address
from modelyard.api.services import Services
from modelyard.catalog.signing import Came, SignedIn
from modelyard.records.errors import ForbiddenError, LimitedError, UnauthenticatedError, YardError
from modelyard.records.people import Need
from modelyard.web.behind import Behind
from modelyard.web.look import go, page
from modelyard.web.requests import FORM, PageRequest, chosen
from modelyard.web.session import (
    BROWSER_COOKIE,
    SESSION_COOKIE,
    SIGN_IN,
    begin,
    cookie,
    cookie_of,
    safe_next,
    sign_in_form,
)

_OPEN: dict[str, Any] = {"need": Need.NOTHING, "takes": (FORM,)}
_IN_AND_OUT = _OPEN | {"changes": False}  # of a session alone: who comes to a copy must see that it is one
_KEPT = "kept."  # before the names of fields that wait for the sign-in
_AT_ONCE = 2  # hashes, each of which takes a core for a tenth of a second, and 64 MiB
_hashing = ThreadPoolExecutor(_AT_ONCE, "hashing")

T = TypeVar("T")


async def hashing(work: Callable[[], T]) -> T:
    """Do something with a password beside the event loop, few at once: guessing must not fill a front."""
    context = contextvars.copy_context()  # the audit's origin is in it
    return await asyncio.get_running_loop().run_in_executor(_hashing, context.run, work)


@get(SIGN_IN, opt={"need": Need.NOTHING})
async def sign_in_page(
    request: PageRequest, services: NamedDependency[Services], behind: NamedDependency[Behind]
) -> Response[bytes]:
    """The page for a person who is not known yet."""
    after = safe_next(request.query_params.get("next", "/"))
    if _is_signed_in(request, services):
        return go(request, after)
    if behind.site.is_exposed(request.scope):
        return sign_in_form(request, after=after, error=_EXPOSED, hint=_EXPOSED_HINT)
    return sign_in_form(request, after=after)


@post(SIGN_IN, opt=_IN_AND_OUT, status_code=200)
async def sign_in(
    request: PageRequest, services: NamedDependency[Services], behind: NamedDependency[Behind]
) -> Response[bytes]:
    """Check what was typed; right: a cookie, and on to the page (or the form) that was asked for."""
    pairs = await request.all_fields()
    fields = dict(pairs)
    kept = [(name[len(_KEPT) :], value) for name, value in pairs if name.startswith(_KEPT)]
    after = safe_next(fields.get("next", "/"))
    try:
        came = await _come_in(request, services, behind, fields)
    except (UnauthenticatedError, LimitedError, ForbiddenError) as error:
        status = {LimitedError: 429, ForbiddenError: 403}.get(type(error), 401)
        told = {"error": error.message, "hint": error.hint, "name": chosen(fields, "name")} | {
            "by_token": "token" in fields
        }
        return sign_in_form(request, status=status, after=after, kept=kept, **told)
    await services.refresh()  # so that every front knows the session
    answer = page(request, "send_on.html", next=after, kept=kept) if kept else go(request, after)
    return begin(answer, request, behind.site, came)


async def _come_in(
    request: PageRequest, services: Services, behind: Behind, fields: dict[str, str]
) -> SignedIn:
    if behind.site.is_exposed(request.scope):
        raise ForbiddenError(_EXPOSED, _EXPOSED_HINT)
    came = came_of(request, behind)
    if "token" in fields:
        secret = fields["token"].strip()
        try:
            grant = identify(f"Bearer {secret}" if secret.isascii() else None, services.table())
        except UnauthenticatedError as error:
            await asyncio.to_thread(services.signing.refuse_token, came)
            hint = "Paste it whole; it begins with yard_. An owner of your department makes tokens."
            raise UnauthenticatedError("This token is unknown, has expired or was revoked.", hint) from error
        return await asyncio.to_thread(services.signing.by_token, grant)
    name, password = chosen(fields, "name").lower(), fields.get("password", "")
    return await hashing(lambda: services.signing.by_password(name, password, came))


def came_of(request: PageRequest, behind: Behind) -> Came:
    """From where somebody tries to come in."""
    browser = cookie_of(request.scope, BROWSER_COOKIE, behind.site)
    return Came(caller_address(request.scope), browser)


@post("/sign-out", opt=_IN_AND_OUT, status_code=200)
async def sign_out(
    request: PageRequest, services: NamedDependency[Services], behind: NamedDependency[Behind]
) -> Response[bytes]:
    """End the session, here and on every front."""
    secret = cookie_of(request.scope, SESSION_COOKIE, behind.site)
    if secret:
        await asyncio.to_thread(services.signing.end, secret)
        await services.refresh()
    answer = go(request, SIGN_IN)
    answer.cookies.append(cookie(request, behind.site, SESSION_COOKIE, "", 0))
    return answer


@get(["/invitation", "/reset"], opt={"need": Need.NOTHING})
async def link_page(request: PageRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """The page behind a link: set a password, once."""
    code = request.query_params.get("code", "")
    name = await asyncio.to_thread(services.signing.whose_link, code)
    return _password_page(request, name, code)


@post(["/invitation", "/reset"], opt=_OPEN, status_code=200)
async def set_password(request: PageRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """Set it, and on to the sign-in."""
    fields = await request.fields()
    code, password = fields.get("code", ""), fields.get("password", "")
    name = await asyncio.to_thread(services.signing.whose_link, code)
    try:
        await hashing(lambda: services.signing.set_password(code, password))
    except YardError as error:
        return _password_page(request, name, code, error)
    await services.refresh()
    return sign_in_form(request, good="Your password is set. Sign in with it.", name=name)


def _password_page(
    request: PageRequest, name: str, code: str, error: YardError | None = None
) -> Response[bytes]:
    path = request.scope["path"]
    told: dict[str, Any] = {"name": name, "code": code, "error": error, "path": path}
    return page(request, "password.html", status=422 if error else 200, **told)


def _is_signed_in(request: PageRequest, services: Services) -> bool:
    try:
        identify(request.headers.get("authorization"), services.table())
    except UnauthenticatedError:
        return False
    return True


_EXPOSED = "This address is not encrypted, so others on the network could read what you type."
_EXPOSED_HINT = (
    "Put TLS before the yard and set YARD_ADDRESS to its https:// address; "
    "or, where the network is trusted, to this http:// one."
)

HANDLERS = (sign_in_page, sign_in, sign_out, link_page, set_password)
