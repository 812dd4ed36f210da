"""Every route, every method, every role, own and other department: nobody gets in who should not.

The table below is written by hand, so that a change of policy is seen by a person; the cases come from the
application's own routes, so that no route is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException

from modelyard.api.application import create_api
from modelyard.api.auth import check_policies, routes
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.people import MATRIX, YARD_ROLES, Need, Role
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from tests.contract.api_house import ELSEWHERE, HERE, House

POLICIES = {
    ("GET", "/health/live"): Need.NOTHING,
    ("GET", "/health/ready"): Need.NOTHING,
    ("GET", "/health/node"): Need.NOTHING,
    ("GET", "/api/v1/nodes"): Need.OVERSEE,
    ("DELETE", "/api/v1/nodes/{node}"): Need.ADMINISTER,
    ("GET", "/api/v1/grace"): Need.OVERSEE,
    ("PUT", "/api/v1/grace/{name}"): Need.ADMINISTER,
    ("GET", "/api/openapi.json"): Need.SIGNED_IN,
    ("GET", "/api/v1/whoami"): Need.SIGNED_IN,
    ("GET", "/api/v1/yard"): Need.SIGNED_IN,
    ("GET", "/api/v1/workers"): Need.OVERSEE,
    ("GET", "/api/v1/me/tokens"): Need.SIGNED_IN,
    ("POST", "/api/v1/me/tokens"): Need.SIGNED_IN,
    ("DELETE", "/api/v1/me/tokens/{token}"): Need.SIGNED_IN,
    ("GET", "/api/v1/audit"): Need.OVERSEE,
    ("GET", "/api/v1/keys"): Need.OVERSEE,
    ("POST", "/api/v1/keys/rotate"): Need.ADMINISTER,
    ("POST", "/api/v1/keys/sign"): Need.ADMINISTER,
    ("GET", "/api/v1/models/{department}/{name}/versions/{version}/provenance"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/versions/{version}/scan"): Need.SEE,
    ("GET", "/api/v1/audit/export"): Need.OVERSEE,
    ("GET", "/api/v1/audit/verify"): Need.OVERSEE,
    ("GET", "/api/v1/departments/{department}/audit"): Need.REVIEW,
    ("GET", "/api/v1/models/{department}/{name}/answering"): Need.SEE,
    ("GET", "/api/v1/departments"): Need.SIGNED_IN,
    ("POST", "/api/v1/departments"): Need.ADMINISTER,
    ("GET", "/api/v1/users"): Need.OVERSEE,
    ("GET", "/api/v1/users/{user}"): Need.OVERSEE,
    ("POST", "/api/v1/users"): Need.ADMINISTER,
    ("POST", "/api/v1/users/{user}/link"): Need.ADMINISTER,
    ("PUT", "/api/v1/users/{user}/identity"): Need.ADMINISTER,
    ("PUT", "/api/v1/users/{user}/role"): Need.ADMINISTER,
    ("DELETE", "/api/v1/users/{user}/role"): Need.ADMINISTER,
    ("PUT", "/api/v1/users/{user}/disabled"): Need.ADMINISTER,
    ("GET", "/api/v1/departments/{department}/members"): Need.REVIEW,
    ("PUT", "/api/v1/departments/{department}/members/{user}"): Need.MANAGE,
    ("DELETE", "/api/v1/departments/{department}/members/{user}"): Need.MANAGE,
    ("GET", "/api/v1/grants"): Need.OVERSEE,
    ("GET", "/api/v1/departments/{department}/grants"): Need.REVIEW,
    ("POST", "/api/v1/departments/{department}/grants"): Need.MANAGE,
    ("DELETE", "/api/v1/departments/{department}/grants/{share}"): Need.MANAGE,
    ("GET", "/api/v1/tokens"): Need.OVERSEE,
    ("POST", "/api/v1/tokens"): Need.ADMINISTER,
    ("DELETE", "/api/v1/tokens/{token}"): Need.ADMINISTER,
    ("GET", "/api/v1/departments/{department}/tokens"): Need.REVIEW,
    ("POST", "/api/v1/departments/{department}/tokens"): Need.MANAGE,
    ("DELETE", "/api/v1/departments/{department}/tokens/{token}"): Need.MANAGE,
    ("GET", "/api/v1/ledger"): Need.SIGNED_IN,
    ("GET", "/api/v1/ledger/rates"): Need.SIGNED_IN,
    ("PUT", "/api/v1/ledger/rates"): Need.ADMINISTER,
    ("GET", "/api/v1/ledger/report"): Need.SIGNED_IN,
    ("PUT", "/api/v1/departments/{department}/budget"): Need.MANAGE,
    ("DELETE", "/api/v1/departments/{department}/budget"): Need.MANAGE,
    ("PUT", "/api/v1/models/{department}/{name}/budget"): Need.MANAGE,
    ("DELETE", "/api/v1/models/{department}/{name}/budget"): Need.MANAGE,
    ("GET", "/api/v1/models/{department}/{name}/value"): Need.SEE,
    ("PUT", "/api/v1/models/{department}/{name}/worth"): Need.PROMOTE,
    ("DELETE", "/api/v1/models/{department}/{name}/worth"): Need.PROMOTE,
    ("GET", "/api/v1/jobs"): Need.SIGNED_IN,
    ("POST", "/api/v1/models/{department}/{name}/jobs"): Need.PUBLISH,
    ("POST", "/api/v1/models/{department}/{name}/jobs/again"): Need.PUBLISH,
    ("GET", "/api/v1/models/{department}/{name}/hosts"): Need.SEE,
    ("PUT", "/api/v1/models/{department}/{name}/hosts"): Need.MANAGE,
    ("GET", "/api/v1/models/{department}/{name}/jobs/{job}"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/jobs/{job}/log"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/jobs/{job}/metrics"): Need.SEE,
    ("POST", "/api/v1/models/{department}/{name}/jobs/{job}/cancel"): Need.PUBLISH,
    ("GET", "/api/v1/models"): Need.SIGNED_IN,
    ("GET", "/api/v1/models/{department}/{name}"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/history"): Need.SEE,
    ("GET", "/api/v1/backups"): Need.OVERSEE,
    ("GET", "/api/v1/checkup"): Need.OVERSEE,
    ("GET", "/api/v1/trust"): Need.OVERSEE,
    ("PUT", "/api/v1/trust/{name}"): Need.ADMINISTER,
    ("GET", "/api/v1/models/{department}/{name}/capacity"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/card"): Need.SEE,
    ("PUT", "/api/v1/models/{department}/{name}/capacity"): Need.PROMOTE,
    ("PUT", "/api/v1/models/{department}/{name}/card"): Need.PUBLISH,
    ("GET", "/api/v1/models/{department}/{name}/versions"): Need.SEE,
    ("POST", "/api/v1/models/{department}/{name}/versions"): Need.PUBLISH,
    ("GET", "/api/v1/models/{department}/{name}/versions/{version}"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/versions/{version}/log"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/versions/{version}/bundle"): Need.READ_DATA,
    ("GET", "/api/v1/models/{department}/{name}/predictions"): Need.READ_DATA,
    ("GET", "/api/v1/models/{department}/{name}/watch"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/outcomes"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/performance"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/findings"): Need.SEE,
    ("POST", "/api/v1/models/{department}/{name}/findings/{finding}/acknowledge"): Need.PUBLISH,
    ("GET", "/api/v1/models/{department}/{name}/metrics"): Need.SEE,
    ("PUT", "/api/v1/models/{department}/{name}/metrics/{metric}"): Need.PROMOTE,
    ("DELETE", "/api/v1/models/{department}/{name}/metrics/{metric}"): Need.PROMOTE,
    ("GET", "/api/v1/models/{department}/{name}/keeping"): Need.SEE,
    ("PUT", "/api/v1/models/{department}/{name}/keeping"): Need.PROMOTE,
    ("PUT", "/api/v1/models/{department}/{name}/aliases/{alias}"): Need.PROMOTE,
    ("DELETE", "/api/v1/models/{department}/{name}/aliases/{alias}"): Need.PROMOTE,
    ("POST", "/api/v1/models/{department}/{name}/rollback"): Need.PROMOTE,
    ("GET", "/api/v1/alerts"): Need.SIGNED_IN,
    ("POST", "/api/v1/departments/{department}/alerts/{alert}/acknowledge"): Need.PUBLISH,
    ("GET", "/api/v1/departments/{department}/channels"): Need.MANAGE,
    ("PUT", "/api/v1/departments/{department}/channels/{name}"): Need.MANAGE,
    ("DELETE", "/api/v1/departments/{department}/channels/{name}"): Need.MANAGE,
    ("POST", "/api/v1/departments/{department}/channels/{name}/test"): Need.MANAGE,
    ("GET", "/api/v1/datasets"): Need.SIGNED_IN,
    ("GET", "/api/v1/datasets/{department}/{name}"): Need.SEE,
    ("GET", "/api/v1/datasets/{department}/{name}/versions"): Need.SEE,
    ("POST", "/api/v1/datasets/{department}/{name}/versions"): Need.PUBLISH,
    ("GET", "/api/v1/datasets/{department}/{name}/versions/{version}"): Need.SEE,
    ("GET", "/api/v1/datasets/{department}/{name}/versions/{version}/content"): Need.READ_DATA,
    ("GET", "/api/v1/datasets/{department}/{name}/versions/{version}/rows"): Need.READ_DATA,
    ("GET", "/api/v1/datasets/{department}/{name}/versions/{version}/changes"): Need.READ_DATA,
    ("GET", "/api/v1/datasets/{department}/{name}/models"): Need.SEE,
    ("PUT", "/api/v1/datasets/{department}/{name}/marks"): Need.PUBLISH,
    ("GET", "/api/v1/datasets/{department}/{name}/clearances"): Need.MANAGE,
    ("POST", "/api/v1/datasets/{department}/{name}/clearances"): Need.MANAGE,
    ("POST", "/api/v1/datasets/{department}/{name}/clearances/revoke"): Need.MANAGE,
    ("POST", "/api/v1/datasets/{department}/{name}/snapshot"): Need.PUBLISH,
    ("GET", "/api/v1/departments/{department}/connections"): Need.PUBLISH,
    ("PUT", "/api/v1/departments/{department}/connections/{name}"): Need.MANAGE,
    ("DELETE", "/api/v1/departments/{department}/connections/{name}"): Need.MANAGE,
    ("GET", "/api/v1/rollouts"): Need.SIGNED_IN,
    ("GET", "/api/v1/models/{department}/{name}/rollouts"): Need.SEE,
    ("POST", "/api/v1/models/{department}/{name}/rollouts"): Need.PROMOTE,
    ("POST", "/api/v1/models/{department}/{name}/rollouts/approve"): Need.PROMOTE,
    ("POST", "/api/v1/models/{department}/{name}/rollouts/stop"): Need.PROMOTE,
    ("POST", "/api/v1/models/{department}/{name}/versions/{version}/verdicts/file"): Need.PUBLISH,
    ("POST", "/api/v1/models/{department}/{name}/versions/{version}/verdicts"): Need.PUBLISH,
    ("GET", "/api/v1/models/{department}/{name}/verdicts"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/verdicts/{verdict}"): Need.SEE,
    ("GET", "/api/v1/models/{department}/{name}/refits"): Need.SEE,
    ("POST", "/api/v1/models/{department}/{name}/refits"): Need.PUBLISH,
    ("GET", "/api/v1/models/{department}/{name}/policy"): Need.SEE,
    ("PUT", "/api/v1/models/{department}/{name}/policy"): Need.PROMOTE,
    ("PUT", "/api/v1/models/{department}/{name}/policy/paused"): Need.PROMOTE,
}
OF_THE_YARD = {Need.SIGNED_IN, Need.OVERSEE, Need.ADMINISTER}
BODIES: dict[str, dict[str, Any]] = {
    "hosts": {"json": {"hosts": ["files.example.org:443"]}},
    "versions": {"content": b"no tar", "headers": {"Content-Type": "application/x-tar"}},
    "file": {
        "content": b"x\n1\n",
        "headers": {"Content-Type": "text/csv"},
        "params": {"target": "x", "rolls_out": "false"},
    },
    "tokens": {"json": {"name": "x", "principal": "y", "role": "viewer"}},
    "champion": {"json": {"version": 1}},
    "keeping": {"json": {"days": 30}},
    "acknowledge": {"json": {}},
    "departments": {"json": {"name": "finance"}},
    "users": {"json": {"name": "administrator-finance"}},
    "link": {"json": {}},
    "identity": {"json": {"issuer": "https://x", "subject": "1"}},
    "role": {"json": {"role": "auditor"}},
    "trust": {"json": {"trusted": True}},
    "disabled": {"json": {"disabled": True}},
    "{user}": {"json": {"role": "viewer"}},
    "grants": {"json": {"name": "fuel-cost", "right": "see", "principal": "nobody"}},
    "card": {"json": {"text": "What it is for."}},
    "capacity": {"json": {"max_replicas": 2}},
    "{metric}": {"json": {}},
    "rollback": {"json": {}},
    "rollouts": {"json": {"version": 1}},
    "approve": {"json": {}},
    "rotate": {"json": {}},
    "sign": {"json": {"model": "finance/fuel-cost", "version": 1}},
    "rates": {"json": {"currency": "EUR", "cpu_hour": "0.05", "gb_month": "0.02"}},
    "budget": {"json": {"amount": "250"}},
    "worth": {"json": {"kind": "time", "currency": "EUR", "minutes": "2", "hour": "40"}},
    "stop": {"json": {}},
    "jobs": {"content": b"no tar", "headers": {"Content-Type": "application/x-tar"}},
    "again": {"json": {}},
    "cancel": {"json": {}},
    "refits": {"json": {}},
    "verdicts": {"json": {"dataset": "finance/none", "target": "x", "rolls_out": False}},
    "policy": {"json": {}},
    "paused": {"json": {"paused": True}},
    "test": {"json": {}},
    "marks": {"json": {"marks": {}}},
    "clearances": {"json": {"principal": "ben", "mark": "personal"}},
    "revoke": {"json": {"principal": "ben", "mark": "personal"}},
    "snapshot": {"json": {}},
    "{name}": {"json": {"address": "postgresql://reader@127.0.0.1/ops"}},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("policies")
    database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
    database.upgrade()
    registry = Registry(database, Blobs(str(folder / "blobs")), folder / "scratch")
    with start_blocking_portal() as portal, House(portal, registry, People(database), folder) as house:
        yield house
    database.close()


def fill(path: str, department: str, name: str = "fuel-cost") -> str:
    values = {"department": department, "name": name, "version": "1", "alias": "champion", "token": "999999"}
    values |= {"verdict": "1", "finding": "999999", "share": "999999", "user": "nobody", "job": "999999"}
    values |= {"alert": "1", "node": "nobody", "metric": "own"}
    return path.format(**values)


def ask(
    house: House, method: str, path: str, who: Role | None, home: str | None, target: str
) -> httpx.Response:
    body = BODIES.get(path.rpartition("/")[2].replace("{alias}", "champion"), {}) if method != "GET" else {}
    if path.endswith("}/versions") and "/datasets/" in path and method == "POST":
        body = {"content": b"", "headers": {"Content-Type": "text/csv"}}
    return house.ask(method, fill(path, target), who, home, **body)


def expected(need: Need, role: Role | None, home: str | None, target: str) -> set[int]:
    """The statuses that are right; what a request that may come in meets then is not of interest here."""
    may = {200, 201, 204, 400, 404, 409, 422}
    if need is Need.NOTHING:
        return may
    if role is None:
        return {401}
    if need is Need.SIGNED_IN:
        return may
    everywhere = role in YARD_ROLES
    if need in OF_THE_YARD:
        return may if everywhere and need in MATRIX[role] else {403}
    if not everywhere and home != target:
        return {404}
    return may if need in MATRIX[role] else {403}


def test_every_route_is_in_the_table_with_its_policy(house: House) -> None:
    litestar: Any = house.app._app
    found = {
        (method, path): handler.opt["need"]
        for path, handler in routes(litestar)
        for method in handler.http_methods  # type: ignore[attr-defined]
    }
    assert found == POLICIES


def test_every_route_for_every_role_and_department(house: House) -> None:
    people = [
        (role, home) for role in Role for home in ((None,) if role in YARD_ROLES else (HERE, ELSEWHERE))
    ]
    wrong = []
    for (method, path), need in POLICIES.items():
        for role, home in [(None, None), *people]:
            right = expected(need, role, home, HERE)
            got = ask(house, method, path, role, home, HERE).status_code
            if got not in right:
                wrong.append(f"{method:6} {path:75} {role!s:13} of {home!s:10}: {got}, not {sorted(right)}")
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("who", [Role.OWNER, Role.VIEWER])
def test_42_a_department_of_others_looks_like_none(house: House, who: Role) -> None:
    for (method, path), need in POLICIES.items():
        if need in OF_THE_YARD or need is Need.NOTHING:
            continue
        there = ask(house, method, path, who, HERE, ELSEWHERE)
        nowhere = ask(house, method, path, who, HERE, "no-such-department")
        assert there.status_code == nowhere.status_code == 404, (method, path)
        assert there.content == nowhere.content, (method, path)
        del there.headers["x-request-id"], nowhere.headers["x-request-id"]
        assert there.headers == nowhere.headers, (method, path)


def test_a_role_that_is_not_enough_is_told_which_is(house: House) -> None:
    answer = house.ask("POST", "/api/v1/models/finance/fuel-cost/rollback", Role.BUILDER, json={})
    assert answer.status_code == 403
    assert "builder in finance" in answer.json()["detail"]
    assert "owner or administrator" in answer.json()["detail"]


def test_every_refusal_is_a_problem_with_the_protecting_headers(house: House) -> None:
    for method, path in POLICIES:
        answer = ask(house, method, path, None, None, HERE)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) == 16
        assert "access-control-allow-origin" not in answer.headers
        if answer.status_code == 401:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert set(answer.json()) == {"type", "title", "status", "detail", "hint"}


def test_head_has_the_policy_of_get_and_no_body(house: House) -> None:
    for (method, path), need in POLICIES.items():
        if method == "GET":
            for who in (None, Role.VIEWER):
                whole = ask(house, "GET", path, who, HERE, HERE)
                head = ask(house, "HEAD", path, who, HERE, HERE)
                assert head.status_code == whole.status_code, (path, need)
                assert head.content == b"", path


@pytest.mark.parametrize("method", ["OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_refused_alike_everywhere(house: House, method: str) -> None:
    answers = [house.ask(method, fill(path, HERE), Role.ADMINISTRATOR) for _, path in POLICIES]
    assert {a.status_code for a in answers} == {405}
    assert {a.headers["allow"] for a in answers} == {"GET, HEAD, POST, PUT, DELETE"}


def test_a_listing_has_only_what_one_may_see(house: House) -> None:
    names = [m["model"] for m in house.ask("GET", "/api/v1/models", Role.VIEWER).json()]
    assert names == ["finance/fuel-cost"]
    for who in YARD_ROLES:
        names = [m["model"] for m in house.ask("GET", "/api/v1/models", who).json()]
        assert names == ["finance/fuel-cost", "operations/fuel-cost"]
    assert house.ask("GET", "/api/v1/yard", Role.VIEWER).json()["models"] == 1
    assert house.ask("GET", "/api/v1/yard", Role.AUDITOR).json()["models"] == 2


@get("/api/v1/forgotten")
async def forgotten() -> None:
    """A route nobody has thought about."""


@get("/api/v1/odd/{department:str}", opt={"need": Need.SIGNED_IN})
async def lax() -> None:
    """A route with a department that would not be checked."""


@get("/api/v1/odd", opt={"need": Need.SEE})
async def placeless() -> None:
    """A route that asks for a right in a department, and names none."""


@pytest.mark.parametrize("handler", [forgotten, lax, placeless])
def test_a_route_without_a_fitting_policy_stops_the_start(house: House, handler: Any) -> None:
    with pytest.raises(ImproperlyConfiguredException, match="policy"):
        create_api(house.services, handler)


def test_what_the_check_walks_is_all_that_is_served() -> None:
    app = Litestar([forgotten], openapi_config=None)
    assert [path for path, _ in routes(app)] == ["/api/v1/forgotten"]
    with pytest.raises(ImproperlyConfiguredException, match="/api/v1/forgotten"):
        check_policies(app)
