"""The database itself: transactions, forks, upgrades and errors, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from modelyard.records.errors import ConflictError, InvalidError, UnavailableError
from modelyard.store import database as database_module
from modelyard.store import departments, migrations, state
from modelyard.store.database import Database, add_up
from modelyard.store.schema import Moment, ledger_counts, metadata
from tests.contract.postgresql import Server

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_a_write_is_kept(database: Database) -> None:
    with database.write() as connection:
        departments.add(connection, "finance", by="anna", at=NOW)
    with database.read() as connection:
        assert departments.names(connection) == ["finance"]


def test_rows_are_added_to_those_that_are_there(database: Database) -> None:
    key = {"model": "a/b", "version": 1, "day": NOW, "node": "n"}
    row = key | {"answered": 2, "refused": 0, "failed": 1, "rows": 5, "cpu": 10**12}
    with database.write() as connection:
        add_up(connection, ledger_counts, [], ("rows",))
        add_up(connection, ledger_counts, [row, row | {"node": "other"}], ("answered", "rows", "cpu"))
        add_up(connection, ledger_counts, [row], ("answered", "rows", "cpu"))
    with database.read() as connection:
        query = sqlalchemy.select(ledger_counts).order_by(ledger_counts.c.node)
        one, other = connection.execute(query)
    assert (one.answered, one.rows, one.cpu) == (4, 10, 2 * 10**12)
    assert one.failed == 1, "no column that is summed"
    assert other.rows == 5


def test_an_exception_keeps_nothing(database: Database) -> None:
    def write_and_fail() -> None:
        with database.write() as connection:
            departments.add(connection, "finance", by="anna", at=NOW)
            state.bump_generation(connection)
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    with database.read() as connection:
        assert departments.names(connection) == []
        assert state.generation(connection) == 1


def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises((UnavailableError, sqlalchemy.exc.DBAPIError)), database.read() as connection:
        departments.add(connection, "finance", by="anna", at=NOW)
    with database.write() as connection:  # the same pooled connection writes again
        assert departments.add(connection, "finance", by="anna", at=NOW)


def test_a_read_is_one_snapshot(database: Database) -> None:
    with database.read() as connection:
        before = state.generation(connection)
        if database.is_sqlite:  # without WAL a writer waits for readers, so the snapshot holds by itself
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                _bump_impatiently(database)
        else:
            with database.write() as other:
                state.bump_generation(other)
        assert state.generation(connection) == before


def _bump_impatiently(database: Database) -> None:
    file = database.shown.removeprefix("sqlite:///")
    with sqlite3.connect(file, timeout=0) as other:
        other.execute("UPDATE state SET value = value + 1")


@pytest.mark.parametrize(
    "moment",
    [NOW, datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)],
)
def test_times_come_back_exactly(database: Database, moment: datetime) -> None:
    with database.write() as connection:
        departments.add(connection, "finance", by="anna", at=moment)
        stored = connection.exec_driver_sql("SELECT created_at FROM departments").scalar_one()
        table = metadata.tables["departments"]
        assert connection.scalar(sqlalchemy.select(table.c.created_at)) == moment
    assert stored == (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_a_time_without_a_zone_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        Moment().process_bind_param(datetime(2026, 1, 1), sqlalchemy.create_engine("sqlite://").dialect)  # noqa: DTZ001


def test_foreign_keys_are_kept(database: Database) -> None:
    table = metadata.tables["models"]
    row = {"model": "no/where", "department": "no", "latest": 0, "created_at": NOW, "created_by": "anna"}
    with pytest.raises(sqlalchemy.exc.IntegrityError), database.write() as connection:
        connection.execute(table.insert(), row)


def test_what_migrations_make_is_what_the_schema_says(empty_url: str) -> None:
    database = Database(empty_url)
    database.upgrade()
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        made = {t: _constraints(connection, t) for t in metadata.tables}
    database.close()
    own = {
        t.name: {c.name for c in t.constraints} | {i.name for i in t.indexes}
        for t in metadata.tables.values()
    }
    assert made == own


def _constraints(connection: sqlalchemy.Connection, table: str) -> set[str | None]:
    found = sqlalchemy.inspect(connection)
    unique = found.get_unique_constraints(table)
    names = {c["name"] for c in [*unique, *found.get_foreign_keys(table), found.get_pk_constraint(table)]}
    # PostgreSQL lists the index under a unique constraint as well.
    return names | {i["name"] for i in found.get_indexes(table)}


def test_the_list_of_revisions_is_the_folders() -> None:
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert script.get_current_head() == migrations.HEAD
    assert [r.revision for r in script.walk_revisions()][::-1] == list(migrations.REVISIONS)


def test_an_upgrade_again_does_nothing_and_does_not_load_alembic(empty_url: str) -> None:
    database = Database(empty_url)
    database.upgrade()
    database.close()
    code = (
        "import sys; from modelyard.store.database import Database; "
        f"Database({empty_url!r}).upgrade(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_processes_that_upgrade_at_once(empty_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.SimpleQueue()
    processes = [context.Process(target=_upgrade, args=(empty_url, start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [results.get() for _ in processes] == [1, 1, 1]


def _upgrade(url: str, start: Barrier, results: SimpleQueue[object]) -> None:
    database = Database(url)
    try:
        with database.read():
            start.wait(60)
        database.upgrade()
        with database.read() as connection:
            results.put(state.generation(connection))
    except Exception as error:  # noqa: BLE001 - the parent compares it
        results.put(repr(error))
    database.close()


def test_a_newer_database_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        state.keep_serves_from(connection, 9999)
    with pytest.raises(ConflictError, match="newer Modelyard"):
        database.upgrade()


def test_a_fork_uses_connections_of_its_own(database: Database) -> None:
    """The child neither takes the parent's idle connection nor closes it; both go on."""
    with database.read() as connection:
        idle = connection.connection.dbapi_connection
    child = os.fork()
    if child == 0:
        os._exit(_write_in_child(database, idle))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    with database.read() as connection:
        assert connection.connection.dbapi_connection is idle
        assert departments.names(connection) == ["from-the-child"]


def _write_in_child(database: Database, parents: object) -> int:
    try:
        with database.write() as connection:
            departments.add(connection, "from-the-child", by="anna", at=NOW)
            is_own = connection.connection.dbapi_connection is not parents
        database.close()
    except BaseException:  # noqa: BLE001 - a child must not go on into pytest
        return 1
    return 0 if is_own else 2


def test_sqlite_is_safe_for_several_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _journal(tmp_path / "a.sqlite") == (
        "wal" if sqlite3.sqlite_version_info >= (3, 51, 3) else "truncate"
    )
    monkeypatch.setattr(database_module, "SAFE_WAL", (3, 0, 0))
    assert _journal(tmp_path / "b.sqlite") == "wal"
    monkeypatch.setattr(database_module, "SAFE_WAL", (99, 0, 0))
    assert _journal(tmp_path / "b.sqlite") == "truncate"  # back again


def _journal(file: Path) -> str:
    database = Database(f"sqlite:///{file}")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (a)")
        mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
    database.close()
    return mode


def test_a_path_with_signs_in_it_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "100% sure?x=1#.sqlite"
    Database(f"sqlite:///{file}").upgrade()
    assert file.exists()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite://",
        "sqlite:///",
        "mysql://a:geheim@b/c",
        "postgresql://a:geheim@b",
        "nonsense",
        "postgresql+x://a/b",
    ],
)
def test_other_addresses_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(InvalidError, match="not one the yard knows") as raised:
        Database(url)
    assert "geheim" not in f"{raised.value!r} {raised.value.__cause__!r}"


def test_a_password_is_not_shown() -> None:
    database = Database("postgresql://anna:geheim@127.0.0.1:1/yard")
    with pytest.raises(UnavailableError, match="does not answer") as raised, database.read():
        pass
    assert "geheim" not in f"{raised.value} {database!r}"


def test_no_folder_for_sqlite(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be opened"):
        Database(f"sqlite:///{tmp_path / 'not-there' / 'yard.sqlite'}").upgrade()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "yard.sqlite").write_bytes(b"something else altogether" * 100)
    with pytest.raises(UnavailableError, match="no SQLite database"):
        Database(f"sqlite:///{tmp_path / 'yard.sqlite'}").upgrade()


def test_a_lock_held_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT", 0.05)
    database = Database(f"sqlite:///{tmp_path / 'yard.sqlite'}")
    database.upgrade()
    with sqlite3.connect(tmp_path / "yard.sqlite", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UnavailableError, match="locked by another process"), database.write():
            pass


@pytest.mark.postgresql
def test_a_server_that_comes_back(postgresql: Server) -> None:
    """A connection that died in the pool is replaced without an error."""
    database = Database(postgresql.url(postgresql.create()))
    database.upgrade()
    with database.read() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    other = Database(postgresql.url(postgresql.create()))
    with other.write() as connection:
        connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    with database.read() as connection:
        assert state.generation(connection) == 1
    database.close()
    other.close()


@pytest.mark.postgresql
def test_a_statement_that_never_ends(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "STATEMENT_TIMEOUT", 1)
    database = Database(postgresql.url(postgresql.create()))
    with pytest.raises(UnavailableError, match="took too long"), database.read() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(30)")
    database.close()


def test_a_full_disk(tmp_path: Path) -> None:
    """SQLite's own limit of pages gives the error that a full disk gives; nothing is kept of the change."""
    database = Database(f"sqlite:///{tmp_path / 'yard.sqlite'}")
    database.upgrade()

    def fill() -> None:
        with database.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            for number in range(10_000):
                departments.add(connection, f"department-{number}", by="a" * 500, at=NOW)

    with pytest.raises(UnavailableError, match="disk that is full"):
        fill()
    database.close()
    with database.read() as connection:
        assert departments.names(connection) == []
