"""The API put together."""

from __future__ import annotations

from typing import Any

from anyio import CapacityLimiter
from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from modelyard.api import (
    alerts,
    aliases,
    audit,
    capacity,
    cards,
    datasets,
    gates,
    grants,
    health,
    hosts,
    jobs,
    ledger,
    models,
    nodes,
    own_metrics,
    predictions,
    provenance,
    publish,
    refits,
    rollouts,
    sources,
    tables,
    tokens,
    users,
    versions,
    watch,
    yard,
)
from modelyard.api.auth import check_policies, guard
from modelyard.api.door import Door
from modelyard.api.errors import handle
from modelyard.api.incoming import AT_ONCE
from modelyard.api.openapi import config, describe, schema_of
from modelyard.api.requests import MAX_BODY, YardRequest, model_of, version_of
from modelyard.api.services import Services
from modelyard.records.people import Grant

HANDLERS: tuple[ControllerRouterHandler, ...] = (
    *health.HANDLERS,
    *yard.HANDLERS,
    *nodes.HANDLERS,
    *models.HANDLERS,
    *versions.HANDLERS,
    *publish.HANDLERS,
    *alerts.HANDLERS,
    *aliases.HANDLERS,
    *audit.HANDLERS,
    *capacity.HANDLERS,
    *cards.HANDLERS,
    *datasets.HANDLERS,
    *tables.HANDLERS,
    *sources.HANDLERS,
    *predictions.HANDLERS,
    *provenance.HANDLERS,
    *watch.HANDLERS,
    *own_metrics.HANDLERS,
    *rollouts.HANDLERS,
    *jobs.HANDLERS,
    *ledger.HANDLERS,
    *hosts.HANDLERS,
    *gates.HANDLERS,
    *refits.HANDLERS,
    *tokens.HANDLERS,
    *users.HANDLERS,
    *grants.HANDLERS,
)


class _Application(Litestar):
    @staticmethod
    def _get_default_plugins(plugins: list[Any]) -> list[Any]:
        """None: Litestar would import pydantic and attrs wherever they are installed, half a second and 20 MB
        for each front. Should it rename this method one day, that is all that happens.
        """
        return plugins


def create_api(
    services: Services, *more: ControllerRouterHandler, names: frozenset[str] = frozenset()
) -> Door:
    """The ASGI application that answers under `/api` and `/health`, behind its door.

    Args:
        services: what the handlers work with.
        more: handlers of other parts of the house; they declare a policy like all others.
        names: the hosts it answers to; see `Door`.

    Raises:
        ImproperlyConfiguredException: a route without a policy.
    """
    openapi = describe(lambda: api_schema(services.version, *more))
    app = _build((*HANDLERS, *more, openapi), services)
    check_policies(app)
    return Door(app, names)


def api_schema(version: str, *more: ControllerRouterHandler) -> dict[str, Any]:
    """The OpenAPI description as JSON objects.

    It is that of a second application, never served: Litestar's own pages for it would be routes as well.
    """
    handlers = (*HANDLERS, *more, describe(dict))
    return schema_of(_build(handlers, None, config(version)))


def _build(
    handlers: tuple[ControllerRouterHandler, ...],
    services: Services | None,
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    publishing = CapacityLimiter(AT_ONCE)
    return _Application(
        handlers,
        state=State({"services": services}),
        guards=[guard],
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "publishing": Provide(lambda: publishing, sync_to_thread=False),
            "grant": Provide(_grant, sync_to_thread=False),
            "model": Provide(model_of, sync_to_thread=False),
            "dataset": Provide(datasets.dataset_of, sync_to_thread=False),
            "number": Provide(version_of, sync_to_thread=False),
        },
        exception_handlers={Exception: handle},
        request_class=YardRequest,
        request_max_body_size=MAX_BODY,
        openapi_config=openapi,
        logging_config=None,
    )


def _grant(request: Request[Any, Any, Any]) -> Grant:
    grant: Grant = request.scope["state"]["grant"]
    return grant
