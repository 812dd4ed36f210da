"""Hosts outside that a model's jobs may reach: shown, and approved by an owner."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from litestar import get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta, Struct

from modelyard.api.aliases import Words
from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.records.hosts import MOST_HOSTS, Hosts
from modelyard.records.people import Grant, Need


class Approve(Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly these hosts; none takes the approval back."""

    hosts: Annotated[list[str], Meta(max_length=MOST_HOSTS, examples=[["files.example.org:443"]])]
    why: Words = ""


@get(MODEL + "/hosts", opt=SEE, tags=["jobs"], summary="Hosts that a model's jobs may reach")
async def show_hosts(model: NamedDependency[str], services: NamedDependency[Services]) -> Hosts:
    """What an owner has approved, and what jobs ask for."""
    return await asyncio.to_thread(services.approvals.hosts, model)


@put(MODEL + "/hosts", opt={"need": Need.MANAGE}, tags=["jobs"], summary="Approve hosts for a model's jobs")
async def approve_hosts(
    model: NamedDependency[str],
    data: JSONBody[Approve],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Hosts:
    """In place of those before. A job goes if its project names exactly these; one that runs with others is
    ended within seconds.
    """
    approve = partial(services.approvals.approve, model, data.hosts, by=grant.principal, why=data.why)
    return await asyncio.to_thread(approve)


HANDLERS = (show_hosts, approve_hosts)
