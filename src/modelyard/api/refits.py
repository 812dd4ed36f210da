"""Refits: a model's story, and a training asked for by another system."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.catalog.words import MAX_WORDS
from modelyard.records.people import Grant, Need
from modelyard.records.refits import Story
from modelyard.records.triggers import Outlook


@get(MODEL + "/refits", opt=SEE, tags=["refits"], summary="The story of a model's refits")
async def list_refits(model: NamedDependency[str], services: NamedDependency[Services]) -> Story:
    """Newest first: what was noticed, tried, compared and decided, and what happens next."""
    return await asyncio.to_thread(services.registry.refits.story, model)


class Told(Struct, frozen=True):
    """What of a body is read; other systems send what they send."""

    why: str = ""


@post(
    MODEL + "/refits",
    opt={"need": Need.PUBLISH, "takes": ("", "application/json")},
    status_code=202,
    tags=["refits"],
    summary="Have a model trained anew",
)
async def ask_for_refit(
    model: NamedDependency[str],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    why: Annotated[str, QueryParameter(max_length=MAX_WORDS, description="for the story")] = "",
) -> Outlook:
    """With its last project, as soon as nothing stands against it: a training that runs, the policy's budget.
    This is the webhook for other systems; they send a token of their own. It needs no body; of one in JSON
    `why` is read, if there is a text of that name. 409 if no project was ever sent.
    """
    line = why or _why(await request.body())
    call = partial(services.registry.refits.ask, model, by=grant.principal, why=line)
    return await asyncio.to_thread(call)


def _why(body: bytes) -> str:
    """The reason in the body of a webhook, or "" where there is none."""
    try:
        return msgspec.json.decode(body, type=Told).why
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


HANDLERS = (list_refits, ask_for_refit)
