"""Routes: which version answers whom; and the table on disk, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.rows import FLOAT64, PREDICTION

from modelyard.records.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError
from modelyard.records.people import Grant, Role
from modelyard.records.rollouts import ModelRoutes, RouteTable, ServedVersion
from modelyard.records.signatures import Column, Signature
from modelyard.serving.routes import find_version
from modelyard.serving.table import EMPTY, load_table, save_table

SIGNATURE = Signature((Column("x", FLOAT64),), PREDICTION)
CALLER = Grant("anna", Role.CALLER, "finance")
FUEL, NEW = "finance/fuel-cost", "finance/new"


def served(model: str, version: int) -> ServedVersion:
    name = f"{model.replace('/', '.')}.{version}"
    return ServedVersion(name, model, version, "r", SIGNATURE)


TABLE = RouteTable(
    7,
    {
        FUEL: ModelRoutes({"champion": 2, "challenger": 1, "gone": 9}, {v: served(FUEL, v) for v in (1, 2)}),
        NEW: ModelRoutes({}, {1: served(NEW, 1)}),
    },
    {"ab" * 32: CALLER},
)


def test_the_champion_answers_unless_an_alias_or_version_is_named() -> None:
    assert find_version(TABLE, CALLER, FUEL).version == 2
    assert find_version(TABLE, CALLER, FUEL, alias="challenger").version == 1
    assert find_version(TABLE, CALLER, FUEL, version=1).version == 1


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: find_version(TABLE, CALLER, FUEL, version=3), "no checked version 3"),
        (lambda: find_version(TABLE, CALLER, FUEL, alias="x"), "no alias x"),
        (lambda: find_version(TABLE, CALLER, FUEL, alias="gone"), "no alias gone"),
        (lambda: find_version(TABLE, CALLER, "finance/none"), "no model finance/none"),
    ],
)
def test_what_is_not_there(ask: Callable[[], object], words: str) -> None:
    with pytest.raises(NotFoundError, match=words):
        ask()


def test_a_model_without_champion_says_how_to_make_one() -> None:
    with pytest.raises(ConflictError, match="yard promote finance/new/1"):
        find_version(TABLE, CALLER, NEW)


def test_unknown_and_forbidden_look_alike_across_departments() -> None:
    """HARDENING 42: the words differ in the name that was asked for, and in nothing else."""
    stranger = Grant("eve", Role.OWNER, "operations")
    told = []
    for model in (FUEL, "finance/none", "nowhere/none"):
        for alias, version in ((None, None), ("champion", None), ("x", None), (None, 1), (None, 99)):
            with pytest.raises(NotFoundError) as caught:
                find_version(TABLE, stranger, model, alias, version)
            told.append((str(caught.value).replace(model, "MODEL"), repr(caught.value.fields)))
    assert len(set(told)) == 1


@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR])
def test_who_may_see_but_not_predict_is_told_so(role: Role) -> None:
    grant = Grant("otto", role, None if role is Role.AUDITOR else "finance")
    with pytest.raises(ForbiddenError, match="role caller"):
        find_version(TABLE, grant, FUEL)


def test_the_table_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    assert load_table(path) == EMPTY
    save_table(TABLE, path)
    assert load_table(path) == TABLE
    assert path.stat().st_mode & 0o777 == 0o600
    save_table(EMPTY, path)
    assert load_table(path) == EMPTY
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"junk"])
def test_a_damaged_table_says_what_to_do(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "routes"
    path.write_bytes(damage)
    with pytest.raises(UnavailableError, match="Delete it"):
        load_table(path)


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    save_table(TABLE, path)
    path.with_suffix(".new").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        save_table(EMPTY, path)
    assert load_table(path) == TABLE
