"""A real yard on a real Ray cluster: a node killed under load, up and down, and what goes wrong."""

from __future__ import annotations

import threading
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
from tests.journeys.models import code_bundle
from tests.journeys.running import PATIENCE, RunningYard, publish, until

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

SLOW = "import time\ndef predict(columns):\n    time.sleep(0.05)\n    return columns['x'] * 2\n"


@pytest.fixture(scope="module")
def yard(ray_house: RayHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    variables = {"YARD_RAY": str(ray_house.config), "YARD_PORTABLE": "false", "YARD_LOAD_TIMEOUT": "180"}
    with RunningYard(tmp_path_factory.mktemp("yard"), variables, ("--engine", "ray")) as running:
        yield running


def workers(client: httpx.Client, model: str) -> list[dict[str, Any]]:
    found = client.get("/api/v1/workers").json()
    return [w for w in found if w["version_id"].startswith(model.replace("/", ".") + ".")]


class Load:
    """Callers that ask all the time; what they got."""

    def __init__(self, yard: RunningYard, model: str, callers: int) -> None:
        self.statuses: list[int] = []
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(yard, model, float(n))) for n in range(callers)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, yard: RunningYard, model: str, x: float) -> None:
        with yard.client() as client:
            while not self._over.is_set():
                answer = client.post(f"/models/{model}/predict", json=[{"x": x}])
                self.statuses.append(answer.status_code)
                if answer.status_code != 200 or answer.json()["predictions"] != [2 * x]:
                    self.wrong.append(answer.text)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)


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
        load = Load(yard, "ops/steady", 4)
        try:
            until(lambda: len(load.statuses) > 20)
            doomed.kill()
            until(lambda: len(workers(client, "ops/steady")) == 1)
            asked = len(load.statuses)
            until(lambda: len(load.statuses) > asked + 20)
            spare = ray_house.add(cpus=6)
            until(lambda: len(on(spare)) == 1)
            asked = len(load.statuses)
            until(lambda: len(load.statuses) > asked + 20)
        finally:
            load.end()
        assert load.wrong == []


def test_up_while_callers_wait(yard: RunningYard) -> None:
    with yard.client() as client:
        publish(client, "ops/busy", code_bundle(SLOW.replace("0.05", "0.3")))
        body = {"min_replicas": 1, "max_replicas": 2, "cpus": 0.25}
        assert client.put("/api/v1/models/ops/busy/capacity", json=body).status_code == 200
        load = Load(yard, "ops/busy", 8)
        try:
            until(lambda: len(workers(client, "ops/busy")) == 2)
        finally:
            load.end()
        assert load.wrong == []
        body["max_replicas"] = 1
        assert client.put("/api/v1/models/ops/busy/capacity", json=body).status_code == 200
        until(lambda: len(workers(client, "ops/busy")) == 1)


def test_no_room_is_said(ray_house: RayHouse, tmp_path: Path) -> None:
    node = settings(tmp_path / "data", load_timeout=3.0)
    hands = RayWorkers(node, Places(node, read_clusters(ray_house.config)))
    wanted = plan(tmp_path / "bundle")
    try:
        with pytest.raises(UnavailableError, match=r"room for 1 CPU, 4 GPU, 2 GB within 3 s"):
            hands.start(msgspec.structs.replace(wanted, demand=Demand(gpus=4, memory="2 GB")), quiet)
    finally:
        hands.close()


def test_a_cluster_is_not_joined_without_its_token(ray_house: RayHouse, tmp_path: Path) -> None:
    wrong, config = tmp_path / "token", tmp_path / "ray.toml"
    wrong.write_text("x" * 40)
    config.write_text(ray_house.config.read_text().replace(str(ray_house.token), str(wrong)))
    node = settings(tmp_path / "data")
    hands = RayWorkers(node, Places(node, read_clusters(config)))
    try:
        with pytest.raises(UnavailableError, match="can be read by others"):
            hands.start(plan(tmp_path / "bundle"), quiet)
        wrong.chmod(0o600)
        with pytest.raises(UnavailableError, match="cannot be joined"):
            hands.start(plan(tmp_path / "bundle"), quiet)
        wrong.unlink()
        with pytest.raises(UnavailableError, match="cannot be read"):
            hands.start(plan(tmp_path / "bundle"), quiet)
    finally:
        hands.close()
