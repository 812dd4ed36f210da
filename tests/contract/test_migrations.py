"""Two releases on one database: schemas expand before they contract, and an older release knows its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import sqlalchemy
from sqlalchemy import Connection

from modelyard.records.errors import ConflictError
from modelyard.store import database as database_module
from modelyard.store import departments, migrations, state
from modelyard.store.database import Database
from modelyard.store.migrations.run import run
from tests.contract.test_store_database import NOW


class Column(NamedTuple):
    type: str
    nullable: bool
    default: bool


class Shape(NamedTuple):
    """What an earlier release relies on in a table: its columns, and what it may write into them."""

    columns: dict[str, Column]
    key: tuple[str, ...]
    unique: frozenset[tuple[str, ...]]
    parents: frozenset[tuple[str, ...]]


def shapes(connection: Connection) -> dict[str, Shape]:
    found = sqlalchemy.inspect(connection)
    return {name: _shape(found, name) for name in found.get_table_names()}


def _shape(found: Any, table: str) -> Shape:
    unique = {tuple(u["column_names"]) for u in found.get_unique_constraints(table)}
    unique |= {tuple(i["column_names"]) for i in found.get_indexes(table) if i["unique"]}
    return Shape(
        {
            c["name"]: Column(str(c["type"]), c["nullable"], c["default"] is not None)
            for c in found.get_columns(table)
        },
        tuple(found.get_pk_constraint(table)["constrained_columns"]),
        frozenset(unique),
        frozenset(tuple(f["constrained_columns"]) for f in found.get_foreign_keys(table)),
    )


def taken_away(before: dict[str, Shape], after: dict[str, Shape]) -> list[str]:
    """What a release that knows the first schema cannot do with the second, in words."""
    gone = [f"the table {table} is gone" for table in before if table not in after]
    return gone + [
        words for table in before if table in after for words in _less(table, before[table], after[table])
    ]


def _less(table: str, before: Shape, after: Shape) -> Iterator[str]:
    for name, column in before.columns.items():
        now = after.columns.get(name)
        if now is None:
            yield f"{table}.{name} is gone"
        elif now.type != column.type:
            yield f"{table}.{name} was {column.type} and is {now.type}"
        elif column.nullable and not now.nullable:
            yield f"{table}.{name} must have a value now"
    for name in after.columns.keys() - before.columns.keys():
        if not after.columns[name].nullable and not after.columns[name].default:
            yield f"{table}.{name} is new and must have a value, which an older release does not give"
    if after.key != before.key:
        yield f"{table} has another key"
    known = before.columns.keys()
    for what, more in (
        ("unique", after.unique - before.unique),
        ("of a parent", after.parents - before.parents),
    ):
        yield from (f"{table}: {columns} must be {what} now" for columns in more if known & set(columns))


@pytest.fixture
def grown(empty_url: str) -> Iterator[tuple[dict[str, Shape], dict[str, Shape]]]:
    """The schema that the oldest release knows that is still served, and today's."""
    database = Database(empty_url)
    with database.write(unaudited="a test") as connection:
        run(connection, migrations.SERVES_FROM)
        before = shapes(connection)
    database.upgrade()
    with database.read() as connection:
        yield before, shapes(connection)
    database.close()


def test_nothing_is_taken_away_that_an_older_release_needs(
    grown: tuple[dict[str, Shape], dict[str, Shape]],
) -> None:
    before, after = grown
    assert taken_away(before, after) == [], "take it away in a later release, or raise migrations.SERVES_FROM"
    assert len(before) > 40


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DROP TABLE cards", "the table cards is gone"),
        ("ALTER TABLE cards DROP COLUMN text", "cards.text is gone"),
        ("ALTER TABLE cards RENAME COLUMN text TO words", "cards.text is gone"),
        (
            "ALTER TABLE cards ADD COLUMN more TEXT NOT NULL DEFAULT 'x'",
            None,  # an older release need not give it
        ),
        ("ALTER TABLE cards ADD COLUMN more TEXT", None),
        ("CREATE UNIQUE INDEX odd ON cards (changed_by)", "must be unique now"),
    ],
)
def test_what_is_taken_away_is_noticed(database: Database, change: str, words: str | None) -> None:
    with database.write(unaudited="a test") as connection:
        before = shapes(connection)
        connection.exec_driver_sql(change)
        found = taken_away(before, shapes(connection))
    assert (words in " ".join(found)) if words else found == []


def test_a_new_column_without_a_default_is_noticed() -> None:
    old = Shape({"a": Column("TEXT", nullable=True, default=False)}, ("a",), frozenset(), frozenset())
    new = old._replace(columns=old.columns | {"b": Column("TEXT", nullable=False, default=False)})
    tight = old._replace(columns={"a": Column("TEXT", nullable=False, default=True)})
    other = old._replace(columns={"a": Column("INTEGER", nullable=True, default=False)})
    assert taken_away({"t": old}, {"t": old, "u": old}) == []
    assert "does not give" in taken_away({"t": old}, {"t": new})[0]
    assert "must have a value now" in taken_away({"t": old}, {"t": tight})[0]
    assert "was TEXT and is INTEGER" in taken_away({"t": old}, {"t": other})[0]
    assert "another key" in taken_away({"t": old}, {"t": old._replace(key=("a", "b"))})[0]


def test_a_release_behind_goes_on_where_the_newer_says_so(database: Database) -> None:
    """The database is one release ahead of this code, and serves it: starting again changes nothing."""
    _as_left_by_a_newer_release(database, serves_from=int(migrations.HEAD))
    database.upgrade()
    with database.write(unaudited="a test") as connection:
        departments.add(connection, "finance", by="anna", at=NOW)
    assert database.revision() == "9999"


def test_a_release_too_far_behind_is_refused(database: Database) -> None:
    _as_left_by_a_newer_release(database, serves_from=int(migrations.HEAD) + 1)
    with pytest.raises(ConflictError, match="newer Modelyard"):
        database.upgrade()


def _as_left_by_a_newer_release(database: Database, serves_from: int) -> None:
    with database.write(unaudited="a test") as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        state.keep_serves_from(connection, serves_from)


def test_an_upgrade_says_which_releases_may_go_on(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(empty_url)
    with database.write(unaudited="a test") as connection:
        run(connection, "0015")
        assert state.serves_from(connection) is None  # releases of that time say nothing
    monkeypatch.setattr(database_module, "SERVES_FROM", "0017")
    database.upgrade()
    with database.read() as connection:
        assert state.serves_from(connection) == 17
    database.close()
