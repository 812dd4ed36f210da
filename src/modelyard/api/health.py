"""Probes, the only addresses that are open to all."""

from __future__ import annotations

import asyncio

from litestar import Response, get
from litestar.di import NamedDependency

from modelyard.api.services import Services
from modelyard.records.nodes import Pulse
from modelyard.records.people import Need

OPEN = {"need": Need.NOTHING}


@get("/health/live", opt=OPEN, tags=["health"], summary="Whether the process answers")
async def live() -> dict[str, str]:
    """Always 200: a process that answers is alive."""
    return {"status": "live"}


@get("/health/ready", opt=OPEN, tags=["health"], summary="Whether predictions can be answered")
async def ready(services: NamedDependency[Services]) -> Response[dict[str, str]]:
    """200, or 503 while this front has no routes yet. The reason is in the log, not here: anyone may ask."""
    if services.not_ready():
        return Response({"status": "starting"}, status_code=503, headers={"Retry-After": "1"})
    return Response({"status": "ready"})


@get("/health/node", opt=OPEN, tags=["health"], summary="The node's id and the number of its last beat")
async def node(services: NamedDependency[Services]) -> Pulse:
    """Two numbers that say nothing to anybody but a node with the same records: see `loop/beat.py`."""
    pulse = await asyncio.to_thread(services.nodes.pulse)
    return Pulse(pulse.node, pulse.beat)


HANDLERS = (live, ready, node)
