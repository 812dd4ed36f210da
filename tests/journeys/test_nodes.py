"""Two nodes on one PostgreSQL and one S3 are one yard: any of them answers anything, and one may go."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import find_postgresql
from tests.contract.postgresql import Server
from tests.journeys.load import Load
from tests.journeys.models import times
from tests.journeys.proxies import before, find_proxy
from tests.journeys.running import RunningYard, in_bucket, publish, until

pytestmark = pytest.mark.postgresql

ROW = [{"x": 2}]


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """PostgreSQL, a server that speaks S3 and shared keys, as the variables that lead to them."""
    binaries = find_postgresql()
    assert binaries
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    httpx.put(f"http://{host}:{port}/yard").raise_for_status()
    with Server(binaries) as server:
        yield {
            "YARD_DATABASE": server.url(server.create()),
            **in_bucket(f"http://{host}:{port}"),
            "YARD_FRONTS": "1",
            "YARD_KEYS": str(tmp_path_factory.mktemp("shared") / "keys"),
        }
    moto.stop()


@pytest.fixture(scope="module")
def nodes(
    variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningYard, RunningYard, str]]:
    """Two nodes, and the administrator's token, which the first has made."""
    with RunningYard(tmp_path_factory.mktemp("one"), variables) as one:
        token = one.token
        with RunningYard(tmp_path_factory.mktemp("two"), variables) as two:
            assert not (two.data / "admin.token").exists()
            yield one, two, token


def champion(client: httpx.Client, model: str) -> list[float] | None:
    answer = client.post(f"/models/{model}/predict", json=ROW)
    found: list[float] | None = answer.json()["predictions"] if answer.status_code == 200 else None
    return found


def test_what_one_node_takes_the_other_serves(nodes: tuple[RunningYard, RunningYard, str]) -> None:
    one, two, token = nodes
    with one.client(token) as here, two.client(token) as there:
        publish(here, "ops/twice", times(2))
        assert until(lambda: champion(there, "ops/twice")) == [4.0]
        publish(there, "ops/twice", times(3))
        assert here.put("/api/v1/models/ops/twice/aliases/champion", json={"version": 2}).status_code == 200
        assert champion(here, "ops/twice") == [6.0]
        until(lambda: champion(there, "ops/twice") == [6.0])
        address = "/api/v1/models/ops/twice"  # whose forms may just be being decided
        until(lambda: there.get(address).json() == here.get(address).json())


def test_a_revoked_token_is_refused_by_both(nodes: tuple[RunningYard, RunningYard, str]) -> None:
    one, two, token = nodes
    with one.client(token) as here:
        publish(here, "ops/shut", times(2))
        made = here.post(
            "/api/v1/departments/ops/tokens", json={"name": "c", "principal": "carl", "role": "caller"}
        ).json()
        with one.client(made["secret"]) as carl, two.client(made["secret"]) as carl_there:
            assert champion(carl, "ops/shut") == [4.0]
            until(lambda: champion(carl_there, "ops/shut") == [4.0])
            assert here.delete(f"/api/v1/tokens/{made['token']['id']}").status_code == 200
            assert carl.post("/models/ops/shut/predict", json=ROW).status_code == 401
            until(lambda: carl_there.post("/models/ops/shut/predict", json=ROW).status_code == 401)


def test_a_node_is_killed_behind_haproxy_and_no_retry_fails(
    nodes: tuple[RunningYard, RunningYard, str], tmp_path: Path
) -> None:
    if find_proxy("haproxy") is None:
        pytest.skip("haproxy is not installed")
    one, two, token = nodes
    with one.client(token) as here, two.client(token) as there:
        publish(here, "ops/steady", times(2))
        until(lambda: champion(there, "ops/steady") == [4.0])
    with before("haproxy", one.port, tmp_path, two.port) as port:
        with Load(f"http://127.0.0.1:{port}", token, "ops/steady", retry=True) as load:
            until(lambda: len(load.answered) > 200)
            kill_all(two)
            reached = len(load.answered)
            until(lambda: len(load.answered) > reached + 300)
            two.start()
            reached = len(load.answered)
            until(lambda: len(load.answered) > reached + 300)
        assert load.failed == []
    with two.client(token) as there:
        assert until(lambda: champion(there, "ops/steady")) == [4.0]


def kill_all(node: RunningYard) -> None:
    """Everything of a node, as when its machine loses power."""
    assert node.process is not None
    node.process.send_signal(signal.SIGSTOP)  # so that it replaces nobody meanwhile
    for pid in node.processes():
        os.kill(pid, signal.SIGKILL)
    node.stop(signal.SIGKILL)
