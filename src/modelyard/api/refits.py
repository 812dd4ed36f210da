"""Refits: a model's story, and a training asked for by another system."""

from __future__ import annotations

import asyncio
from functools import partial

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from modelyard.api.aliases import Reason
from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.records.people import Grant, Need
from modelyard.records.refits import Story
from modelyard.records.triggers import Outlook


@get(MODEL + "/refits", opt=SEE, tags=["refits"], summary="The story of a model's refits")
async def list_refits(model: NamedDependency[str], services: NamedDependency[Services]) -> Story:
    """Newest first: what was noticed, tried, compared and decided, and what happens next."""
    return await asyncio.to_thread(services.registry.refits.story, model)


@post(
    MODEL + "/refits",
    opt={"need": Need.PUBLISH},
    status_code=202,
    tags=["refits"],
    summary="Have a model trained anew",
)
async def ask_for_refit(
    model: NamedDependency[str],
    data: JSONBody[Reason],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Outlook:
    """With its last project, as soon as nothing stands against it: a training that runs, the policy's budget.
    This is the webhook for other systems; they send a token of their own. 409 if no project was ever sent.
    """
    call = partial(services.registry.refits.ask, model, by=grant.principal, why=data.why)
    return await asyncio.to_thread(call)


HANDLERS = (list_refits, ask_for_refit)
