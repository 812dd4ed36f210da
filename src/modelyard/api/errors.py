"""Errors to HTTP, here alone: RFC 9457 problems with the right status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from msgspec import Struct

from modelyard.records.errors import (
    BusyError,
    ConflictError,
    DeadlineError,
    ForbiddenError,
    InvalidError,
    LimitedError,
    MalformedError,
    ModelError,
    NotFoundError,
    QuotaError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedError,
    WorkerLostError,
    WorkerStartError,
    YardError,
)
from modelyard.records.references import shown

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
NOWHERE = "There is nothing at this address, or nothing that you may see."
REFUSED = "modelyard.refused"  # where a front puts `Refusals.note` in the scope of a request
_INTERNAL = 500


class MethodError(YardError):
    """The address exists, but not with this method."""

    code = "method"


# The first that fits counts, so a class stands before the ones it is derived from.
STATUSES: tuple[tuple[type[YardError], int, str], ...] = (
    (MalformedError, 400, "The request cannot be read"),
    (UnauthenticatedError, 401, "A valid token is needed"),
    (ForbiddenError, 403, "Not allowed"),
    (NotFoundError, 404, "Not found"),
    (MethodError, 405, "No such method here"),
    (ConflictError, 409, "The state does not allow it"),
    (TooLargeError, 413, "Too large"),
    (UnsupportedError, 415, "This kind of content is not taken"),
    (InvalidError, 422, "The input breaks a rule"),
    (ModelError, 500, "The model failed"),
    (WorkerLostError, 502, "The worker died"),
    (WorkerStartError, 503, "The worker could not be started"),
    (LimitedError, 429, "Too many attempts"),
    (QuotaError, 429, "Too many rows a second"),
    (BusyError, 503, "Not now"),
    (DeadlineError, 504, "No answer in time"),
)


class Problem(Struct, frozen=True):
    """An answer that tells of an error, ready to send.

    Attributes:
        headers: beside the content type: `WWW-Authenticate`, `Retry-After`.
        body: JSON with `type`, `title`, `status`, `detail`, `hint` and the error's own fields.
    """

    status: int
    headers: dict[str, str]
    body: bytes


def problem(error: YardError, request_id: str = "") -> Problem:
    """The answer for an error of ours.

    Args:
        error: what happened.
        request_id: is repeated in the body where a person needs it to find the log line.

    >>> problem(NotFoundError("There is no model finance/x.")).status
    404
    """
    status, title = _status_and_title(error)
    body: dict[str, object] = {k: v for k, v in error.fields.items() if v is not None}
    body |= {
        "type": f"urn:problem-type:modelyard:{error.code}",
        "title": title,
        "status": status,
        "detail": error.message,
        "hint": error.hint,
    }
    if status >= _INTERNAL and request_id:
        body["request_id"] = request_id
    headers = {}
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, BusyError):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return Problem(status, headers, msgspec.json.encode(body, enc_hook=str))


def known(error: Exception) -> YardError:
    """Any exception as an error of ours; of an unexpected one nothing is told but that it happened."""
    if isinstance(error, YardError):
        return error
    if isinstance(error, RecursionError):
        return MalformedError("The JSON is nested too deep.", "Send what the API's description shows.")
    if isinstance(error, ValidationException):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _from_litestar(error)
    return YardError(
        "The yard failed on this request; this is a fault of the yard, not of the request.",
        "Tell the operator the request id; the log has it.",
    )


def explain(error: Exception, *, method: str, path: str, request_id: str, who: str = "") -> Problem:
    """The answer for any exception, with a line in the log that has the request id."""
    mine = known(error)
    answer = problem(mine, request_id)
    words = "%s %s %s: %s %s (%s) by %s"
    values = (request_id, method, shown(path), answer.status, mine.code, shown(mine.message), who or "-")
    beside = {"request_id": request_id}
    if not isinstance(error, YardError | HTTPException | RecursionError):
        log.error(words, *values, exc_info=error, extra=beside)
    elif answer.status >= _INTERNAL:
        log.warning(words, *values, extra=beside)
    else:
        log.info(words, *values, extra=beside)
    return answer


def tell_refused(scope: Mapping[str, Any], error: Exception, request_id: str) -> None:
    """Have the front count it for the audit if this is a refusal, where there is a front that does."""
    note = scope.get(REFUSED)
    if note is not None and isinstance(error, YardError):
        note(scope, error, request_id)


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    state = request.scope.get("state", {})
    grant = state.get("grant")
    tell_refused(request.scope, error, state.get("request_id", ""))
    answer = explain(
        error,
        method=request.scope["method"],
        path=request.scope["path"],
        request_id=state.get("request_id", ""),
        who=grant.principal if grant else "",
    )
    headers = dict(answer.headers)
    if isinstance(error, HTTPException) and error.headers and "allow" in error.headers:
        headers["Allow"] = error.headers["allow"]
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=PROBLEM_TYPE)


def _status_and_title(error: YardError) -> tuple[int, str]:
    for kind, status, title in STATUSES:
        if isinstance(error, kind):
            return status, title
    return _INTERNAL, "The yard failed"


def _from_litestar(error: HTTPException) -> YardError:
    """What the framework refuses before a handler runs."""
    if error.status_code == 404:  # noqa: PLR2004
        return NotFoundError(NOWHERE)
    if error.status_code == 405:  # noqa: PLR2004
        return MethodError("This address does not take this method.", "See /api/openapi.json.")
    if error.status_code == 413:  # noqa: PLR2004
        return TooLargeError("The request's body is over the limit of 1 MiB.", "Send less.")
    if error.status_code < _INTERNAL:
        return MalformedError(f"The request cannot be read: {error.detail}.")
    return YardError("The yard failed on this request.", "Tell the operator the request id.")


def _invalid(error: ValidationException) -> InvalidError | MalformedError:
    extra = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    message, key = str(extra.get("message", error.detail)), extra.get("key")
    if key == "data":
        return MalformedError("The request has no body.", "Send JSON; /api/openapi.json shows its form.")
    where = f" of {key!r}" if key else ""
    return InvalidError(f"The value{where} cannot be used: {message}.", "See /api/openapi.json.", field=key)
