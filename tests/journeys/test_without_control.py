"""PostgreSQL stopped, stalled or away at the start, S3 gone: predictions go on, changes get words."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import find_free_port, find_postgresql
from tests.contract.postgresql import Server
from tests.journeys.load import Load
from tests.journeys.models import times
from tests.journeys.running import RunningYard, in_bucket, publish, until
from tests.journeys.test_failures import numbers_recorded

pytestmark = pytest.mark.postgresql
MODEL = "ops/steady"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """PostgreSQL, which the tests stop and stall."""
    binaries = find_postgresql()
    assert binaries
    with Server(binaries) as running:
        yield running


@pytest.fixture
def bucket() -> Iterator[ThreadedMotoServer]:
    """A server that speaks S3, which a test stops, and starts again at the same port."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=find_free_port(), verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    httpx.put(f"http://{host}:{port}/yard").raise_for_status()
    yield moto
    moto.stop()


@pytest.fixture
def yard(tmp_path: Path, server: Server, bucket: ThreadedMotoServer) -> Iterator[RunningYard]:
    host, port = bucket.get_host_and_port()
    variables = {
        "YARD_DATABASE": server.url(server.create()),
        **in_bucket(f"http://{host}:{port}"),
    }
    with RunningYard(tmp_path / "data", variables) as running:
        yield running


def answers_for_a_while(load: Load, requests: int = 200) -> None:
    reached = len(load.answered)
    until(lambda: len(load.answered) > reached + requests)


def alias(client: httpx.Client, name: str) -> httpx.Response:
    return client.put(f"/api/v1/models/{MODEL}/aliases/{name}", json={"version": 1})


def refused_with_words(client: httpx.Client) -> None:
    answer = alias(client, "other")
    assert answer.status_code == 503, answer.text
    assert "database" in answer.json()["detail"]


def test_no_prediction_fails_while_the_database_is_stopped_or_stalled(
    yard: RunningYard, client: httpx.Client, server: Server
) -> None:
    publish(client, MODEL, times(2))
    with Load(yard.url, yard.token, MODEL) as load:
        answers_for_a_while(load)
        server.stop()
        refused_with_words(client)
        answers_for_a_while(load)
        server.start()
        until(lambda: alias(client, "other").status_code == 200)
        server.stall()
        answers_for_a_while(load)
        server.go_on()
        until(lambda: client.get("/api/v1/models").status_code == 200)
    assert load.failed == []
    assert load.broken == 0
    until(lambda: all_recorded(client, load))


def all_recorded(client: httpx.Client, load: Load) -> bool:
    """Whether every answered row is in what was recorded."""
    table = pl.read_parquet(io.BytesIO(client.get(f"/api/v1/models/{MODEL}/predictions").content))
    return set(load.answered) <= numbers_recorded(table)


def test_a_node_starts_while_the_database_is_away(
    yard: RunningYard, client: httpx.Client, server: Server
) -> None:
    publish(client, MODEL, times(2))
    ask = [{"x": 2}]
    assert client.post(f"/models/{MODEL}/predict", json=ask).json()["predictions"] == [4.0]
    yard.stop()
    server.stop()
    try:
        yard.start()
        with yard.client() as again:
            assert again.post(f"/models/{MODEL}/predict", json=ask).json()["predictions"] == [4.0]
            refused_with_words(again)
            assert "from the last routes" in yard.said
    finally:
        server.start()
    with yard.client() as again:
        until(lambda: alias(again, "late").status_code == 200)


def test_tokens_are_believed_for_a_while_without_the_database(
    yard: RunningYard, client: httpx.Client, server: Server
) -> None:
    publish(client, MODEL, times(2))
    assert client.post(f"/models/{MODEL}/predict", json=[{"x": 2}]).status_code == 200
    yard.stop()
    server.stop()
    try:
        for minutes, predictions, others in ((0, 200, 200), (10, 200, 503), (31, 503, 503)):
            then = time.time() - 60 * minutes
            os.utime(yard.data / "routes", (then, then))  # the database was last heard of so long ago
            yard.start()
            with yard.client() as again:
                believed(again, predictions, others)
            if minutes < 31:
                yard.stop()
    finally:
        server.start()
    with yard.client() as again:
        until(lambda: again.get("/api/v1/yard").status_code == 200)
        assert again.post(f"/models/{MODEL}/predict", json=[{"x": 2}]).json()["predictions"] == [4.0]


def believed(client: httpx.Client, predictions: int, others: int) -> None:
    answer = client.post(f"/models/{MODEL}/predict", json=[{"x": 2}])
    assert answer.status_code == predictions, answer.text
    said = client.get("/api/v1/yard")
    assert said.status_code == others
    for refused in (r for r in (answer, said) if r.status_code == 503):
        assert "The database has not answered for" in refused.json()["detail"]
        assert "Retry-After" in refused.headers
    assert client.get("/metrics").status_code == predictions  # what is wrong is in them


def test_the_spool_grows_to_its_limit_while_s3_is_gone_and_all_of_it_arrives(
    tmp_path: Path, server: Server, bucket: ThreadedMotoServer
) -> None:
    host, port = bucket.get_host_and_port()
    variables = {
        "YARD_DATABASE": server.url(server.create()),
        **in_bucket(f"http://{host}:{port}"),
        "YARD_MAX_SPOOL": str(3 * 1024 * 1024),
        "YARD_SHIP_AFTER": "1",
    }
    with RunningYard(tmp_path / "data", variables) as yard, yard.client() as client:
        publish(client, MODEL, times(2))
        bucket.stop()
        answered: set[int] = set()

        def full() -> httpx.Response | None:
            rows = [{"x": n, "n": n} for n in range(len(answered), len(answered) + 5_000)]
            answer = client.post(f"/models/{MODEL}/predict", json=rows)
            if answer.status_code == 200:
                answered.update(row["n"] for row in rows)
                return None
            return answer

        refused = until(full)
        assert refused.status_code == 503
        assert "YARD_MAX_SPOOL allows 3" in refused.json()["detail"]
        again = ThreadedMotoServer(ip_address=host, port=port, verbose=False)
        again.start()
        try:
            httpx.put(f"http://{host}:{port}/yard")
            until(lambda: full() is None)
            until(lambda: recorded(client, answered))
        finally:
            again.stop()


def recorded(client: httpx.Client, answered: set[int]) -> bool:
    """Whether every answered row is in what was recorded, once."""
    table = pl.read_parquet(io.BytesIO(client.get(f"/api/v1/models/{MODEL}/predictions").content))
    return numbers_recorded(table) == answered and table.height == len(answered)


def test_s3_is_gone(client: httpx.Client, bucket: ThreadedMotoServer) -> None:
    publish(client, MODEL, times(2))
    bucket.stop()
    assert client.post(f"/models/{MODEL}/predict", json=[{"x": 2}]).json()["predictions"] == [4.0]
    answer = client.post(
        f"/api/v1/models/{MODEL}/versions", content=times(9), headers={"Content-Type": "application/x-tar"}
    )
    assert answer.status_code == 503, answer.text
    assert "s3://yard/blobs" in answer.text
