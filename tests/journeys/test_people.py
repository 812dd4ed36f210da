"""Rights end on every process of a real yard: for tokens in use, at every door."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from modelyard.catalog.people import People
from modelyard.records.people import Role
from modelyard.store.database import Database
from tests.journeys.models import code_bundle
from tests.journeys.running import RunningYard, publish, until

pytestmark = pytest.mark.bubblewrap

MODEL = "finance/half"
CODE = "def predict(columns):\n    return [x / 2 for x in columns['x']]\n"
DOORS = {
    "predict": ("POST", f"/models/{MODEL}/predict", [{"x": 3}]),
    "v2": (
        "POST",
        "/v2/models/finance.half/infer",
        {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [3.0]}]},
    ),
    "api": ("GET", f"/api/v1/models/{MODEL}", None),
}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    with RunningYard(tmp_path_factory.mktemp("people"), options=("--fronts", "2")) as running:
        with running.client() as client:
            assert publish(client, MODEL, code_bundle(CODE))["state"] == "checked"
            client.post("/api/v1/departments", json={"name": "operations"})
        yield running


def token(yard: RunningYard, principal: str, role: str, department: str = "finance") -> str:
    with yard.client() as client:
        body = {"name": "test", "principal": principal, "role": role}
        made = client.post(f"/api/v1/departments/{department}/tokens", json=body)
    return str(made.json()["secret"])


def answers(yard: RunningYard, secret: str) -> dict[str, set[int]]:
    """What each door answers, over so many connections of their own that every front is asked."""
    found: dict[str, set[int]] = {name: set() for name in DOORS}
    for _ in range(8):
        with yard.client(secret) as client:
            for name, (method, path, body) in DOORS.items():
                found[name].add(client.request(method, path, json=body).status_code)
    return found


def all_are(yard: RunningYard, secret: str, status: int) -> bool:
    return answers(yard, secret) == {key: {status} for key in DOORS}


def test_36_rights_end_at_once_on_every_front(yard: RunningYard) -> None:
    app = token(yard, "app", "caller")
    guest = token(yard, "guest", "caller", "operations")
    assert all_are(yard, app, 200)
    assert all_are(yard, guest, 404)
    grants = "/api/v1/departments/finance/grants"
    with yard.client() as client:
        body = {"name": "half", "right": "predict", "department": "operations"}
        number = client.post(grants, json=body).json()["id"]
        assert all_are(yard, guest, 200)
        client.delete(f"{grants}/{number}").raise_for_status()
        assert all_are(yard, guest, 404)
        members = "/api/v1/departments/finance/members/app"
        client.put(members, json={"role": "viewer"}).raise_for_status()
        assert answers(yard, app) == {"predict": {403}, "v2": {403}, "api": {200}}
        client.delete(members).raise_for_status()
        assert all_are(yard, app, 401)
        client.put(members, json={"role": "caller"}).raise_for_status()
        assert all_are(yard, app, 200)
        client.put("/api/v1/users/app/disabled", json={"disabled": True}).raise_for_status()
        assert all_are(yard, app, 401)


def test_36_what_another_node_revokes_ends_here_too(yard: RunningYard) -> None:
    """Another node of the same yard changes the same database, and tells the engine here nothing."""
    secret = token(yard, "batch", "caller")
    assert all_are(yard, secret, 200)
    database = Database(f"sqlite:///{yard.data / 'yard.sqlite'}")
    people = People(database)
    (made,) = people.tokens_of("batch")
    people.revoke_token(made.id, by="administrator")
    database.close()
    until(lambda: all_are(yard, secret, 401))


def test_a_password_opens_the_pages_of_every_front(yard: RunningYard) -> None:
    own = {"Origin": yard.url}
    with yard.client() as client:
        link = client.post("/api/v1/users", json={"name": "maria"}).json()
        client.put("/api/v1/departments/finance/members/maria", json={"role": Role.OWNER})
    with httpx.Client(base_url=yard.url, timeout=60) as browser:
        typed = {"code": link["code"], "password": "four words in a row"}
        assert browser.post("/invitation", data=typed, headers=own).status_code == 200
        typed = {"name": "maria", "password": "four words in a row"}
        assert browser.post("/sign-in", data=typed, headers=own).status_code == 303
        cookies = {"yard_session": browser.cookies["yard_session"]}
        for _ in range(8):
            with httpx.Client(base_url=yard.url, cookies=cookies, timeout=60) as other:
                assert other.get("/people/finance").status_code == 200
        assert browser.post("/sign-out", headers=own | _FORM).status_code == 303
        for _ in range(8):
            with httpx.Client(base_url=yard.url, cookies=cookies, timeout=60) as other:
                assert other.get("/people/finance").status_code == 303


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
