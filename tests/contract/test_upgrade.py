"""`yard upgrade` on what the previous release left: backed up, migrated, looked at, put back if need be."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy
from sqlalchemy import Connection

from modelyard import up, upgrade
from modelyard.catalog import backups
from modelyard.records.errors import ConflictError, MalformedError, NotFoundError
from modelyard.settings import Settings
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.migrations import HEAD
from modelyard.store.migrations import run as running_migrations
from modelyard.store.vault import Vault
from tests.contract.conftest import DATABASES
from tests.contract.postgresql import Server
from tests.releases import PREVIOUS, lay_out


class Old:
    """The previous release's yard, in a database of a kind."""

    def __init__(self, url: str, folder: Path) -> None:
        self.data = folder / "data"
        lay_out(self.data)
        self.vault = folder / "vault"
        self.said: list[str] = []
        self.settings = Settings(data=self.data, database=url)
        if url:
            self._move(folder)

    def _move(self, folder: Path) -> None:
        """From SQLite to where it belongs, as it is."""
        source, target = (
            Database(f"sqlite:///{self.data / 'yard.sqlite'}"),
            Database(self.settings.database_url),
        )
        place = Vault(folder / "moved", make=True)
        (self.data / "scratch").mkdir()
        made = backups.back_up(
            place, source, Blobs(str(self.data / "blobs")), self.data, "1.0", lambda _: None
        )
        backups.put_back(place, made.name, target, self.data / "scratch")
        source.close()
        target.close()

    def upgrade(self, *, keep: bool = False) -> upgrade.Report:
        vault = lambda: Vault(self.vault, make=True)  # noqa: E731
        return upgrade.upgrade(self.settings, vault, self.said.append, keep=keep)

    def rows(self) -> dict[str, list[str]]:
        database = Database(self.settings.database_url)
        with database.read() as connection:
            found = _rows(connection)
        database.close()
        return found


def _rows(connection: Connection) -> dict[str, list[str]]:
    there = sqlalchemy.MetaData()
    there.reflect(connection)
    return {
        table.name: sorted(repr(tuple(row)) for row in connection.execute(sqlalchemy.select(table)))
        for table in there.sorted_tables
    }


@pytest.fixture(params=DATABASES)
def old(request: pytest.FixtureRequest) -> Iterator[Old]:
    url = ""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        url = server.url(server.create())
    with tempfile.TemporaryDirectory(prefix="yu-") as folder:  # a short path, for its sockets
        yield Old(url, Path(folder))


def test_all_is_well_afterwards(old: Old) -> None:
    report = old.upgrade()
    assert (report.outcome, report.before, report.after) == ("upgraded", PREVIOUS, HEAD), old.said
    assert [(check.what, check.ok) for check in report.checks] == [
        *(("schema", True), ("routes", True), ("models", True), ("audit", True))
    ], report.checks
    assert "python (native): ops/twice/1 answers its example" in report.checks[2].words
    assert Vault(old.vault).manifest().revision == PREVIOUS
    again = old.upgrade()
    assert (again.outcome, again.backup, again.ok) == ("nothing-to-do", "", True)
    assert len(Vault(old.vault).names()) == 1


def test_it_goes_back_by_itself(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that loses rows passes as such; the audit's chain tells."""
    before = old.rows()
    _also(monkeypatch, "UPDATE audit_head SET hash = 'nonsense'")
    report = old.upgrade()
    assert (report.outcome, report.after, report.ok) == ("went-back", PREVIOUS, False)
    assert "The audit is not what was written" in " ".join(old.said)
    assert old.rows() == before
    monkeypatch.undo()
    assert old.upgrade().outcome == "upgraded"  # the release that is mended finds all in its place


@pytest.mark.parametrize("old", ["sqlite"], indirect=True)
def test_it_stays_where_that_is_wanted(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    _also(monkeypatch, "UPDATE audit_head SET hash = 'nonsense'")
    report = old.upgrade(keep=True)
    assert (report.outcome, report.after) == ("left", HEAD)
    assert "as --keep asked" in old.said[-1]


@pytest.mark.parametrize("old", ["sqlite"], indirect=True)
def test_a_migration_that_fails_changes_nothing(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.rows()
    _also(monkeypatch, "DELETE FROM nowhere")
    with pytest.raises(ConflictError, match=rf"is as it was \(schema {PREVIOUS}\): .*nowhere"):
        old.upgrade()
    assert old.rows() == before


@pytest.mark.parametrize("old", ["sqlite"], indirect=True)
def test_a_release_whose_models_do_not_answer_is_not_kept(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "answers_example", _fails)
    report = old.upgrade()
    assert report.outcome == "went-back"
    assert "ops.twice.1: It answers nonsense." in report.checks[2].words


@pytest.mark.postgresql
@pytest.mark.parametrize("old", ["postgresql"], indirect=True)
def test_other_nodes_that_run_keep_what_they_wrote(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another node's connection: putting the backup back would lose what it writes, so the data stays."""
    other = Database(old.settings.database_url)
    with other.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    _also(monkeypatch, "UPDATE audit_head SET hash = 'nonsense'")
    assert old.upgrade().outcome == "left"
    assert "other nodes work with it" in old.said[-1]
    other.close()


@pytest.mark.postgresql
@pytest.mark.parametrize("old", ["postgresql"], indirect=True)
def test_other_nodes_that_cannot_go_on_must_stop_first(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Database(old.settings.database_url)
    with other.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    monkeypatch.setattr(upgrade, "SERVES_FROM", HEAD)
    with pytest.raises(ConflictError, match="Stop all nodes"):
        old.upgrade()
    assert not old.vault.exists()
    other.close()


@pytest.mark.parametrize("old", ["sqlite"], indirect=True)
def test_a_damaged_backup_puts_nothing_back(old: Old) -> None:
    place, database = Vault(old.vault, make=True), Database(old.settings.database_url)
    scratch = old.data / "scratch"
    scratch.mkdir(exist_ok=True)
    made = backups.back_up(place, database, Blobs(str(old.data / "blobs")), old.data, "1.0", lambda _: None)
    before = old.rows()
    table = old.vault / made.name / "tables" / "audit"
    table.write_bytes(table.read_bytes()[:-3])
    with pytest.raises(MalformedError, match="table audit"):
        backups.put_back(place, made.name, database, scratch)
    database.close()
    assert old.rows() == before


@pytest.mark.parametrize("old", ["sqlite"], indirect=True)
def test_the_yard_of_this_node_must_be_stopped(old: Old) -> None:
    with up.take_folder(old.settings), pytest.raises(ConflictError, match="already runs"):
        old.upgrade()


def test_no_yard_is_no_upgrade(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    with pytest.raises(NotFoundError, match="no yard"):
        upgrade.upgrade(settings, lambda: Vault(tmp_path / "vault", make=True), print)


@pytest.mark.parametrize("old", ["sqlite"], indirect=True)
def test_a_newer_yard_is_told(old: Old) -> None:
    database = Database(old.settings.database_url)
    with database.write(unaudited="a test") as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(ConflictError, match="of a newer release"):
        old.upgrade()


def test_where_the_backup_goes(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    with pytest.raises(NotFoundError, match="Nothing says where"):
        upgrade.vault_of(settings, None)
    own = msgspec.structs.replace(settings, backup=str(tmp_path / "own"))
    assert upgrade.vault_of(own, None).folder == tmp_path / "own"
    assert upgrade.vault_of(own, str(tmp_path / "given")).folder == tmp_path / "given"


def _also(monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """A migration that does more than it should, in the same transaction."""
    migrate: Callable[..., None] = running_migrations.run

    def and_more(connection: Connection, revision: str = "head") -> None:
        migrate(connection, revision)
        if revision == "head":
            connection.exec_driver_sql(statement)

    monkeypatch.setattr(running_migrations, "run", and_more)


def _fails(*_: object) -> None:
    raise MalformedError("It answers nonsense.")
