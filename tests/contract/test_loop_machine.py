"""Rollouts by people, two engines and crashes in any order: there is always exactly one champion.

A Hypothesis state machine: what people and engines do to a real catalog is done to a small model of it, too.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Connection

from modelyard.catalog.registry import Registry
from modelyard.loop.rollout import RolloutStep
from modelyard.loop.tick import Tick
from modelyard.records.errors import ConflictError
from modelyard.records.policies import Approval, Promote, Retrain
from modelyard.records.references import CHAMPION
from modelyard.records.rollouts import Evidence, RolloutState, Tally
from modelyard.store import duties
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty, LostLeaseError
from tests.contract.test_store_rollouts import MODEL, publish

STAGES = (), ("shadow 1m",), ("shadow 1m", "canary 50% 1m")
GOOD = Evidence(Tally(asked=30), Tally(asked=30))
BAD = Evidence(Tally(asked=400, failed=200, words="no"), Tally(asked=400))


class CrashError(BaseException):
    """The process dies here: nothing of the loop may catch it and go on."""


class Loop(RuleBasedStateMachine):
    """A model with versions, people who move it, and two engines that may die."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.database = Database(f"sqlite:///{self.folder / 'yard.sqlite'}")
        self.database.upgrade()
        self.registry = Registry(self.database, Blobs(str(self.folder / "blobs")), self.folder / "scratch")
        self.versions = [publish(self.registry, "0")]
        self.now = datetime.now(UTC) + timedelta(minutes=1)
        self.champion = 1
        self.trial: int | None = None  # the candidate that is rolled out
        self.needs_approval = self.approved = self.is_bad = False
        self.old: list[Duty] = []

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            shutil.rmtree(self.folder)

    @precondition(lambda self: len(self.versions) < 5)
    @rule()
    def publish(self) -> None:
        self.versions.append(publish(self.registry, str(len(self.versions))))

    @rule(stages=st.sampled_from(STAGES), approval=st.sampled_from(Approval))
    def set_policy(self, stages: tuple[str, ...], approval: Approval) -> None:
        self.registry.policies.put(MODEL, Retrain(), Promote(rollout=stages, approval=approval), by="ann")

    @rule(version=st.integers(1, 5))
    def start(self, version: int) -> None:
        rules = self.registry.policies.policy(MODEL).promote.rules()
        may = version in self.versions and version != self.champion and self.trial is None
        with suppress(ConflictError, *(() if may else (Exception,))):
            self.registry.rollouts.start(MODEL, version, rules, by="ann")
            assert may
            self.trial, self.needs_approval = version, rules.needs_approval
            self.approved = self.is_bad = False

    @precondition(lambda self: self.trial is not None)
    @rule()
    def stop(self) -> None:
        self.registry.rollouts.stop(MODEL, by="ann")
        self.trial = None

    @precondition(lambda self: self.trial is not None and self.needs_approval)
    @rule()
    def approve(self) -> None:
        self.registry.rollouts.approve(MODEL, by="ann")
        self.approved = True

    @precondition(lambda self: self.trial is not None)
    @rule(is_bad=st.booleans())
    def answer(self, is_bad: bool) -> None:
        rollout = self.registry.rollouts.active(MODEL)
        assert rollout is not None
        self.registry.rollouts.count(rollout.id, BAD if is_bad else GOOD)
        self.is_bad |= is_bad

    @rule(version=st.integers(1, 5))
    def promote(self, version: int) -> None:
        if version in self.versions:
            self.registry.set_alias(MODEL, CHAMPION, version, by="ann")
            self.champion = version

    @rule()
    def roll_back(self) -> None:
        with suppress(ConflictError):
            self.champion = self.registry.rollback(MODEL, by="ann").after or 0

    @rule(minutes=st.integers(1, 15), dies_at=st.integers(0, 6))
    def work(self, minutes: int, dies_at: int) -> None:
        """Time goes on, and an engine does what is due; or dies at one of its commits."""
        self.now += timedelta(minutes=minutes)
        step = RolloutStep(self.registry.rollouts, lambda _: (), lambda: None, lambda: self.now)
        with suppress(CrashError), dying(dies_at):
            Tick(self.database, "one", {"rollout": step}, lambda: self.now).run_due()
        self._notice()

    @rule()
    def hang(self) -> None:
        """An engine claims the duty and is held up, past its lease."""
        with self.database.write(unaudited="a test") as connection:
            duty = duties.claim(connection, ["rollout"], "two", self.now, timedelta(seconds=1))
        if duty is not None:
            self.old.append(duty)
            self.now += timedelta(minutes=2)

    @precondition(lambda self: self.old)
    @rule()
    def wake(self) -> None:
        """The engine that was held up goes on: it writes nothing, unless nobody has taken its duty over."""
        step = RolloutStep(self.registry.rollouts, lambda _: (), lambda: None, lambda: self.now)
        with suppress(LostLeaseError):
            step(self.old.pop())
        self._notice()

    def _notice(self) -> None:
        """What the loop has made of the rollout, and whether it might."""
        if self.trial is None:
            return
        rollout = self.registry.rollouts.of_model(MODEL)[0]
        assert rollout.candidate == self.trial
        if rollout.state.goes_on:
            return
        if rollout.state is RolloutState.PROMOTED:
            assert not self.is_bad
            assert self.approved or not self.needs_approval
            assert rollout.champion == self.champion
            self.champion = self.trial
        elif rollout.state is RolloutState.ROLLED_BACK:
            assert self.is_bad
        self.trial = None

    @invariant()
    def there_is_one_champion(self) -> None:
        if not hasattr(self, "registry"):
            return
        assert self.registry.model(MODEL).champion == self.champion
        changes = [c for c in reversed(self.registry.history(MODEL)) if c.alias == CHAMPION]
        assert all(b.before == a.after for a, b in itertools.pairwise(changes))

    @invariant()
    def there_is_one_rollout_at_most(self) -> None:
        if not hasattr(self, "registry"):
            return
        going = [r for r in self.registry.rollouts.of_model(MODEL) if r.state.goes_on]
        assert [r.candidate for r in going] == ([] if self.trial is None else [self.trial])
        routes = self.registry.route_table().models[MODEL]
        assert (routes.rollout is not None) == bool(going and going[0].rules.stages)


@contextmanager
def dying(at: int) -> Iterator[None]:
    """The process dies after so many commits; 0: it lives."""
    original = Database.write
    seen = 0

    @contextmanager
    def write(database: Database, *, unaudited: str = "") -> Iterator[Connection]:
        nonlocal seen
        with original(database, unaudited=unaudited) as connection:
            yield connection
        seen += 1
        if seen == at:
            raise CrashError

    Database.write = write  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Database.write = original  # type: ignore[method-assign]


TestLoop = Loop.TestCase
TestLoop.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
