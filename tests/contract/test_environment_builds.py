"""Environments built for real by uv, from the package index this machine is set up for."""

from __future__ import annotations

import subprocess
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

from modelyard.records.errors import EnvironmentBuildError
from modelyard.records.jobs import JobState
from modelyard.workers.environments import _find_uv, converter_for, environment_digest, python_for
from modelyard.workers.local import LocalWorkers
from tests.contract.hands import OWN, ask, plan, settings, started
from tests.contract.training_house import TrainingHouse, described

ANOTHER_NUMPY = next(v for v in ("2.3.5", "2.2.6") if v != metadata.version("numpy"))
SMALL = "six==1.16.0"


@pytest.fixture(scope="session", autouse=True)
def _index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips (under CI=true: fails) where no package index can be reached."""
    home = tmp_path_factory.mktemp("probe") / "environment"
    uv = _find_uv()
    subprocess.run([uv, "venv", "--quiet", str(home)], check=True, capture_output=True)
    command = [uv, "pip", "install", "--dry-run", "--python", str(home / "bin/python"), SMALL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no package index can be reached: {done.stderr[-300:]}")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder, so that what is built once need not be built again."""
    return tmp_path_factory.mktemp("data")


def bundle(folder: Path, requirements: str) -> Path:
    (folder / "environment").mkdir(parents=True)
    (folder / "environment/requirements.txt").write_text(requirements)
    return folder


def test_a_model_answers_in_an_environment_of_its_own(data: Path, tmp_path: Path) -> None:
    source = "import numpy, sys\nprint(numpy.__version__, sys.prefix)\n"
    source += "def predict(columns):\n    return columns['x']\n"
    place = bundle(tmp_path / "bundle", f"numpy=={ANOTHER_NUMPY}\n")
    workers = LocalWorkers(settings(data))
    with started(workers, plan(place, source)) as worker:
        assert ask(worker, 1.0) == [1.0]
        said = Path(worker.log).read_text()
    home = data / "environments" / environment_digest(OWN, {"numpy": ANOTHER_NUMPY})
    assert said == f"{ANOTHER_NUMPY} {home}\n"
    told: list[str] = []
    python_for(place, OWN, data / "environments", told.append)
    assert told == [], "it is there, nothing is built"


def test_numpy_is_there_though_nobody_asked_for_it(data: Path, tmp_path: Path) -> None:
    place = bundle(tmp_path / "bundle", SMALL)
    python = python_for(place, OWN, data / "environments", print)
    done = subprocess.run(
        [python, "-I", "-c", "import numpy, six; print(numpy.__version__, six.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{metadata.version('numpy')} 1.16.0\n"


def test_two_at_once_build_once(tmp_path: Path) -> None:
    place = bundle(tmp_path / "bundle", SMALL)
    told: list[str] = []
    both = threading.Barrier(2)

    def build(_: int) -> str:
        both.wait()
        return python_for(place, OWN, tmp_path / "environments", told.append)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build, range(2))
    assert first == second
    assert len(told) == 1
    assert told[0].startswith("building an environment: Python")


def test_one_that_was_not_finished_is_built_anew(tmp_path: Path) -> None:
    place = bundle(tmp_path / "bundle", SMALL)
    python = Path(python_for(place, OWN, tmp_path / "environments", print))
    home = python.parents[1]
    (home / "complete").unlink()
    python.unlink()
    assert Path(python_for(place, OWN, tmp_path / "environments", print)) == python
    assert python.exists()


def test_16_a_package_runs_nothing_while_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `.pth` file is run by each interpreter of its environment; here that is outside of walls."""
    canary, said = tmp_path / "canary", "hostile-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "hostile-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("hostile.py", "x = 1\n")
        wheel.writestr("hostile.pth", f"import os; open({str(canary)!r}, 'a').write(repr(os.environ))\n")
        wheel.writestr(f"{said}/METADATA", "Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
        wheel.writestr(f"{said}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{said}/RECORD", "")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    place = bundle(tmp_path / "bundle", "hostile==1.0\n")
    python = python_for(place, OWN, tmp_path / "environments", print)
    converter_for(python, OWN, tmp_path / "environments")
    assert not canary.exists()
    (compiled,) = Path(python).parents[1].glob("lib/python*/site-packages/__pycache__/hostile.*.pyc")
    assert compiled.stat().st_size
    subprocess.run([python, "-c", "import hostile"], check=True)
    assert canary.exists(), "a hostile package indeed"


@pytest.mark.parametrize("pin", ["six==1.16.99", "there-is-no-such-package-of-modelyard==1.0"])
def test_a_package_that_does_not_exist(tmp_path: Path, pin: str) -> None:
    place = bundle(tmp_path / "bundle", pin)
    with pytest.raises(EnvironmentBuildError, match="a package cannot be had on this machine") as caught:
        python_for(place, OWN, tmp_path / "environments", print)
    assert pin.split("==", maxsplit=1)[0] in caught.value.log
    assert "uv's" in caught.value.hint
    with pytest.raises(EnvironmentBuildError):  # and is not taken for finished the second time
        python_for(place, OWN, tmp_path / "environments", print)


def test_a_python_that_is_not_on_the_machine(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"Python 3\.99 cannot be had") as caught:
        python_for(bundle(tmp_path / "bundle", SMALL), "3.99.1", tmp_path / "environments", print)
    assert "Install Python 3.99" in caught.value.hint
    assert "3.99" in caught.value.log


def test_a_job_with_packages_of_its_own_saves_a_model_in_their_environment(
    tmp_path: Path, data: Path
) -> None:
    house = TrainingHouse(tmp_path, data / "environments")
    script = (
        "import six, modelyard as yard\nprint('six', six.__version__)\n"
        "yard.save(lambda rows: [2 * x for x in rows['x']], example={'x': [1.5]})"
    )
    job = house.run({"yard.toml": described(), "train.py": script, "requirements.txt": SMALL + "\n"})
    assert job.state is JobState.SUCCEEDED, house.jobs.log(job.id).text
    assert "building an environment" in house.jobs.log(job.id).text
    assert "six 1.16.0" in house.jobs.log(job.id).text
    house.database.close()
