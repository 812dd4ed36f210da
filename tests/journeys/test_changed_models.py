"""Models changed behind the yard's back, on disk and in the database, in a yard that runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journeys.models import times
from tests.journeys.running import RunningYard, publish, until

MODEL = "ops/double"


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    with RunningYard(tmp_path_factory.mktemp("yard") / "data", options=("--fronts", "1")) as running:
        with running.client() as client:
            publish(client, MODEL, times(2))
        yield running


def kill_worker(client: httpx.Client) -> None:
    """The next one loads the model anew."""
    for worker in client.get("/api/v1/workers").json():
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker["pid"], signal.SIGKILL)


def entries(client: httpx.Client, action: str) -> list[dict[str, Any]]:
    return list(client.get("/api/v1/audit", params={"action": action}).json())


def predict(client: httpx.Client) -> httpx.Response:
    return client.post(f"/models/{MODEL}/predict", json=[{"x": 4.0}])


def test_15_changed_code_never_answers_and_both_changes_are_told(yard: RunningYard) -> None:
    with yard.client() as client:
        (code,) = (path for path in (yard.data / "bundles").glob("*/*.py"))
        code.chmod(0o600)
        code.write_text(code.read_text().replace("2", "666"))
        kill_worker(client)
        (told,) = until(lambda: entries(client, "version.repair"))
        assert (told["by"], told["subject"]) == ("yard", f"{MODEL}/1")
        assert until(lambda: predict(client).json().get("predictions")) == [8.0]
        assert "666" not in next((yard.data / "bundles").glob(f"*/{code.name}")).read_text()
        _change_the_database(yard.data / "yard.sqlite")
        kill_worker(client)
        (refused,) = until(lambda: entries(client, "version.refuse"))
        assert "over something else" in refused["after"]
        answer = until(lambda: found if (found := predict(client)).status_code == 503 else None)
        assert answer.json()["type"].endswith(":untrusted")
        signed = client.get(f"/api/v1/models/{MODEL}/versions/1/provenance").json()
        assert [s["holds"] for s in signed] == [False]


def _change_the_database(file: Path) -> None:
    """As whoever can write to it: the model is loaded by another function of the same files."""
    with contextlib.closing(sqlite3.connect(file, timeout=10)) as connection, connection:
        ((bundle,),) = connection.execute("SELECT bundle FROM versions").fetchall()
        changed = bundle.replace(':predict"', ':other"')
        assert changed != bundle
        connection.execute("UPDATE versions SET bundle = ?", (changed,))
