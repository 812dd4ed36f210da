"""Promotions and rollbacks in any order, against a plain pile, on SQLite and PostgreSQL."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from modelyard.catalog.registry import Registry
from modelyard.records.errors import ConflictError
from modelyard.records.references import CHAMPION
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from tests.bundles import SIGNATURE, TAR, bundle_tar


class Champions(RuleBasedStateMachine):
    """A model of its own for each run; beside it the pile of champions, and the history, as plain lists."""

    registry: Registry
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).runs += 1
        self.model = f"finance/model-{type(self).runs}"
        self.count = 0
        self.checked: set[int] = set()
        self.pile: list[int] = []
        self.history: list[tuple[int | None, int]] = []

    def move(self, to: int) -> None:
        self.history.append((self.pile[-1] if self.pile else None, to))

    @rule(wants=st.booleans(), passes=st.booleans())
    def publish(self, wants: bool, passes: bool) -> None:
        archive = bundle_tar(b"%d" % self.count)
        alias = CHAMPION if wants else None
        self.registry.publish(self.model, [archive], TAR, by="a", alias=alias, may_create_department=True)
        self.count += 1
        if not passes:
            self.registry.checks.failed(self.model, self.count, "no")
            return
        self.registry.checks.passed(self.model, self.count, SIGNATURE)
        self.checked.add(self.count)
        if wants or not self.pile:
            self.move(self.count)
            self.pile.append(self.count)

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.count))
        if number not in self.checked:
            with pytest.raises(ConflictError):
                self.registry.set_alias(self.model, CHAMPION, number, by="a")
            return
        self.registry.set_alias(self.model, CHAMPION, number, by="a")
        if self.pile[-1] != number:
            self.move(number)
            self.pile.append(number)

    @precondition(lambda self: self.count)
    @rule()
    def roll_back(self) -> None:
        below = [n for n, version in enumerate(self.pile[:-1]) if version != self.pile[-1]]
        if not below:
            with pytest.raises(ConflictError):
                self.registry.rollback(self.model, by="a")
            return
        assert self.registry.rollback(self.model, by="a").after == self.pile[below[-1]]
        self.move(self.pile[below[-1]])
        self.pile = self.pile[: below[-1] + 1]

    @precondition(lambda self: self.count)
    @invariant()
    def agree(self) -> None:
        assert self.registry.model(self.model).champion == (self.pile[-1] if self.pile else None)
        changes = self.registry.history(self.model)[::-1]
        assert [(c.before, c.after) for c in changes] == self.history


def test_champions_follow_the_plain_pile(database: Database) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Champions.registry = Registry(database, Blobs(f"{folder}/blobs"), Path(folder) / "scratch")
        limits = settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        )
        run_state_machine_as_test(Champions, settings=limits)
