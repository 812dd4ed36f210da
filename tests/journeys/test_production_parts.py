"""The same main line on the production parts: PostgreSQL for the records, S3 for the blobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import find_postgresql
from tests.contract.postgresql import Server
from tests.journeys.models import times
from tests.journeys.running import RunningYard, publish, until

pytestmark = pytest.mark.postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """PostgreSQL, which a test may stop."""
    binaries = find_postgresql()
    assert binaries
    with Server(binaries) as running:
        yield running


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """A bucket on a server that speaks S3, as the variables that lead to it."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    httpx.put(f"{endpoint}/yard").raise_for_status()
    yield {
        "YARD_BLOBS_ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": "yard",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    moto.stop()


@pytest.fixture(scope="module")
def yard(
    tmp_path_factory: pytest.TempPathFactory, server: Server, bucket: dict[str, str]
) -> Iterator[RunningYard]:
    """A yard on both."""
    variables = {**bucket, "YARD_DATABASE": server.url(server.create()), "YARD_BLOBS": "s3://yard/blobs"}
    with RunningYard(tmp_path_factory.mktemp("yard"), variables) as running:
        yield running


def test_publish_promote_predict(yard: RunningYard, client: httpx.Client) -> None:
    publish(client, "ops/far", times(2))
    publish(client, "ops/far", times(3))
    assert client.post("/models/ops/far/predict", json=[{"x": 2}]).json()["predictions"] == [4.0]
    assert client.put("/api/v1/models/ops/far/aliases/champion", json={"version": 2}).status_code == 200
    assert client.post("/models/ops/far/predict", json=[{"x": 2}]).json()["predictions"] == [6.0]
    data: Path = yard.data
    assert not (data / "yard.sqlite").exists()
    assert not (data / "blobs").exists()


def test_predictions_go_on_while_the_database_is_away(client: httpx.Client, server: Server) -> None:
    publish(client, "ops/steady", times(5))
    ask = {"x": 2}
    assert client.post("/models/ops/steady/predict", json=[ask]).json()["predictions"] == [10.0]
    server.stop()
    assert client.post("/models/ops/steady/predict", json=[ask]).json()["predictions"] == [10.0]
    refused = client.put("/api/v1/models/ops/steady/aliases/other", json={"version": 1})
    assert refused.status_code == 503
    assert "database" in refused.json()["detail"]
    worker = client.get("/api/v1/workers").json()[0]["pid"]
    assert worker
    until(lambda: client.post("/models/ops/steady/predict", json=[ask]).status_code == 200)
