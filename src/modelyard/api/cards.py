"""Model cards: read and written."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta, Struct

from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.catalog.cards import MAX_CARD
from modelyard.records.models import Card
from modelyard.records.people import Grant, Need

Number = Annotated[int, Meta(ge=1, le=999_999_999)]


class CardText(Struct, frozen=True, forbid_unknown_fields=True):
    """A card to keep, from this version on (by default the one in use, else the newest)."""

    text: Annotated[str, Meta(max_length=MAX_CARD, examples=["# Fuel cost\n\nWhat a flight will burn."])]
    version: Number | None = None


@get(MODEL + "/card", opt=SEE, tags=["models"], summary="A model's card")
async def show_card(
    model: NamedDependency[str],
    services: NamedDependency[Services],
    version: Annotated[
        Number | None, QueryParameter(description="The version it is of; by default the one in use.")
    ] = None,
) -> Card:
    """Markdown as it was written; empty if there is none."""
    return await asyncio.to_thread(services.registry.cards.card, model, version)


@put(MODEL + "/card", opt={"need": Need.PUBLISH}, tags=["models"], summary="Write a model's card")
async def write_card(
    model: NamedDependency[str],
    data: JSONBody[CardText],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Card:
    """It holds for the version and later ones until another is written; earlier texts are kept."""
    write = partial(services.registry.cards.write, model, data.text, data.version, by=grant.principal)
    return await asyncio.to_thread(write)


HANDLERS = (show_card, write_card)
