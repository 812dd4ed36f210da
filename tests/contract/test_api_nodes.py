"""Nodes and graces over HTTP and as commands: what an operator sees, and what an administrator sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.catalog.nodes import Nodes
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.nodes import Pulse
from modelyard.records.people import CALLERS_GRACE, Role
from modelyard.store.database import Database
from tests.contract.api_house import HERE, MODEL, House

ADDRESS = "http://10.0.0.1:8080"


@pytest.fixture
def house(registry: Registry, people: People, tmp_path: Path) -> Iterator[House]:
    with start_blocking_portal() as portal, House(portal, registry, people, tmp_path) as made:
        yield made


def test_nodes_are_listed_and_forgotten(house: House, database: Database, tmp_path: Path) -> None:
    Nodes(database, "one", tmp_path / "one").enter("boot", ADDRESS, "1.0")
    (node,) = house.ask("GET", "/api/v1/nodes", Role.AUDITOR).json()
    assert (node["id"], node["address"], node["state"], node["here"]) == ("one", ADDRESS, "up", False)
    assert house.ask("DELETE", "/api/v1/nodes/one", Role.ADMINISTRATOR).json() == []
    assert house.ask("DELETE", "/api/v1/nodes/one", Role.ADMINISTRATOR).status_code == 404
    told = house.ask("GET", "/api/v1/audit?action=node.forget", Role.AUDITOR).json()
    assert [entry["by"] for entry in told] == ["administrator-None"]


def test_anybody_may_ask_for_a_nodes_pulse_and_learns_no_more(house: House) -> None:
    assert house.ask("GET", "/health/node").json() == {"node": "", "beat": -1, "trouble": ""}
    house.services.nodes.tell(Pulse("here", 7, "a reason that names another machine"))
    assert msgspec.convert(house.ask("GET", "/health/node").json(), Pulse) == Pulse("here", 7)


def test_a_department_goes_on_without_the_database_as_long_as_an_administrator_says(house: House) -> None:
    path = f"/api/v1/grace/{HERE}"
    before = house.ask("GET", "/api/v1/grace", Role.AUDITOR).json()
    assert before[HERE] == CALLERS_GRACE
    for seconds, wanted in ((7_200, 7_200), (None, CALLERS_GRACE)):
        answer = house.ask("PUT", path, Role.ADMINISTRATOR, json={"seconds": seconds})
        assert answer.json()[HERE] == wanted
        assert house.table.graces == ({} if seconds is None else {HERE: 7_200.0})
    for wrong in (0, 59, 8 * 86_400):
        answer = house.ask("PUT", path, Role.ADMINISTRATOR, json={"seconds": wrong})
        assert answer.status_code == 422
        assert "Say between 1 min and 7 d" in answer.json()["hint"]
    answer = house.ask("PUT", "/api/v1/grace/nowhere", Role.ADMINISTRATOR, json={"seconds": 600})
    assert answer.status_code == 404
    told = house.ask("GET", "/api/v1/audit?action=department.grace", Role.AUDITOR).json()
    assert [entry["subject"] for entry in told] == [HERE, HERE]


def test_when_the_database_is_silent_all_but_predictions_ends_after_a_minute(house: House) -> None:
    house.table = msgspec.structs.replace(house.table, silent=61.0)
    answer = house.ask("GET", f"/api/v1/models/{MODEL}", Role.ADMINISTRATOR)
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("The database has not answered for 1 min 1 s")
    house.table = msgspec.structs.replace(house.table, silent=59.0)
    assert house.ask("GET", f"/api/v1/models/{MODEL}", Role.ADMINISTRATOR).status_code == 200
