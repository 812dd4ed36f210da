"""Aliases: moved, dropped, rolled back."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from litestar import Response, delete, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from modelyard.api.changes import changed, warm
from modelyard.api.models import MODEL
from modelyard.api.services import Services
from modelyard.records.models import AliasChange
from modelyard.records.people import Grant, Need
from modelyard.records.references import check_name

_PROMOTE = {"need": Need.PROMOTE}
MAX_WHY = 2_000  # characters

Words = Annotated[str, Meta(max_length=MAX_WHY, examples=["Fewer late surprises in March."])]


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """Where an alias is to point, and why."""

    version: Annotated[int, Meta(ge=1, le=999_999_999, examples=[3])]
    why: Words = ""


class Reason(Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done."""

    why: Words = ""


@put(MODEL + "/aliases/{alias:str}", opt=_PROMOTE, tags=["aliases"], summary="Point an alias to a version")
async def set_alias(
    model: NamedDependency[str],
    alias: FromPath[str],
    data: JSONBody[Target],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[AliasChange]:
    """To promote a version is to point `champion` to it. Its workers are started first, and 503 says so if
    they do not start. Answered when every front of the node serves it (200), or 202 if the change is kept but
    not all of them do yet. 409 if the version is not checked.
    """
    check_name(alias, "alias")
    await warm(services, model, data.version)
    call = partial(services.registry.set_alias, model, alias, data.version, by=grant.principal, why=data.why)
    return await changed(services, await asyncio.to_thread(call))


@delete(
    MODEL + "/aliases/{alias:str}", opt=_PROMOTE, status_code=200, tags=["aliases"], summary="Drop an alias"
)
async def drop_alias(
    model: NamedDependency[str],
    alias: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    why: Annotated[str, QueryParameter(max_length=MAX_WHY)] = "",
) -> Response[AliasChange]:
    """Any but `champion`, without which requests to the model have no answer (409)."""
    check_name(alias, "alias")
    call = partial(services.registry.drop_alias, model, alias, by=grant.principal, why=why)
    return await changed(services, await asyncio.to_thread(call))


@post(MODEL + "/rollback", opt=_PROMOTE, status_code=200, tags=["aliases"], summary="Champion back to before")
async def rollback(
    model: NamedDependency[str],
    data: JSONBody[Reason],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[AliasChange]:
    """409 if there is nothing before. Answers 202 like moving an alias does."""
    await warm(services, model, await asyncio.to_thread(services.registry.rollback_target, model))
    call = partial(services.registry.rollback, model, by=grant.principal, why=data.why)
    return await changed(services, await asyncio.to_thread(call))


HANDLERS = (set_alias, drop_alias, rollback)
