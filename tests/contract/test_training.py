"""Jobs run: from a project to a version, and what becomes of scripts that are wrong or meant badly."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.records.datasets import Mark
from modelyard.records.jobs import Input, JobState
from modelyard.store import duties
from modelyard.workers.processes import tree
from tests.conftest import find_julia, find_rscript
from tests.contract.training_house import MODEL, TrainingHouse, described
from tests.journeys.running import PATIENCE

pytestmark = pytest.mark.bubblewrap

TRAIN = """
import csv, os, json
import modelyard as yard

rows = list(csv.DictReader(open(os.path.join(os.environ["YARD_DATA"], "flights.csv"))))
slope = sum(float(r["cost"]) for r in rows) / sum(float(r["km"]) for r in rows)

class Line:
    def __init__(self, slope):
        self.slope = slope
    def predict(self, columns):
        return [self.slope * km for km in columns["km"]]

for step in range(3):
    yard.log(mae=3.0 - step, step=step)
print("learned from", len(rows), "rows", flush=True)
yard.save(Line(slope), example={"km": [100.0, 200.0]})
"""
TWICE = """
import os
import modelyard as yard

for name in "ab":
    yard.save(lambda rows: [1.0] * len(rows), os.environ["YARD_OUTPUT"] + "/" + name, example=[{"x": 1.0}])
"""
CHILDREN = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        kept = os.urandom(80_000_000)
        time.sleep(600)
os.wait()
raise SystemExit(1)
"""
# One that is refused goes on, as a bomb would: what ends them all is their time.
FORKS = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
FLIGHTS = "km,cost\n" + "".join(f"{km},{km * 2}\n" for km in range(1, 11))
DATA = 'data = { flights = "operations/flights" }\ntarget = "cost"'


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


@pytest.fixture
def house(tmp_path: Path, environments: Path) -> Iterator[TrainingHouse]:
    made = TrainingHouse(tmp_path, environments)
    yield made
    made.database.close()


R_TRAIN = """
library(modelyard)
d <- read.csv(file.path(Sys.getenv("YARD_DATA"), "flights.csv"))
cat("learned from", nrow(d), "rows with", yard_parameter("degree"), "\\n")
for (round in 1:3) yard_log(mae = 3 - round, round = round)
yard_save(lm(cost ~ km, d), example = head(d["km"], 5))
"""
JULIA_MODEL = """
struct Line
    slope::Float64
end
predict(model::Line, columns) = model.slope .* columns.km
"""
JULIA_TRAIN = """
using Modelyard
include("model.jl")
lines = collect(eachline(joinpath(ENV["YARD_DATA"], "flights.csv")))[2:end]
rows = [parse.(Float64, split(line, ',')) for line in lines]
println("learned from ", length(rows), " rows with ", parameter("degree"))
for round in 1:3
    log_metrics(mae = 3 - round, round = round)
end
save(Line(sum(last.(rows)) / sum(first.(rows))); example = (km = [100.0, 200.0],), source = "model.jl")
"""


def project(script: str, train: str = "") -> dict[str, str]:
    return {"yard.toml": described(train), "train.py": script}


def processes_within(folder: Path) -> list[int]:
    """Processes whose arguments or working folder name this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in path.joinpath("cmdline").read_text():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_a_python_project_becomes_a_version_that_says_where_it_comes_from(house: TrainingHouse) -> None:
    house.push("operations/flights", FLIGHTS)
    job = house.run(project(TRAIN, DATA), code="git 4f1c2e", reason="first")
    assert job.state is JobState.SUCCEEDED, house.jobs.log(job.id).text
    assert job.data == (Input("flights", "operations/flights", 1, 10, held_out=2),)
    assert "learned from 8 rows" in house.jobs.log(job.id).text, "the newest rows are the gate's alone"
    assert job.metrics == {"mae": 1.0, "step": 2.0}
    assert [p.value for p in house.jobs.points(job.id) if p.name == "mae"] == [3.0, 2.0, 1.0]
    version = house.registry.version(MODEL, 1)
    assert version.bundle.metrics == {"mae": 1.0, "step": 2.0}
    assert version.bundle.lineage == {
        "job": "1",
        "code": "git 4f1c2e",
        "project": job.project,
        "dataset:operations/flights": "1",
    }
    assert job.usage.cpu_seconds > 0.1
    assert job.usage.peak_memory > 10_000_000
    assert job.usage.seconds > 0.1
    assert job.usage.cost == pytest.approx(job.usage.cpu_seconds)
    with house.database.read() as connection:
        assert duties.get(connection, "gate", f"{MODEL}/1")
    assert not list((house.folder / "jobs").iterdir())


@pytest.mark.parametrize(
    ("language", "run", "files"),
    [
        pytest.param("r", "Rscript train.R", {"train.R": R_TRAIN}, marks=pytest.mark.r),
        pytest.param(
            "julia",
            "julia train.jl",
            {"train.jl": JULIA_TRAIN, "model.jl": JULIA_MODEL},
            marks=pytest.mark.julia,
        ),
    ],
)
def test_projects_in_r_and_julia_do_the_same(
    tmp_path: Path, environments: Path, language: str, run: str, files: dict[str, str]
) -> None:
    programs = {"r": find_rscript() or "Rscript", "julia": find_julia() or "julia"}
    house = TrainingHouse(tmp_path, environments, programs)
    house.push("operations/flights", FLIGHTS)
    text = described(DATA, language, run, "parameters.degree = 1\n")
    job = house.run({"yard.toml": text, **files})
    log = house.jobs.log(job.id).text
    assert job.state is JobState.SUCCEEDED, log
    assert "learned from 8 rows with 1" in log
    assert job.metrics == {"mae": 0.0, "round": 3.0}
    bundle = house.registry.version(MODEL, 1).bundle
    assert (bundle.language, bundle.metrics) == (language, {"mae": 0.0, "round": 3.0})
    assert bundle.lineage["dataset:operations/flights"] == "1"
    house.database.close()


def test_parameters_reach_the_script_and_files_of_the_project_lie_beside_it(house: TrainingHouse) -> None:
    script = "import os\nprint(os.environ['YARD_PARAMETERS'], open('beside.txt').read())\nraise SystemExit(3)"
    files = {
        "yard.toml": described(more="parameters.trees = 40\nparameters.kind = 'a'\n"),
        "train.py": script,
    }
    job = house.run(files | {"beside.txt": "hello"}, parameters={"trees": 80})
    assert '{"trees":80,"kind":"a"} hello' in house.jobs.log(job.id).text
    assert (job.state, job.exit_code) == (JobState.FAILED, 3)


@pytest.mark.parametrize(
    ("script", "train", "words"),
    [
        ("print('done')", "", "without a model"),
        (TWICE, "", "saved 2 models ('a', 'b')"),
        ("import time\nprint('here', flush=True)\ntime.sleep(600)", 'time = "2s"', "over 2 s (train.time)"),
        (CHILDREN, 'memory = "200 MB"', "train.memory"),
        (FORKS, 'time = "2s"', "over 2 s (train.time)"),
        ("x = bytearray(10**9)", 'memory = "200 MB"', "MemoryError"),
        (
            "import os\nfor n in range(10**6):\n    open(f'f{n}', 'wb').write(bytes(10**7))",
            'disk = "50 MB"',
            "over 0.05 GB (train.disk)",
        ),
        ("open('big', 'wb').write(bytes(10**8))", 'disk = "50 MB"', "disk in [train]"),
        (
            "import urllib.request as u\nu.urlopen('http://example.org', timeout=5)",
            "",
            "Jobs have no network",
        ),
        ("raise ValueError('no such column')", "", "exit code 1: ValueError: no such column"),
        (
            "import os\nos.symlink('/etc/shadow', os.environ['YARD_OUTPUT'] + '/model.pkl')",
            "",
            "no plain file",
        ),
        ("import os\nos.mkfifo(os.environ['YARD_OUTPUT'] + '/metrics.jsonl')", "", "no plain file"),
        ("import os\nos.kill(os.getpid(), 11)", "", "killed by SIGSEGV"),
        ("", 'data = { x = "finance/none" }', "There is no dataset finance/none"),
    ],
)
def test_a_script_that_does_not_end_well_fails_with_words_and_leaves_nothing(
    house: TrainingHouse, script: str, train: str, words: str
) -> None:
    job = house.run(project(script, train))
    assert job.state is JobState.FAILED
    assert words in job.words
    assert house.due is None, "what a script does wrong is not tried again"
    assert house.registry.models() == []
    assert not list((house.folder / "jobs").iterdir())
    assert processes_within(house.folder) == []


def test_what_forks_away_ends_with_the_job(house: TrainingHouse) -> None:
    script = (
        "import os, time, sys\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        time.sleep(600)\n    os._exit(0)\nprint('left', flush=True)"
    )
    job = house.run(project(script))
    assert (job.state, "without a model" in job.words) == (JobState.FAILED, True)
    assert processes_within(house.folder) == []


def test_a_job_sees_neither_the_yard_nor_its_secrets(
    house: TrainingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-environment")
    (house.folder / "admin.token").write_text("canary-of-the-folder")
    script = (
        "import os\nprint(sorted(os.environ), open('/proc/self/environ').read())\n"
        "for at, folders, files in os.walk('/'):\n"
        "    if not at.startswith(('/proc', '/sys', '/usr', '/dev')):\n"
        "        print(*(f for f in files if 'token' in f or 'sqlite' in f))\n"
        "print('yard_0123456789abcdefghijklmnop')\nraise ValueError('yard_0123456789abcdefghijklmnop')"
    )
    job = house.run(project(script))
    log = house.jobs.log(job.id).text
    assert job.words == "exit code 1: ValueError: ***"
    assert "YARD_OUTPUT" in log
    assert "canary" not in log
    assert "admin.token" not in log
    assert "yard.sqlite" not in log
    assert "yard_0123456789" not in log


def test_personal_columns_are_for_jobs_that_nothing_leaves(house: TrainingHouse) -> None:
    house.push("operations/flights", FLIGHTS)
    house.datasets.set_marks("operations/flights", {"km": Mark.PERSONAL}, by="ann")
    script = "import os\nprint(open(os.environ['YARD_DATA'] + '/flights.csv').readline())"
    seen = {}
    for hosts in ("[]", '["files.example.org:443"]'):
        train = f'data = {{ flights = "operations/flights" }}\nhosts = {hosts}'
        job = house.submit(project(script, train))
        if job.hosts:
            house.approvals.approve(MODEL, job.hosts, by="olga")
        house.do()
        seen[hosts] = house.jobs.log(job.id).text
    assert "km,cost" in seen["[]"]
    assert "km" not in seen['["files.example.org:443"]']
    assert "cost\n" in seen['["files.example.org:443"]']


def test_a_running_job_is_cancelled_within_seconds(house: TrainingHouse) -> None:
    script = (
        "import time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('here', flush=True)\ntime.sleep(600)"
    )
    thread, number = house.begin(project(script), "here")
    house.jobs.cancel(number, by="bo", why="wrong data")
    thread.join(PATIENCE)
    job = house.jobs.job(number)
    assert (job.state, job.words) == (JobState.CANCELLED, "Cancelled by bo. wrong data")
    assert processes_within(house.folder) == []


def test_a_yard_that_goes_down_puts_its_jobs_back_into_the_queue(house: TrainingHouse) -> None:
    thread, number = house.begin(project("import time\nprint('here', flush=True)\ntime.sleep(600)"), "here")
    house.step.close()
    thread.join(PATIENCE)
    job = house.jobs.job(number)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    assert processes_within(house.folder) == []


def test_a_killed_process_is_a_machine_fault_and_tried_again(house: TrainingHouse) -> None:
    script = "import time\nprint('here', flush=True)\ntime.sleep(600)"
    thread, number = house.begin(project(script), "here")
    for pid in processes_within(house.folder)[:1]:
        os.kill(tree(pid)[-1], signal.SIGKILL)
    thread.join(PATIENCE)
    job = house.jobs.job(number)
    assert (job.state, job.attempt) == (JobState.QUEUED, 1)
    assert "SIGKILL" in job.words


def test_a_project_has_the_packages_it_pins_or_says_which_line_is_none(house: TrainingHouse) -> None:
    job = house.run(project("print(1)") | {"requirements.txt": "numpy==2.4.6\nscikit-learn>=1\n"})
    assert (job.state, "Line 2 of requirements.txt" in job.words) == (JobState.FAILED, True)


def test_output_of_any_kind_is_kept_as_text(house: TrainingHouse) -> None:
    script = "import sys\nsys.stdout.buffer.write(b'\\xff\\x00 bytes\\n' + b'x' * 100 + b'\\r')\nprint('end')"
    log = house.jobs.log(house.run(project(script)).id).text
    assert "\ufffd\ufffd bytes\n" + "x" * 100 + "\nend\n" in log


def test_of_a_flood_of_output_the_end_is_kept(house: TrainingHouse) -> None:
    job = house.run(project("import sys\nsys.stdout.write('y' * 20_000_000)\nprint('\\nthe end')"))
    log = house.jobs.log(job.id).text
    assert "of output are left out here" in log
    last = house.jobs.log(job.id, house.jobs.log(job.id).next)
    assert "the end" in log + last.text
