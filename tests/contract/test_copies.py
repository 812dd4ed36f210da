"""A copy of a yard that goes on elsewhere changes nothing: every route that would says so, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from modelyard.api.auth import routes
from modelyard.catalog.leases import Leases
from modelyard.loop.tick import now
from modelyard.records.nodes import Pulse
from modelyard.records.people import Role
from modelyard.store import audit, state
from tests.contract.api_house import HERE, MODEL
from tests.contract.test_web_policies import VALUES, Visitors, visited

COPY = Pulse(
    "here", 7, "The yard whose records these are answers at http://10.0.0.1:8080: this is a copy of it."
)
# What changes nothing but a session, or nothing at all, with a method that could.
HARMLESS = {"/sign-in", "/sign-out", "/audit/verify"} | {
    f"/models/{{department}}/{{name}}/{rest}" for rest in ("try", "try/file")
}
MORE = {"alias": "champion", "node": "nobody", "metric": "own", "verdict": "1"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitors]:
    with visited(tmp_path_factory.mktemp("copies")) as house:
        yield house


@pytest.fixture
def house(made: Visitors) -> Visitors:
    """A yard whose engine says that it is a copy."""
    made.services.nodes.tell(COPY)
    return made


def ask(house: Visitors, method: str, path: str) -> httpx.Response:
    """As somebody who may do anything; a page by a session, the rest by a token."""
    address = path.format(department=HERE, **VALUES, **MORE)
    if path.startswith("/api/"):
        return house.ask(method, address, Role.ADMINISTRATOR, json={})
    return house.go(method, address, Role.ADMINISTRATOR, None)


def kept(house: Visitors) -> tuple[int, int]:
    """How much was written: the yard's generation, and entries of the audit."""
    with house.registry._database.read() as connection:
        return state.generation(connection), len(audit.following(connection, 0, 10_000))


def test_every_route_that_changes_something_is_refused_with_words(house: Visitors) -> None:
    app: Any = house.app._app
    found = {
        (method, path)
        for path, handler in routes(app)
        for method in handler.http_methods  # type: ignore[attr-defined]
        if method not in ("GET", "HEAD")
    }
    assert len(found) > 90
    before = kept(house)
    answers = {route: ask(house, *route) for route in sorted(found) if route[1] not in HARMLESS}
    assert {route: a.status_code for route, a in answers.items() if a.status_code != 409} == {}
    assert kept(house) == before
    told = answers["DELETE", "/api/v1/nodes/{node}"].json()
    assert told["detail"].startswith("Nothing was changed: this is a copy of a yard that goes on elsewhere")
    assert "yard doctor" in told["hint"]
    assert "this is a copy of a yard" in answers["POST", "/reset"].text
    assert not [route for route, a in answers.items() if "10.0.0.1" in a.text]  # not everybody's to know


def test_it_is_read_and_asked_as_ever_and_says_what_it_is(house: Visitors) -> None:
    for method, path in [("POST", path) for path in sorted(HARMLESS - {"/sign-out"})] + [("GET", "/alerts")]:
        assert ask(house, method, path).status_code != 409, path
    assert house.ask("GET", f"/api/v1/models/{MODEL}", Role.VIEWER).status_code == 200
    house.services.nodes.enter("boot", "http://10.0.0.2:8080", "1.0")
    (node,) = house.ask("GET", "/api/v1/nodes", Role.AUDITOR).json()
    assert node["words"] == COPY.trouble
    assert "YARD_APART" in node["hint"]


def test_who_may_not_anyway_is_told_that_and_no_more(house: Visitors) -> None:
    path = f"/api/v1/models/{MODEL}/aliases/champion"
    assert house.ask("PUT", path, json={"version": 1}).status_code == 401
    assert house.ask("PUT", path, Role.VIEWER, json={"version": 1}).status_code == 403
    assert house.ask("PUT", path, Role.OWNER, "operations", json={"version": 1}).status_code == 404


def test_it_changes_again_once_the_other_is_gone(house: Visitors) -> None:
    path = f"/api/v1/models/{MODEL}/aliases/champion"
    assert house.ask("PUT", path, Role.OWNER, json={"version": 1}).status_code == 409
    house.services.nodes.tell(Pulse("here", 8))
    assert house.ask("PUT", path, Role.OWNER, json={"version": 1}).status_code == 200


def test_its_engine_takes_no_work_that_nodes_find_for_themselves(house: Visitors) -> None:
    leases = Leases(house.registry._database, "here", now, may_act=lambda: False)
    with leases.hold("check", "ops.a.1") as is_ours:
        assert not is_ours
