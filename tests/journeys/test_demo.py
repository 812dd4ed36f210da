"""`yard demo`, as a person runs it, on few flights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import find_julia, find_rscript


@pytest.mark.r
def test_the_year_ends_with_the_yards_own_beside_january_left_alone(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """Two months of it: the first refit of each model, from new data to a verdict (and a rollout)."""
    command = [sys.executable, "-m", "modelyard.cli", "demo", "--year", "--months", "2", "--stop"]
    done = subprocess.run(
        [*command, "--data", str(tmp_path / "year"), "--port", str(free_port())],
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
        env={**os.environ, "YARD_PROGRAM_R": find_rscript() or "", "COLUMNS": "120"},
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    models = ("operations/lateness      22% late; ", "finance/flight-minutes   15")
    for words in (*models, "left alone", "0 live requests failed", "passed: better"):
        assert words in said, said


@pytest.mark.r
@pytest.mark.julia
def test_the_demo_ends_with_a_table_of_three_languages(tmp_path: Path, free_port: Callable[[], int]) -> None:
    programs = {"YARD_PROGRAM_R": find_rscript() or "", "YARD_PROGRAM_JULIA": find_julia() or ""}
    command = [sys.executable, "-m", "modelyard.cli", "demo"]
    done = subprocess.run(
        [*command, "--data", str(tmp_path / "demo"), "--port", str(free_port()), "--stop", "--flights", "60"],
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
        env={**os.environ, **programs, "COLUMNS": "120"},
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    models = ("operations/", "finance/", "maintenance/", "Python", "R", "Julia")
    for words in (*models, "No request failed", "yard rollback"):
        assert words in said, said
    assert (tmp_path / "demo").stat().st_mode & 0o077 == 0, "as `yard doctor` wants it"
