"""You: who one is here, one's own tokens, and one's password."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from modelyard.api.changes import changed
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.api.tokens import OwnTokenRequest, make_own_token
from modelyard.records.errors import InvalidError, NotFoundError, YardError
from modelyard.records.people import YARD_ROLES, Grant, Need, Role
from modelyard.web.behind import Behind
from modelyard.web.look import go, page
from modelyard.web.requests import FORM, PageRequest, chosen
from modelyard.web.session import sign_in_form
from modelyard.web.sign_in import came_of, hashing
from modelyard.web.words_of_roles import WORDS, days_of, role_of

_SIGNED_IN: dict[str, Any] = {"need": Need.SIGNED_IN, "takes": (FORM,)}


@get("/me", opt={"need": Need.SIGNED_IN})
async def me(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """Who one is, what one may do, one's tokens."""
    return await _page(request, services, grant)


async def _page(
    request: PageRequest,
    services: Services,
    grant: Grant,
    **told: Any,  # noqa: ANN401
) -> Response[bytes]:
    own = await asyncio.to_thread(services.people.principal, grant.principal)
    tokens = await asyncio.to_thread(services.people.tokens_of, grant.principal)
    now = datetime.now(UTC)
    given = {"error": None, "typed": {}, "made": None} | told
    return page(
        request,
        "me.html",
        status=422 if given["error"] else 200,
        own=own,
        valid=[t for t in tokens if t.revoked_at is None and (t.expires_at is None or t.expires_at > now)],
        held=grant.places(Need.SEE),
        shared=sorted([*grant.shared_models, *grant.shared_datasets]),
        roles=[role for role in Role if role not in YARD_ROLES or grant.department is None],
        words=WORDS,
        **given,
    )


@post("/me/tokens", opt=_SIGNED_IN, status_code=200)
async def make_token(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """Make a token for oneself; its secret is on this page and nowhere else."""
    typed = await request.fields()
    try:
        department = chosen(typed, "department") or None
        role, days = role_of(typed), days_of(typed)
        wanted = OwnTokenRequest(chosen(typed, "name"), role, department, days)
        made = await make_own_token(services, grant, wanted)
    except YardError as error:
        return await _page(request, services, grant, error=error, typed=typed)
    await changed(services, made)
    return await _page(request, services, grant, made=made)


@post("/me/tokens/{token:str}/revoke", opt=_SIGNED_IN, status_code=200)
async def revoke_token(
    token: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """End a token of one's own."""
    number = number_of(token, "token")
    own = await asyncio.to_thread(services.people.tokens_of, grant.principal)
    if number not in {t.id for t in own}:
        raise NotFoundError(f"You have no token {number}.", "See the list of your tokens.")
    ended = await asyncio.to_thread(lambda: services.people.revoke_token(number, by=grant.principal))
    await changed(services, ended)
    return go(request, "/me")


@post("/me/password", opt=_SIGNED_IN, status_code=200)
async def change_password(
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Set a new password, knowing the old one; all sessions end, this one too."""
    fields, came = await request.fields(), came_of(request, behind)
    old, new = fields.get("old_password", ""), fields.get("password", "")
    if grant.token_id:
        raise InvalidError("You came in with a token.", "Sign in with your password to change it.")
    try:
        await hashing(lambda: services.signing.change_password(grant.principal, old, new, came))
    except YardError as error:
        return await _page(request, services, grant, error=error)
    await services.refresh()
    return sign_in_form(request, good="Your password is changed. Sign in with it.", name=grant.principal)


HANDLERS = (me, make_token, revoke_token, change_password)
