"""Members of a department, and what it has granted to others, on the page of its people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from modelyard.api.changes import changed
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.errors import InvalidError, YardError
from modelyard.records.people import YARD_ROLES, Grant, Kind, Need
from modelyard.records.references import check_name
from modelyard.web.look import go
from modelyard.web.people import department_page
from modelyard.web.requests import FORM, PageRequest, chosen
from modelyard.web.words_of_roles import days_of, role_of

_MANAGE: dict[str, Any] = {"need": Need.MANAGE, "takes": (FORM,)}
_DEPARTMENT = "/people/{department:str}"

T = TypeVar("T")


@post(_DEPARTMENT + "/members", opt=_MANAGE, status_code=200)
async def give_role(
    department: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Give somebody a role here, in place of the one before; an empty role takes it away."""
    typed, place = await request.fields(), check_name(department, "department")

    def change() -> object:
        role = role_of(typed) if chosen(typed, "role") else None
        if role in YARD_ROLES:
            raise InvalidError("That role is held in the whole yard.", "Choose from the list.")
        return services.people.set_role(chosen(typed, "user"), role, place, by=grant.principal)

    return await _done(request, services, place, typed, change)


@post(_DEPARTMENT + "/grants", opt=_MANAGE, status_code=200)
async def give_grant(
    department: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Grant one model or dataset to another department or to one person."""
    typed, place = await request.fields(), check_name(department, "department")

    def change() -> object:
        kind, _, right = chosen(typed, "right").partition(" ")
        days, receiver = days_of(typed), chosen(typed, "to")
        is_department = chosen(typed, "whom") != "person"
        try:
            what, need = Kind(kind), Need(right)
        except ValueError as error:
            raise InvalidError("That cannot be granted.", "Choose from the list.") from error
        return services.sharing.give(
            what,
            f"{place}/{check_name(chosen(typed, 'thing'), f'{what} name')}",
            need,
            to_department=receiver if is_department else None,
            to_principal=None if is_department else receiver,
            expires_in=None if days is None else timedelta(days=days),
            by=grant.principal,
        )

    return await _done(request, services, place, typed, change)


@post(_DEPARTMENT + "/grants/{share:str}/revoke", opt=_MANAGE, status_code=200)
async def revoke_grant(
    department: FromPath[str],
    share: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """End a grant."""
    number, place = number_of(share, "grant"), check_name(department, "department")
    return await _done(
        request, services, place, {}, lambda: services.sharing.revoke(number, place, by=grant.principal)
    )


async def _done(
    request: PageRequest, services: Services, place: str, typed: dict[str, str], change: Callable[[], object]
) -> Response[bytes]:
    try:
        record = await asyncio.to_thread(change)
    except YardError as error:
        return await department_page(request, services, place, error=error, typed=typed)
    await changed(services, record)
    return go(request, f"/people/{place}")


HANDLERS = (give_role, give_grant, revoke_grant)
