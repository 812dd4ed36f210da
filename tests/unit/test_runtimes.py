"""The languages: their runtime.toml, and programs that are missing, broken or too old."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records.errors import EnvironmentBuildError
from modelyard.workers.runtimes import (
    Runtime,
    find_runtime,
    find_runtimes,
    installed_version,
    program_of,
    runtimes_folder,
    version_numbers,
)


@pytest.fixture
def runtime() -> Runtime:
    """A language whose check prints what its program prints."""
    return msgspec.structs.replace(find_runtime("r"), check=("{program}",), minimum="4.1")


def program(folder: Path, script: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_three_languages_are_there_and_can_be_started() -> None:
    found = find_runtimes()
    assert set(found) >= {"python", "r", "julia"}
    for language, runtime in found.items():
        assert (runtimes_folder() / language / "runtime.toml").exists()
        last = runtime.command[-1].format(program="", folder=runtimes_folder() / language)
        assert Path(last).exists(), "the worker's program"
        assert runtime.hint
        assert runtime.environment


def test_an_unknown_language_is_told_the_known_ones() -> None:
    for language in ("cobol", "../python", "", "Python"):
        with pytest.raises(EnvironmentBuildError, match=r"no runtime for .* Use one of julia, .*python, r\."):
            find_runtime(language)


def test_the_operators_program_goes_first() -> None:
    runtime = find_runtime("julia")
    assert program_of(runtime, {}) == "julia"
    assert program_of(runtime, {"julia": "/opt/julia"}) == "/opt/julia"


def test_the_portable_form_runs_in_the_servers_own_interpreter() -> None:
    runtime = find_runtime("portable")
    assert program_of(runtime, {}) == sys.executable
    assert installed_version(runtime, sys.executable)
    assert program_of(runtime, {"portable": "/opt/python"}) == "/opt/python"


def test_a_program_that_is_missing(runtime: Runtime) -> None:
    with pytest.raises(EnvironmentBuildError, match="R is not installed here") as caught:
        installed_version(runtime, "/nowhere/Rscript")
    assert "r-base-core" in caught.value.hint


def test_a_program_that_fails_says_why(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError, match="exit code 3") as caught:
        installed_version(runtime, program(tmp_path, "echo a library is missing >&2; exit 3"))
    assert caught.value.log == "a library is missing\n"


@pytest.mark.parametrize("said", ["", "unknown", "R version"])
def test_a_program_that_does_not_say_its_version(runtime: Runtime, tmp_path: Path, said: str) -> None:
    with pytest.raises(EnvironmentBuildError):
        installed_version(runtime, program(tmp_path, f"echo {said}"))


@pytest.mark.parametrize("version", ["4.0.5", "3.6", "4"])
def test_a_version_too_old(runtime: Runtime, tmp_path: Path, version: str) -> None:
    with pytest.raises(EnvironmentBuildError, match=rf"R {version} is older than 4\.1"):
        installed_version(runtime, program(tmp_path, f"echo {version}"))


@pytest.mark.parametrize("version", ["4.1", "4.1.0", "4.10.1", "5.0", "4.2.2 Patched"])
def test_a_version_new_enough(runtime: Runtime, tmp_path: Path, version: str) -> None:
    assert installed_version(runtime, program(tmp_path, f"echo {version}")) == version


@pytest.mark.r
def test_the_real_r(rscript: list[str]) -> None:
    assert version_numbers(installed_version(find_runtime("r"), rscript[0])) >= (4, 1)


@pytest.mark.julia
def test_the_real_julia(julia: list[str]) -> None:
    assert version_numbers(installed_version(find_runtime("julia"), julia[0])) >= (1, 5)


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.sampled_from(["", "-rc1", " Patched", "+3"])
)
def test_version_numbers_are_the_leading_ones(numbers: list[int], rest: str) -> None:
    assert version_numbers(".".join(map(str, numbers)) + rest) == tuple(numbers)
