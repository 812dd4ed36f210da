"""The pages put together: one router with its own session, errors and policies."""

from __future__ import annotations

from litestar import Response, Router, get
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.types import ControllerRouterHandler

from modelyard.records.errors import NotFoundError
from modelyard.records.people import Need
from modelyard.web import (
    alerts,
    assets,
    audit,
    company,
    datasets,
    drift,
    findings,
    home,
    jobs,
    ledger,
    live,
    me,
    members,
    models,
    people,
    performance,
    session,
    sign_in,
    trying,
    users,
    versions,
    yard,
)
from modelyard.web.behind import Behind
from modelyard.web.errors import explain
from modelyard.web.look import environment
from modelyard.web.requests import PageRequest

_GONE = "There is no page at this address, or none that you may see."


@get("/{rest:path}", opt={"need": Need.NOTHING})
async def nowhere(request: PageRequest) -> Response[bytes]:
    """Every address that is not one of ours."""
    raise NotFoundError(_GONE, f"Check {request.scope['path'][:80]!r} for a slip, or begin at the models.")


HANDLERS: tuple[ControllerRouterHandler, ...] = (
    *assets.HANDLERS,
    *sign_in.HANDLERS,
    *company.HANDLERS,
    *home.HANDLERS,
    *models.HANDLERS,
    *versions.HANDLERS,
    *performance.HANDLERS,
    *drift.HANDLERS,
    *findings.HANDLERS,
    *datasets.HANDLERS,
    *alerts.HANDLERS,
    *trying.HANDLERS,
    *jobs.HANDLERS,
    *ledger.HANDLERS,
    *people.HANDLERS,
    *members.HANDLERS,
    *users.HANDLERS,
    *me.HANDLERS,
    *audit.HANDLERS,
    *yard.HANDLERS,
    *live.HANDLERS,
    nowhere,
)


def create_pages(behind: Behind) -> Router:
    """All pages, for `create_api`.

    Args:
        behind: what they work with beside the API's services.
    """
    environment().globals["warning"] = behind.warning
    return Router(
        "/",
        route_handlers=HANDLERS,
        middleware=[DefineMiddleware(session.Session, site=behind.site)],
        exception_handlers={Exception: explain},
        dependencies={"behind": Provide(lambda: behind, sync_to_thread=False)},
        request_class=PageRequest,
        include_in_schema=False,
    )
