"""The portable form through a real yard: published, proved, swapped in, shown."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier

from tests.bundles import tar_of
from tests.journeys.load import Load
from tests.journeys.models import times
from tests.journeys.running import RunningYard, publish, until

_VERSION = ".".join(map(str, sys.version_info[:3]))
_ROWS = np.random.default_rng(5).normal(size=(200, 1))


def bundle(model: Any, options: str = "") -> bytes:
    """A bundle of a scikit-learn model of one column x."""
    text = f'format = 1\nlanguage = "python"\nlanguage_version = "{_VERSION}"\nentry = "model.pkl"\n'
    text += f'[options]\ninput = "numpy"\n{options}\n[[signature.inputs]]\nname = "x"\ntype = "float64"\n'
    example = "x\n" + "".join(f"{x!r}\n" for x in _ROWS[:20, 0].tolist())
    files = {"yardbundle.toml": text, "example.csv": example}
    return tar_of({n: t.encode() for n, t in files.items()} | {"model.pkl": pickle.dumps(model)})


def forest() -> RandomForestClassifier:
    return RandomForestClassifier(10, random_state=0, n_jobs=1).fit(_ROWS, _ROWS[:, 0] > 0)


def version(client: httpx.Client, model: str, number: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/models/{model}/versions/{number}").json()
    return found


def decided(client: httpx.Client, model: str, number: int = 1) -> dict[str, Any]:
    """The version's record once its form is decided."""
    until(lambda: version(client, model, number)["form_reason"])
    return version(client, model, number)


def test_a_forest_becomes_portable_without_a_failed_request(yard: RunningYard, client: httpx.Client) -> None:
    model = forest()
    assert publish(client, "ops/late", bundle(model))["state"] == "checked"
    with Load(yard.url, yard.token, "ops/late") as load:
        record = decided(client, "ops/late")
        until(lambda: {w["language"] for w in client.get("/api/v1/workers").json()} == {"portable"})
        before = len(load.answered)
        until(lambda: len(load.answered) > before + 50)
    assert record["form"] == "portable", record["form_reason"]
    assert "equal to the native form on" in record["form_reason"]
    assert not load.failed, load.failed[:3]
    assert load.broken == 0
    rows = [{"x": x} for x in _ROWS[:, 0].tolist()]
    answers = client.post("/models/ops/late/predict", json=rows).json()["predictions"]
    assert [a["label"] for a in answers] == model.predict(_ROWS).tolist()
    chances = np.array([a["probabilities"]["true"] for a in answers])
    np.testing.assert_allclose(chances, model.predict_proba(_ROWS)[:, 1], atol=1e-12)


def test_code_stays_native_and_says_why(client: httpx.Client) -> None:
    publish(client, "ops/code", times(2))
    record = decided(client, "ops/code")
    assert record["form"] == "native"
    assert "not a model the converter knows" in record["form_reason"]


def test_a_publisher_can_ask_for_the_native_form(client: httpx.Client) -> None:
    publish(client, "ops/native", bundle(forest(), 'form = "native"'))
    record = decided(client, "ops/native")
    assert (record["form"], record["form_reason"]) == ("native", "the publisher asked for the native form")


def test_many_rows_are_answered_natively_where_that_was_measured_to_be_faster(
    yard: RunningYard, client: httpx.Client
) -> None:
    """What was measured is written over here: how fast the forms are is the machine's matter."""
    model = forest()
    publish(client, "ops/many", bundle(model))
    record = decided(client, "ops/many")
    assert record["form"] == "portable", record["form_reason"]
    assert re.search(r"a request of [\d,]+ rows?: .* ms, natively .* ms", record["form_reason"])
    with sqlite3.connect(yard.data / "yard.sqlite", timeout=20) as database:
        database.execute("update versions set native_from = 50 where model = 'ops/many'")
        database.execute("update state set value = value + 1 where key = 'generation'")
    rows = [{"x": x} for x in _ROWS[:, 0].tolist()]

    def ask(count: int) -> list[str]:
        answer = client.post("/models/ops/many/predict", json=rows[:count])
        assert answer.status_code == 200, answer.text
        return [a["label"] for a in answer.json()["predictions"]]

    def workers() -> set[tuple[str, str]]:
        return {(w["version_id"], w["language"]) for w in client.get("/api/v1/workers").json()}

    native = ("ops.many.1.many", "python")
    wanted = model.predict(_ROWS).tolist()
    assert ask(49) == wanted[:49]
    until(lambda: ask(200) == wanted and native in workers())
    assert ("ops.many.1", "portable") in workers()
    assert ask(200) == wanted
    assert 'version="1",replica="0",rows="many"' in client.get("/metrics").text


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningYard]:
    """A yard of its own, to be broken."""
    with RunningYard(tmp_path / "yard") as running:
        yield running


def test_a_conversion_cut_by_kill_is_repeated(own: RunningYard) -> None:
    model = HistGradientBoostingRegressor(random_state=0).fit(_ROWS, _ROWS[:, 0] ** 2)
    with own.client() as client:
        publish(client, "ops/cut", bundle(model))
        scratch = own.data / "scratch"
        until(lambda: any(scratch.glob("portable-*")))
        assert own.process is not None
        own.process.send_signal(signal.SIGSTOP)  # so that no other engine goes on before one has looked
        os.kill(own.processes()[0], signal.SIGKILL)
        assert version(client, "ops/cut")["form_reason"] == ""
        own.process.send_signal(signal.SIGCONT)
        record = decided(client, "ops/cut")
        assert record["form"] == "portable", record["form_reason"]
        until(lambda: {w["language"] for w in client.get("/api/v1/workers").json()} <= {"portable"})
        found = client.post("/models/ops/cut/predict", json=[{"x": 0.5}]).json()["predictions"]
    assert found == pytest.approx(model.predict([[0.5]]).tolist(), abs=1e-9)


def test_a_portable_form_that_no_longer_starts_gives_way_to_the_native_one(own: RunningYard) -> None:
    with own.client() as client:
        publish(client, "ops/falls", bundle(forest()))
        assert decided(client, "ops/falls")["form"] == "portable"
        own.stop()
    own.environment["YARD_PROGRAM_PORTABLE"] = "/bin/false"  # what its worker needs is broken
    own.start()
    with own.client() as again:
        assert again.post("/models/ops/falls/predict", json=[{"x": 0.5}]).status_code == 200
        record = version(again, "ops/falls")
        assert record["form"] == "native"
        assert "the portable form does not start" in record["form_reason"]
