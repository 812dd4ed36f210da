"""Errors as pages: what happened, why, and what to do next."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from litestar import Request, Response

from modelyard.api import errors
from modelyard.records.errors import NotFoundError, UnauthenticatedError
from modelyard.web.look import go, page
from modelyard.web.requests import PageRequest
from modelyard.web.session import SIGN_IN

_HINT = "Go back to the models, or ask the operator."


def explain(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for the pages: a page, a part of one, or the way to the sign-in."""
    if request.scope["path"].startswith(("/api/", "/health/")):
        return errors.handle(request, error)
    asked = PageRequest(request.scope, request.receive, request.send)
    mine = errors.known(error)
    if isinstance(mine, UnauthenticatedError) and request.method in ("GET", "HEAD"):
        return go(asked, f"{SIGN_IN}?next={quote(_wanted(asked), safe='/')}")
    grant = asked.grant
    errors.tell_refused(request.scope, mine, _request_id(asked))
    told = errors.explain(
        error,
        method=request.method,
        path=request.scope["path"],
        request_id=_request_id(asked),
        who=grant.principal if grant else "",
    )
    hint = mine.hint or _HINT
    if isinstance(mine, NotFoundError) and grant is None:
        hint = "It may be there once you have signed in."
    return page(
        asked,
        "parts/error.html" if asked.is_part else "error.html",
        status=told.status,
        headers=told.headers,
        code=told.status,
        title=_title(told.status),
        message=mine.message,
        hint=hint,
        request_id=_request_id(asked) if told.status >= 500 else "",  # noqa: PLR2004
    )


def _wanted(request: PageRequest) -> str:
    return "/" if request.is_part else request.address


def _request_id(request: PageRequest) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


def _title(status: int) -> str:
    for _, code, words in errors.STATUSES:
        if code == status:
            return words
    return "The yard failed"
