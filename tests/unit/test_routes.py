"""Routes: which version answers whom; and the table on disk, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.rows import FLOAT64, PREDICTION

from modelyard.records.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError
from modelyard.records.people import Grant, Role
from modelyard.records.rollouts import ModelRoutes, RouteTable, ServedVersion
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.serving import signatures
from modelyard.serving.routes import find_version
from modelyard.serving.table import EMPTY, TableFile, load_table, save_table

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
    with pytest.raises(UnavailableError, match="Is a directory"):
        save_table(EMPTY, path)
    assert load_table(path) == TABLE


def with_versions(count: int, low: float = 0.0) -> RouteTable:
    """A table with one model that has so many versions."""
    made = {}
    for number in range(1, count + 1):
        signature = Signature((Column("x", ColumnType.FLOAT64, low=low + number),))
        made[number] = ServedVersion(f"ops.twice.{number}", "ops/twice", number, "r", signature)
    return RouteTable(count, {"ops/twice": ModelRoutes({"champion": 1}, made)}, {})


def test_a_signature_is_written_and_read_once(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    engine, front = TableFile(path), TableFile(path)
    engine.save(with_versions(1))
    assert front.load() == with_versions(1)
    (file,) = tmp_path.glob("routes-*")
    size = file.stat().st_size
    engine.save(with_versions(2))
    assert front.load() == with_versions(2)
    assert size < file.stat().st_size <= 2 * size
    known = front.load().models["ops/twice"].versions[1].signature
    engine.save(with_versions(1))
    assert front.load() == with_versions(1)
    assert front.load().models["ops/twice"].versions[1].signature is known
    assert list(tmp_path.glob("routes-*")) == [file]
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_engine_that_starts_again_begins_anew_and_fronts_follow(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    TableFile(path).save(with_versions(3))
    front = TableFile(path)
    assert front.load() == with_versions(3)
    TableFile(path).save(
        with_versions(3, low=5.0)
    )  # a restored backup, say: other versions of the same names
    assert front.load() == with_versions(3, low=5.0)
    assert len(list(tmp_path.glob("routes-*"))) == 1


def test_signatures_of_versions_that_are_gone_are_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "_MUCH", 3)
    path = tmp_path / "routes"
    engine, front = TableFile(path), TableFile(path)
    engine.save(with_versions(10))
    assert front.load() == with_versions(10)
    for _ in range(2):
        engine.save(with_versions(1))
        assert front.load() == with_versions(1)
    (file,) = tmp_path.glob("routes-*")
    assert file.stat().st_size < 200


def test_a_table_whose_signatures_are_damaged_or_gone_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    save_table(with_versions(2), path)
    (file,) = tmp_path.glob("routes-*")
    whole = file.read_bytes()
    for damaged in (b"", whole[:-9], whole[:4] + b"\xc1" * (len(whole) - 4)):
        file.write_bytes(damaged)
        with pytest.raises(UnavailableError, match="Delete it"):
            load_table(path)
    file.unlink()
    with pytest.raises(UnavailableError, match="its signatures are missing"):
        load_table(path)


def test_the_first_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    path.write_bytes(msgspec.msgpack.encode(with_versions(2)))
    assert load_table(path) == with_versions(2)
