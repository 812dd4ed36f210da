"""The database: transactions, and the few differences between SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy
from sqlalchemy import Connection, Engine, MetaData, Table, event, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import DataError as BadDataError

from modelyard.records.errors import ConflictError, InvalidError, UnavailableError
from modelyard.store import audit, state
from modelyard.store.migrations import HEAD, REVISIONS, SERVES_FROM

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
    from sqlalchemy.engine.interfaces import DBAPIConnection

BUSY_TIMEOUT = 10.0  # seconds a transaction waits for SQLite's lock
CONNECT_TIMEOUT = 5  # seconds until PostgreSQL must have answered
STATEMENT_TIMEOUT = 30  # seconds one statement may take on PostgreSQL
SAFE_WAL = (3, 51, 3)  # docs/decisions/0002-sqlite-journal.md
_SQLITE = "sqlite:///"
_SQLITE_READS: dict[str, Any] = {"reads": True}
_POSTGRESQL_READS: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_APPLICATION = "modelyard"
_OTHERS = sqlalchemy.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = :name AND pid <> pg_backend_pid()"
)
_TRIGGERED = sqlalchemy.text(
    "SELECT DISTINCT t.tgfoid::regprocedure::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace"
)
_UPGRADE_LOCK = 0x6D6F64656C796172  # "modelyar": PostgreSQL's advisory locks are numbers
_MISTAKES = (
    IntegrityError,
    ProgrammingError,
    BadDataError,
)  # ours, not the database's: they pass as they are


class _Engines(NamedTuple):
    """One pool of connections with two ways to begin; of one process."""

    process: int
    writer: Engine
    reader: Engine


# Engines of a parent process. Letting one go would close connections that the parent still uses.
_inherited: list[_Engines] = []


class Database:
    """SQLite or PostgreSQL, by address.

    Args:
        url: `sqlite:///path` or `postgresql://user@host/name`.

    Raises:
        InvalidError: the address is neither.

    No connection is made before it is needed, and none made before a fork is used after it.

    Examples:
        >>> database = Database("sqlite:////tmp/yard.sqlite")         # doctest: +SKIP
        >>> database.upgrade()                                        # doctest: +SKIP
        >>> with database.read() as connection:                       # doctest: +SKIP
        ...     state.generation(connection)
    """

    def __init__(self, url: str) -> None:
        self._url = _parse(url)
        self._engines: _Engines | None = None

    def __repr__(self) -> str:
        return f"Database({self.shown!r})"

    @property
    def shown(self) -> str:
        """The address without its password, fit for a message."""
        return self._url.render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite (else PostgreSQL)."""
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot to read from; writing in it fails.

        Raises:
            UnavailableError: the database does not answer.
        """
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def write(self, *, unaudited: str = "") -> Iterator[Connection]:  # noqa: ARG002 - for whoever reads it
        """One transaction: committed at the end, rolled back by an exception.

        On SQLite writers go one after another from the beginning; on PostgreSQL each locks the rows it
        decides on. What `audit.append` notes inside is written before the commit, or nothing is.

        Args:
            unaudited: why what it changes needs no audit entry. All other transactions make one; a test
                reads the code for those that do not.

        Raises:
            UnavailableError: the database does not answer, is locked for too long, or its disk is full.
        """
        with self._transaction(writes=True) as connection, audit.recording(connection):
            yield connection

    def upgrade(self) -> None:
        """Bring the schema to this release's; safe from several processes at once, cheap where it is there.

        A newer release's schema stays as it is, where that release has said that this one may go on with it.

        Raises:
            ConflictError: the database was written by a newer release that this one cannot go on with.
            UnavailableError: the database does not answer.
        """
        with self.read() as connection:
            if _is_fit(connection):
                return
        with self.write(unaudited="the schema") as connection:
            if not self.is_sqlite:  # SQLite's write transaction is such a lock already
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            if not _is_fit(connection):
                _migrate(connection)

    def revision(self) -> str | None:
        """The schema's revision, as this or another release left it; None where there is no schema.

        Raises:
            UnavailableError: the database does not answer.
        """
        with self.read() as connection:
            return _revision(connection)

    def others(self) -> int:
        """Connections of other processes of the yard: other nodes, where this one does not run.

        Always 0 with SQLite, whose folder only one yard can hold.
        """
        if self.is_sqlite:
            return 0
        with self.read() as connection:
            return int(connection.execute(_OTHERS, {"name": _APPLICATION}).scalar_one())

    @contextmanager
    def snapshot(self, scratch: Path) -> Iterator[Database]:
        """A database to read from at leisure, as this one is now, without holding up its writers.

        Args:
            scratch: a folder for a copy of SQLite; PostgreSQL keeps old rows for who still reads them.

        Raises:
            UnavailableError: the database does not answer, or the disk is full.
        """
        if not self.is_sqlite:
            yield self
            return
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch, prefix="snapshot-") as folder:
            copy = Path(folder) / "yard.sqlite"
            try:
                with (
                    closing(sqlite3.connect(str(self._url.database), timeout=BUSY_TIMEOUT)) as own,
                    closing(sqlite3.connect(copy)) as other,
                ):
                    own.backup(other)  # in one step: a reader's lock for as long as the file takes to copy
            except sqlite3.Error as error:
                raise _explained(SQLAlchemyError(str(error)), self.shown) from error
            database = Database(f"{_SQLITE}{copy}")
            try:
                yield database
            finally:
                database.close()

    def rebuild(self, revision: str, fill: Callable[[Connection], None]) -> None:
        """Make an empty database: the schema of a revision, rows by `fill`, then this release's schema.

        All of it is one transaction.

        Raises:
            ConflictError: the revision is a newer release's.
            UnavailableError: the database does not answer.
        """
        self._make(revision, fill, _migrate)

    def put_back(self, revision: str, fill: Callable[[Connection], None]) -> None:
        """Drop all tables and make them anew as a release of that revision had them, rows by `fill`.

        All of it is one transaction. What was written since those rows were kept is lost.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._make(revision, fill, lambda _: None, _drop_all)

    def _make(
        self,
        revision: str,
        fill: Callable[[Connection], None],
        after: Callable[[Connection], None],
        before: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        if revision not in REVISIONS:
            raise _newer(revision)
        from modelyard.store.migrations.run import run  # noqa: PLC0415 - Alembic takes 0.2 s to load

        with self.write(unaudited="what is in it comes with its own audit") as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            before(connection)
            run(connection, revision)
            fill(connection)
            after(connection)

    def close(self) -> None:
        """Let go of all connections; the next use makes new ones."""
        if self._engines is not None and self._engines.process == os.getpid():
            self._engines.writer.dispose()
            self._engines = None

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        try:
            with self._begun(writes=writes) as connection:
                yield connection
        except _MISTAKES:
            raise
        except (DBAPIError, sqlalchemy.exc.TimeoutError) as error:
            raise _explained(error, self.shown) from error

    def _begun(self, *, writes: bool) -> AbstractContextManager[Connection]:
        engines = self._engines
        if engines is None or engines.process != os.getpid():
            if engines is not None:
                _inherited.append(engines)
            writer = _sqlite_engine(self._url) if self.is_sqlite else _postgresql_engine(self._url)
            reads = _SQLITE_READS if self.is_sqlite else _POSTGRESQL_READS
            engines = _Engines(os.getpid(), writer, writer.execution_options(**reads))
            self._engines = engines  # in one piece: other threads may be here too
            # A thread that was late may have come after `close`: its connection goes with the last of us.
            weakref.finalize(self, _let_go, engines).atexit = False
        return (engines.writer if writes else engines.reader).begin()


def _let_go(engines: _Engines) -> None:
    if engines.process == os.getpid():
        engines.writer.dispose()


def insert_missing(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row unless its key is there; whether it was inserted.

    Where another transaction inserts the same key at this moment, this waits for it to end.
    """
    query = _insert(connection)(table).values(values).on_conflict_do_nothing()
    return connection.execute(query.execution_options(preserve_rowcount=True)).rowcount == 1


def add_up(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], sums: Sequence[str]) -> None:
    """Insert rows; where the key of one is there already, add its numbers of these columns to those there."""
    if not rows:
        return
    query = _insert(connection)(table)
    added = {name: table.c[name] + query.excluded[name] for name in sums}
    connection.execute(
        query.on_conflict_do_update(index_elements=table.primary_key.columns, set_=added), rows
    )


def _insert(connection: Connection) -> Callable[[Table], SqliteInsert | PostgresqlInsert]:
    """What makes an INSERT that may say what to do where the key is there already."""
    return sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert


def clock(connection: Connection) -> datetime:
    """What time it is by the database's clock, which all nodes share. SQLite's is the machine's."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    found: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return found


def _parse(url: str) -> URL:
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        # Not by make_url: a '%' or '?' of a path is part of it.
        return URL.create("sqlite", database=str(Path(url[len(_SQLITE) :]).absolute()))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _unknown_form() from None  # the cause would show the password
    if parsed.drivername not in ("postgresql", "postgres") or not parsed.database:
        raise _unknown_form()
    return parsed.set(drivername="postgresql+psycopg")


def _unknown_form() -> InvalidError:
    return InvalidError(
        "The database's address is not one the yard knows.",
        "Write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME.",
        field="database",
    )


def _sqlite_engine(url: URL) -> Engine:
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: _begin_sqlite does
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    wanted = "wal" if sqlite3.sqlite_version_info >= SAFE_WAL else "truncate"
    cursor.execute(f"PRAGMA journal_mode = {wanted}")
    if cursor.fetchone() != (wanted,):
        message = f"the journal mode is not {wanted}: another program holds it open"
        raise sqlite3.OperationalError(message)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql(f"PRAGMA query_only = {1 if reads else 0}")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _postgresql_engine(url: URL) -> Engine:
    limits: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT,
        "application_name": _APPLICATION,
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT}s -c idle_in_transaction_session_timeout=60s"
        " -c timezone=UTC",
        "keepalives_idle": 10,  # a cable that was pulled is noticed within half a minute
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,  # milliseconds
    }
    limits.update({k: v for k, v in url.query.items() if k in limits})  # what the address says goes before
    return sqlalchemy.create_engine(url, connect_args=limits, pool_pre_ping=True, pool_timeout=10)


def _revision(connection: Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _is_fit(connection: Connection) -> bool:
    """Whether this release can work with the schema as it is; false where it must be brought up to date."""
    revision = _revision(connection)
    if revision is None or revision in REVISIONS:
        return revision == HEAD
    oldest = state.serves_from(connection)
    if oldest is None or int(HEAD) < oldest:
        raise _newer(str(revision))
    return True


def _migrate(connection: Connection) -> None:
    from modelyard.store.migrations.run import run  # noqa: PLC0415 - Alembic takes 0.2 s to load

    run(connection)
    state.keep_serves_from(connection, int(SERVES_FROM))


def _drop_all(connection: Connection) -> None:
    """All tables, and on PostgreSQL the functions that their triggers call."""
    there = MetaData()
    there.reflect(connection)
    is_sqlite = connection.dialect.name == "sqlite"
    functions = [] if is_sqlite else list(connection.scalars(_TRIGGERED))
    there.drop_all(connection)
    for function in functions:
        connection.exec_driver_sql(f"DROP FUNCTION {function}")


def _newer(revision: str) -> ConflictError:
    return ConflictError(
        f"The database was written by a newer Modelyard (schema {revision}, this one knows {HEAD}).",
        "Start the newer release again, or restore the backup made before the upgrade.",
    )


def _explained(error: SQLAlchemyError, shown: str) -> UnavailableError:
    cause = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    known = (
        (
            "locked",
            "is locked by another process for too long",
            "Try again; look for a program that holds it.",
        ),
        ("disk is full", "is on a disk that is full", "Free space; nothing of this change was kept."),
        ("readonly", "cannot be written", "Correct the rights of the file and of its folder."),
        ("unable to open", "cannot be opened", "Make its folder, or correct the rights."),
        ("not a database", "is no SQLite database", "Restore the backup, or give another --database."),
        ("malformed", "is damaged", "Restore the backup; keep the damaged file aside."),
        ("statement timeout", "took too long", "Try again; it may be overloaded."),
    )
    what, hint = next(
        ((what, hint) for mark, what, hint in known if mark in cause),
        ("does not answer", "See that it runs and can be reached from here; the yard goes on by itself."),
    )
    return UnavailableError(f"The database {shown} {what} ({cause}).", hint)
