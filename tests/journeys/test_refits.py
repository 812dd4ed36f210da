"""A refit end to end in a real yard: data is noticed, a job trains, the gate compares, a rollout promotes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard.catalog.datasets import Datasets
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from tests.journeys.models import times
from tests.journeys.running import PATIENCE, RunningYard, publish, until

MODEL = "finance/fuel"
TRAIN = """
import csv, os
import modelyard as yard

with open(os.path.join(os.environ["YARD_DATA"], "flights.csv")) as file:
    rows = [(float(row["km"]), float(row["cost"])) for row in csv.DictReader(file)]
slope = sum(km * cost for km, cost in rows) / sum(km * km for km, _ in rows)
print("learned from", len(rows), "rows", flush=True)
yard.log(slope=slope)
yard.save(lambda rows: [slope * km for km in rows["km"]], example={"km": [1.0, 2.0]})
"""
YARD = f"""
model = "{MODEL}"
language = "python"
[train]
run = "python train.py"
data = {{ flights = "finance/flights" }}
target = "cost"
[retrain]
new_data = true
cooldown = "1s"
[promote]
holdout = "newest 25%"
slices = ["plane"]
rollout = []
latency = "60000 ms"
"""


def flights(slope: float) -> bytes:
    """400 flights as CSV: km, what they cost, the plane."""
    chance = random.Random(slope)  # noqa: S311 - the same rows each time
    kms = [chance.uniform(100, 4000) for _ in range(400)]
    lines = [f"{km},{km * slope + chance.gauss(0, 5)},{chance.choice('AB')}" for km in kms]
    return "\n".join(["km,cost,plane", *lines]).encode()


@pytest.fixture(scope="module")
def datasets(yard: RunningYard) -> Datasets:
    """The datasets of the yard that runs."""
    database = Database(f"sqlite:///{yard.data / 'yard.sqlite'}")
    return Datasets(database, Blobs(str(yard.data / "blobs")), yard.data / "scratch")


def push(datasets: Datasets, slope: float) -> None:
    datasets.push("finance/flights", [flights(slope)], "text/csv", by="ann", may_create_department=True)


def command(yard: RunningYard, *words: str, code: int = 0) -> str:
    environment = {**os.environ, "YARD_URL": yard.url, "YARD_TOKEN": yard.token}
    told = [sys.executable, "-m", "modelyard.cli", *words]
    done = subprocess.run(
        told, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout


def look_now(client: httpx.Client, model: str = MODEL) -> None:
    """Have the trigger look at once instead of within a minute."""
    for paused in (True, False):
        client.put(f"/api/v1/models/{model}/policy/paused", json={"paused": paused}).raise_for_status()


def refits(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/api/v1/models/{MODEL}/refits").json()["refits"]
    return found


def champion(client: httpx.Client) -> int:
    return int(client.get(f"/api/v1/models/{MODEL}").json()["champion"])


@pytest.mark.curl
def test_new_data_becomes_a_new_champion_by_itself(
    yard: RunningYard, client: httpx.Client, datasets: Datasets, tmp_path: Path
) -> None:
    push(datasets, 2.0)
    (tmp_path / "yard.toml").write_text(YARD)
    (tmp_path / "train.py").write_text(TRAIN)
    assert "learned from 300 rows" in command(yard, "train", str(tmp_path))
    first = until(lambda: (r := refits(client)) and r[0]["verdict"] and "Passed" in r[0]["compared"] and r[0])
    assert "better than always guessing the same. On 100 held-out rows" in first["compared"]
    push(datasets, 3.0)
    look_now(client)
    until(lambda: champion(client) == 2)
    told = refits(client)[0]
    assert told["noticed"] == "The dataset finance/flights has a new version 2."
    assert told["tried"].startswith("Job 2 succeeded: It published finance/fuel/2.")
    assert told["compared"].startswith("Better than the champion: on 100 held-out rows its mae is")
    assert "No group by plane got worse by more than 5%." in told["compared"]
    assert told["decided"].startswith("Champion: ")
    judged = command(yard, "gate", f"{MODEL}/1", "--dataset", "finance/flights", "--target", "cost", code=1)
    assert "the newest rows of finance/flights version 2" in judged
    assert "It is worse than the champion" in judged
    story = command(yard, "history", MODEL) + command(yard, "show", f"{MODEL}/2")
    assert story.count("The dataset finance/flights has a new version 2.") == 2
    job = command(yard, "job", "2")
    assert all(words in job for words in ("Better than the champion: on 100", "Champion: "))
    assert "next refit" in command(yard, "jobs", MODEL)
    entries = {(e["action"], e["by"]) for e in _audit(yard)}
    assert {("refit.begin", "yard"), ("verdict.judge", "yard"), ("rollout.promote", "yard")} <= entries
    a_webhook_asks_for_a_training_that_brings_nothing(yard, client)


def a_webhook_asks_for_a_training_that_brings_nothing(yard: RunningYard, client: httpx.Client) -> None:
    place = f"/api/v1/models/{MODEL}/refits"
    asked = client.post(place, json={"event": "closed", "why": "the month is complete", "by": "eve"})
    assert asked.status_code == 202
    told = until(lambda: (r := refits(client)[0])["job"] == 3 and not r["next"] and r)
    assert told["noticed"] == "administrator asked for it: the month is complete."
    assert "It made the same model as finance/fuel/2" in told["tried"] or "tie" in told["compared"]
    assert champion(client) == 2
    assert "looks again" in command(yard, "refits", MODEL)
    # A bare POST, as a timer or a pipeline sends it; two at once are one training.
    words = ["curl", "-sf", "-X", "POST", "-H", f"Authorization: Bearer {yard.token}"]
    for _ in range(2):
        subprocess.run([*words, f"{yard.url}{place}?why=the+night"], check=True, stdout=subprocess.DEVNULL)
    told = until(lambda: (r := refits(client)[0])["job"] == 4 and not r["next"] and r)
    assert told["noticed"].startswith("administrator asked for it: the night.")


DOWNSTREAM = "finance/surcharge"


def test_a_new_champion_of_what_a_model_builds_on_has_it_trained_anew(
    yard: RunningYard, client: httpx.Client, tmp_path: Path
) -> None:
    """What it builds on is published and promoted by people here: who does it is all the same."""
    upstream = "finance/tariff"
    assert publish(client, upstream, times(2))["state"] == "checked"
    text = f'model = "{DOWNSTREAM}"\nlanguage = "python"\n[train]\nrun = "python train.py"\n'
    (tmp_path / "yard.toml").write_text(
        f'{text}[retrain]\nupstream = ["{upstream}"]\ncooldown = "1s"\n'
        '[promote]\nmust_beat = "nothing"\nrollout = []\n'
    )
    (tmp_path / "train.py").write_text(
        "import os\nimport modelyard as yard\njob = float(os.environ['YARD_JOB'])\n"
        "yard.save(lambda rows: [job * x for x in rows['x']], example={'x': [1.0, 2.0]})\n"
    )
    command(yard, "train", str(tmp_path))
    place = f"/api/v1/models/{DOWNSTREAM}"

    def story() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get(f"{place}/refits").json()["refits"]
        return found

    until(lambda: client.get(place).json().get("champion") == 1)
    assert publish(client, upstream, times(3))["state"] == "checked"
    command(yard, "promote", f"{upstream}/2")
    look_now(client, DOWNSTREAM)
    until(lambda: client.get(place).json()["champion"] == 2)
    told = story()[0]
    assert told["noticed"] == "finance/tariff, which it builds on, has the new champion 2."
    assert len(story()) == 2
    look_now(client, DOWNSTREAM)
    until(lambda: "Nothing leads" in client.get(f"{place}/refits").json()["outlook"]["words"])


def _audit(yard: RunningYard) -> list[dict[str, Any]]:
    """The entries as the database has them: what the command prints is another's test."""
    script = "SELECT json_group_array(json_object('action', action, 'by', \"by\")) FROM audit"
    database = Database(f"sqlite:///{yard.data / 'yard.sqlite'}")
    with database.read() as connection:
        found: list[dict[str, Any]] = json.loads(connection.exec_driver_sql(script).scalar_one())
    return found
