"""Users: persons and services of the yard, the roles they hold, departments and their members."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from modelyard.api.changes import changed
from modelyard.api.services import Services
from modelyard.catalog.people import check_place
from modelyard.records.errors import ForbiddenError
from modelyard.records.people import YARD_ROLES, Grant, Need, NewLink, Principal, Role
from modelyard.records.references import check_name

_USERS = "/api/v1/users"
_USER = _USERS + "/{user:str}"
_MEMBERS = "/api/v1/departments/{department:str}/members"
_ADMINISTER = {"need": Need.ADMINISTER}
_MANAGE = {"need": Need.MANAGE}

Name = Annotated[str, Meta(min_length=1, max_length=200, examples=["maria"])]


class DepartmentRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A department to make."""

    name: Annotated[str, Meta(min_length=1, max_length=63, examples=["finance"])]


class PersonRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A person to invite.

    Attributes:
        role: what they may do, if anything yet; in `department`, or (None) in the whole yard.
        link_days: for how long the link to set a password holds.
    """

    name: Name
    role: Role | None = None
    department: Annotated[str, Meta(max_length=63, examples=["finance"])] | None = None
    link_days: Annotated[float, Meta(gt=0, le=30)] = 7.0


class LinkRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A link to set a password by."""

    link_days: Annotated[float, Meta(gt=0, le=30)] = 7.0


class IdentityRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom an identity provider calls so."""

    issuer: Annotated[str, Meta(min_length=1, max_length=500, examples=["https://login.example.com"])]
    subject: Annotated[str, Meta(min_length=1, max_length=500)]


class RoleRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A role to hold."""

    role: Role


class TrustRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a department may bring code of its own."""

    trusted: bool


class GraceRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds that a department's predictions go on while the database is away; null: half an hour."""

    seconds: float | None


class Disabling(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether somebody is kept out."""

    disabled: bool


@get("/api/v1/departments", opt={"need": Need.SIGNED_IN}, tags=["users"], summary="Departments you may see")
async def list_departments(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> list[str]:
    """By name."""
    found = await asyncio.to_thread(services.people.departments)
    return [name for name in found if grant.sees(name)]


@post("/api/v1/departments", opt=_ADMINISTER, tags=["users"], summary="Make a department")
async def create_department(
    data: JSONBody[DepartmentRequest], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[list[str]]:
    """All departments, with the new one. Nothing happens where it is there."""
    await asyncio.to_thread(partial(services.people.add_department, data.name, by=grant.principal))
    return await changed(services, await asyncio.to_thread(services.people.departments), 201)


@get("/api/v1/trust", opt={"need": Need.OVERSEE}, tags=["users"], summary="Departments without code")
async def list_untrusted(services: NamedDependency[Services]) -> list[str]:
    """The departments that may bring no code of their own, by name."""
    return await asyncio.to_thread(services.people.untrusted)


@put("/api/v1/trust/{name:str}", opt=_ADMINISTER, tags=["users"], summary="Trust a department with code")
async def trust_department(
    name: FromPath[str],
    data: JSONBody[TrustRequest],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[list[str]]:
    """The departments that are not trusted now. Their models that are code end at once on every node, and new
    ones and jobs are refused; models that are data alone, portable forms among them, go on.
    """
    check_name(name, "department")
    trust = partial(services.people.trust_department, trusted=data.trusted, by=grant.principal)
    await asyncio.to_thread(trust, name)
    return await changed(services, await asyncio.to_thread(services.people.untrusted))


@get("/api/v1/grace", opt={"need": Need.OVERSEE}, tags=["users"], summary="Predictions without the database")
async def list_graces(services: NamedDependency[Services]) -> dict[str, float]:
    """By department, for how many seconds its predictions go on while the database is away."""
    return await asyncio.to_thread(services.people.graces)


@put("/api/v1/grace/{name:str}", opt=_ADMINISTER, tags=["users"], summary="Set how long predictions go on")
async def set_grace(
    name: FromPath[str],
    data: JSONBody[GraceRequest],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[dict[str, float]]:
    """Say how long a department's predictions go on while the database is away, when nobody can know whether
    a token was revoked: between a minute and a week. All else is refused after a minute.
    """
    check_name(name, "department")
    await asyncio.to_thread(partial(services.people.set_grace, name, data.seconds, by=grant.principal))
    return await changed(services, await asyncio.to_thread(services.people.graces))


@get(_USERS, opt={"need": Need.OVERSEE}, tags=["users"], summary="All persons and services")
async def list_users(services: NamedDependency[Services]) -> list[Principal]:
    """By name, with the roles they hold."""
    return await asyncio.to_thread(services.people.principals)


@get(_USER, opt={"need": Need.OVERSEE}, tags=["users"], summary="One person or service")
async def show_user(user: FromPath[str], services: NamedDependency[Services]) -> Principal:
    """With the roles it holds."""
    return await asyncio.to_thread(services.people.principal, user)


@post(_USERS, opt=_ADMINISTER, tags=["users"], summary="Invite a person")
async def invite_user(
    data: JSONBody[PersonRequest], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[NewLink]:
    """Makes the person, gives the role, and answers with the link by which they set a password, once; it is
    in this answer and nowhere else. 409 if the name is taken.
    """
    return await changed(services, await asyncio.to_thread(_invite, services, data, grant), 201)


def _invite(services: Services, data: PersonRequest, grant: Grant) -> NewLink:
    if data.role is not None:
        check_place(data.role, data.department)
    services.people.add_person(data.name, by=grant.principal)
    if data.role is not None:
        services.people.set_role(data.name, data.role, data.department, by=grant.principal)
    return services.signing.make_link(data.name, timedelta(days=data.link_days), by=grant.principal)


@post(_USER + "/link", opt=_ADMINISTER, tags=["users"], summary="A link to set a password by")
async def make_link(
    user: FromPath[str],
    data: JSONBody[LinkRequest],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> NewLink:
    """Works once, until it ends; an earlier one of theirs ends now. Using it where there is a password (a
    reset) ends all sessions and tokens of the person.
    """
    days = timedelta(days=data.link_days)
    return await asyncio.to_thread(partial(services.signing.make_link, user, days, by=grant.principal))


@put(_USER + "/identity", opt=_ADMINISTER, tags=["users"], summary="Join a person and an identity")
async def join_identity(
    user: FromPath[str],
    data: JSONBody[IdentityRequest],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Principal:
    """Whom the provider calls so is that person here from now on. 409 if it is another's."""
    join = partial(services.signing.join, user, data.issuer, data.subject, by=grant.principal)
    await asyncio.to_thread(join)
    return await asyncio.to_thread(services.people.principal, user)


@put(_USER + "/role", opt=_ADMINISTER, tags=["users"], summary="Give a role in the whole yard")
async def set_yard_role(
    user: FromPath[str],
    data: JSONBody[RoleRequest],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Principal]:
    """Auditor or administrator. It holds at once on every front, for tokens in use, too."""
    return await _set_role(services, user, data.role, None, grant)


@delete(
    _USER + "/role", opt=_ADMINISTER, status_code=200, tags=["users"], summary="Take the yard's role away"
)
async def take_yard_role(
    user: FromPath[str], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[Principal]:
    """409 if nobody could come in as an administrator any more."""
    return await _set_role(services, user, None, None, grant)


@put(_USER + "/disabled", opt=_ADMINISTER, tags=["users"], summary="Keep somebody out, or let them in again")
async def disable_user(
    user: FromPath[str],
    data: JSONBody[Disabling],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Principal]:
    """All tokens and sessions stop at once; tokens work again when it is undone, sessions do not."""
    call = partial(services.people.set_disabled, user, disabled=data.disabled, by=grant.principal)
    return await changed(services, await asyncio.to_thread(call))


@get(_MEMBERS, opt={"need": Need.REVIEW}, tags=["users"], summary="Who holds a role in a department")
async def list_members(department: FromPath[str], services: NamedDependency[Services]) -> list[Principal]:
    """By name, with the role there; of their roles elsewhere nothing is told."""
    return await asyncio.to_thread(services.people.members, check_name(department, "department"))


@put(_MEMBERS + "/{user:str}", opt=_MANAGE, tags=["users"], summary="Give a role in a department")
async def set_member(
    department: FromPath[str],
    user: FromPath[str],
    data: JSONBody[RoleRequest],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Principal]:
    """To a person or a service that is there. It holds at once on every front, for tokens in use, too."""
    if data.role in YARD_ROLES:
        message = f"The role {data.role} is held in the whole yard."
        raise ForbiddenError(message, "An administrator gives it: yard users role NAME ROLE.")
    return await _set_role(services, user, data.role, check_name(department, "department"), grant)


@delete(
    _MEMBERS + "/{user:str}", opt=_MANAGE, status_code=200, tags=["users"], summary="Take a role away there"
)
async def remove_member(
    department: FromPath[str],
    user: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Principal]:
    """Their tokens of this department stop at once."""
    return await _set_role(services, user, None, check_name(department, "department"), grant)


async def _set_role(
    services: Services, user: str, role: Role | None, department: str | None, grant: Grant
) -> Response[Principal]:
    call = partial(services.people.set_role, user, role, department, by=grant.principal)
    found = await asyncio.to_thread(call)
    return await changed(services, found if department is None else found.seen_in(department))


HANDLERS = (
    list_departments,
    create_department,
    list_untrusted,
    trust_department,
    list_graces,
    set_grace,
    list_users,
    show_user,
    invite_user,
    make_link,
    join_identity,
    set_yard_role,
    take_yard_role,
    disable_user,
    list_members,
    set_member,
    remove_member,
)
