"""Training in a real yard: `yard train` from a folder in git, an engine that is killed, a job cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.running import PATIENCE, RunningYard, until

pytestmark = pytest.mark.bubblewrap

TRAIN = """
import os, sys, time
import modelyard as yard

trees = yard.parameter("trees")
for step in range(3):
    yard.log(mae=3.0 - step)
print("trees", trees, os.path.exists("ignored.txt"), flush=True)
if yard.parameter("waits", False):
    open("/tmp/here", "w").close()
    print("waiting", flush=True)
    time.sleep(600)
yard.save(lambda rows: [trees * x for x in rows["x"]], example={"x": [1.0, 2.0]})
"""
YARD = """
model = "finance/fuel-cost"
language = "python"
[train]
run = "python train.py"
[parameters]
trees = 40
waits = false
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    with RunningYard(tmp_path_factory.mktemp("jobs") / "data") as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "repository" / "fuel"
    folder.mkdir(parents=True)
    (folder / "yard.toml").write_text(YARD)
    (folder / "train.py").write_text(TRAIN)
    (folder / "ignored.txt").write_text("big")
    (folder.parent / ".gitignore").write_text("ignored.*\n")
    git = ["git", "-C", str(folder.parent), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True, stdout=subprocess.DEVNULL)
    return folder


def yard(running: RunningYard, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "YARD_URL": running.url, "YARD_TOKEN": running.token}
    command = [sys.executable, "-m", "modelyard.cli", *words]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def job(running: RunningYard, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(yard(running, "job", str(number), "--json").stdout)
    return found


def test_a_folder_becomes_a_champion_and_runs_are_compared(running: RunningYard, project: Path) -> None:
    done = yard(running, "train", str(project))
    assert "2 files" in done.stderr
    assert "trees 40 False" in done.stdout
    assert "finance/fuel-cost/1 is checked" in done.stderr
    (project / "train.py").write_text(TRAIN + "\n# changed\n")
    done = yard(running, "train", str(project), "--set", "trees=80", "--why", "more trees")
    assert "(with changes)" in done.stderr
    second = job(running, 2)
    assert (second["state"], second["version"], second["parameters"]["trees"]) == ("succeeded", 2, 80)
    assert second["code"].endswith("(with changes)")
    assert second["usage"]["cpu_seconds"] > 0
    assert "more trees" in yard(running, "job", "2").stdout
    assert "trees 80" in yard(running, "job", "2", "--log").stdout
    listed = json.loads(yard(running, "jobs", "finance/fuel-cost", "--json").stdout)
    assert [j["id"] for j in listed] == [2, 1]
    compared = yard(running, "compare", "1", "2").stdout
    assert [line.split() for line in compared.splitlines() if line.startswith("trees")] == [
        ["trees", "40", "80"]
    ]
    with running.client() as client:
        champion = client.get("/api/v1/models/finance/fuel-cost").json()
        assert champion["champion"] == 1, "a job moves no alias: the gate decides"
        answer = client.post("/models/finance/fuel-cost/predict", json=[{"x": 2.0}]).json()
        assert answer["predictions"] == [80.0]


def test_an_engine_killed_in_mid_job_leaves_nothing_and_the_job_is_tried_again(
    running: RunningYard, project: Path
) -> None:
    yard(running, "train", str(project), "--set", "waits=true", "--no-follow")
    number = json.loads(yard(running, "jobs", "--json").stdout)[0]["id"]
    with running.client() as client:
        path = f"/api/v1/models/finance/fuel-cost/jobs/{number}"
        until(lambda: "waiting" in client.get(path + "/log").json()["text"])
        before = within(running.data)
        assert before
        os.kill(running.processes()[0], signal.SIGKILL)
        until(lambda: not set(before) & set(within(running.data)))
        until(lambda: client.get(path).json()["attempt"] == 2)
        until(lambda: client.get(path + "/log").json()["text"].count("waiting") == 2)
        assert "a machine fault: its engine died" in client.get(path + "/log").json()["text"]
        yard(running, "cancel", str(number), "--why", "enough")
        until(lambda: client.get(path).json()["state"] == "cancelled")
        assert client.get(path).json()["words"] == "Cancelled by administrator. enough"
        until(lambda: within(running.data) == [])
    yard(running, "job", str(number), "--follow", code=1)
    yard(running, "cancel", str(number), code=1)


def within(folder: Path) -> list[int]:
    """Processes of jobs below a data folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_text()
        except OSError:
            continue
        if f"{folder}/jobs/" in words:
            found.append(int(path.name))
    return found


def test_a_project_that_is_wrong_is_refused_before_it_is_sent(running: RunningYard, project: Path) -> None:
    (project / "yard.toml").write_text(YARD.replace("run =", "rum ="))
    done = yard(running, "train", str(project), code=1)
    assert "yard.toml, line 5: [train] has a key that is not known: 'rum'" in done.stderr
    yard(running, "train", str(project.parent), code=1)
    assert "There is no yard.toml" in yard(running, "train", str(project.parent), code=1).stderr
