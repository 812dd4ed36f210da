"""What all tests share: which parts of the machine are there, and programs and ports for those in need.

A test says with a marker what it needs (`@pytest.mark.r`). Where that is not there the test is skipped with a
notice that says how to get it; under CI=true that, and any other skip, is a failure.
"""

from __future__ import annotations

import fcntl
import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

if TYPE_CHECKING:
    from tests.contract.ray_house import RayHouse

ROOT = Path(__file__).parents[1]
CI = os.environ.get("CI", "").lower() == "true"
# A thrown exception ends a Julia that has the wrong libunwind (tools/setup/julia.py).
_JULIA_WORKS = 'f(x) = x < 0 ? throw(DomainError(x)) : x; (try f(-1) catch; 2 end) == 2 && print("works")'

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

_ANY_SPEED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
hypothesis_settings.register_profile("ci", derandomize=True, print_blob=True, **_ANY_SPEED)
hypothesis_settings.register_profile("desk", **_ANY_SPEED)
hypothesis_settings.load_profile("ci" if CI else "desk")


@cache
def find_rscript() -> str | None:
    """The program that runs R, or None."""
    return os.environ.get("YARD_PROGRAM_R") or shutil.which("Rscript")


@cache
def find_julia() -> str | None:
    """A Julia that survives an exception, or None."""
    named = os.environ.get("YARD_PROGRAM_JULIA")
    private = ROOT / ".tools/julia"
    for program in (named, str(private) if private.exists() else None, shutil.which("julia")):
        if program and _prints([program, "--startup-file=no", "-e", _JULIA_WORKS], "works"):
            return program
    return None


def _prints(command: list[str], text: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    except OSError:
        return False
    return done.stdout == text


@cache
def find_postgresql() -> Path | None:
    """The newest folder with PostgreSQL's server programs (15 or later), or None."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).parent] if on_path else []
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    folders += [path for path in reversed(debian) if (path / "postgres").exists()]
    return folders[0] if folders else None


# Below those that the kernel gives to whoever asks for any (32,768 and up), above those of Ray's workers, and
# each process begins at another place: so nobody takes one before the program has it that it is for.
_PORTS = (20_000 + (os.getpid() * 53 + number) % 12_000 for number in itertools.count())


def find_free_port() -> int:
    """A TCP port nobody listens on now, and nobody else is given."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


_NEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "r": (find_rscript, "R is not installed"),
    "julia": (find_julia, "there is no Julia that works"),
    "postgresql": (find_postgresql, "PostgreSQL's server programs are not installed"),
    "torch": (lambda: importlib.util.find_spec("torch"), "PyTorch is not installed"),
    "chromium": (lambda: shutil.which("chromium"), "Chromium is not installed"),
    "bubblewrap": (lambda: shutil.which("bwrap"), "bubblewrap is not installed"),
    "ray": (lambda: importlib.util.find_spec("ray"), "Ray is not installed"),
    "curl": (lambda: shutil.which("curl"), "curl is not installed"),
}


def pytest_configure() -> None:
    """Servers started by tests find the Julia that works."""
    private = ROOT / ".tools/julia"
    if private.exists():
        os.environ.setdefault("YARD_PROGRAM_JULIA", str(private))


# Modules that share one Ray cluster; and browsers with what makes network interfaces, for a browser drops its
# connections when the machine gets another.
_TOGETHER = {"test_grounds": "ray", "test_hands": "ray", "test_ray": "ray", "test_machines": "browser"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """A module's tests stay in one process, so that its yard is started once.

    Modules come in the order of collection, short ones last. `--dist loadgroup` by itself would part them:
    xdist 3.8 marks tests in a way that pytest 9.2 does not look at.
    """
    import xdist.scheduler as parts  # type: ignore[import-untyped]  # noqa: PLC0415 - where it is used alone

    class ByModule(parts.LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = Path(nodeid.partition("::")[0])
            return "browser" if path.parent.name == "browser" else _TOGETHER.get(path.stem, str(path))

    config.option.loadscopereorder = False
    return ByModule(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run on this machine."""
    for marker, (find, what) in _NEEDS.items():
        if item.get_closest_marker(marker) and not find():
            pytest.skip(f"{what}: `make setup` installs it as root, or says how to get it.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI=true a skipped test has failed."""
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Under CI=true a skipped file (`importorskip`) has failed."""
    return _no_skip((yield))


def _no_skip(report: Report) -> Report:
    if CI and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CI=true allows no skip, and this was one: {reason}"
    return report


@pytest.fixture(scope="session")
def julia() -> list[str]:
    """The command that starts Julia, to put arguments behind. Mark the test `julia`."""
    program = find_julia()
    assert program, "mark the test with @pytest.mark.julia"
    return [program, "--startup-file=no"]


@pytest.fixture(scope="session")
def rscript() -> list[str]:
    """The command that runs R, to put arguments behind. Mark the test `r`."""
    program = find_rscript()
    assert program, "mark the test with @pytest.mark.r"
    return [program, "--vanilla"]


@pytest.fixture(scope="session")
def r_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the R package of `sdk/r` installed, for R_LIBS. Mark the test `r`."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # with the run's other processes
    library = shared / "r-library"
    with (shared / "r-library.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            made = tmp_path_factory.mktemp("r-library")
            options = ["--no-docs", "--no-test-load", f"--library={made}"]
            command = ["R", "CMD", "INSTALL", *options, str(ROOT / "sdk/r")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            made.rename(library)
    return library


@pytest.fixture(scope="session")
def ray_house() -> Iterator[RayHouse]:
    """A Ray cluster with a head and a node of five cores, as Ray counts them. Mark the test `ray`."""
    from tests.contract.ray_house import RayHouse  # noqa: PLC0415 - it imports this file

    with RayHouse() as house:
        house.add(cpus=5)
        yield house


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that gives a TCP port nobody listens on now."""
    return find_free_port
