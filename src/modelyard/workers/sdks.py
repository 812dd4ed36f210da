"""What a job's script needs of Modelyard itself: `save` and `log` in its language, and where to find them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import modelyard
from modelyard.records.errors import EnvironmentBuildError
from modelyard.workers.environments import Progress, only_one
from modelyard.workers.runtimes import runtimes_folder

# What the Python SDK imports; a project's own environment has these as well.
PYTHON_NEEDS = ("cloudpickle", "httpx", "msgspec")
_PARTS = ("client", "records")
_INSTALL_SECONDS = 300
_LOG_SHOWN = 4_000


def sdk_folder() -> Path:
    """Where the SDKs for R and Julia are: in the package when installed, beside `src` in a checkout."""
    return runtimes_folder().parent / ("_sdk" if runtimes_folder().name == "_runtimes" else "sdk")


def python_path(folder: Path) -> str:
    """A folder to put on `PYTHONPATH`, with the SDK and nothing else of the house: made where it is missing.

    It is no folder of installed packages, which would go before the project's own.

    Args:
        folder: where environments are kept.
    """
    package = Path(modelyard.__file__).parent
    sources = [package / "__init__.py", *_files(package / "client"), *_files(package / "records")]
    sources += _files(runtimes_folder() / "python")
    home = folder / f"sdk-python-{_digest(sources)}"
    if not home.is_dir():
        with only_one(folder, home.name):
            if not home.is_dir():
                _copy(package, home)
    return str(home)


def r_library(program: str, folder: Path, progress: Progress) -> str:
    """An R library with the package `modelyard`, installed where it is missing.

    Args:
        program: Rscript; R itself lies beside it.
        folder: where environments are kept.

    Raises:
        EnvironmentBuildError: R does not install it.
    """
    source = sdk_folder() / "r"
    home = folder / f"sdk-r-{_digest(_files(source))}"
    if not home.is_dir():
        with only_one(folder, home.name):
            if not home.is_dir():
                progress("installing the R package modelyard")
                _install(program, source, home)
    return str(home)


def julia_path() -> str:
    """Where Julia looks for `Modelyard`, then for the project's own packages."""
    return os.pathsep.join([str(sdk_folder() / "julia"), "@", "@stdlib"])


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def _digest(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def _copy(package: Path, home: Path) -> None:
    new = home.with_name(f".{home.name}")
    shutil.rmtree(new, ignore_errors=True)
    unwanted = shutil.ignore_patterns("__pycache__")
    inside = new / "modelyard"
    inside.mkdir(parents=True)
    shutil.copyfile(package / "__init__.py", inside / "__init__.py")
    for part in _PARTS:
        shutil.copytree(package / part, inside / part, ignore=unwanted)
    shutil.copytree(runtimes_folder() / "python", inside / "_runtimes" / "python", ignore=unwanted)
    new.rename(home)


def _install(program: str, source: Path, home: Path) -> None:
    new = home.with_name(f".{home.name}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    beside = str(Path(program).with_name("R")) if Path(program).is_absolute() else "R"
    command = [beside, "CMD", "INSTALL", "--no-docs", "--no-test-load", "--no-lock", f"--library={new}"]
    try:
        done = subprocess.run(
            [*command, str(source)],
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
            env={**os.environ, "TZ": "UTC"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentBuildError(f"R does not install the package modelyard: {error}.") from error
    if done.returncode != 0:
        raise EnvironmentBuildError(
            "R does not install the package modelyard.", "See R's words.", log=done.stderr[-_LOG_SHOWN:]
        )
    new.rename(home)
