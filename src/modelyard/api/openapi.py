"""The API's description: OpenAPI 3.1, made once when it is first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache

import msgspec
from litestar import Litestar, Response, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler

from modelyard.records.people import Need

_WORDS = """Everything but predictions. Send `Authorization: Bearer TOKEN` with every request.
Errors are RFC 9457 problems: `type`, `title`, `status`, `detail` (what happened and why) and
`hint` (what to do)."""


def describe(build: Callable[[OpenAPIConfig], Litestar], version: str) -> ControllerRouterHandler:
    """The handler that answers with the description of an application.

    Args:
        build: makes that application. It is never served: Litestar's own pages for the description, which
            come with the configuration, would be routes of their own.
        version: of the software.
    """

    @cache
    def document() -> bytes:
        config = OpenAPIConfig(
            title="Modelyard",
            version=version,
            description=_WORDS,
            use_handler_docstrings=True,
            security=[{"token": []}],
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        )
        return msgspec.json.encode(build(config).openapi_schema.to_schema())

    @get("/api/openapi.json", opt={"need": Need.SIGNED_IN}, tags=["yard"], summary="This description")
    async def openapi() -> Response[bytes]:
        """OpenAPI 3.1."""
        body = await asyncio.to_thread(document)
        return Response(body, media_type="application/vnd.oai.openapi+json")

    return openapi
