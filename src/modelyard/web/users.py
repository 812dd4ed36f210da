"""Users: all persons and services, for who oversees the yard; invited, reset, kept out by administrators."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from modelyard.api.changes import changed
from modelyard.api.services import Services
from modelyard.catalog.people import check_place
from modelyard.records.errors import InvalidError, YardError
from modelyard.records.people import YARD_ROLES, Grant, Need, NewLink, Role
from modelyard.web.behind import Behind
from modelyard.web.look import page
from modelyard.web.requests import FORM, PageRequest, chosen
from modelyard.web.words_of_roles import WORDS, role_of

_ADMINISTER: dict[str, Any] = {"need": Need.ADMINISTER, "takes": (FORM,)}
_USERS = "/users"
_USER = _USERS + "/{user:str}"


@get(_USERS, opt={"need": Need.OVERSEE})
async def users(request: PageRequest, services: NamedDependency[Services]) -> Response[bytes]:
    """All persons and services, with their roles."""
    return await _page(request, services)


async def _page(request: PageRequest, services: Services, **told: Any) -> Response[bytes]:  # noqa: ANN401
    given = {"error": None, "typed": {}, "link": None, "url": ""} | told
    return page(
        request,
        "users.html",
        status=422 if given["error"] else 200,
        users=await asyncio.to_thread(services.people.principals),
        departments=await asyncio.to_thread(services.people.departments),
        roles=list(Role),
        yard_roles=sorted(YARD_ROLES),
        words=WORDS,
        **given,
    )


@post(_USERS, opt=_ADMINISTER, status_code=200)
async def invite(
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Make a person, with a role or without, and the link by which they set a password."""
    typed = await request.fields()

    def change() -> NewLink:
        role = role_of(typed) if chosen(typed, "role") else None
        department = None if role in YARD_ROLES else chosen(typed, "department") or None
        if role is not None:
            check_place(role, department)
        name = chosen(typed, "name").lower()
        services.people.add_person(name, by=grant.principal)
        if role is not None:
            services.people.set_role(name, role, department, by=grant.principal)
        return services.signing.make_link(name, by=grant.principal)

    try:
        link = await asyncio.to_thread(change)
    except YardError as error:
        return await _page(request, services, error=error, typed=typed)
    await changed(services, link)
    return await _page(request, services, link=link, url=behind.site.url(request.scope))


@post(_USER + "/link", opt=_ADMINISTER, status_code=200)
async def make_link(
    user: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """A link by which a person sets a password."""
    try:
        link = await asyncio.to_thread(lambda: services.signing.make_link(user, by=grant.principal))
    except YardError as error:
        return await _page(request, services, error=error)
    return await _page(request, services, link=link, url=behind.site.url(request.scope))


@post(_USER + "/change", opt=_ADMINISTER, status_code=200)
async def change_user(
    user: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Keep somebody out, let them in, or set their role in the whole yard."""
    what, by = chosen(await request.fields(), "to"), grant.principal

    def change() -> object:
        if what in ("disabled", "enabled"):
            return services.people.set_disabled(user, disabled=what == "disabled", by=by)
        if what in YARD_ROLES or what == "none":
            return services.people.set_role(user, None if what == "none" else Role(what), None, by=by)
        raise InvalidError("That cannot be changed so.", "Choose from the list.")

    try:
        record = await asyncio.to_thread(change)
    except YardError as error:
        return await _page(request, services, error=error)
    await changed(services, record)
    return await _page(request, services)


HANDLERS = (users, invite, make_link, change_user)
