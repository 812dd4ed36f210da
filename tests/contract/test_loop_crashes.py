"""The loop dies by kill -9 before and after each commit, fsync and rename; nothing is skipped or doubled.

A refit from its trigger to its new champion is played in a process of its own (a fork) that kills itself at
one fail-point; then a second engine plays on. Whatever the point, the story ends the same.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from modelyard.catalog.training import Begun, Training
from modelyard.loop.gate import GateStep
from modelyard.loop.rollout import RolloutStep
from modelyard.loop.tick import Step, Tick
from modelyard.loop.trigger import TriggerStep
from modelyard.records.jobs import JobState, Usage
from modelyard.records.policies import Opponent, Promote, Retrain
from modelyard.records.rollouts import Evidence, Tally
from modelyard.store.database import Database
from modelyard.store.duties import Duty
from tests.bundles import SIGNATURE, TAR, bundle_tar
from tests.contract.postgresql import Server
from tests.contract.test_store_gate import Comparison
from tests.contract.test_store_refits import MODEL, House

_ENOUGH = 60  # turns; a refit takes about fifteen
_STEP = timedelta(minutes=2)  # longer than a lease, so that what died is taken over


class AtPoint(Protocol):
    """Called at a commit, an fsync or a rename with its number, before and after it."""

    def __call__(self, number: int, *, after: bool) -> None: ...


class Story:
    """A yard whose loop is played by hand: time goes on by two minutes a turn.

    Args:
        name: of the engine; a later one takes over what an earlier one held.
    """

    def __init__(self, house: House, name: str, begin: datetime) -> None:
        self.house, self.name, self.now = house, name, begin
        self._checked: set[int] = set()

    def steps(self) -> dict[str, Step]:
        """The real steps; the engine's work (training, comparing) is short."""
        registry = self.house.registry
        return {
            "trigger": TriggerStep(self.house.refits, self.clock),
            "train": self._train,
            "gate": GateStep(registry.gates, Comparison(), lambda _: True, lambda: None, self.clock),
            "rollout": RolloutStep(registry.rollouts, lambda _: (), lambda: None, self.clock),
        }

    def clock(self) -> datetime:
        return self.now

    def play(self) -> None:
        """Turn after turn, until the new version is champion and nothing is on its way."""
        for _ in range(_ENOUGH):
            self.now += _STEP
            self.turn()
            self.check()
            self.answer()
            if self.is_over():
                return

    def turn(self) -> None:
        """All that is due now."""
        Tick(self.house.database, self.name, self.steps(), self.clock).run_due()

    def is_over(self) -> bool:
        """Whether the new version is champion and nothing is on its way."""
        registry = self.house.registry
        return registry.model(MODEL).champion == 2 and registry.rollouts.active(MODEL) is None

    def _train(self, duty: Duty) -> datetime | None:
        training = Training(self.house.database, self.house.jobs.queue)
        begun = training.begin(duty, self.now)
        if not isinstance(begun, Begun):
            return begun
        training.say(duty, begun.job.id, "runs", ())

        def also(connection: Connection, version: Any, *, is_new: bool) -> None:
            training.succeed(connection, duty, version, Usage(1.0, 1.0), is_new=is_new)

        content = [bundle_tar(b"two")]
        self.house.registry.publish(MODEL, content, TAR, by="yard", lineage=begun.job.lineage, also=also)
        return None

    def check(self) -> None:
        """What the engine's checker does."""
        for version in self.house.registry.checks.due():
            self.house.registry.checks.start(MODEL, version.version)
            self.house.registry.checks.passed(MODEL, version.version, SIGNATURE)

    def answer(self) -> None:
        """What the fronts count."""
        if rollout := self.house.registry.rollouts.active(MODEL):
            self.house.registry.rollouts.count(rollout.id, Evidence(Tally(asked=30), Tally(asked=30)))


class Yards:
    """Yards that all begin alike, each on a copy of one database: a champion, and a policy for its refit.

    Args:
        fresh: the address of another copy, for which nothing is connected to the first.
    """

    def __init__(self, url: str, folder: Path, fresh: Callable[[], str]) -> None:
        self._folder, self._fresh = folder, fresh
        first = House(Database(url), folder)
        first.submit()
        first.check(first.train("one"))
        first.settled()
        promote = Promote(must_beat=Opponent.NOTHING, rollout=("shadow 1m", "canary 50% 1m"))
        first.policy(Retrain(), promote)
        first.refits.ask(MODEL, by="etl")
        first.database.close()

    @contextmanager
    def another(self) -> Iterator[House]:
        """A yard that begins anew."""
        database, own = Database(self._fresh()), self._folder / uuid.uuid4().hex
        shutil.copytree(self._folder / "blobs", own / "blobs")
        yield House(database, own)
        database.close()


@pytest.fixture
def yards(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Yards:
    """On each kind of database."""
    if database_url.startswith("sqlite"):
        original = Path(database_url.removeprefix("sqlite:///"))

        def fresh() -> str:
            return f"sqlite:///{shutil.copy(original, tmp_path / f'{uuid.uuid4().hex}.sqlite')}"

    else:
        server: Server = request.getfixturevalue("postgresql")
        name = make_url(database_url).database or ""

        def fresh() -> str:
            return server.url(server.create(name))

    return Yards(database_url, tmp_path, fresh)


@contextmanager
def counted(at_point: AtPoint) -> Iterator[None]:
    """Call this before and after each commit of a writing transaction, fsync and rename, with its number."""
    original = Database.write
    numbers = itertools.count(1)

    @contextmanager
    def write(database: Database, *, unaudited: str = "") -> Iterator[Connection]:
        with original(database, unaudited=unaudited) as connection:
            yield connection
            number = next(numbers)
            at_point(number, after=False)
        at_point(number, after=True)

    def around(call: Callable[..., None]) -> Callable[..., None]:
        def counting(*args: object) -> None:
            number = next(numbers)
            at_point(number, after=False)
            call(*args)
            at_point(number, after=True)

        return counting

    with (
        patch.object(Database, "write", write),
        patch.object(os, "fsync", around(os.fsync)),
        patch.object(os, "rename", around(os.rename)),
    ):
        yield


def in_a_process(play: Callable[[], None]) -> int:
    """Play in a fork; how it ended: 0, or minus the signal."""
    child = os.fork()
    if child == 0:
        try:
            play()
        except BaseException:  # noqa: BLE001 - the parent sees the exit code
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def points(yards: Yards, begin: datetime) -> tuple[int, dict[str, Any]]:
    """How many of these points a whole refit has, and what it comes to."""
    found = [0]

    def note(number: int, *, after: bool) -> None:
        found[0] = number if after else found[0]

    with yards.another() as house, counted(note):
        Story(house, "one", begin).play()
        return found[0], told(house)


def told(house: House) -> dict[str, Any]:
    """What a story comes to, whatever happened on the way."""
    registry = house.registry
    (refit, *_) = house.refits.story(MODEL).refits
    rollouts = registry.rollouts.of_model(MODEL)
    return {
        "champion": registry.model(MODEL).champion,
        "versions": [v.version for v in registry.versions(MODEL)],
        "champions": [(c.before, c.after) for c in registry.history(MODEL) if c.alias == "champion"],
        "jobs": [(j.state, j.version) for j in house.jobs.jobs(model=MODEL)],
        "verdicts": [(v.candidate, v.state) for v in registry.gates.of_model(MODEL)],
        "rollouts": [(r.candidate, r.state, len(r.steps)) for r in rollouts],
        "story": (refit.noticed, refit.compared, refit.decided.split(":")[0], refit.next),
    }


DUE = {
    "champion": 2,
    "versions": [2, 1],
    "champions": [(1, 2), (None, 1)],
    "jobs": [(JobState.SUCCEEDED, 2), (JobState.SUCCEEDED, 1)],
    "verdicts": [(2, "passed")],
    "rollouts": [(2, "promoted", 3)],
}


def test_a_refit_ends_the_same_wherever_it_is_killed(yards: Yards) -> None:
    begin = datetime.now(UTC) + timedelta(days=2)
    total, due = points(yards, begin)
    assert {key: due[key] for key in DUE} == DUE
    assert total > 24  # four of them where the model's file is kept
    for number, after in itertools.product(range(1, total + 1), (False, True)):
        with yards.another() as house:
            assert in_a_process(partial(killed, house, begin, (number, after))) == -signal.SIGKILL
            Story(house, "two", begin + timedelta(hours=2)).play()
            found = told(house)
        assert found == due, (number, after)


def test_a_refit_over_two_nodes_is_done_once(yards: Yards) -> None:
    """Both look for what is due at the same moments: its trigger, job, comparison and rollout act once."""
    begin = datetime.now(UTC) + timedelta(days=2)
    _, due = points(yards, begin)
    with yards.another() as house, ThreadPoolExecutor(2) as pool:
        nodes = [Story(house, name, begin) for name in ("one", "two")]
        for _ in range(_ENOUGH):
            for node in nodes:
                node.now += _STEP
            list(pool.map(Story.turn, nodes))
            nodes[0].check()
            nodes[0].answer()
            if nodes[0].is_over():
                break
        assert told(house) == due


def killed(house: House, begin: datetime, at: tuple[int, bool]) -> None:
    """Play until this point, and die before or after it."""

    def die(number: int, *, after: bool) -> None:
        if (number, after) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    with counted(die):
        Story(house, "one", begin).play()
