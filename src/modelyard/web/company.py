"""Signing in with the company's accounts: to the identity provider, and back from it."""

from __future__ import annotations

import asyncio
import base64
import secrets

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from modelyard.api.errors import tell_refused
from modelyard.api.services import Services
from modelyard.catalog.signing import Identity
from modelyard.records.errors import NotFoundError, UnauthenticatedError, YardError
from modelyard.records.people import Need
from modelyard.web.behind import Behind
from modelyard.web.look import go
from modelyard.web.provider import Accounts, Asked
from modelyard.web.requests import PageRequest
from modelyard.web.session import begin, cookie, cookie_of, safe_next, sign_in_form

BACK = "/sign-in/company/back"
_COOKIE = "yard_asked"
_MINUTES = 10
_LONGEST = 1_000  # characters of an address to come back to
_OPEN = {"need": Need.NOTHING}


@get("/sign-in/company", opt=_OPEN)
async def to_company(request: PageRequest, behind: NamedDependency[Behind]) -> Response[bytes]:
    """To the provider, with a cookie that knows the way back."""
    company = _company(behind)
    after = safe_next(request.query_params.get("next", "/"))[:_LONGEST]
    try:
        address, asked = await company.begin(behind.site.url(request.scope) + BACK, after)
    except YardError as error:
        return sign_in_form(request, status=503, after=after, error=error.message, hint=error.hint)
    answer = go(request, address)
    kept = base64.urlsafe_b64encode(msgspec.json.encode(asked)).decode()
    answer.cookies.append(cookie(request, behind.site, _COOKIE, kept, _MINUTES * 60))
    return answer


@get(BACK, opt=_OPEN)
async def from_company(
    request: PageRequest, services: NamedDependency[Services], behind: NamedDependency[Behind]
) -> Response[bytes]:
    """Back from the provider: a session, if this browser asked for it and the provider knows who it is."""
    company = _company(behind)
    try:
        asked, identity = await _identity(request, behind, company)
        came = await asyncio.to_thread(services.signing.by_identity, identity)
        await services.refresh()
    except YardError as error:
        answer = sign_in_form(request, status=403, error=error.message, hint=error.hint)
    else:
        answer = begin(go(request, safe_next(asked.after)), request, behind.site, came)
    answer.cookies.append(cookie(request, behind.site, _COOKIE, "", 0))
    return answer


async def _identity(request: PageRequest, behind: Behind, company: Accounts) -> tuple[Asked, Identity]:
    try:
        asked = _asked(request, behind)
        redirect = behind.site.url(request.scope) + BACK
        return asked, await company.finish(request.query_params.get("code", ""), redirect, asked)
    except UnauthenticatedError as error:
        tell_refused(request.scope, error, request.scope["state"].get("request_id", ""))
        raise


def _company(behind: Behind) -> Accounts:
    if behind.company is None:
        raise NotFoundError("People sign in with a password or a token here.", "Go to the sign-in page.")
    return behind.company


def _asked(request: PageRequest, behind: Behind) -> Asked:
    """What this browser kept, if it is what the provider sends back: else somebody else has begun this."""
    try:
        kept = base64.urlsafe_b64decode(cookie_of(request.scope, _COOKIE, behind.site))
        asked = msgspec.json.decode(kept, type=Asked)
    except (ValueError, msgspec.MsgspecError) as error:
        raise UnauthenticatedError(
            "This sign-in took too long, or began elsewhere.", "Begin again."
        ) from error
    if not secrets.compare_digest(asked.state.encode(), request.query_params.get("state", "").encode()):
        raise UnauthenticatedError("This sign-in began elsewhere.", "Begin again.")
    if "error" in request.query_params or "code" not in request.query_params:
        raise UnauthenticatedError("The identity provider did not let you in.", "Try to sign in again.")
    return asked


HANDLERS = (to_company, from_company)
