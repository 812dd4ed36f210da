"""A real yard and a real browser for the pages' tests: one of each a module."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from modelyard.records.alerts import Happening
from modelyard.records.policies import Level
from modelyard.store.alerts import note
from modelyard.store.database import Database
from tests import sea
from tests.bundles import tar_of
from tests.conftest import ROOT
from tests.journeys.running import PATIENCE, RunningYard, publish

expect.set_options(timeout=1000 * PATIENCE)  # which waits for what is not yet so; by itself 5 s

ARTEFACTS = ROOT / ".artefacts/pages"
HERE = "finance"
MODEL = "finance/fuel-cost"
DATASET = "finance/fuel"
AT_SEA = "finance/arrival-delay"
DESCRIPTION = """\
format = 1
language = "python"
entry = "model:predict"
description = {words}

[metrics]
mae = {mae}

[[signature.inputs]]
name = "distance"
type = "float64"
low = 80.0
high = 4983.0
example = "1400"

[[signature.inputs]]
name = "carrier"
type = "string"
levels = ["UA", "DL", "AA"]
example = "DL"
"""
CODE = """\
def predict(data):
    return [2.0 * d + {offset} for d in data["distance"]]
"""


def bundle(offset: int, mae: float, words: str = '"What a flight burns"') -> bytes:
    """A model of two columns in code; each offset is another version."""
    files = {
        "yardbundle.toml": DESCRIPTION.format(mae=mae, words=words).encode(),
        "model.py": CODE.format(offset=offset).encode(),
        "example.csv": b"distance,carrier\n1400,DL\n80,UA\n",
    }
    return tar_of(files)


class Yard(NamedTuple):
    """A running yard with a model of two versions, and secrets by role."""

    url: str
    secrets: dict[str, str]
    client: httpx.Client
    data: Path


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A yard that runs, with a department, a model of two versions and a person of each role."""
    started = RunningYard(tmp_path_factory.mktemp("yard"), options=("--fronts", "1"))
    with started as running, running.client() as client:
        for offset, mae in ((1, 12.1), (2, 11.0)):
            assert publish(client, MODEL, bundle(offset, mae))["state"] == "checked"
        secrets = {"administrator": running.token}
        for role in ("viewer", "caller", "builder", "owner"):
            body = {"name": "browser", "principal": f"{role}-anna", "role": role}
            made = client.post(f"/api/v1/departments/{HERE}/tokens", json=body)
            secrets[role] = made.json()["secret"]
        body = {"name": "browser", "principal": "auditor-anna", "role": "auditor"}
        secrets["auditor"] = client.post("/api/v1/tokens", json=body).json()["secret"]
        for number in (1, 2):
            push_data(client, number)
        open_alert(client, running.data)
        yield Yard(running.url, secrets, client, running.data)


def open_alert(client: httpx.Client, data: Path) -> None:
    """An alert as the loop opens it, and a channel that it is not yet sent to."""
    happened = Happening("job:1", MODEL, Level.HIGH, "Job 1 failed: <b>no</b> rows", datetime.now(UTC))
    database = Database(f"sqlite:///{data / 'yard.sqlite'}")
    with database.write(unaudited="a test") as connection:
        note(connection, happened, datetime.now(UTC))
    database.close()
    body = {"kind": "webhook", "address": "https://hooks.example.org/T0/s3cret", "quiet": "22:00-07:00"}
    client.put(f"/api/v1/departments/{HERE}/channels/hook", json=body).raise_for_status()


@pytest.fixture(scope="module")
def at_sea(yard: Yard) -> int:
    """A model with a year behind it, findings, refits, and a rollout that goes on; the gravest finding."""
    for offset in (3, 4, 5):
        assert (
            publish(yard.client, AT_SEA, bundle(offset, 11.0, '"How late a flight lands"'))["state"]
            == "checked"
        )
    address = f"/api/v1/models/{AT_SEA}"
    policy = {
        "retrain": {"worse_by": "5%", "drift": "high"},
        "promote": {"slices": ["carrier"], "approval": "owner"},
    }
    yard.client.put(f"{address}/policy", json=policy).raise_for_status()
    promoted = {"version": 2, "why": "it passed the gate"}
    yard.client.put(f"{address}/aliases/champion", json=promoted).raise_for_status()
    now, changes = datetime.now(UTC), {1: 365, 2: 95}
    database = Database(f"sqlite:///{yard.data / 'yard.sqlite'}")
    with database.write(unaudited="a test") as connection:
        sea.champions(connection, AT_SEA, changes, now)
        sea.year(connection, AT_SEA, changes, now)
        sea.seen(connection, AT_SEA, 2, now)
        sea.verdict(connection, AT_SEA, 2, 1, now - timedelta(days=96))
        sea.verdict(connection, AT_SEA, 3, 2, now - timedelta(hours=2))
        found = sea.findings(connection, AT_SEA, 2, now)
    database.close()
    rollout = {"version": 3, "rollout": ["shadow 30m", "canary 10% 30m"], "why": "the refit of this week"}
    yard.client.post(f"{address}/rollouts", json=rollout).raise_for_status()
    return found[0].id


def push_data(client: httpx.Client, number: int) -> None:
    """A version of a dataset, with hostile names and a column about persons."""
    rows = [
        f"F{n},{n * 1.5 * number},{'UA' if n % 3 else 'DL'},Pilot {n},<b>{n}</b>,2013-01-0{n % 9 + 1}"
        for n in range(60)
    ]
    body = "flight,cost,carrier,pilot,<script>alert(1)</script>,day\n" + "\n".join(rows[: 62 - number])
    query = "?mark=pilot:personal&why=January"
    headers = {"Content-Type": "text/csv"}
    answer = client.post(f"/api/v1/datasets/{DATASET}/versions{query}", content=body, headers=headers)
    assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Mark the test `chromium`."""
    program = shutil.which("chromium")
    assert program, "mark the test with @pytest.mark.chromium"
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"], timeout=1000 * PATIENCE
        )
        yield made
        made.close()


def new_context(browser: Browser, yard: Yard, **options: object) -> BrowserContext:
    """A context in which nobody has signed in."""
    context = browser.new_context(base_url=yard.url, **options)  # type: ignore[arg-type]
    context.set_default_timeout(1000 * PATIENCE)
    return context


def come_in(browser: Browser, yard: Yard, role: str, **options: object) -> BrowserContext:
    """A context of the browser in which a person of this role has signed in, as a person does."""
    context = new_context(browser, yard, **options)
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_text("Use a token").click()
    page.get_by_label("Token", exact=True).fill(yard.secrets[role])
    page.get_by_role("button", name="Sign in with the token").click()
    page.wait_for_url(re.compile(r"/$"))
    page.close()
    return context


def watched(context: BrowserContext) -> tuple[Page, list[str]]:
    """A page, and what its console and its errors say: nothing, if all is well."""
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return page, said


def keep(page: Page, name: str) -> Path:
    """A picture of the whole page, to be looked at; not committed."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    path = ARTEFACTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
