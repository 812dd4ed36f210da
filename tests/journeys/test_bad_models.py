"""Models that misbehave: each is contained, explained, and leaves the others answering."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.journeys.models import code_bundle, times
from tests.journeys.running import RunningYard, publish, until


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A yard whose workers may have little memory, so that what takes all is noticed soon."""
    limits = {"YARD_WORKER_MEMORY": str(700 << 20)}
    with RunningYard(tmp_path_factory.mktemp("yard"), limits) as running:
        yield running


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A yard in which answers may take little time, so that what hangs is noticed soon."""
    limits = {"YARD_ANSWER_TIMEOUT": "4"}
    with RunningYard(tmp_path_factory.mktemp("hurried"), limits) as running, running.client() as client:
        yield client


def ask(client: httpx.Client, model: str, *values: float) -> httpx.Response:
    return client.post(f"/models/{model}/predict", json=[{"x": v} for v in values])


def test_a_model_that_hangs_at_load(tmp_path: Path) -> None:
    with RunningYard(tmp_path, {"YARD_LOAD_TIMEOUT": "2"}) as running, running.client() as client:
        version = publish(client, "bad/hangs", code_bundle("import threading\nthreading.Event().wait()\n"))
    assert version["state"] == "failed"
    assert "did not load within 2 s" in version["reason"]


def test_a_model_that_exits_at_load(client: httpx.Client) -> None:
    version = publish(client, "bad/exits", code_bundle("import os\nos._exit(3)\n"))
    assert version["state"] == "failed"
    assert "exit code 3" in version["reason"]


def test_a_model_that_prints_garbage_on_standard_output(client: httpx.Client) -> None:
    source = (
        "import sys\nprint('YRD1' * 1000)\n"
        "def predict(columns):\n"
        "    sys.stdout.write('\\x00\\xff garbage\\n')\n"
        "    return columns['x']\n"
    )
    assert publish(client, "bad/prints", code_bundle(source))["state"] == "checked"
    assert ask(client, "bad/prints", 4.0).json()["predictions"] == [4.0]


def test_a_model_that_dies_in_the_middle_of_a_batch(client: httpx.Client) -> None:
    source = (
        "import os\n"
        "def predict(columns):\n"
        "    if (columns['x'] == 13).any():\n"
        "        os._exit(9)\n"
        "    return columns['x']\n"
    )
    publish(client, "bad/dies", code_bundle(source))
    guilty = ask(client, "bad/dies", 1.0, 13.0)
    assert guilty.status_code == 502
    assert "died" in guilty.json()["detail"]
    assert ask(client, "bad/dies", 1.0).json()["predictions"] == [1.0]


def test_a_model_that_answers_the_wrong_number_of_rows(client: httpx.Client) -> None:
    source = "def predict(columns):\n    return columns['x'][:1]\n"
    version = publish(client, "bad/short", code_bundle(source))
    assert version["state"] == "failed"
    assert "1 row" in version["reason"]


def test_a_model_that_answers_wrongly_only_later(client: httpx.Client) -> None:
    source = "def predict(columns):\n    x = columns['x']\n    return x[:-1] if len(x) > 2 else x\n"
    assert publish(client, "bad/later", code_bundle(source))["state"] == "checked"
    answer = ask(client, "bad/later", 1.0, 2.0, 3.0)
    assert answer.status_code == 500
    assert "row" in answer.json()["detail"]
    assert ask(client, "bad/later", 1.0).status_code == 200


def test_a_model_that_throws_on_some_rows(client: httpx.Client) -> None:
    source = (
        "def predict(columns):\n"
        "    if (columns['x'] < 0).any():\n"
        "        raise ValueError('x must not be negative')\n"
        "    return columns['x']\n"
    )
    publish(client, "bad/throws", code_bundle(source))
    answer = ask(client, "bad/throws", -1.0)
    assert answer.status_code == 500
    assert "x must not be negative" in answer.json()["detail"]
    assert ask(client, "bad/throws", 1.0).json()["predictions"] == [1.0]


def test_a_model_that_allocates_without_end(client: httpx.Client) -> None:
    source = (
        "def predict(columns):\n"
        "    if (columns['x'] > 100).any():\n"
        "        hoard = []\n"
        "        while True:\n"
        "            hoard.append(bytearray(50_000_000))\n"
        "    return columns['x']\n"
    )
    publish(client, "bad/eats", code_bundle(source))
    answer = ask(client, "bad/eats", 101.0)
    assert answer.status_code in (500, 502), answer.text
    assert ask(client, "bad/eats", 1.0).json()["predictions"] == [1.0]


def test_a_model_that_hangs_on_some_rows_is_replaced(hurried: httpx.Client) -> None:
    source = (
        "import threading\n"
        "def predict(columns):\n"
        "    if (columns['x'] == 7).any():\n"
        "        threading.Event().wait()\n"
        "    return columns['x']\n"
    )
    publish(hurried, "bad/sleeps", code_bundle(source))
    answer = ask(hurried, "bad/sleeps", 7.0)
    assert answer.status_code == 504
    assert "did not answer within 4 s" in answer.json()["detail"]
    until(lambda: ask(hurried, "bad/sleeps", 1.0).status_code == 200)


def test_a_neighbour_is_not_disturbed(hurried: httpx.Client) -> None:
    publish(hurried, "bad/neighbour", times(3))
    version = publish(
        hurried, "bad/burns", code_bundle("def predict(columns):\n    while True:\n        pass\n")
    )
    assert version["state"] == "failed"
    assert until(lambda: ask(hurried, "bad/neighbour", 2.0).json().get("predictions")) == [6.0]


def test_an_environment_that_cannot_be_had(client: httpx.Client) -> None:
    pins = {"environment/requirements.txt": b"numpy==0.0.1\n"}
    version = publish(client, "bad/environment", code_bundle("x = 1\n", files=pins))
    assert version["state"] == "failed"
    assert "environment cannot be built" in version["reason"]
    assert "numpy" in version["log"]


def test_requirements_that_are_not_pins(client: httpx.Client) -> None:
    for line in (b"--index-url http://evil.example/", b"numpy", b"x @ file:///etc/passwd", b"-r other.txt"):
        files = {"environment/requirements.txt": line}
        version = publish(client, "bad/requirements", code_bundle("x = 1\n", files=files))
        assert version["state"] == "failed"
        assert "not an exact pin" in version["reason"]


def test_an_example_whose_columns_do_not_match(client: httpx.Client) -> None:
    version = publish(
        client, "bad/example", code_bundle("def predict(c):\n    return c['x']\n", example="y\n1\n")
    )
    assert version["state"] == "failed"
    assert "'x'" in version["reason"]
