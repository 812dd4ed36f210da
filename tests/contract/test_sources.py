"""Snapshots of a real PostgreSQL over TCP: typed, read-only, one SELECT, within its time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from modelyard.catalog.datasets import Datasets
from modelyard.catalog.sources import Sources
from modelyard.records.datasets import Source
from modelyard.records.errors import InvalidError, NotFoundError, UnavailableError, YardError
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.schema import audit, data_connections
from modelyard.store.secrets import Keyring, Secrets
from modelyard.workers import outbound
from modelyard.workers.clerk import Clerk
from tests.conftest import find_free_port, find_postgresql
from tests.contract.postgresql import Server

pytestmark = pytest.mark.postgresql
FLIGHTS, NAME = "operations/flights", "ops-db"
QUERY = "SELECT * FROM flights ORDER BY id;"
_TABLE = """
CREATE TABLE flights AS SELECT * FROM (VALUES
  (1, 'AA', 12.5::numeric, true, date '2013-01-01', timestamptz '2013-01-01 10:00+02', NULL::text,
   7::smallint),
  (2, 'UA', NULL, false, date '2013-01-02', timestamptz '2013-01-02 10:00+00', 'x', 8)
) AS t(id, carrier, delay, late, day, at, note, gate);
CREATE TABLE canary AS SELECT 1 AS alive;
CREATE ROLE reader LOGIN PASSWORD 'hunter2';
GRANT SELECT ON flights TO reader;
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    binaries = find_postgresql()
    assert binaries
    free = find_free_port()
    with Server(binaries, free) as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(_TABLE)
        yield free


@pytest.fixture
def sources(tmp_path: Path, port: int) -> Iterator[Sources]:
    database = Database(f"sqlite:///{tmp_path / 'yard.sqlite'}")
    database.upgrade()
    datasets = Datasets(database, Blobs(str(tmp_path / "blobs")), tmp_path / "scratch")
    allowed = outbound.networks("127.0.0.0/8")
    made = Sources(database, datasets, Secrets(Keyring(tmp_path / "keys")), Clerk(tmp_path), allowed)
    datasets.push(FLIGHTS, [b"a\n1\n"], "text/csv", by="anna", may_create_department=True)
    made.connect("operations", NAME, f"postgresql://reader:hunter2@127.0.0.1:{port}/postgres", by="olga")
    yield made
    database.close()


def test_a_snapshot_is_a_version_and_the_same_again_is_the_same(sources: Sources) -> None:
    version, is_new = sources.snapshot(FLIGHTS, NAME, QUERY, by="anna", why="nightly")
    assert (version.version, is_new, version.rows) == (2, True, 2)
    assert {c.name: str(c.type) for c in version.columns} == {
        "id": "int64", "carrier": "string", "delay": "float64", "late": "bool", "day": "date",
        "at": "datetime", "note": "string", "gate": "int64",
    }  # fmt: skip
    profile = {c.name: c.profile for c in version.columns}["at"]
    assert profile is not None
    assert profile.low == "2013-01-01T08:00:00+00:00"
    assert (version.origin.kind, version.origin.connection, version.origin.query) == ("sql", NAME, QUERY[:-1])
    again, is_new = sources.snapshot(FLIGHTS, by="the schedule")
    assert (again.version, is_new) == (2, False)
    assert sources._datasets.dataset(FLIGHTS).source == Source(NAME, QUERY[:-1])
    other = "SELECT * FROM flights WHERE id > 0 ORDER BY id"
    same, is_new = sources.snapshot(FLIGHTS, NAME, other, by="olga")
    assert (same.version, is_new) == (2, False)
    with sources._database.read() as connection:
        told = connection.execute(audit.select().where(audit.c.action == "dataset.source")).all()
    assert [(row.by, "id > 0" in row.after) for row in told] == [("anna", False), ("olga", True)]


_HOSTILE = (
    "DROP TABLE canary",
    "SELECT 1 AS x; DROP TABLE canary",
    "SELECT 1 AS x) TO PROGRAM 'touch /tmp/canary'; --",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "DELETE FROM canary RETURNING *",
    "WITH gone AS (DELETE FROM canary RETURNING *) SELECT * FROM gone",
    "SELECT set_config('transaction_read_only', 'off', false), lo_create(0)",
    "SELECT nextval('no_such')",
    "SELECT * FROM pg_authid",
    "SELECT alive FROM canary",
    "COMMIT",
    "SELECT 1 AS a, 2 AS a",
    "SELECT ARRAY[1, 2] AS x FROM nowhere",
)


def test_a_hostile_query_does_nothing(sources: Sources, port: int) -> None:
    for query in _HOSTILE:
        with pytest.raises(YardError) as refused:
            sources.snapshot(FLIGHTS, NAME, query, by="mallory")
        assert "hunter2" not in str(refused.value)
    assert sources._datasets.dataset(FLIGHTS).latest == 1
    with psycopg.connect(f"postgresql://yard@127.0.0.1:{port}/postgres") as connection:
        assert connection.execute("SELECT alive FROM canary").fetchall() == [(1,)]


def test_a_query_that_does_not_end_is_ended(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.catalog.sources.SECONDS", 1)
    with pytest.raises(YardError, match="statement timeout"):
        sources.snapshot(FLIGHTS, NAME, "SELECT 1 AS x FROM pg_sleep(60)", by="mallory")


def test_the_password_is_sealed_and_never_told(sources: Sources, tmp_path: Path) -> None:
    (shown,) = sources.connections("operations")
    assert "hunter2" not in repr(shown)
    assert shown.address.startswith("postgresql://reader@127.0.0.1:")
    with sources._database.read() as connection:
        sealed = connection.execute(data_connections.select()).one().sealed
        assert b"hunter2" not in sealed
        assert "hunter2" not in repr(connection.execute(audit.select()).all())
    assert b"hunter2" not in (tmp_path / "yard.sqlite").read_bytes()
    sources.disconnect("operations", NAME, by="olga")
    with pytest.raises(NotFoundError, match="no connection"):
        sources.snapshot(FLIGHTS, NAME, QUERY, by="anna")


def test_other_addresses_are_refused_without_repeating_them(sources: Sources) -> None:
    for address in (
        "mysql://reader@db/ops",
        "postgresql:///ops?host=/var/run/postgresql",
        "postgresql://reader@/ops",
        "postgresql://reader@db/ops?options=-c%20statement_timeout%3D0",
        "postgresql://reader@db/ops?sslmode=no",
        "postgresql://reader:secret@db:99999999/ops",
        "postgresql://reader@db/o\nps",
        "",
    ):
        with pytest.raises(InvalidError) as refused:
            sources.connect("operations", "other", address, by="olga")
        assert "secret" not in str(refused.value)


def test_55_addresses_within_are_not_connected_to(sources: Sources, port: int) -> None:
    sources._allowed = ()
    for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "10.0.0.1"):
        sources.connect("operations", "inner", f"postgresql://yard@{host}:{port}/postgres", by="olga")
        with pytest.raises((InvalidError, UnavailableError), match=r"no address that the yard|not known"):
            sources.snapshot(FLIGHTS, "inner", QUERY, by="mallory")


def test_a_database_that_is_away_is_said(sources: Sources) -> None:
    sources.connect("operations", "away", "postgresql://reader@127.0.0.1:1/ops", by="olga")
    with pytest.raises(UnavailableError, match="does not answer"):
        sources.snapshot(FLIGHTS, "away", QUERY, by="anna")
    with pytest.raises(InvalidError, match="did not come from a database"):
        sources.snapshot(FLIGHTS, by="anna")
