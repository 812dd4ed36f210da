"""Two machines, each with an address of its own: what is to be done is done once."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from moto.server import ThreadedMotoServer

from modelyard.store import duties
from modelyard.store.database import Database
from tests.conftest import find_postgresql
from tests.contract.postgresql import Server
from tests.journeys.cable import Cable
from tests.journeys.machines import Machine, network
from tests.journeys.models import times
from tests.journeys.running import PATIENCE, RunningYard, in_bucket, publish, until

pytestmark = [pytest.mark.postgresql, pytest.mark.bubblewrap]

MODEL = "ops/steady"
YARD_TOML = """
model = "ops/trained"
language = "python"
[train]
run = "python train.py"
"""
TRAIN = """
import os, time
import modelyard as yard

print("begins", flush=True)
while not os.path.exists({go!r}):
    time.sleep(0.1)
yard.save(lambda rows: [2 * x for x in rows["x"]], example={{"x": [1.0, 2.0]}})
"""


class Yard(NamedTuple):
    """Two nodes on two machines, and the database they share."""

    nodes: tuple[RunningYard, RunningYard]
    machines: tuple[Machine, ...]
    database: Database
    token: str


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    binaries = find_postgresql()
    assert binaries
    folder = tmp_path_factory.mktemp("machines")
    with network(2) as net, Server(binaries) as server, Cable(server.socket, net.host) as cable:
        moto = ThreadedMotoServer(ip_address=net.host, port=0, verbose=False)
        moto.start()
        endpoint = f"http://{net.host}:{moto.get_host_and_port()[1]}"
        httpx.put(f"{endpoint}/yard").raise_for_status()
        name = server.create()
        variables = {
            "YARD_DATABASE": f"postgresql://yard@{net.host}:{cable.port}/{name}",
            **in_bucket(endpoint),
            "YARD_FRONTS": "1",
            "YARD_KEYS": str(folder / "keys"),
        }

        def node(number: int) -> RunningYard:
            own = net.machines[number]
            return RunningYard(folder / str(number), {**variables, "YARD_HOST": own.address}, (), own.inside)

        with node(0) as one, node(1) as two:
            database = Database(server.url(name))
            yield Yard((one, two), net.machines, database, one.token)
            database.close()
        moto.stop()


def told(yard: Yard, node: RunningYard, *words: str) -> Any:
    environment = {**os.environ, "YARD_URL": node.url, "YARD_TOKEN": yard.token}
    command = [sys.executable, "-m", "modelyard.cli", *words, "--json"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_a_rollout_acts_once_over_both(yard: Yard) -> None:
    one, two = yard.nodes
    assert [node["state"] for node in told(yard, two, "nodes")] == ["up", "up"]
    with one.client(yard.token) as here, two.client(yard.token) as there:
        for factor in (2, 2.001):
            assert publish(here, MODEL, times(factor))["state"] == "checked"
        stages = {"version": 2, "rollout": ["shadow 1s", "canary 50% 1s"], "why": "a try"}
        assert there.post(f"/api/v1/models/{MODEL}/rollouts", json=stages).status_code == 201

        numbers = itertools.count()

        def ended() -> dict[str, Any] | None:
            for client in (here, there):
                asked = client.post(f"/models/{MODEL}/predict", json=[{"x": next(numbers)}])
                assert asked.status_code == 200
            newest: dict[str, Any] = here.get(f"/api/v1/models/{MODEL}/rollouts").json()[0]
            return newest if newest["ended_at"] else None

        rollout = until(ended)
        assert [s["state"] for s in rollout["steps"]] == ["running", "running", "promoted"], rollout["words"]
        history = there.get(f"/api/v1/models/{MODEL}/history").json()
        champions = [(c["before"], c["after"]) for c in history if c["alias"] == "champion"]
        assert champions == [(1, 2), (None, 1)]
        acted = here.get("/api/v1/audit", params={"action": "rollout.promote"}).json()
        assert [entry["subject"] for entry in acted] == [f"{MODEL}/2"]


def holder(yard: Yard, job: str) -> str:
    with yard.database.read() as connection:
        duty = duties.get(connection, "train", job)
    return duty.leased_by if duty else ""


def alerts(client: httpx.Client, node: str) -> list[dict[str, Any]]:
    """What people are told of a node."""
    found = client.get("/api/v1/alerts", params={"all": "true"}).json()
    return [a for a in found if a["words"].startswith(f"node {node}: ")]


def test_a_machine_that_is_cut_off_is_noticed_and_its_job_goes_on_elsewhere(
    yard: Yard, tmp_path: Path
) -> None:
    (tmp_path / "yard.toml").write_text(YARD_TOML)
    go = Path(sys.prefix) / f".{tmp_path.name}-{os.getpid()}.go"  # what jobs see of the server
    (tmp_path / "train.py").write_text(TRAIN.format(go=str(go)))
    address = {node["id"]: node["address"] for node in told(yard, yard.nodes[0], "nodes")}
    job = str(told(yard, yard.nodes[0], "train", str(tmp_path), "--no-follow")["id"])
    until(lambda: told(yard, yard.nodes[0], "job", job)["state"] == "running")  # its first attempt counts
    lost = address[holder(yard, job)]
    place = next(i for i, node in enumerate(yard.nodes) if node.url == lost)
    other = yard.nodes[1 - place]
    yard.machines[place].cut_off(yard.nodes[place])
    try:
        go.touch()  # for the one that is cut off, and for the next
        found = until(lambda: (j := told(yard, other, "job", job))["state"] == "succeeded" and j)
        assert found["attempt"] == 2
        dead = next(node for node in told(yard, other, "nodes") if node["address"] == lost)
        assert dead["state"] == "dead"
        assert "goes on elsewhere" in dead["words"]
        findings = told(yard, other, "doctor")
        assert next(f for f in findings if f["what"] == f"node {lost}")["code"] == "node-dead"
        with other.client(yard.token) as client:
            (alert,) = until(lambda: alerts(client, lost))
            assert (alert["department"], alert["level"], alert["closed_at"]) == ("yard", "high", None)
    finally:
        yard.machines[place].join(yard.nodes[place])
        go.unlink(missing_ok=True)
    until(lambda: all(node["state"] == "up" for node in told(yard, other, "nodes")))
    with other.client(yard.token) as client:
        until(lambda: [a["id"] for a in alerts(client, lost) if a["closed_at"]] == [alert["id"]])
        versions = client.get("/api/v1/models/ops/trained/versions").json()
        assert [v["version"] for v in versions] == [1], "what was cut off publishes nothing any more"
