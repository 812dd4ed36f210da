"""The gate in a real yard: versions of any language answer the same held-out rows before one takes over."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from tests.bundles import tar_of
from tests.conftest import find_rscript
from tests.journeys.models import code_bundle, times
from tests.journeys.running import RunningYard, publish, until

MODEL = "ops/gate"
POLICY = {"promote": {"slices": ["origin"], "rollout": ["canary 50% 1h"], "latency": "60000 ms"}}
CRASHES = (
    "def predict(columns):\n    if (columns['x'] > 9.9).any():\n        raise ValueError('no tens')\n"
    "    return columns['x'] * 2.5\n"
)
R_BUNDLE = """\
format = 1
language = "r"
language_version = "{version}"
entry = "model.rds"

[[signature.inputs]]
name = "x"
type = "float64"
"""
R_SCRIPT = """
x <- seq(0, 10, 0.1); fit <- lm(y ~ x, data.frame(x = x, y = 2.5 * x + sin(7 * x)))
saveRDS(fit, commandArgs(TRUE)[1]); cat(as.character(getRversion()))
"""


def rows(count: int = 400) -> pl.DataFrame:
    """x, what came (2.5 x and noise) and an origin."""
    chance = random.Random(1)  # noqa: S311 - the same rows each time
    xs = [chance.uniform(0, 10) for _ in range(count)]
    came = [2.5 * x + chance.gauss(0, 1) for x in xs]
    return pl.DataFrame({"x": xs, "came": came, "origin": [chance.choice(("JFK", "LGA")) for _ in xs]})


def csv(table: pl.DataFrame) -> bytes:
    return table.write_csv().encode()


def judge(
    client: httpx.Client, number: int, content: bytes, kind: str = "text/csv", model: str = MODEL, **more: Any
) -> dict[str, Any]:
    """Have a version judged without a rollout, unless `more` says so; the verdict."""
    answer = client.post(
        f"/api/v1/models/{model}/versions/{number}/verdicts/file",
        content=content,
        params={"target": "came", "rolls_out": False, **more},
        headers={"Content-Type": kind},
    )
    assert answer.status_code == 202, answer.text
    place = f"/api/v1/models/{model}/verdicts/{answer.json()['id']}"

    def judged() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(place, params={"wait": 20}).json()
        return found if found["state"] != "waiting" else None

    return until(judged)


@pytest.fixture(scope="module")
def judged_yard(yard: RunningYard) -> RunningYard:
    """A yard with a champion, a better version (2), one that crashes (3) and one in R (4)."""
    with yard.client() as client:
        for bundle in (times(2), times(2.5), code_bundle(CRASHES)):
            assert publish(client, MODEL, bundle)["state"] == "checked"
        client.put(f"/api/v1/models/{MODEL}/policy", json=POLICY).raise_for_status()
    return yard


def test_a_better_version_passes_and_is_rolled_out(judged_yard: RunningYard, client: httpx.Client) -> None:
    assert judged_yard.url
    found = judge(client, 2, csv(rows()), rolls_out=True, why="the new engines")
    assert found["state"] == "passed", found
    assert found["words"].startswith("Better than the champion: on 400 held-out rows its mae is")
    assert {part["value"] for part in found["numbers"]["slices"]} == {"JFK", "LGA"}
    (rollout,) = client.get(f"/api/v1/models/{MODEL}/rollouts").json()
    assert (rollout["id"], rollout["why"]) == (found["rollout"], found["words"])
    assert sum(rollout["rules"]["champion_expected"]) == pytest.approx(1)
    client.post(f"/api/v1/models/{MODEL}/rollouts/stop", json={}).raise_for_status()


def test_parquet_gives_the_same_numbers_as_csv(judged_yard: RunningYard, client: httpx.Client) -> None:
    assert judged_yard.url
    body = io.BytesIO()
    rows().write_parquet(body)
    one = judge(client, 2, body.getvalue(), "application/vnd.apache.parquet")["numbers"]
    other = judge(client, 2, csv(rows()))["numbers"]
    for key in ("rows", "candidate", "champion", "low", "high"):
        assert one[key] == pytest.approx(other[key])


def test_a_metric_of_the_models_own_judges(judged_yard: RunningYard, client: httpx.Client) -> None:
    """Half of what version 2 answers is too high; of what version 1 does nearly nothing is."""
    assert judged_yard.url
    place = f"/api/v1/models/{MODEL}"
    by_over = {"promote": {**POLICY["promote"], "metric": "over"}}
    refused = client.put(f"{place}/policy", json=by_over)
    assert refused.status_code == 422, refused.text
    assert "no such metric" in refused.text
    body = {"expression": "prediction > actual + x / 100"}
    client.put(f"{place}/metrics/over", json=body).raise_for_status()
    client.put(f"{place}/policy", json=by_over).raise_for_status()
    found = judge(client, 2, csv(rows()))
    client.put(f"{place}/policy", json=POLICY).raise_for_status()
    assert found["state"] == "refused", found
    assert found["words"].startswith(
        "Refused, on 400 held-out rows. It is worse than the champion: its over is"
    )
    assert found["numbers"]["metric"] == "over"
    table = rows()
    over = table.filter(2.5 * pl.col("x") > pl.col("came") + pl.col("x") / 100).height
    assert found["numbers"]["candidate"] == pytest.approx(over / 400)


@pytest.mark.r
def test_a_version_in_r_is_compared_with_one_in_python(
    judged_yard: RunningYard, client: httpx.Client, tmp_path: Path
) -> None:
    assert judged_yard.url
    script = tmp_path / "fit.R"
    script.write_text(R_SCRIPT)
    command = [find_rscript() or "Rscript", "--vanilla", str(script), str(tmp_path / "model.rds")]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    files = {
        "yardbundle.toml": R_BUNDLE.format(version=version).encode(),
        "model.rds": (tmp_path / "model.rds").read_bytes(),
        "example.csv": b"x\n1.0\n",
    }
    record = publish(client, MODEL, tar_of(files))
    assert record["state"] == "checked", record
    found = judge(client, record["version"], csv(rows()))
    assert found["state"] == "passed", found
    assert found["numbers"]["candidate"] < 1 < found["numbers"]["champion"]


def test_a_version_that_fails_some_rows_is_refused(judged_yard: RunningYard, client: httpx.Client) -> None:
    assert judged_yard.url
    found = judge(client, 3, csv(rows()))
    bad = rows().filter(pl.col("x") > 9.9).height
    assert bad
    assert found["state"] == "refused"
    assert found["numbers"]["failed"] == bad
    assert f"It failed {bad} of 400 rows" in found["words"]
    assert "no tens" in found["words"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (rows().head(0), "has no rows"),
        (rows().head(20), "Only 20 rows"),
        (rows().drop("came"), "no column 'came'"),
        (rows().drop("origin"), "no column 'origin', which [promote] slices names"),
        (rows().drop("x"), "do not fit version 1: Row 0: the column 'x'"),
        (rows().with_columns(came=pl.lit("late")), "and the column 'came' has others"),
    ],
)
def test_rows_that_compare_nothing_are_no_verdict(
    judged_yard: RunningYard, client: httpx.Client, table: pl.DataFrame, words: str
) -> None:
    assert judged_yard.url
    found = judge(client, 2, csv(table))
    assert found["state"] == "undecided"
    assert words in found["words"]


def test_the_command_tells_the_numbers_and_its_exit_code_the_verdict(
    judged_yard: RunningYard, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(csv(rows()))
    environment = {**os.environ, "YARD_URL": judged_yard.url, "YARD_TOKEN": judged_yard.token}

    def yard(*told: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from modelyard.cli.main import run; run()", *told]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    told = ("--data", str(file), "--target", "came", "--no-rollout")
    good, bad = (yard("gate", f"{MODEL}/{number}", *told) for number in (2, 3))
    assert (good.returncode, bad.returncode) == (0, 1), good.stdout + good.stderr + bad.stderr
    assert "Better than the champion" in good.stdout
    assert "JFK" in good.stdout
    assert "no tens" in bad.stdout
    listed = yard("verdicts", MODEL).stdout
    assert "passed" in listed
    assert "refused" in listed
