"""What workers' processors did is told while they live, and once more when they end, however they do."""

from __future__ import annotations

import pytest
from msgspec import structs

from modelyard.engine.metering import Metered, of_fronts
from modelyard.records.meters import Counts
from modelyard.records.rollouts import MANY_ROWS
from modelyard.records.signatures import Column, ColumnType
from modelyard.workers.plans import Plan, Progress, Taken, Worker

PLAN = Plan("finance.fuel.7", 0, "r", "", "/b", "e", {}, (Column("x", ColumnType.FLOAT64),))


class Hands:
    """Workers that use what a test says."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        self.stopped: list[int] = []

    def start(self, plan: Plan, progress: Progress) -> Worker:
        progress("starting")
        pid = len(self.seconds) + 1
        self.seconds[pid] = 0.0
        return Worker(plan, f"/run/workers/{pid:04}/s", pid, 100 + pid, "log")

    def stop(self, worker: Worker) -> None:
        self.stopped.append(worker.pid)
        self.seconds[worker.pid] = 0.0

    def close(self) -> None:
        self.stopped.append(0)

    def alive(self) -> list[Worker]:
        return [Worker(PLAN, "/run/workers/9999/s", 9, 109, "log")]

    def wait(self, worker: Worker) -> str:
        self.seconds[worker.pid] = 0.0
        return "exit code 1"

    def look(self, worker: Worker) -> Taken:
        return Taken(worker.pid, self.seconds.get(worker.pid, 0.0))


def used(metered: Metered) -> dict[str, int]:
    return {name: read["finance/fuel/7"].cpu for name, read in metered.read().items()}


def test_a_worker_is_told_of_until_it_ends_and_once_more() -> None:
    hands = Hands()
    metered = Metered(hands)
    one = metered.start(PLAN, lambda _: None)
    hands.seconds[1] = 1.5
    assert used(metered) == {"0001:1:101": 1_500_000}
    hands.seconds[1] = 0.25  # a child has ended that nobody waited for
    assert used(metered) == {"0001:1:101": 1_500_000}
    hands.seconds[1] = 2.0
    metered.stop(one)
    assert hands.stopped == [1]
    assert used(metered) == {"0001:1:101": 2_000_000}
    assert used(metered) == {}
    metered.stop(one)
    assert used(metered) == {}


def test_native_workers_for_many_rows_count_for_their_version() -> None:
    hands = Hands()
    metered = Metered(hands)
    metered.start(structs.replace(PLAN, version_id=f"{PLAN.version_id}{MANY_ROWS}"), lambda _: None)
    hands.seconds[1] = 1.0
    assert used(metered) == {"0001:1:101": 1_000_000}


def test_one_that_dies_is_told_of_as_it_was_last_seen() -> None:
    hands = Hands()
    metered = Metered(hands)
    one = metered.start(PLAN, lambda _: None)
    hands.seconds[1] = 3.0
    used(metered)
    assert metered.wait(one) == "exit code 1"
    assert used(metered) == {"0001:1:101": 3_000_000}
    assert used(metered) == {}


def test_those_of_an_earlier_engine_are_read_on() -> None:
    hands = Hands()
    metered = Metered(hands)
    [worker] = metered.alive()
    hands.seconds[9] = 7.0
    assert used(metered) == {"9999:9:109": 7_000_000}
    assert metered.look(worker) == Taken(9, 7.0)
    metered.close()
    assert hands.stopped == [0]


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        ("answered", Counts(answered=3)),
        ("busy", Counts(failed=3)),
        ("model-failed", Counts(failed=3)),
        ("deadline", Counts(failed=3)),
        ("invalid", Counts(refused=3)),
        ("over-limit", Counts(refused=3)),
    ],
)
def test_who_is_to_blame_for_an_answer_that_was_none(outcome: str, counts: Counts) -> None:
    labels = 'model="finance/fuel",version="7"'
    samples = {
        f'modelyard_predict_requests_total{{{labels},outcome="{outcome}"}}': 3.0,
        f"modelyard_predict_seconds_count{{{labels}}}": 3.0,
        f'modelyard_predict_seconds_bucket{{{labels},le="0.1"}}': 3.0,
    }
    assert of_fronts(lambda: {"front-0:1:1": samples})() == {"front-0:1:1": {"finance/fuel/7": counts}}
