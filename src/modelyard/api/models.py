"""Models and their aliases' history."""

from __future__ import annotations

import asyncio

from litestar import get
from litestar.di import NamedDependency

from modelyard.api.services import Services
from modelyard.records.models import AliasChange, Model
from modelyard.records.people import Grant, Need

MODEL = "/api/v1/models/{department:str}/{name:str}"
SEE = {"need": Need.SEE}


@get("/api/v1/models", opt={"need": Need.SIGNED_IN}, tags=["models"], summary="All models that you may see")
async def list_models(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> list[Model]:
    """By name; models of other departments are not there."""
    return await asyncio.to_thread(services.registry.models, grant.seen, grant.shared_models)


@get(MODEL, opt=SEE, tags=["models"], summary="One model")
async def show_model(model: NamedDependency[str], services: NamedDependency[Services]) -> Model:
    """Its language, aliases, champion and latest version."""
    return await asyncio.to_thread(services.registry.model, model)


@get(
    MODEL + "/history",
    opt=SEE,
    tags=["models"],
    summary="Every change of its aliases",
)
async def history(model: NamedDependency[str], services: NamedDependency[Services]) -> list[AliasChange]:
    """Newest first: what an alias pointed to before and after, who changed it, when and why."""
    return await asyncio.to_thread(services.registry.history, model)


HANDLERS = (list_models, show_model, history)
