"""A real yard on a real Ray cluster: a node killed under load, up and down, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from modelyard.records.capacity import Demand
from modelyard.records.errors import UnavailableError
from modelyard.workers.cluster import Places
from modelyard.workers.clusters import read_clusters
from modelyard.workers.ray import RayWorkers
from tests.contract.hands import plan, quiet, settings
from tests.contract.ray_house import RayHouse, RayNode
from tests.journeys.load import Load
from tests.journeys.models import code_bundle
from tests.journeys.running import RunningYard, publish, until

pytestmark = pytest.mark.ray

SLOW = "import time\ndef predict(columns):\n    time.sleep(0.05)\n    return columns['x'] * 2\n"


@pytest.fixture(scope="module")
def yard(ray_house: RayHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    variables = {"YARD_RAY": str(ray_house.config), "YARD_PORTABLE": "false", "YARD_LOAD_TIMEOUT": "180"}
    with RunningYard(tmp_path_factory.mktemp("yard"), variables, ("--engine", "ray")) as running:
        yield running


def workers(client: httpx.Client, model: str) -> list[dict[str, Any]]:
    found = client.get("/api/v1/workers").json()
    return [w for w in found if w["version_id"].startswith(model.replace("/", ".") + ".")]


def all_right(load: Load) -> bool:
    """Whether everything that was asked is answered, and rightly."""
    right = all(answer["predictions"] == [2 * number] for number, answer in load.answered.items())
    return right and not load.failed and not load.broken


def load_on(yard: RunningYard, model: str, lanes: int) -> Load:
    return Load(yard.url, yard.token, model, lanes=lanes)


def test_the_doctor_finds_nothing_wrong_with_the_cluster(yard: RunningYard) -> None:
    with yard.client() as client:
        (node,) = until(lambda: [n for n in client.get("/api/v1/nodes").json() if n["condition"]])
        assert node["condition"]["problems"] == []


def test_a_node_killed_under_load(yard: RunningYard, ray_house: RayHouse) -> None:
    """What it was asked is asked again elsewhere, and no caller notices; a replacement answers."""

    def on(node: RayNode) -> list[dict[str, Any]]:
        return [w for w in workers(client, "ops/steady") if w["node"].endswith(f" {node.address}")]

    with yard.client() as client:
        publish(client, "ops/steady", code_bundle(SLOW))
        # Six cores are to be had on nodes of their own alone, so that it is known who goes where.
        doomed = ray_house.add(cpus=6)
        body = {"min_replicas": 2, "max_replicas": 2, "cpus": 6}
        assert client.put("/api/v1/models/ops/steady/capacity", json=body).status_code == 200
        until(lambda: len(on(doomed)) == 1)
        with load_on(yard, "ops/steady", 4) as load:
            until(lambda: len(load.answered) > 20)
            doomed.kill()
            until(lambda: len(workers(client, "ops/steady")) == 1)
            asked = len(load.answered)
            until(lambda: len(load.answered) > asked + 20)
            spare = ray_house.add(cpus=6)
            until(lambda: len(on(spare)) == 1)
            asked = len(load.answered)
            until(lambda: len(load.answered) > asked + 20)
        assert all_right(load), load.failed


def test_up_while_callers_wait(yard: RunningYard) -> None:
    with yard.client() as client:
        publish(client, "ops/busy", code_bundle(SLOW.replace("0.05", "0.3")))
        body = {"min_replicas": 1, "max_replicas": 2, "cpus": 0.25}
        assert client.put("/api/v1/models/ops/busy/capacity", json=body).status_code == 200
        with load_on(yard, "ops/busy", 8) as load:
            until(lambda: len(workers(client, "ops/busy")) == 2)
        assert all_right(load), load.failed
        body["max_replicas"] = 1
        assert client.put("/api/v1/models/ops/busy/capacity", json=body).status_code == 200
        until(lambda: len(workers(client, "ops/busy")) == 1)


def test_no_room_is_said(ray_house: RayHouse, tmp_path: Path) -> None:
    node = settings(tmp_path / "data", load_timeout=3.0)
    places = Places(node, read_clusters(ray_house.config))
    hands = RayWorkers(node, places)
    wanted = plan(tmp_path / "bundle")
    assert [(f.what, f.code) for f in places.look()] == [("cluster main", "")]
    try:
        with pytest.raises(UnavailableError, match=r"room for 1 CPU, 4 GPU, 2 GB within 3 s"):
            hands.start(msgspec.structs.replace(wanted, demand=Demand(gpus=4, memory="2 GB")), quiet)
        (cluster,) = places.look()
        assert (cluster.code, "room for 1 CPU, 4 GPU, 2 GB" in cluster.words) == ("ray-room", True)
    finally:
        hands.close()


def test_a_cluster_is_not_joined_without_its_token(ray_house: RayHouse, tmp_path: Path) -> None:
    wrong, config = tmp_path / "token", tmp_path / "ray.toml"
    wrong.write_text("x" * 40)
    config.write_text(ray_house.config.read_text().replace(str(ray_house.token), str(wrong)))
    node = settings(tmp_path / "data")
    places = Places(node, read_clusters(config))
    hands = RayWorkers(node, places)
    try:
        with pytest.raises(UnavailableError, match="can be read by others"):
            hands.start(plan(tmp_path / "bundle"), quiet)
        assert [c.code for c in places.look()] == ["ray-token"]
        wrong.chmod(0o600)
        with pytest.raises(UnavailableError, match="cannot be joined"):
            hands.start(plan(tmp_path / "bundle"), quiet)
        assert [c.code for c in places.look()] == ["ray-away"]
        wrong.unlink()
        assert [c.code for c in places.look()] == ["ray-token"]
        with pytest.raises(UnavailableError, match="cannot be read"):
            hands.start(plan(tmp_path / "bundle"), quiet)
    finally:
        hands.close()
