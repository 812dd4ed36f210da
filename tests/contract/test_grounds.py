"""One contract for all who run jobs: this machine, and hosts that Ray has placed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.records.jobs import JobState
from modelyard.workers.cluster import Places
from modelyard.workers.clusters import read_clusters
from modelyard.workers.ray_jobs import RayGrounds
from tests.contract.hands import is_alive, settings
from tests.contract.ray_house import RayHouse
from tests.contract.test_training import DATA, FLIGHTS, TRAIN, project
from tests.contract.training_house import MODEL, TrainingHouse, described
from tests.journeys.running import PATIENCE, until

pytestmark = pytest.mark.bubblewrap


@pytest.fixture(scope="module")
def places(ray_house: RayHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    node = settings(tmp_path_factory.mktemp("places"), load_timeout=PATIENCE)
    made = Places(node, read_clusters(ray_house.config))
    yield made
    made.close()


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrainingHouse]:
    grounds = RayGrounds(request.getfixturevalue("places")) if request.param == "ray" else None
    made = TrainingHouse(tmp_path, tmp_path / "environments", grounds=grounds)
    yield made
    made.database.close()


def log(house: TrainingHouse, job: int) -> str:
    return house.jobs.log(job).text


def test_a_project_becomes_a_version(house: TrainingHouse) -> None:
    house.push("operations/flights", FLIGHTS)
    job = house.run(project(TRAIN, DATA))
    assert job.state is JobState.SUCCEEDED, log(house, job.id)
    assert "learned from 8 rows" in log(house, job.id), "the newest rows are the gate's alone"
    assert [p.value for p in house.jobs.points(job.id) if p.name == "mae"] == [3.0, 2.0, 1.0]
    assert job.usage.cpu_seconds > 0
    assert job.usage.peak_memory > 0
    assert [f.path for f in house.registry.files(MODEL, 1)].count("yardbundle.toml") == 1


def test_it_is_within_walls_and_its_variables_are_the_jobs_alone(
    house: TrainingHouse, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("canary")
    script = (
        "import os, pathlib, socket\n"
        f"print('there:', pathlib.Path({str(tmp_path / 'secret')!r}).exists())\n"
        "print('network:', [n for _, n in socket.if_nameindex()])\n"
        "print('ray:', [k for k in os.environ if 'RAY' in k], os.environ['YARD_MODEL'])\n"
        "print('root:', os.getuid() == 0)\n"
    )
    text = log(house, house.run(project(script)).id)
    assert "there: False" in text
    assert "network: ['lo']" in text
    assert f"ray: [] {MODEL}" in text
    assert "root: False" in text


def test_a_script_that_fails_says_why(house: TrainingHouse) -> None:
    job = house.run(project("print('so far')\nraise ValueError('no such column')"))
    assert job.state is JobState.FAILED
    assert job.words == "exit code 1: ValueError: no such column"
    assert "so far" in log(house, job.id)


def test_a_limit_ends_it(house: TrainingHouse) -> None:
    job = house.run(project("import time\ntime.sleep(60)", 'time = "1s"'))
    assert job.state is JobState.FAILED
    assert "train.time" in job.words


def test_a_package_that_cannot_be_had_is_told(house: TrainingHouse) -> None:
    job = house.run(project("pass") | {"requirements.txt": "numpy>=1"})
    assert job.state is JobState.FAILED
    assert "not an exact pin" in job.words


def test_one_that_is_cancelled_ends_soon(house: TrainingHouse) -> None:
    thread, job = house.begin(project("import os, time\nprint('here', flush=True)\ntime.sleep(600)"), "here")
    house.jobs.cancel(job, by="ann")
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert house.jobs.job(job).state is JobState.CANCELLED


def test_a_machine_that_dies_is_no_fault_of_the_script(house: TrainingHouse) -> None:
    script = f"dies-{os.getpid()}.py"  # no other test's: what is above it is killed
    files = {
        "yard.toml": described(run=f"python {script}"),
        script: "import time\nprint('here', flush=True)\ntime.sleep(600)",
    }
    thread, job = house.begin(files, "here")
    pid = _bubblewrap_of(script)
    above = Path(f"/proc/{pid}/status").read_text().split("PPid:")[1].split()[0]
    is_here = int(above) == os.getpid()
    os.kill(pid if is_here else int(above), signal.SIGKILL)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    found = house.jobs.job(job)
    assert (found.state, found.attempt) == (JobState.QUEUED, 1)
    assert "A machine failed under it" in found.words
    until(lambda: not is_alive(pid))


def _bubblewrap_of(script: str) -> int:
    """The outermost process of a job's walls."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = path.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"bwrap") and script.encode() in words:
            return int(path.name)
    raise AssertionError("no job runs")
