"""Who asks, and whether they may. Each route declares its policy in `opt["need"]`; the guard enforces it.

The decision itself is two plain functions, `identify` and `authorise`, which the prediction doors use, too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar, cast

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import BaseRouteHandler

from modelyard.api.errors import NOWHERE
from modelyard.api.requests import caller_address
from modelyard.api.services import Services
from modelyard.catalog.people import hash_secret
from modelyard.records.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
    UnsupportedError,
)
from modelyard.records.people import MATRIX, Grant, Kind, Need, thing_of
from modelyard.records.rollouts import RouteTable
from modelyard.serving.routes import check_confirmed
from modelyard.store.audit import Origin, came_from

JSON = ("application/json",)
T = TypeVar("T")

_LOOK_EVERY = 0.2  # seconds
_OF_THE_YARD = frozenset({Need.NOTHING, Need.SIGNED_IN, Need.OVERSEE, Need.ADMINISTER})
# What a department and a name in a path are of, by the step before them; of anything else nothing is shared.
_KINDS = {"models": Kind.MODEL, "datasets": Kind.DATASET, "data": Kind.DATASET}
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_SAFE = frozenset({"GET", "HEAD"})


# The tokens that came in on this process since they were last written down; see `take_used`.
_used: set[int] = set()


def identify(authorization: str | None, table: RouteTable, now: float | None = None) -> Grant:
    """Whose token this is.

    Args:
        authorization: the header's value, or None.
        table: the routes, with the tokens in them.
        now: seconds since 1970; by default the clock's.

    Raises:
        UnauthenticatedError: no token, or one that is not valid. Unknown, expired and revoked look alike.
    """
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise UnauthenticatedError(
            "This address needs a token.",
            "Send the header `Authorization: Bearer TOKEN`; an owner of the department makes tokens.",
        )
    grant = table.tokens.get(hash_secret(secret))
    if grant is None or (grant.expires is not None and grant.expires <= (now or time.time())):
        raise UnauthenticatedError(
            "The token is unknown, has expired or was revoked.",
            "Ask an owner of the department for a new one, then run `yard login`.",
        )
    _used.add(grant.token_id)
    return grant


def take_used() -> frozenset[int]:
    """The ids of the tokens that came in on this process since the last call."""
    taken = frozenset(_used) - {0}  # a session has none
    _used.clear()
    return taken


def authorise(grant: Grant, need: Need, department: str | None = None, thing: str = "") -> None:
    """Nothing if the grant is enough.

    Args:
        thing: the model or dataset that it is about (see `records.people.thing_of`), or nothing.

    Raises:
        NotFoundError: it is not theirs to know of; the same words whether it exists or not.
        ForbiddenError: it is, but the role is not enough.
    """
    if grant.allows(need, department, thing):
        return
    if department is not None and not grant.allows(Need.SEE, department, thing):
        raise NotFoundError(NOWHERE)
    enough = [role.value for role, needs in MATRIX.items() if need in needs]
    where = f"the department {department}" if department else "the yard"
    raise ForbiddenError(
        f"Your role ({grant.words}) is not enough: this needs the role {' or '.join(enough)} in {where}.",
        "Ask someone who has it, or for a token with that role.",
    )


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Litestar's guard on every route: the token, the policy, whether it is the original, the content's kind.

    A route whose method changes something, and that does not, says so: `opt["changes"] = False`.
    """
    need: Need = handler.opt["need"]
    services = cast("Services", connection.app.state.services)
    changes = connection.scope.get("method") not in _SAFE and handler.opt.get("changes", True)
    if need is Need.NOTHING:
        came_from(_origin(connection, ""))
        if changes:
            await _refuse_copy(services)
        return
    headers = connection.headers.getall("authorization", [])
    grant = identify(headers[0] if len(headers) == 1 else None, services.table())
    connection.scope["state"]["grant"] = grant
    came_from(_origin(connection, f"token {grant.token_id}" if grant.token_id else "session"))
    check_confirmed(services.table(), need)
    authorise(grant, need, *place_of(connection))
    if changes:
        await _refuse_copy(services)
    _check_content_type(connection, handler.opt.get("takes", JSON))
    if need is Need.READ_DATA:
        await _tell_audit(connection, services, grant)


async def _refuse_copy(services: Services) -> None:
    """Nothing, if this node is the only one with its records; see `loop.beat`.

    Raises:
        ConflictError: what would be changed here the original would never learn.
    """
    if (await asyncio.to_thread(services.nodes.pulse)).trouble:
        raise ConflictError(
            "Nothing was changed: this is a copy of a yard that goes on elsewhere and would not learn of it.",
            "Send it to the original. `yard doctor` says here where it is, and what to do if this one shall "
            "live apart.",
        )


async def _tell_audit(
    connection: ASGIConnection[Any, Any, Any, Any], services: Services, grant: Grant
) -> None:
    """Data is read, or a model's files: before they leave, it is written who did it."""
    if connection.scope["state"].get("head"):
        return
    given = connection.path_params
    subject = "/".join(str(given[name]) for name in ("department", "name", "version") if name in given)
    after = {
        "address": connection.scope["path_template"],
        "query": connection.scope["query_string"].decode("latin-1"),
    }
    note = partial(services.audit.note, by=grant.principal, action="data.read", subject=subject, after=after)
    await asyncio.to_thread(note)


def _origin(connection: ASGIConnection[Any, Any, Any, Any], via: str) -> Origin:
    """For the audit."""
    address = caller_address(connection.scope)
    return Origin(address, connection.scope["state"].get("request_id", ""), via)


def reauthorise(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """The guard's decision once more, at the end of something long: rights may be gone by then."""
    services = cast("Services", connection.app.state.services)
    grant = identify(connection.headers.get("authorization"), services.table())
    check_confirmed(services.table(), connection.route_handler.opt["need"])
    authorise(grant, connection.route_handler.opt["need"], *place_of(connection))


def while_allowed(
    connection: ASGIConnection[Any, Any, Any, Any], pieces: Iterable[bytes | str]
) -> Iterator[bytes | str]:
    """The pieces of something long that is sent, cut off where the rights go meanwhile."""
    for piece in pieces:
        reauthorise(connection)
        yield piece


async def wait_for(
    connection: ASGIConnection[Any, Any, Any, Any],
    look: Callable[[], Awaitable[T]],
    is_over: Callable[[T, T], bool],
    seconds: float,
) -> T:
    """What `look` finds once `is_over` says so of the first find and the last one, or after so many seconds.

    Whoever waits must still be allowed to at each look.
    """
    end = time.monotonic() + seconds
    first = now = await look()
    while not is_over(first, now) and time.monotonic() < end:
        await asyncio.sleep(_LOOK_EVERY)
        now = await look()
        reauthorise(connection)
    return now


def place_of(connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[str | None, str]:
    """The department that a path names (or None), and the model or dataset in it (or nothing)."""
    department, name = connection.path_params.get("department"), connection.path_params.get("name")
    if department is None or name is None:
        return department, ""
    before = connection.scope["path_template"].partition("/{department")[0].rpartition("/")[2]
    kind = _KINDS.get(before)
    return department, "" if kind is None else thing_of(kind, f"{department}/{name}")


def check_policies(app: Litestar) -> None:
    """Refuse to start with a route that nobody has thought about.

    Raises:
        ImproperlyConfiguredException: a route without a policy, or with one that does not fit its path.
    """
    for path, handler in routes(app):
        need = handler.opt.get("need")
        if not isinstance(need, Need):
            raise ImproperlyConfiguredException(f"The route {path} ({handler}) declares no policy.")
        if ("{department}" in path) == (need in _OF_THE_YARD):
            raise ImproperlyConfiguredException(
                f"The policy {need} of {path} ({handler}) does not fit: a need that is held in a department "
                "goes with a path that names the department, and no other."
            )


def routes(app: Litestar) -> Iterable[tuple[str, BaseRouteHandler]]:
    """Every path with its handlers. OPTIONS handlers, which Litestar adds by itself, are left out: the
    door lets no OPTIONS in.
    """
    for route in app.routes:
        handlers = getattr(route, "route_handlers", None) or [route.route_handler]  # type: ignore[union-attr]
        for handler in handlers:
            if getattr(handler, "http_methods", None) != {"OPTIONS"}:
                yield route.path_format, handler


def _check_content_type(connection: ASGIConnection[Any, Any, Any, Any], takes: tuple[str, ...]) -> None:
    if connection.scope.get("method") not in _WITH_BODY:
        return
    given = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in takes:
        raise UnsupportedError(
            f"The content type {given or '(none)'!r} is not taken here.", f"Send {' or '.join(takes)}."
        )
