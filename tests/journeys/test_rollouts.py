"""Rollouts in a real yard under load: the good become champion, the bad are rolled back, no request fails."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import httpx

from tests.journeys.load import Load
from tests.journeys.models import code_bundle, times
from tests.journeys.running import RunningYard, publish, until

CRASHES = (
    "def predict(columns):\n    if (columns['x'] % 10 == 3).any():\n        raise ValueError('no three')\n"
    "    return columns['x'] * 2\n"
)


def start(client: httpx.Client, model: str, version: int, *stages: str, **more: str) -> None:
    told = {"version": version, "rollout": stages, "why": "a try", **more}
    answer = client.post(f"/api/v1/models/{model}/rollouts", json=told)
    assert answer.status_code == 201, answer.text


def newest(client: httpx.Client, model: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/models/{model}/rollouts").json()[0]
    return found


def test_a_good_candidate_becomes_champion_by_itself(yard: RunningYard, client: httpx.Client) -> None:
    for factor in (2, 2.001):
        assert publish(client, "ops/good", times(factor))["state"] == "checked"
    with Load(yard.url, yard.token, "ops/good") as load:
        start(client, "ops/good", 2, "shadow 1s", "canary 50% 1s")
        rollout = until(lambda: (r := newest(client, "ops/good")) and r["ended_at"] and r)
        answered = len(load.answered)
        until(lambda: len(load.answered) > answered + 50)
    assert load.failed == []
    assert rollout["state"] == "promoted", rollout
    assert [(step["stage"], step["state"]) for step in rollout["steps"]] == [
        (0, "running"),
        (1, "running"),
        (1, "promoted"),
    ]
    assert rollout["evidence"]["candidate"]["asked"] >= 40
    assert {answer["version"] for answer in load.answered.values()} == {1, 2}
    history = client.get("/api/v1/models/ops/good/history").json()
    assert (history[0]["before"], history[0]["after"], history[0]["by"]) == (1, 2, "yard")
    assert "champion now" in history[0]["why"]


def test_a_candidate_that_fails_some_rows_is_rolled_back_and_fails_no_request(
    yard: RunningYard, client: httpx.Client
) -> None:
    for bundle in (times(2), code_bundle(CRASHES)):
        assert publish(client, "ops/bad", bundle)["state"] == "checked"
    with Load(yard.url, yard.token, "ops/bad") as load:
        start(client, "ops/bad", 2, "canary 50% 1h")
        rollout = until(lambda: (r := newest(client, "ops/bad")) and r["ended_at"] and r)
    assert load.failed == []
    assert rollout["state"] == "rolled-back", rollout
    assert "no three" in rollout["words"]
    assert all(answer["predictions"] == [2.0 * n] for n, answer in load.answered.items())
    assert client.get("/api/v1/models/ops/bad").json()["champion"] == 1


def test_an_owner_approves_what_has_waited_through_a_kill(tmp_path: Path) -> None:
    with RunningYard(tmp_path / "yard") as running:
        with running.client() as client:
            for factor in (2, 3):
                publish(client, "ops/waits", times(factor))
            with Load(running.url, running.token, "ops/waits"):
                start(client, "ops/waits", 2, "canary 50% 1s", approval="owner")
                waits = until(lambda: (r := newest(client, "ops/waits")) and r["state"] == "waiting" and r)
            assert "yard rollout approve ops/waits" in waits["words"]
        running.stop(signal.SIGKILL)
        running.start()
        with running.client() as client:
            assert newest(client, "ops/waits")["state"] == "waiting"
            assert client.get("/api/v1/models/ops/waits").json()["champion"] == 1
            client.post("/api/v1/models/ops/waits/rollouts/approve", json={"why": "looks right"})
            ended = until(lambda: (r := newest(client, "ops/waits")) and r["ended_at"] and r)
            assert (ended["state"], ended["approved_by"]) == ("promoted", "administrator")
            assert client.get("/api/v1/models/ops/waits").json()["champion"] == 2


def test_a_person_stops_a_rollout(client: httpx.Client) -> None:
    for factor in (2, 3):
        publish(client, "ops/stopped", times(factor))
    start(client, "ops/stopped", 2, "shadow 1h")
    again = client.post("/api/v1/models/ops/stopped/rollouts", json={"version": 2, "rollout": ["shadow 1h"]})
    assert again.status_code == 409
    assert "rolled out already" in again.json()["detail"]
    stopped = client.post("/api/v1/models/ops/stopped/rollouts/stop", json={"why": "wait for the tariff"})
    assert (stopped.json()["state"], stopped.json()["words"]) == (
        "stopped",
        "Stopped by administrator. wait for the tariff",
    )
    assert client.get("/api/v1/models/ops/stopped").json()["champion"] == 1
    assert client.get("/api/v1/rollouts").json() == []
