"""From the previous release to this one: its data and routes are opened, and both releases run at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
from tools.release_data import sources

from modelyard.serving.table import load_table
from tests.conftest import ROOT, find_postgresql
from tests.contract.postgresql import Server
from tests.journeys.load import Load
from tests.journeys.models import times
from tests.journeys.running import PATIENCE, RunningYard, publish, until
from tests.releases import COMMIT, KEPT, lay_out

ROW = [{"x": 2}]


def test_todays_release_reads_the_previous_ones_routes() -> None:
    """A node that starts without its database has nothing else."""
    table = load_table(KEPT / "routes")
    assert sorted(table.models["ops/twice"].versions) == [1, 2]
    assert table.models["ops/twice"].champion is not None
    assert table.models["ops/twice"].champion.signature.inputs[0].name == "x"
    assert len(table.tokens) == 2


def test_todays_release_goes_on_with_the_previous_ones_data(tmp_path: Path) -> None:
    lay_out(tmp_path / "data")
    with RunningYard(tmp_path / "data", {"YARD_SHIP_AFTER": "0.1"}) as yard, yard.client() as client:
        assert client.post("/models/ops/twice/predict", json=ROW).json()["predictions"] == [4.0]
        stable = client.post("/models/ops/twice/aliases/stable/predict", json=ROW)
        assert stable.json()["predictions"] == [4.0]
        assert client.get("/api/v1/models/ops/twice/card").json()["text"].startswith("# Twice")
        recorded = pl.read_parquet(client.get("/api/v1/models/ops/twice/predictions").content)
        assert recorded.height == 22, "what the previous release recorded and did not ship is among it"
        publish(client, "ops/twice", times(5))
        assert client.put("/api/v1/models/ops/twice/aliases/champion", json={"version": 3}).status_code == 200
        assert client.post("/models/ops/twice/predict", json=ROW).json()["predictions"] == [10.0]


def test_the_command_takes_the_previous_ones_data_over(tmp_path: Path) -> None:
    lay_out(tmp_path / "data")
    command = [sys.executable, "-m", "modelyard.cli", "upgrade", str(tmp_path / "vault")]
    done = subprocess.run(
        [*command, "--data", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = ("1 of 3: backing up", "2 of 3: bringing the data", "3 of 3: looking", "models: python (native)")
    assert all(step in done.stderr for step in (*steps, "All is well")), done.stderr


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[dict[str, str]]:
    """PostgreSQL, a folder for files and keys that two nodes of a machine share."""
    binaries = find_postgresql()
    assert binaries
    with Server(binaries) as server:
        yield {
            "YARD_DATABASE": server.url(server.create()),
            "YARD_BLOBS": str(tmp_path / "blobs"),
            "YARD_KEYS": str(tmp_path / "keys"),
            "YARD_FRONTS": "1",
        }


@pytest.mark.history
@pytest.mark.postgresql
def test_two_releases_serve_one_database_under_load(shared: dict[str, str], tmp_path: Path) -> None:
    """The older node answers before, while and after the newer brings the database up to date."""
    program = tmp_path / "program"
    program.mkdir()
    sources(COMMIT, program)
    of_old = {**shared, "PYTHONPATH": str(program / "src")}
    of_new = {**shared, "PYTHONPATH": f"{ROOT / 'src'}:{os.environ.get('PYTHONPATH', '')}"}
    with RunningYard(tmp_path / "old", of_old) as old, old.client() as here:
        publish(here, "ops/twice", times(2))
        with Load(old.url, old.token, "ops/twice", lanes=2) as load:
            until(lambda: len(load.answered) > 50)
            with RunningYard(tmp_path / "new", of_new) as new, new.client(old.token) as there:
                until(lambda: champion(there) == [4.0])
                publish(there, "ops/twice", times(3))
                publish(here, "ops/twice", times(4))
                promote = "/api/v1/models/ops/twice/aliases/champion"
                for version, answer in ((2, [6.0]), (3, [8.0])):
                    for by in (here, there):
                        assert by.put(promote, json={"version": version, "why": "a test"}).status_code == 200
                    until(lambda a=answer: champion(here) == a and champion(there) == a)  # type: ignore[misc]
                reached = len(load.answered)
                until(lambda: len(load.answered) > reached + 100)
                verified = there.get("/api/v1/audit/verify")
                assert verified.json()["faults"] == [], verified.text
            reached = len(load.answered)
            until(lambda: len(load.answered) > reached + 50)  # the older goes on alone
    assert load.failed == []


def champion(client: httpx.Client) -> list[float] | None:
    answer = client.post("/models/ops/twice/predict", json=ROW)
    return answer.json()["predictions"] if answer.status_code == 200 else None
