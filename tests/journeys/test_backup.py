"""A yard is backed up while it answers, its machine is lost, and another goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.journeys.models import times
from tests.journeys.running import PATIENCE, RunningYard, publish, until

PASSPHRASE = "a ladder, a lemon, a loud lake"


def yard(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelyard.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=env)


def test_a_yard_is_lost_and_comes_back(tmp_path: Path) -> None:
    vault, word = str(tmp_path / "vault"), tmp_path / "word"
    word.write_text(PASSPHRASE + "\n")
    with RunningYard(tmp_path / "first") as first, first.client() as client:
        publish(client, "ops/twice", times(2))
        publish(client, "ops/twice", times(3))
        assert client.post("/models/ops/twice/predict", json=[{"x": 2, "id": "a"}]).json()["predictions"] == [
            4.0
        ]
        options = ("--passphrase-file", str(word), "--json")
        made = yard("backup", vault, "--data", str(first.data), "--drill", *options)
        assert made.returncode == 0, made.stderr
        report = json.loads(made.stdout)
        assert report["copied"] == report["bytes"] > 0
        again = json.loads(yard("backup", vault, "--data", str(first.data), *options).stdout)
        assert again["copied"] < report["bytes"] / 2
        state = client.get("/api/v1/backups").json()
        assert state["backup"]["ok"]
        assert "is whole" in state["drill"]["words"]
        token = first.token
        a_copy_does_not_start_beside_the_original(first, vault, word, tmp_path / "beside")
    data = tmp_path / "second"
    refused = yard("restore", vault, "--data", str(first.data), "--passphrase-file", str(word))
    assert refused.returncode == 1
    assert "never writes over a yard" in refused.stderr
    wrong = yard("restore", vault, "--data", str(data))
    assert "are sealed" in wrong.stderr
    restored = yard("restore", vault, "--data", str(data), "--passphrase-file", str(word))
    assert restored.returncode == 0, restored.stderr
    assert f"yard up --data {data}" in restored.stderr
    with RunningYard(data) as second, second.client(token) as client:
        assert client.post("/models/ops/twice/predict", json=[{"x": 2}]).json()["predictions"] == [4.0]
        assert client.put("/api/v1/models/ops/twice/aliases/champion", json={"version": 2}).status_code == 200
        assert client.post("/models/ops/twice/predict", json=[{"x": 2}]).json()["predictions"] == [6.0]
        recorded = client.get("/api/v1/models/ops/twice/predictions").text
        assert '"id":"a"' in recorded.replace(" ", "").replace("\\", ""), recorded
        the_original_comes_back_and_the_copy_changes_nothing(first, second)


def a_copy_does_not_start_beside_the_original(first: RunningYard, vault: str, word: Path, data: Path) -> None:
    """Only where it shall be a yard of its own."""
    with first.client() as client:
        heard = client.get("/health/node").json()["beat"]
        until(lambda: client.get("/health/node").json()["beat"] > heard)
    yard("restore", vault, "--data", str(data), "--passphrase-file", str(word))
    refused = yard("up", "--data", str(data), "--port", "0")
    assert refused.returncode == 1
    assert f"answers at {first.url}: this is a copy of it" in refused.stderr
    assert "YARD_APART=true" in refused.stderr
    with RunningYard(data, {"YARD_APART": "true"}) as apart, apart.client(first.token) as client:
        assert [node["address"] for node in client.get("/api/v1/nodes").json()] == [apart.url]
    with RunningYard(data):
        pass  # it is one from then on


def the_original_comes_back_and_the_copy_changes_nothing(first: RunningYard, copy: RunningYard) -> None:
    """It looks each minute, and whenever its engine starts; predictions go on."""
    first.start()
    try:
        os.kill(copy.processes()[0], signal.SIGKILL)
        with copy.client(first.token) as client:
            champion = "/api/v1/models/ops/twice/aliases/champion"

            def refused() -> httpx.Response | None:
                answer = client.put(champion, json={"version": 2})
                return answer if answer.status_code == 409 else None

            assert "this is a copy of a yard that goes on elsewhere" in until(refused, 60).json()["detail"]
            (node,) = (n for n in client.get("/api/v1/nodes").json() if n["here"])
            assert first.url in node["words"]
            assert client.post("/models/ops/twice/predict", json=[{"x": 2}]).json()["predictions"] == [6.0]
        with first.client() as client:
            assert client.put(champion, json={"version": 2}).status_code == 200
    finally:
        first.stop()


def test_a_yard_backs_itself_up(tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    with RunningYard(tmp_path / "data", {"YARD_BACKUP": str(vault)}) as running, running.client() as client:
        state = until(lambda: (s := client.get("/api/v1/backups").json())["drill"] and s)
        assert state["every_hours"] == 24
        assert state["backup"]["ok"]
        assert state["failure"] is None
        environment = {**os.environ, "YARD_URL": running.url, "YARD_TOKEN": running.token}
        said = yard("doctor", "--data", str(running.data), "--json", env=environment)
        (found,) = (each for each in json.loads(said.stdout) if each["what"] == "backups")
        assert found["state"] == "ok"
        assert found["words"].startswith("the newest is of today; restored to look on ")
