"""Where no walls can be had, code is refused with words, or runs where allowed, and every page says so."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from tests.journeys.models import times
from tests.journeys.running import RunningYard, publish

WORDS = "WITHOUT WALLS"


@pytest.fixture
def no_walls(tmp_path: Path) -> dict[str, str]:
    """A machine whose bubblewrap does not work."""
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "bwrap").write_text("#!/bin/sh\necho no namespaces here >&2\nexit 1\n")
    (broken / "bwrap").chmod(0o755)
    return {"PATH": f"{broken}:{os.environ['PATH']}"}


def test_code_is_refused(no_walls: dict[str, str], tmp_path: Path) -> None:
    with RunningYard(tmp_path / "data", no_walls) as yard, yard.client() as client:
        version = publish(client, "ops/twice", times(2))
        assert version["state"] == "failed"
        assert "no namespaces here" in version["reason"]
        assert WORDS not in home(yard)


def test_code_runs_where_that_was_allowed_and_every_page_says_so(
    no_walls: dict[str, str], tmp_path: Path
) -> None:
    allowed = no_walls | {"YARD_ALLOW_UNCONTAINED": "true"}
    with RunningYard(tmp_path / "data", allowed) as yard, yard.client() as client:
        assert publish(client, "ops/twice", times(2))["state"] == "checked"
        assert client.post("/models/ops/twice/predict", json=[{"x": 2}]).json()["predictions"] == [4.0]
        assert WORDS in home(yard)


def home(yard: RunningYard) -> str:
    """The first page, as the administrator sees it."""
    with httpx.Client(base_url=yard.url, follow_redirects=True) as browser:
        headers = {"Origin": yard.url, "Sec-Fetch-Site": "same-origin"}
        browser.post("/sign-in", data={"token": yard.token, "next": "/"}, headers=headers)
        return browser.get("/").text
