"""What a person's worst day looks like: kill -9 of everything, one after another, under load."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import polars as pl
import pytest

from tests.journeys.load import Load
from tests.journeys.models import times
from tests.journeys.running import RunningYard, publish, until

MODEL = "ops/double"


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[RunningYard]:
    """A yard of its own with a model: x times 2, and as version 2, x times 3."""
    with RunningYard(tmp_path / "yard", options=("--fronts", "2")) as running:
        with running.client() as client:
            publish(client, MODEL, times(2))
            publish(client, MODEL, times(3))
        yield running


def exported(client: httpx.Client) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(client.get(f"/api/v1/models/{MODEL}/predictions").content))


def numbers_recorded(table: pl.DataFrame) -> set[int]:
    return {msgspec.json.decode(k)["n"] for k in table["keys"].to_list()}


def wait_for(load: Load, more: int) -> None:
    """Wait until so many more requests were answered."""
    before = len(load.answered)
    until(lambda: len(load.answered) > before + more)


def wait_for_others(client: httpx.Client, pids: list[int]) -> None:
    """Wait until there are workers other than these."""
    until(lambda: set(worker_pids(client)) - set(pids))


def wait_for_a_front_in_place_of(yard: RunningYard, pid: int) -> None:
    """Wait until the front has gone and all processes are there again."""
    until(lambda: len(yard.processes()) == 3 and pid not in yard.processes())


def worker_pids(client: httpx.Client) -> list[int]:
    return sorted(w["pid"] for w in client.get("/api/v1/workers").raise_for_status().json())


def test_promote_and_rollback_under_load_fail_no_request(yard: RunningYard, client: httpx.Client) -> None:
    with Load(yard.url, yard.token, MODEL) as load:
        wait_for(load, 20)
        for _ in range(3):
            assert (
                client.put(f"/api/v1/models/{MODEL}/aliases/champion", json={"version": 2}).status_code == 200
            )
            assert client.post(f"/models/{MODEL}/predict", json=[{"x": 1}]).json()["version"] == 2
            wait_for(load, 20)
            assert client.post(f"/api/v1/models/{MODEL}/rollback", json={}).status_code == 200
            assert client.post(f"/models/{MODEL}/predict", json=[{"x": 1}]).json()["version"] == 1
    assert not load.failed
    assert load.broken == 0
    for number, answer in load.answered.items():
        assert answer["predictions"] == [number * (1.0 + answer["version"])]


def test_a_killed_worker_is_replaced_and_no_request_fails(yard: RunningYard, client: httpx.Client) -> None:
    client.post(f"/models/{MODEL}/predict", json=[{"x": 1}])
    with Load(yard.url, yard.token, MODEL) as load:
        wait_for(load, 20)
        for _ in range(2):
            pids = worker_pids(client)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):  # replaced by itself meanwhile
                    os.kill(pid, signal.SIGKILL)
            wait_for_others(client, pids)
            wait_for(load, 50)
    assert not load.failed, load.failed[:3]
    assert load.broken == 0


def test_a_killed_front_loses_nothing_it_answered(yard: RunningYard) -> None:
    with Load(yard.url, yard.token, MODEL, retry=True) as load:
        wait_for(load, 50)
        for _ in range(2):
            _, front, *_ = yard.processes()
            os.kill(front, signal.SIGKILL)
            wait_for_a_front_in_place_of(yard, front)
            wait_for(load, 100)
    assert not load.failed, load.failed[:3]
    with yard.client() as fresh:
        recorded = exported(fresh)
    assert set(load.answered) <= numbers_recorded(recorded)


def test_a_killed_engine_is_replaced_and_adopts_the_workers(yard: RunningYard, client: httpx.Client) -> None:
    client.post(f"/models/{MODEL}/predict", json=[{"x": 1}])
    pids = worker_pids(client)
    assert pids
    with Load(yard.url, yard.token, MODEL) as load:
        wait_for(load, 20)
        engine = yard.processes()[0]
        os.kill(engine, signal.SIGKILL)
        wait_for(load, 50)
        until(lambda: worker_pids(client) == pids)
    assert not load.failed, load.failed[:3]
    assert load.broken == 0
    assert client.put(f"/api/v1/models/{MODEL}/aliases/champion", json={"version": 2}).status_code == 200


def test_everything_killed_and_started_again(yard: RunningYard, client: httpx.Client) -> None:
    first = client.post(f"/models/{MODEL}/predict", json=[{"x": 4, "n": 4}]).json()
    pids = worker_pids(client)
    yard.stop(signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    yard.start()
    with yard.client() as again:
        assert again.post(f"/models/{MODEL}/predict", json=[{"x": 4}]).json()["predictions"] == [8.0]
        assert first["request_id"] in exported(again)["request"].to_list()


def test_a_full_disk_answers_503_and_recovers(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    small = tmp_path / "small"
    small.mkdir()
    assert os.system(f"mount -t tmpfs -o size=24m tmpfs {small}") == 0  # noqa: S605
    try:
        with RunningYard(small / "yard") as running, running.client() as client:
            publish(client, MODEL, times(2))
            publish(client, MODEL, times(3))
            for number in (1, 2):  # a trial of a form that ended later would leave room again
                until(lambda n=number: form_of(client, n))  # type: ignore[misc]
            filler = small / "filler"
            fill(filler)
            refused = until(lambda: _refused(client))
            assert refused.status_code == 503
            assert "disk is full" in refused.json()["detail"]
            nothing_else_is_written_either(client)
            running.stop()
            running.start()  # a full disk keeps nobody from starting
            with running.client() as again:
                assert again.get("/api/v1/models").status_code == 200
                filler.unlink()
                all_is_written_again(again)
    finally:
        os.system(f"umount -l {small}")  # noqa: S605


def form_of(client: httpx.Client, number: int) -> str:
    """Why the version has its form; nothing as long as that is not decided."""
    return str(client.get(f"/api/v1/models/{MODEL}/versions/{number}").json()["form_reason"])


def nothing_else_is_written_either(client: httpx.Client) -> None:
    """At each write: a change in the database, a blob, an upload; with words, and nothing half done."""
    before = client.get(f"/api/v1/models/{MODEL}").json()
    alias = f"/api/v1/models/{MODEL}/aliases/champion"
    bundle = {"content": times(9), "headers": {"Content-Type": "application/x-tar"}}
    for answer in (
        client.put(alias, json={"version": 2}),
        client.post(f"/api/v1/models/{MODEL}/versions", **bundle),  # type: ignore[arg-type]
    ):
        assert answer.status_code in (503, 507), answer.text
        assert "disk" in answer.json()["detail"], answer.text
    assert client.get(f"/api/v1/models/{MODEL}").json() == before


def all_is_written_again(client: httpx.Client) -> None:
    alias = f"/api/v1/models/{MODEL}/aliases/champion"
    until(lambda: client.put(alias, json={"version": 2}).status_code == 200)
    assert client.post(f"/models/{MODEL}/predict", json=[{"x": 1}]).json()["predictions"] == [3.0]
    assert publish(client, MODEL, times(4))["state"] == "checked"


def fill(filler: Path) -> None:
    """Write until the disk is full."""
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


def _refused(client: httpx.Client) -> httpx.Response | None:
    answer = client.post(f"/models/{MODEL}/predict", json=[{"x": 1}] * 500)
    return answer if answer.status_code != 200 else None
