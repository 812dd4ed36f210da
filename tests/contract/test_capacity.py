"""How many workers models may have: kept on each database, through the API, and kept to by the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.capacity import Demand
from modelyard.records.errors import InvalidError, NotFoundError
from modelyard.records.jobs import JobState
from modelyard.records.people import Role
from modelyard.records.projects import read_project
from tests.contract.api_house import MODEL, House
from tests.contract.hands import ask
from tests.contract.test_engine import FIRST, Yard, running
from tests.contract.test_engine import MODEL as DOUBLE
from tests.contract.training_house import TrainingHouse, described
from tests.journeys.models import times
from tests.journeys.running import until

CAPACITY = f"/api/v1/models/{MODEL}/capacity"
FOUR = Demand(min_replicas=1, max_replicas=4, cpus=0.5, memory="2 GB")


@pytest.fixture
def house(registry: Registry, people: People, tmp_path: Path) -> Iterator[House]:
    with start_blocking_portal() as portal, House(portal, registry, people, tmp_path) as house:
        yield house


def test_a_capacity_is_kept_and_routed(house: House) -> None:
    capacities = house.registry.capacities
    default = capacities.capacity(MODEL)
    assert (default.serve, default.source, default.changed_by) == (Demand(), "the default", "")
    assert house.registry.route_table().models[MODEL].demand is None
    before = house.registry.generation()
    kept = capacities.put(MODEL, FOUR, by="anna")
    assert capacities.capacity(MODEL) == kept
    assert (kept.serve, kept.source, kept.changed_by) == (FOUR, "by hand", "anna")
    assert house.registry.generation() > before
    assert house.registry.route_table().models[MODEL].demand == FOUR
    assert capacities.put(MODEL, FOUR, by="ben") == kept, "the same again changes nothing"
    with pytest.raises(NotFoundError):
        capacities.capacity("finance/none")
    with pytest.raises(NotFoundError):
        capacities.put("finance/none", FOUR, by="anna")


def test_the_api_shows_and_sets_it(house: House) -> None:
    body = {"min_replicas": 1, "max_replicas": 4, "cpus": 0.5, "gpus": 0, "memory": "2 GB"}
    assert house.ask("PUT", CAPACITY, Role.BUILDER, json=body).status_code == 403
    assert house.ask("PUT", CAPACITY, Role.OWNER, json=body).json()["serve"] == body
    assert house.ask("GET", CAPACITY, Role.VIEWER).json()["serve"] == body


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"min_replicas": 0}, "min_replicas is '0'"),
        ({"min_replicas": 3, "max_replicas": 2}, "min_replicas (3) to"),
        ({"max_replicas": 10_000}, "max_replicas is '10000'"),
        ({"cpus": -1}, "cpus is '-1"),
        ({"gpus": 1.5}, "a whole number"),
        ({"memory": "lots"}, "a size, as `2 GB`"),
        ({"memory": "1 KB"}, "64 MB at least"),
        ({"replicas": 3}, "replicas"),
        ({"cpus": "many"}, "cpus"),
    ],
)
def test_what_means_nothing_is_refused(house: House, body: dict[str, Any], words: str) -> None:
    answer = house.ask("PUT", CAPACITY, Role.OWNER, json=body)
    assert answer.status_code == 422
    assert words in answer.text
    assert house.registry.capacities.capacity(MODEL).serve == Demand()


def test_the_record_refuses_it_too() -> None:
    with pytest.raises(InvalidError) as caught:
        Demand(gpus=-0.5)
    assert caught.value.fields == {"key": "serve.gpus", "field": "gpus"}


def test_the_engine_keeps_to_it(tmp_path: Path) -> None:
    """Real workers: two from the start, a third while requests wait, and one again when that is enough."""
    yard = Yard(tmp_path / "data")

    def workers(count: int, wait: float = 0.0) -> bool:
        engine.sizing.tell({FIRST: wait})
        return len(engine.keeper.live()[FIRST]) == count

    with running(yard.engine()) as engine:
        yard.checked(engine, times(2))
        for least, most in ((2, 2), (2, 3)):
            yard.registry.capacities.put(DOUBLE, Demand(min_replicas=least, max_replicas=most), by="anna")
            engine.refresh()
            until(lambda: workers(2))
        until(lambda: workers(3, wait=1.0))
        assert {ask(worker, 1.5)[0] for worker in engine.keeper.live()[FIRST]} == {3.0}
        yard.registry.capacities.put(DOUBLE, Demand(), by="anna")
        engine.refresh()
        until(lambda: workers(1))
    yard.database.close()


def test_a_training_sets_what_its_project_says(tmp_path: Path) -> None:
    house = TrainingHouse(tmp_path, tmp_path / "environments")
    script = "import modelyard as yard\nyard.save(lambda rows: [1.0] * len(rows), example=[{'x': 1.0}])\n"
    files = {"yard.toml": described(more='[serve]\nmax_replicas = 3\nmemory = "1 GB"\n'), "train.py": script}
    for may_promote in (False, True):
        job = house.run(files, sets_policy=may_promote)
        assert job.state is JobState.SUCCEEDED, house.jobs.log(job.id).text
        found = house.registry.capacities.capacity(MODEL)
        assert found.serve == (Demand(max_replicas=3, memory="1 GB") if may_promote else Demand())
    assert found.source == f"job {job.id}"
    house.database.close()


@pytest.mark.parametrize(
    ("table", "key", "line"),
    [
        ("[serve]\nmax_replicas = 0\n", "serve.max_replicas", 4),
        ("[serve]\nreplicas = 2\n", "serve.replicas", 4),
        ("serve = 3\n", "serve", 3),
    ],
)
def test_a_project_that_asks_for_nonsense_is_told_where(table: str, key: str, line: int) -> None:
    with pytest.raises(InvalidError) as caught:
        read_project(described(more=table))
    assert (caught.value.fields["key"], caught.value.fields["line"]) == (key, line)


def test_a_training_asks_for_cores_and_gpus() -> None:
    train = read_project(described(train="cpus = 2.5\ngpus = 1")).train
    assert (train.cpus, train.gpus) == (2.5, 1.0)
    with pytest.raises(InvalidError, match="a whole number") as caught:
        read_project(described(train="gpus = 1.5"))
    assert caught.value.fields["key"] == "train.gpus"
