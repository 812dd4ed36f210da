"""Users, members and grants over HTTP: what one department learns of another, and that rights hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.api.metrics import Metrics
from modelyard.catalog.people import People, hash_secret
from modelyard.catalog.registry import Registry
from modelyard.catalog.signing import Came
from modelyard.records.errors import NotFoundError
from modelyard.records.people import Grant, Kind, Need, Role
from modelyard.serving.routes import find_version
from modelyard.workers.control import Reply, WorkerInfo
from tests.contract.api_house import MODEL, House

USERS, MEMBERS = "/api/v1/users", "/api/v1/departments/finance/members"
GRANTS = "/api/v1/departments/finance/grants"
PASSWORD = "four words in a row"
pytestmark = pytest.mark.usefixtures("cheap_passwords")


@pytest.fixture
def house(registry: Registry, people: People, tmp_path: Path) -> Iterator[House]:
    with start_blocking_portal() as portal, House(portal, registry, people, tmp_path) as made:
        yield made


def session(house: House, name: str) -> str:
    """A person with a password, signed in; holds nothing yet."""
    answer = house.ask("POST", USERS, Role.ADMINISTRATOR, json={"name": name})
    assert answer.status_code == 201
    house.services.signing.set_password(answer.json()["code"], PASSWORD)
    secret = house.services.signing.by_password(name, PASSWORD, Came()).secret
    house.swap()
    return secret


def give(house: House, right: str = "predict", who: Role = Role.OWNER, **to: Any) -> httpx.Response:
    body = {"name": "fuel-cost", "right": right, **to}
    return house.ask("POST", GRANTS, who, json=body)


def grant_of(house: House, secret: str) -> Grant:
    return house.table.tokens[hash_secret(secret)]


def test_a_person_is_invited_given_a_role_and_kept_out(house: House) -> None:
    secret = session(house, "maria")
    me = house.ask("GET", "/api/v1/whoami", secret).json()
    assert (me["principal"], me["department"]) == ("maria", "")
    assert house.ask("GET", "/api/v1/models", secret).json() == []
    assert house.ask("PUT", f"{MEMBERS}/maria", Role.OWNER, json={"role": "builder"}).status_code == 200
    assert [m["model"] for m in house.ask("GET", "/api/v1/models", secret).json()] == [MODEL]
    listed = house.ask("GET", MEMBERS, Role.OWNER).json()
    assert {m["name"]: m["departments"] for m in listed}["maria"] == {"finance": "builder"}
    house.ask("PUT", f"{USERS}/maria/disabled", Role.ADMINISTRATOR, json={"disabled": True})
    assert house.ask("GET", "/api/v1/whoami", secret).status_code == 401


def test_47_members_know_nothing_of_roles_elsewhere(house: House) -> None:
    session(house, "maria")
    for place in ("finance", "operations"):
        path = f"/api/v1/departments/{place}/members/maria"
        answer = house.ask("PUT", path, Role.OWNER, place, json={"role": "viewer"})
        assert answer.json()["departments"] == {place: "viewer"}
    house.ask("PUT", f"{USERS}/maria/role", Role.ADMINISTRATOR, json={"role": "auditor"})
    for who in house.ask("GET", MEMBERS, Role.OWNER).json():
        assert (who["role"], list(who["departments"])) == (None, ["finance"])
    whole = house.ask("GET", f"{USERS}/maria", Role.AUDITOR).json()
    assert (whole["role"], list(whole["departments"])) == ("auditor", ["finance", "operations"])


@pytest.mark.parametrize("role", ["administrator", "auditor"])
def test_48_an_owner_gives_no_role_of_the_yard(house: House, role: str) -> None:
    session(house, "maria")
    assert house.ask("PUT", f"{MEMBERS}/maria", Role.OWNER, json={"role": role}).status_code == 403
    assert (
        house.ask("PUT", f"{USERS}/maria/role", Role.ADMINISTRATOR, json={"role": "owner"}).status_code == 422
    )
    for field in ("department", "created_by", "yard"):
        body = {"role": "viewer", field: "operations"}
        assert house.ask("PUT", f"{MEMBERS}/maria", Role.OWNER, json=body).status_code == 422


def test_48_no_token_may_ask_more_rows_than_the_one_it_is_made_with(house: House) -> None:
    tokens = "/api/v1/departments/finance/tokens"
    body = {"name": "app", "principal": "app", "role": "owner", "rows_per_second": 5}
    slow = house.ask("POST", tokens, Role.OWNER, json=body).json()["secret"]
    for path, more in ((tokens, {"principal": "app"}), ("/api/v1/me/tokens", {"department": "finance"})):
        wanted = {"name": "next", "role": "caller", **more}
        inherits = house.ask("POST", path, slow, json=wanted)
        assert (inherits.status_code, inherits.json()["token"]["rows_per_second"]) == (201, 5)
        assert house.ask("POST", path, slow, json=wanted | {"rows_per_second": 6}).status_code == 403
        assert house.ask("POST", path, slow, json=wanted | {"rows_per_second": 4}).status_code == 201


def test_48_own_tokens_are_no_wider_than_what_one_asks_with(house: House) -> None:
    secret = session(house, "maria")
    for place, role in (("finance", "builder"), ("operations", "viewer")):
        path = f"/api/v1/departments/{place}/members/maria"
        house.ask("PUT", path, Role.OWNER, place, json={"role": role})

    def make(role: str, department: str | None, who: str = secret) -> httpx.Response:
        body = {"name": "notebook", "role": role, "department": department}
        return house.ask("POST", "/api/v1/me/tokens", who, json=body)

    assert make("owner", "finance").status_code == 403
    assert make("caller", "operations").status_code == 403
    assert make("viewer", "nowhere").status_code == 404
    assert make("administrator", None).status_code == 403
    made = make("caller", "finance")
    assert made.status_code == 201
    token = made.json()["secret"]
    assert make("builder", "finance", token).status_code == 403
    assert make("viewer", "operations", token).status_code == 404
    (own,) = house.ask("GET", "/api/v1/me/tokens", secret).json()
    assert (own["principal"], own["created_by"]) == ("maria", "maria")
    other = house.people.tokens(frozenset({"operations"}))[0]
    assert house.ask("DELETE", f"/api/v1/me/tokens/{other.id}", secret).status_code == 404
    assert house.ask("DELETE", f"/api/v1/me/tokens/{own['id']}", secret).status_code == 200
    assert house.ask("GET", "/api/v1/whoami", token).status_code == 401


def test_a_token_of_a_session_outlives_it(house: House) -> None:
    secret = session(house, "maria")
    house.ask("PUT", f"{MEMBERS}/maria", Role.OWNER, json={"role": "viewer"})
    body = {"name": "notebook", "role": "viewer", "department": "finance"}
    made = house.ask("POST", "/api/v1/me/tokens", secret, json=body).json()
    assert made["token"]["expires_at"] is None


# Grants on single things


def test_one_model_is_granted_to_another_department(house: House) -> None:
    house.publish("finance/hidden", b"two")
    house.swap()
    answer = give(house, department="operations")
    assert answer.status_code == 201
    number = answer.json()["id"]
    caller = house.secrets[Role.CALLER, "operations"]
    listed = [m["model"] for m in house.ask("GET", "/api/v1/models", caller).json()]
    assert listed == [MODEL, "operations/fuel-cost"]
    assert house.ask("GET", "/api/v1/yard", caller).json()["models"] == 2
    assert house.ask("GET", f"/api/v1/models/{MODEL}/versions", caller).status_code == 200
    assert find_version(house.table, grant_of(house, caller), MODEL).model == MODEL
    # nothing else of that department, and no change of it
    for path in ("models/finance/hidden", "departments/finance/members", "departments/finance/tokens"):
        assert house.ask("GET", f"/api/v1/{path}", caller).status_code == 404
    with pytest.raises(NotFoundError):
        find_version(house.table, grant_of(house, caller), "finance/hidden")
    owner = house.secrets[Role.OWNER, "operations"]
    assert house.ask("POST", f"/api/v1/models/{MODEL}/rollback", owner, json={}).status_code == 403
    assert house.ask("GET", f"/api/v1/models/{MODEL}/predictions", owner).status_code == 403
    # a viewer there sees and does not ask
    viewer = grant_of(house, house.secrets[Role.VIEWER, "operations"])
    assert viewer.allows(Need.SEE, "finance", MODEL)
    assert not viewer.allows(Need.PREDICT, "finance", MODEL)
    # and it ends at once
    assert house.ask("DELETE", f"{GRANTS}/{number}", Role.OWNER).status_code == 200
    assert house.ask("GET", f"/api/v1/models/{MODEL}", caller).status_code == 404
    with pytest.raises(NotFoundError):
        find_version(house.table, grant_of(house, caller), MODEL)


def test_one_model_is_granted_to_a_person_for_a_time(house: House) -> None:
    secret = session(house, "maria")
    assert give(house, "read-data", principal="maria", expires_in_days=1).status_code == 201
    assert [m["model"] for m in house.ask("GET", "/api/v1/models", secret).json()] == [MODEL]
    grant = grant_of(house, secret)
    assert grant.allows(Need.READ_DATA, "finance", MODEL)
    assert not grant.allows(Need.PREDICT, "finance", MODEL)
    house.services.sharing.give(
        Kind.MODEL,
        "operations/fuel-cost",
        Need.SEE,
        to_principal="maria",
        expires_in=timedelta(microseconds=1),
        by="test",
    )
    house.swap()
    assert [m["model"] for m in house.ask("GET", "/api/v1/models", secret).json()] == [MODEL]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"department": "operations", "principal": "owner-finance"}, 422),
        ({}, 422),
        ({"department": "finance"}, 422),
        ({"department": "nowhere"}, 404),
        ({"department": "../x"}, 422),
        ({"principal": "nobody"}, 404),
        ({"department": "operations", "right": "promote"}, 422),
        ({"department": "operations", "right": "administer"}, 422),
        ({"department": "operations", "right": "predict", "kind": "dataset"}, 422),
        ({"department": "operations", "right": "see", "kind": "dataset"}, 404),
        ({"department": "operations", "name": "nothing"}, 404),
        ({"department": "operations", "name": "../operations/x"}, 422),
        ({"department": "operations", "expires_in_days": 0}, 422),
        ({"department": "operations", "created_by": "eve"}, 422),
    ],
)
def test_grants_that_cannot_be(house: House, more: dict[str, Any], status: int) -> None:
    answer = house.ask("POST", GRANTS, Role.OWNER, json={"name": "fuel-cost", "right": "see", **more})
    assert answer.status_code == status, answer.text
    assert house.services.sharing.shares() == []


def test_42_a_grant_of_another_department_is_not_revoked(house: House) -> None:
    number = give(house, department="operations").json()["id"]
    path = f"/api/v1/departments/operations/grants/{number}"
    assert house.ask("DELETE", path, Role.OWNER, "operations").status_code == 404
    assert house.services.sharing.shares()[0].revoked_at is None


def test_42_metrics_tell_of_what_one_may_see_alone(house: House) -> None:
    counters = {
        f'modelyard_requests_total{{model="{model}",version="1",code="200"}}': 1.0
        for model in (MODEL, f"{MODEL}-2", "operations/fuel-cost")
    }
    workers = tuple(
        WorkerInfo(f"{name}.1", 0, "r", 7, "socket", "ready", 0.0)
        for name in ("finance.fuel-cost", "finance.fuel-cost-2", "operations.fuel-cost")
    )

    async def report() -> Reply:
        return Reply(0, counters=counters, workers=workers)

    give(house, department="operations")
    metrics = Metrics(lambda: house.table, report)

    def read(who: Role) -> str:
        secret = house.secrets[who, None if who is Role.AUDITOR else "operations"]
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "method": "GET",
            "path": "/metrics",
            "headers": [(b"authorization", f"Bearer {secret}".encode())],
        }
        house.portal.call(lambda: metrics(scope, None, send))  # type: ignore[arg-type,call-arg]
        return bytes(sent[1]["body"]).decode()

    caller, auditor = read(Role.CALLER), read(Role.AUDITOR)
    for text, seen in (
        (caller, {MODEL, "operations/fuel-cost"}),
        (auditor, {MODEL, f"{MODEL}-2", "operations/fuel-cost"}),
    ):
        found = {line.split('model="')[1].split('"')[0] for line in text.splitlines() if 'model="' in line}
        assert found == seen
