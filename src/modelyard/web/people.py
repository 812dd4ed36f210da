"""People: who may come in by which token, and what they may do there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from modelyard.api.changes import changed
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.api.tokens import lifetime, no_more_rows
from modelyard.records.errors import NotFoundError, YardError
from modelyard.records.people import YARD_ROLES, Grant, Need, NewToken, Role, Token
from modelyard.records.references import check_name
from modelyard.web.look import go, page
from modelyard.web.requests import FORM, PageRequest, chosen
from modelyard.web.words_of_roles import WORDS, days_of, role_of

_MANAGE: dict[str, Any] = {"need": Need.MANAGE, "takes": (FORM,)}
_ADMINISTER: dict[str, Any] = {"need": Need.ADMINISTER, "takes": (FORM,)}
_DEPARTMENT = "/people/{department:str}"
_REVOKE = "/tokens/{token:str}/revoke"


@get("/people", opt={"need": Need.SIGNED_IN})
async def people(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """For who oversees the yard all tokens of it; else the department one manages, or oneself."""
    if grant.allows(Need.OVERSEE):
        return await _whole_yard(request, services)
    managed = grant.places(Need.REVIEW)
    return go(request, f"/people/{managed[0]}" if managed else "/me")


async def _whole_yard(request: PageRequest, services: Services, **told: object) -> Response[bytes]:
    tokens = await asyncio.to_thread(services.people.tokens)
    departments = await asyncio.to_thread(services.people.departments)
    return _page(request, None, tokens, departments=departments, **told)


@get(_DEPARTMENT, opt={"need": Need.REVIEW})
async def department_people(
    department: FromPath[str], request: PageRequest, services: NamedDependency[Services]
) -> Response[bytes]:
    """A department's members, tokens and grants."""
    return await department_page(request, services, check_name(department, "department"))


async def department_page(
    request: PageRequest, services: Services, department: str, **told: object
) -> Response[bytes]:
    """That page, with what a form has come to."""
    own = frozenset({department})
    tokens = await asyncio.to_thread(services.people.tokens, own)
    members = await asyncio.to_thread(services.people.members, department)
    shares = await asyncio.to_thread(services.sharing.shares, own)
    now = datetime.now(UTC)
    holding = [share for share in shares if share.holds(now)]
    managed = request.grant.places(Need.REVIEW) if request.grant else []
    further = [place for place in managed if place != department]
    shown = {"departments": further, "members": members, "shares": holding}
    return _page(request, department, tokens, **shown, **told)


def _page(
    request: PageRequest,
    department: str | None,
    tokens: list[Token],
    **told: Any,  # noqa: ANN401
) -> Response[bytes]:
    now = datetime.now(UTC)
    valid = [t for t in tokens if t.revoked_at is None and (t.expires_at is None or t.expires_at > now)]
    given = {"error": None, "typed": {}, "made": None, "members": [], "shares": []} | told
    return page(
        request,
        "people.html",
        status=422 if given["error"] else 200,
        department=department,
        valid=valid,
        ended=[t for t in tokens if t not in valid],
        roles=[r for r in Role if (r in YARD_ROLES) == (department is None)],
        words=WORDS,
        **given,
    )


@post("/people", opt=_ADMINISTER, status_code=200)
async def create(
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Make a token of the yard."""
    typed = await request.fields()
    try:
        made = await _create(services, grant, typed, None)
    except YardError as error:
        return await _whole_yard(request, services, error=error, typed=typed)
    return await _whole_yard(request, services, made=made)


@post(_DEPARTMENT, opt=_MANAGE, status_code=200)
async def create_in_department(
    department: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Make a token of a department; its secret is on this page and nowhere else."""
    typed, place = await request.fields(), check_name(department, "department")
    try:
        made = await _create(services, grant, typed, place)
    except YardError as error:
        return await department_page(request, services, place, error=error, typed=typed)
    return await department_page(request, services, place, made=made)


async def _create(
    services: Services, grant: Grant, typed: Mapping[str, str], department: str | None
) -> NewToken:
    wanted, role = days_of(typed), role_of(typed)
    made: NewToken = await asyncio.to_thread(
        lambda: services.people.create_token(
            chosen(typed, "name"),
            chosen(typed, "principal"),
            role,
            department,
            lifetime(grant, wanted),
            by=grant.principal,
            rows_per_second=no_more_rows(grant, None),
        )
    )
    await changed(services, made)
    return made


@post("/people" + _REVOKE, opt=_ADMINISTER, status_code=200)
async def revoke(
    token: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """End any token."""
    await _revoke(services, grant, number_of(token, "token"))
    return go(request, "/people")


@post(_DEPARTMENT + _REVOKE, opt=_MANAGE, status_code=200)
async def revoke_in_department(
    department: FromPath[str],
    token: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """End a token of the department."""
    number, place = number_of(token, "token"), check_name(department, "department")
    own = await asyncio.to_thread(services.people.tokens, frozenset({place}))
    if number not in {t.id for t in own}:
        raise NotFoundError(f"The department has no token {number}.", "See the list of its tokens.")
    await _revoke(services, grant, number)
    return go(request, f"/people/{place}")


async def _revoke(services: Services, grant: Grant, number: int) -> None:
    await changed(
        services, await asyncio.to_thread(lambda: services.people.revoke_token(number, by=grant.principal))
    )


HANDLERS = (people, department_people, create, create_in_department, revoke, revoke_in_department)
