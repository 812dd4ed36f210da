"""Every page, every method, every role, own and other department, by the pages' own session.

As for the API: the table is written by hand, the cases come from the application's own routes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.api.auth import routes
from modelyard.catalog.people import People, hash_secret
from modelyard.catalog.registry import Registry
from modelyard.records.errors import InvalidError
from modelyard.records.people import MATRIX, YARD_ROLES, Need, Role
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.web.behind import Behind
from modelyard.web.pages import create_pages
from modelyard.web.pulse import Pulse
from modelyard.web.site import Site
from tests.contract.api_house import ELSEWHERE, HERE, House

_M = "/models/{department}/{name}"
_D = "/datasets/{department}/{name}"
POLICIES = {
    Need.NOTHING: {
        ("GET", "/static/{mark}/{file}"),
        ("GET", "/sign-in"),
        ("POST", "/sign-in"),
        ("POST", "/sign-out"),
        ("GET", "/sign-in/company"),
        ("GET", "/sign-in/company/back"),
        ("GET", "/invitation"),
        ("POST", "/invitation"),
        ("GET", "/reset"),
        ("POST", "/reset"),
        ("GET", "/{rest}"),
    },
    Need.SIGNED_IN: {
        ("GET", "/"),
        ("GET", "/start"),
        ("GET", "/datasets"),
        ("GET", "/jobs"),
        ("GET", "/alerts"),
        ("GET", "/watch"),
        ("GET", "/ledger"),
        ("GET", "/ledger/report/{form}"),
        ("GET", "/jobs/compare"),
        ("GET", "/live"),
        ("GET", "/people"),
        ("GET", "/me"),
        ("POST", "/me/tokens"),
        ("POST", "/me/tokens/{token}/revoke"),
        ("POST", "/me/password"),
    },
    Need.SEE: {
        ("GET", _M),
        ("GET", _M + "/versions"),
        ("GET", _M + "/versions/{version}"),
        ("GET", _M + "/compare"),
        ("GET", _M + "/rollout"),
        ("GET", _M + "/history"),
        ("GET", _M + "/performance"),
        ("GET", _M + "/drift"),
        ("GET", _M + "/refits"),
        ("GET", _M + "/findings/{finding}"),
        ("GET", _M + "/versions/{version}/scan"),
        ("GET", _M + "/jobs/{job}"),
        ("GET", _M + "/jobs/{job}/news"),
        ("GET", _D),
        ("GET", _D + "/versions/{version}"),
    },
    Need.READ_DATA: {("GET", _D + "/changes"), ("GET", _D + "/versions/{version}/rows")},
    Need.PREDICT: {
        ("GET", _M + "/try"),
        ("GET", _M + "/try/values"),
        ("POST", _M + "/try"),
        ("POST", _M + "/try/file"),
    },
    Need.PUBLISH: {
        ("GET", _M + "/card"),
        ("POST", _M + "/card"),
        ("POST", _M + "/jobs"),
        ("POST", "/alerts/{department}/{alert}/acknowledge"),
        ("POST", _M + "/findings/{finding}/acknowledge"),
        ("POST", _M + "/jobs/{job}/cancel"),
    },
    Need.PROMOTE: {
        ("POST", _M + "/versions/{version}/promote"),
        ("POST", _M + "/rollback"),
        ("POST", _M + "/versions/{version}/rollout"),
        ("POST", _M + "/rollout/approve"),
        ("POST", _M + "/rollout/stop"),
    },
    Need.REVIEW: {("GET", "/people/{department}")},
    Need.MANAGE: {
        ("POST", "/people/{department}"),
        ("POST", "/people/{department}/tokens/{token}/revoke"),
        ("POST", "/people/{department}/members"),
        ("POST", _M + "/jobs/{job}/hosts"),
        ("POST", _D + "/clearances"),
        ("POST", _D + "/clearances/revoke"),
        ("POST", _D + "/marks"),
        ("POST", "/people/{department}/grants"),
        ("POST", "/people/{department}/grants/{share}/revoke"),
    },
    Need.OVERSEE: {
        ("GET", "/yard"),
        ("GET", "/users"),
        ("GET", "/audit"),
        ("GET", "/audit/export"),
        ("POST", "/audit/verify"),
    },
    Need.ADMINISTER: {
        ("POST", "/people"),
        ("POST", "/people/tokens/{token}/revoke"),
        ("POST", "/users"),
        ("POST", "/users/{user}/link"),
        ("POST", "/users/{user}/change"),
    },
}
BY_ROUTE = {route: need for need, own in POLICIES.items() for route in own}
OF_THE_YARD = {Need.OVERSEE, Need.ADMINISTER}
VALUES = {
    "name": "fuel-cost",
    "version": "1",
    "token": "999999",
    "share": "999999",
    "job": "999999",
    "alert": "999999",
    "finding": "999999",
    "user": "nobody",
    "mark": "0",
    "file": "yard.css",
    "rest": "nowhere",
    "form": "html",
}


async def _nothing() -> dict[str, float]:
    return {}


async def _ask(*_: object) -> Any:
    raise InvalidError("There are no models here to ask.")


class Visitors(House):
    """A house with pages, and a session for every role.

    Attributes:
        cookies: (role, department) to a session's secret.
    """

    cookies: dict[tuple[Role, str | None], str]

    def come_in(self) -> None:
        """Begin the sessions."""
        self.cookies = {
            key: self.services.signing.by_token(self.table.tokens[hash_secret(secret)]).secret
            for key, secret in self.secrets.items()
        }
        self.swap()

    def go(self, method: str, path: str, who: Role | None, home: str | None) -> httpx.Response:
        """A request of a browser."""
        headers = {"Origin": "http://yard"}
        if who is not None:
            headers["Cookie"] = f"yard_session={self.cookies[who, home]}"
        data = {"x": "1"} if method == "POST" else None
        return self.ask(method, path, headers=headers, data=data)


@contextmanager
def visited(folder: Path) -> Iterator[Visitors]:
    """A yard's pages, on a folder, with a visitor of each role signed in."""
    database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
    database.upgrade()
    registry = Registry(database, Blobs(str(folder / "blobs")), folder / "scratch")

    def pages() -> Any:
        return create_pages(Behind(pulse=Pulse(_nothing), ask=_ask, max_body=1000, site=Site("http://yard")))

    with start_blocking_portal() as portal:
        made = Visitors(portal, registry, People(database), folder, pages)
        made.come_in()
        with made:
            yield made
    database.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitors]:
    with visited(tmp_path_factory.mktemp("pages")) as made:
        yield made


def test_every_page_is_in_the_table_with_its_policy(house: Visitors) -> None:
    litestar: Any = house.app._app
    found = {
        (method, path): handler.opt["need"]
        for path, handler in routes(litestar)
        if not path.startswith(("/api/", "/health/"))
        for method in handler.http_methods  # type: ignore[attr-defined]
    }
    assert found == BY_ROUTE


def expected(need: Need, method: str, role: Role | None, home: str | None, target: str) -> set[int]:
    """The statuses that are right; what a form that may come in meets then is not of interest here."""
    may = {200, 303, 400, 404, 409, 415, 422}
    if need is Need.NOTHING:
        return may | {401, 429}
    if role is None:
        return {303} if method == "GET" else {401}
    if need is Need.SIGNED_IN:
        return may
    everywhere = role in YARD_ROLES
    if need in OF_THE_YARD:
        return may if everywhere and need in MATRIX[role] else {403}
    if not everywhere and home != target:
        return {404}
    return may if need in MATRIX[role] else {403}


def test_every_page_for_every_role_and_department(house: Visitors) -> None:
    people = [
        (role, home) for role in Role for home in ((None,) if role in YARD_ROLES else (HERE, ELSEWHERE))
    ]
    wrong = []
    for (method, path), need in BY_ROUTE.items():
        if path in ("/live", "/sign-out"):  # a stream without an end; the end of the session
            continue
        for role, home in [(None, None), *people]:
            right = expected(need, method, role, home, HERE)
            got = house.go(method, path.format(department=HERE, **VALUES), role, home).status_code
            if got not in right:
                wrong.append(f"{method:6} {path:60} {role!s:13} of {home!s:10}: {got}, not {sorted(right)}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_42_pages_of_another_department_look_like_none(house: Visitors) -> None:
    for (method, path), need in BY_ROUTE.items():
        if "{department}" in path and need is not Need.NOTHING:
            there, nowhere = (
                house.go(method, path.format(department=place, **VALUES), Role.OWNER, HERE)
                for place in (ELSEWHERE, "no-such-department")
            )
            assert there.status_code == nowhere.status_code == 404, (method, path)
            assert there.content == nowhere.content, (method, path)


def test_head_is_get_without_a_body_and_other_methods_are_refused(house: Visitors) -> None:
    for (method, path), need in BY_ROUTE.items():
        address = path.format(department=HERE, **VALUES)
        if method == "GET" and path not in ("/live", "/sign-in/company"):
            head = house.go("HEAD", address, Role.VIEWER, HERE)
            assert head.status_code == house.go("GET", address, Role.VIEWER, HERE).status_code, (path, need)
            assert head.content == b""
        for other in ("OPTIONS", "PATCH", "TRACE"):
            assert house.go(other, address, Role.ADMINISTRATOR, None).status_code == 405


def test_the_yards_page_tells_of_a_node_that_is_dead(house: Visitors) -> None:
    nodes = house.services.nodes
    nodes.enter("boot", "http://10.0.0.1:8080", "1.0")
    with nodes._database.write(unaudited="a test") as connection:
        connection.exec_driver_sql("UPDATE nodes SET seen_at = seen_at - 60000000")
    text = house.go("GET", "/yard", Role.ADMINISTRATOR, None).text
    assert "http://10.0.0.1:8080" in text
    assert "It was not heard of for 1 min" in text
    assert "yard nodes forget here" in text


def test_the_yards_page_has_backups_and_settings_and_no_password(house: Visitors) -> None:
    made = datetime.now(UTC)
    house.services.backups.record("backup", made, "Backup 20261126T000000Z holds 7 rows.", ok=True)
    house.services.backups.record("drill", made, "The drill failed: <b>no</b> room", ok=False)
    text = house.go("GET", "/yard", Role.ADMINISTRATOR, None).text
    assert "Backup 20261126T000000Z holds 7 rows." in text
    assert "The drill failed: &lt;b&gt;no&lt;/b&gt; room" in text
    assert "postgresql://…@db/yard" in text
    assert "YARD_SHIP_AFTER" in text
    assert "hunter2" not in text
