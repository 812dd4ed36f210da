"""Grants on one model or dataset, given by the owners of its department."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Annotated

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from modelyard.api.changes import changed
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.people import Grant, Kind, Need, Share
from modelyard.records.references import check_name

_GRANTS = "/api/v1/departments/{department:str}/grants"
_MANAGE = {"need": Need.MANAGE}


class GrantRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A grant to give.

    Attributes:
        name: of the model or dataset, without its department.
        right: `see`, `predict` (models) or `read-data`; seeing goes along.
        department: whose members have it, each as far as their own role there goes; or
        principal: the person or service that has it.
        expires_in_days: None for no end.
    """

    name: Annotated[str, Meta(min_length=1, max_length=63, examples=["fuel-cost"])]
    right: Need
    kind: Kind = Kind.MODEL
    department: Annotated[str, Meta(max_length=63, examples=["operations"])] | None = None
    principal: Annotated[str, Meta(max_length=200, examples=["maria"])] | None = None
    expires_in_days: Annotated[float, Meta(gt=0, le=3_650, examples=[90])] | None = None


@get("/api/v1/grants", opt={"need": Need.OVERSEE}, tags=["grants"], summary="All grants of the yard")
async def list_grants(services: NamedDependency[Services]) -> list[Share]:
    """Newest first; ended ones too."""
    return await asyncio.to_thread(services.sharing.shares)


@get(_GRANTS, opt={"need": Need.REVIEW}, tags=["grants"], summary="What a department has granted to others")
async def list_department_grants(
    department: FromPath[str], services: NamedDependency[Services]
) -> list[Share]:
    """Newest first; ended ones too."""
    return await asyncio.to_thread(services.sharing.shares, frozenset({check_name(department, "department")}))


@post(_GRANTS, opt=_MANAGE, tags=["grants"], summary="Grant one model or dataset")
async def give_grant(
    department: FromPath[str],
    data: JSONBody[GrantRequest],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Share]:
    """To another department or one person or service. It holds at once on every front."""
    days = data.expires_in_days
    give = partial(
        services.sharing.give,
        data.kind,
        f"{check_name(department, 'department')}/{check_name(data.name, f'{data.kind} name')}",
        data.right,
        to_department=data.department,
        to_principal=data.principal,
        expires_in=None if days is None else timedelta(days=days),
        by=grant.principal,
    )
    return await changed(services, await asyncio.to_thread(give), 201)


@delete(_GRANTS + "/{share:str}", opt=_MANAGE, status_code=200, tags=["grants"], summary="End a grant")
async def revoke_grant(
    department: FromPath[str],
    share: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Share]:
    """It ends at once on every front; 202 if a front could not be told in time."""
    number, place = number_of(share, "grant"), check_name(department, "department")
    revoke = partial(services.sharing.revoke, number, place, by=grant.principal)
    return await changed(services, await asyncio.to_thread(revoke))


HANDLERS = (list_grants, list_department_grants, give_grant, revoke_grant)
