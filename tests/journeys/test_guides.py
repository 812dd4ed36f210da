"""The guides: every command and code block in them runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard.web.provider import read_provider
from tests.conftest import ROOT, find_julia, find_rscript
from tests.journeys.guide import blocks, follow
from tests.journeys.running import PATIENCE, RunningYard, until

DOCS = ROOT / "docs"


Yard = tuple[RunningYard, dict[str, str]]
Desk = Callable[[Path, dict[str, str]], Yard]


@pytest.fixture
def desk_of() -> Iterator[Desk]:
    """Starts a yard in `yard-data` of the person's folder; also gives the person's environment."""
    with ExitStack() as stack:

        def made(folder: Path, settings: dict[str, str]) -> Yard:
            (folder / "sdk").symlink_to(ROOT / "sdk")  # the person's copy of the repository
            running = stack.enter_context(RunningYard(folder / "yard-data", settings))
            return running, {
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(folder),
                "XDG_CONFIG_HOME": str(folder / "config"),
                "YARD_URL": running.url,
                "YARD_TOKEN": running.token,
                "JULIA_LOAD_PATH": f"{ROOT / 'sdk/julia'}:@:@stdlib",
            }

        yield made


@pytest.fixture
def desk(tmp_path: Path, desk_of: Desk) -> Yard:
    return desk_of(tmp_path, {})


def run(page: str, desk: Yard, library: Path | None = None) -> list[str]:
    running, environment = desk
    if library is not None:
        environment["R_LIBS"] = str(library)
    programs = {
        "r": [find_rscript() or "Rscript", "--vanilla"],
        "julia": [find_julia() or "julia", "--startup-file=no"],
    }
    return follow(DOCS / page, running.data.parent, environment, programs, running.port)


def test_start(desk: Yard) -> None:
    printed = "".join(run("start.md", desk))
    assert "versicolor" in printed
    assert "champion" in printed


def test_rolling_out(desk: Yard) -> None:
    printed = "".join(run("self-driving.md", desk))
    assert "Stopped by administrator. wait for the new tariff" in printed
    assert "canary with 50 % for 30 min" in printed or "1 of 3" in printed


@pytest.mark.r
@pytest.mark.julia
def test_applications(desk: Yard, r_library: Path) -> None:
    printed = "".join(run("applications.md", desk, r_library))
    assert printed.count("193") >= 4  # curl, Python, R, Julia
    assert "a number" in printed or "a whole number" in printed


@pytest.mark.r
@pytest.mark.julia
def test_watching(tmp_path: Path, desk_of: Desk, r_library: Path) -> None:
    running, environment = desk_of(tmp_path, {"YARD_SHIP_AFTER": "0.2"})
    printed = "".join(run("watching.md", (running, environment), r_library))
    assert "labelled" in printed
    assert "flight" in printed
    model = f"{running.url}/api/v1/models/operations/hold"
    headers = {"Authorization": f"Bearer {running.token}"}

    def found() -> dict[str, Any] | None:
        seen: dict[str, Any] = httpx.get(f"{model}/watch", headers=headers, timeout=PATIENCE).json()
        # The key columns are hashed only from some time on: what came before was matched as it was.
        return seen if seen["outcomes"]["labelled"] == 4 and len(seen["metrics"]) == 5 else None

    watched = until(found)
    own = {"late-misses", "relative-error"}
    assert {m["metric"] for m in watched["metrics"]} == {"mae", "rmse", "bias"} | own
    assert sum(w["labels"] for w in watched["windows"]) == 4


def test_ledger(tmp_path: Path, desk_of: Desk) -> None:
    quick = {"YARD_SHIP_AFTER": "0.2", "YARD_LEDGER_EVERY": "0.3"}
    running, environment = desk_of(tmp_path, quick)
    printed = "".join(run("ledger.md", (running, environment)))
    assert "50 with an outcome; against always 14.3, the mean of what came" in printed
    assert "81.60 EUR (64.42 to 98.78)" in printed
    assert printed.count("No outcomes have come") == 1, "in January 2025"
    assert "0% of 250.00 EUR" in printed
    assert (tmp_path / "ledger.pdf").read_bytes().startswith(b"%PDF-")
    assert "What changed this month" in (tmp_path / "ledger.html").read_text()


def test_operator(desk: Yard) -> None:
    printed = "".join(run("operator.md", desk))
    assert "nightly batch" in printed


def test_nodes(desk: Yard) -> None:
    running, _ = desk
    with running.client() as client:
        assert client.post("/api/v1/departments", json={"name": "finance"}).status_code == 201
    printed = "".join(run("nodes.md", desk))
    assert f"{running.url} (answers)" in printed
    assert "2 h" in printed


def test_ray(desk: Yard) -> None:
    printed = "".join(run("ray.md", desk))
    assert '"max_replicas": 2' in printed


def test_auditors(desk: Yard) -> None:
    printed = "".join(run("auditors.md", desk))
    assert "finance/fuel/1" in printed, "what answered before the promotion"
    assert "smaller error in March" in printed
    assert printed.count("compared with checkpoints at") == 2
    assert "entries are what was written" in printed
    assert "the bundle by key" in printed


def test_alerts(desk: Yard) -> None:
    printed = "".join(run("alerts.md", desk))
    assert "anna@example.org" in printed
    assert "chat.example.org" in printed
    assert "T0" not in printed
    assert "64 False" in printed


def test_administrator(desk: Yard) -> None:
    printed = "".join(run("administrator.md", desk))
    assert printed.count("/invitation?code=link_") >= 2
    assert "department operations" in printed
    running, _ = desk
    assert read_provider(running.data.parent / "oidc.toml").roles[1].department == "finance"


def test_data(desk: Yard) -> None:
    seen = "".join(run("data.md", desk))
    assert "operations/flights/1: 400 rows" in seen
    assert "operations/flights/2: 380 rows" in seen
    assert "postgresql://reader@db.example.org:5432/ops?sslmode=require" in seen
    assert "hunter2" not in seen
    assert "380 ['carrier', 'day', 'delay', 'flight']" in seen
    assert seen.count("Pilot 1") == 1, "cleared for an hour"


def test_python(desk: Yard) -> None:
    run("python.md", desk)


@pytest.mark.r
def test_r(desk: Yard, r_library: Path) -> None:
    run("r.md", desk, r_library)


@pytest.mark.julia
def test_julia(desk: Yard) -> None:
    run("julia.md", desk)


@pytest.mark.r
@pytest.mark.julia
def test_training(desk: Yard) -> None:
    printed = "".join(run("training.md", desk))
    for words in ("finance/fuel-r/1", "finance/fuel-julia/1", "perhaps it bends", "job 4"):
        assert words in printed


def test_every_page_with_code_is_run_here() -> None:
    pages = {page.name for page in DOCS.glob("*.md") if blocks(page)}
    shown_only = {"architecture.md", "benchmarks.md"}
    assert pages - shown_only == {
        "start.md",
        "alerts.md",
        "administrator.md",
        "applications.md",
        "auditors.md",
        "data.md",
        "operator.md",
        "python.md",
        "r.md",
        "julia.md",
        "ledger.md",
        "nodes.md",
        "ray.md",
        "self-driving.md",
        "training.md",
        "watching.md",
    }
