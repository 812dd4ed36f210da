"""What is not Python: R, Julia and the programs tests need: installed as root, else used where found."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.setup import apt, julia
from tools.setup.machine import SetupError, is_root, notice, step

_R = ("r-base-core", "r-cran-jsonlite", "r-cran-httr2", "r-cran-ranger")
_R_FOR_TESTS = ("r-cran-mgcv", "r-cran-glmnet", "r-cran-randomforest", "r-cran-rpart", "r-cran-testthat")
_CLUSTERS = Path("/etc/postgresql-common/createcluster.conf")


@dataclass(frozen=True)
class Need:
    """Debian packages for one purpose, and what does not happen without them."""

    title: str
    packages: tuple[str, ...]
    without: str


_DEMO = (
    Need("R", _R, "models in R do not run, and the demo leaves the finance department out"),
    Need("curl", ("curl",), "the Julia SDK cannot reach a yard before Julia 1.6"),
)
_TESTS = (
    Need("R", (*_R, *_R_FOR_TESTS), "tests marked r are skipped"),
    Need("curl", ("curl",), "tests of the guides and of the Julia SDK are skipped"),
    Need("bubblewrap", ("bubblewrap",), "tests of the sandbox are skipped"),
    Need("PostgreSQL", ("postgresql",), "tests marked postgresql are skipped"),
    Need("haproxy", ("haproxy",), "tests of the yard behind it are skipped"),
    Need("nginx", ("nginx-light",), "tests of the yard behind it are skipped"),
    Need("Chromium", ("chromium",), "tests of the pages are skipped"),
)


def set_up(for_tests: bool) -> None:
    """Install what is missing, or say plainly what is left out without it. Never fails."""
    for need in _TESTS if for_tests else _DEMO:
        _provide(need)
    try:
        julia.set_up()
    except SetupError as error:
        without = "tests marked julia are skipped" if for_tests else "the demo leaves maintenance out"
        notice(
            f"Julia: {error}. Without it {without}. To have it, install Julia 1.5 or newer (julialang.org)."
        )


def _provide(need: Need) -> None:
    missing = missing_of(need, apt.installed(need.packages))
    if not missing:
        return
    command = "apt-get install --no-install-recommends " + " ".join(missing)
    if not shutil.which("apt-get"):
        notice(f"{need.title} is not here; {need.without}. Install it and run this again.")
    elif not is_root():
        notice(f"{need.title} is not here; {need.without}. To have it, as root: {command}")
    else:
        try:
            with step(f"{need.title} ({', '.join(missing)})"), _no_cluster(missing):
                apt.install(missing)
        except SetupError as error:
            notice(f"{need.title} could not be installed; {need.without}.\n{error}")


def missing_of(need: Need, installed: Iterable[str]) -> list[str]:
    """The packages to install; none where the program is there and did not come from Debian."""
    program = {"R": "Rscript", "PostgreSQL": "postgres"}.get(need.title, need.title.lower())
    here = shutil.which(program)
    if here and not here.startswith("/usr/bin/"):
        return []
    there = set(installed)
    return [package for package in need.packages if package not in there]


@contextmanager
def _no_cluster(packages: list[str]) -> Iterator[None]:
    """Keeps Debian's postgresql from making and starting a database cluster nobody asked for."""
    if "postgresql" not in packages:
        yield
        return
    apt.install(["postgresql-common"])
    before = _CLUSTERS.read_text()
    _CLUSTERS.write_text(before + "\ncreate_main_cluster = false\n")
    try:
        yield
    finally:
        _CLUSTERS.write_text(before)
