"""Tokens: a department's by its owners, all by an administrator."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from functools import partial
from typing import Annotated

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from modelyard.api.auth import authorise
from modelyard.api.changes import changed
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.errors import ForbiddenError, NotFoundError
from modelyard.records.people import MATRIX, Grant, Need, NewToken, Role, Token
from modelyard.records.references import check_name

_ALL = "/api/v1/tokens"
_OF_DEPARTMENT = "/api/v1/departments/{department:str}/tokens"
_ADMINISTER = {"need": Need.ADMINISTER}
_MANAGE = {"need": Need.MANAGE}
_OWN = "/api/v1/me/tokens"
_DAY = 86_400


Rows = Annotated[float, Meta(gt=0, le=1e9, examples=[500])]


class TokenRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A token to make.

    Attributes:
        name: to tell it from others in a list.
        principal: the person or service it is for, as it will stand in histories.
        role: what its holder may do.
        expires_in_days: None for no end.
        rows_per_second: how many rows may be predicted with it, on each front; None for no limit.
    """

    name: Annotated[str, Meta(min_length=1, max_length=200, examples=["gate screens"])]
    principal: Annotated[str, Meta(min_length=1, max_length=200, examples=["gate-app"])]
    role: Role
    expires_in_days: Annotated[float, Meta(gt=0, le=3_650, examples=[90])] | None = None
    rows_per_second: Rows | None = None


class OwnTokenRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A token to make for oneself.

    Attributes:
        name: to tell it from others in a list.
        role: what it may do; no more than its maker.
        department: where; None for a role of the whole yard.
        expires_in_days: None for no end.
        rows_per_second: how many rows may be predicted with it, on each front; None for no limit.
    """

    name: Annotated[str, Meta(min_length=1, max_length=200, examples=["my notebook"])]
    role: Role
    department: Annotated[str, Meta(max_length=63, examples=["finance"])] | None = None
    expires_in_days: Annotated[float, Meta(gt=0, le=3_650, examples=[90])] | None = None
    rows_per_second: Rows | None = None


@get("/api/v1/whoami", opt={"need": Need.SIGNED_IN}, tags=["tokens"], summary="Whose token this is")
async def whoami(grant: NamedDependency[Grant]) -> Grant:
    """The principal, its role, and its department (null: the whole yard); roles in further departments, and
    single models and datasets that it was granted.
    """
    return grant


@get(_OWN, opt={"need": Need.SIGNED_IN}, tags=["tokens"], summary="Your own tokens")
async def list_own_tokens(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> list[Token]:
    """Newest first, without their secrets."""
    return await asyncio.to_thread(services.people.tokens_of, grant.principal)


@post(_OWN, opt={"need": Need.SIGNED_IN}, tags=["tokens"], summary="Make a token for yourself")
async def create_own_token(
    data: JSONBody[OwnTokenRequest], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[NewToken]:
    """With a role that you hold, or a lower one, in one department. The secret is in this answer alone."""
    return await changed(services, await make_own_token(services, grant, data), status=201)


async def make_own_token(services: Services, grant: Grant, wanted: OwnTokenRequest) -> NewToken:
    """A token for whoever asks, no wider than what they ask with.

    Raises:
        NotFoundError, ForbiddenError: it would be.
    """
    if wanted.department is not None:
        check_name(wanted.department, "department")
    for need in MATRIX[wanted.role]:
        authorise(grant, need, wanted.department)
    call = partial(
        services.people.create_token,
        wanted.name,
        grant.principal,
        wanted.role,
        wanted.department,
        lifetime(grant, wanted.expires_in_days),
        by=grant.principal,
        rows_per_second=no_more_rows(grant, wanted.rows_per_second),
    )
    return await asyncio.to_thread(call)


@delete(
    _OWN + "/{token:str}",
    opt={"need": Need.SIGNED_IN},
    status_code=200,
    tags=["tokens"],
    summary="Revoke a token of your own",
)
async def revoke_own_token(
    token: FromPath[str], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[Token]:
    """It ends at once on every front; 202 if a front could not be told in time."""
    number = number_of(token, "token")
    own = await asyncio.to_thread(services.people.tokens_of, grant.principal)
    if number not in {t.id for t in own}:
        raise NotFoundError(f"You have no token {number}.", "See the list of your tokens.")
    return await _revoke(services, grant, number)


@get(_ALL, opt={"need": Need.OVERSEE}, tags=["tokens"], summary="All tokens of the yard")
async def list_tokens(services: NamedDependency[Services]) -> list[Token]:
    """Newest first, without their secrets."""
    return await asyncio.to_thread(services.people.tokens)


@post(_ALL, opt=_ADMINISTER, tags=["tokens"], summary="Make a token for the whole yard")
async def create_token(
    data: JSONBody[TokenRequest], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[NewToken]:
    """For the roles auditor and administrator. The secret is in this answer and nowhere else."""
    return await _create(services, grant, data, None)


@delete(_ALL + "/{token:str}", opt=_ADMINISTER, status_code=200, tags=["tokens"], summary="Revoke a token")
async def revoke_token(
    token: FromPath[str], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[Token]:
    """Any token. It ends at once on every front; 202 if a front could not be told in time."""
    return await _revoke(services, grant, number_of(token, "token"))


@get(_OF_DEPARTMENT, opt={"need": Need.REVIEW}, tags=["tokens"], summary="A department's tokens")
async def list_department_tokens(
    department: FromPath[str], services: NamedDependency[Services]
) -> list[Token]:
    """Newest first, without their secrets."""
    departments = frozenset({check_name(department, "department")})
    return await asyncio.to_thread(services.people.tokens, departments)


@post(_OF_DEPARTMENT, opt=_MANAGE, tags=["tokens"], summary="Make a token for a department")
async def create_department_token(
    department: FromPath[str],
    data: JSONBody[TokenRequest],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[NewToken]:
    """For the roles viewer, caller, builder and owner. The secret is in this answer and nowhere else."""
    return await _create(services, grant, data, check_name(department, "department"))


@delete(
    _OF_DEPARTMENT + "/{token:str}",
    opt=_MANAGE,
    status_code=200,
    tags=["tokens"],
    summary="Revoke a department's token",
)
async def revoke_department_token(
    department: FromPath[str],
    token: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Token]:
    """It ends at once on every front; 202 if a front could not be told in time."""
    number = number_of(token, "token")
    departments = frozenset({check_name(department, "department")})
    own = await asyncio.to_thread(services.people.tokens, departments)
    if number not in {t.id for t in own}:
        raise NotFoundError(f"The department has no token {number}.", "See the list of its tokens.")
    return await _revoke(services, grant, number)


async def _create(
    services: Services, grant: Grant, data: JSONBody[TokenRequest], department: str | None
) -> Response[NewToken]:
    call = partial(
        services.people.create_token,
        data.name,
        data.principal,
        data.role,
        department,
        lifetime(grant, data.expires_in_days),
        by=grant.principal,
        rows_per_second=no_more_rows(grant, data.rows_per_second),
    )
    return await changed(services, await asyncio.to_thread(call), status=201)


async def _revoke(services: Services, grant: Grant, number: int) -> Response[Token]:
    revoke = partial(services.people.revoke_token, number, by=grant.principal)
    return await changed(services, await asyncio.to_thread(revoke))


def lifetime(grant: Grant, days: float | None) -> timedelta | None:
    """How long a new token may live: no longer than the one it is made with."""
    if grant.bound is None:
        return None if days is None else timedelta(days=days)
    left = (grant.bound - time.time()) / _DAY
    if days is not None and days > left:
        raise ForbiddenError(
            f"Your own token ends in {left:.2f} days, and one made with it cannot live longer.",
            "Ask for fewer days, or use a token that lives longer.",
        )
    return timedelta(days=left if days is None else days)


def no_more_rows(grant: Grant, wanted: float | None) -> float | None:
    """The limit of a new token: no higher than that of the one it is made with."""
    own = grant.rows_per_second
    if own is not None and wanted is not None and wanted > own:
        raise ForbiddenError(
            f"Your own token is limited to {own:g} rows a second, and one made with it cannot have more.",
            "Ask for fewer, or use a token with a higher limit.",
        )
    return own if wanted is None else wanted


HANDLERS = (
    whoami,
    list_own_tokens,
    create_own_token,
    revoke_own_token,
    list_tokens,
    create_token,
    revoke_token,
    list_department_tokens,
    create_department_token,
    revoke_department_token,
)
