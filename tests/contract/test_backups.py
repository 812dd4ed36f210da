"""Backups: whole, of one moment, each file once, sealed or not, and restored from any database to any."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from modelyard.catalog import backups
from modelyard.catalog.audit import Audit
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.loop.backup import DRILL_EVERY, BackupStep
from modelyard.records.backups import BackupReport
from modelyard.records.errors import (
    ConflictError,
    InvalidError,
    MalformedError,
    NotFoundError,
    UnavailableError,
    YardError,
)
from modelyard.settings import Settings
from modelyard.store import backups as runs
from modelyard.store import dump
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty
from modelyard.store.schema import metadata
from modelyard.store.sealed import PIECE, OpeningFile, SealingFile
from modelyard.store.vault import Vault
from tests.bundles import SIGNATURE, TAR, bundle_tar
from tests.contract.conftest import DATABASES
from tests.contract.postgresql import Server

PASSPHRASE = "four words nobody joins"
DUTY = Duty("backup", "yard", None, "", None, 1, 0, "")


class Kept:
    """A yard's parts: a database with rows, blobs, a data folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.database = Database(url)
        self.blobs = Blobs(str(folder / "blobs"))

    def fill(self) -> None:
        self.database.upgrade()
        self.registry = Registry(self.database, self.blobs, self.data / "scratch")
        People(self.database).first_administrator()
        for content in (b"one", b"two", b"one more"):
            self.publish(content)
        self.registry.set_alias("finance/fuel-cost", "stable", 2, by="anna", why="it's \u20ac 3 cheaper")
        (self.data / "admin.token").write_text("yard_secret")
        (self.data / "spool").mkdir()
        (self.data / "spool" / "front-0.yrd").write_bytes(bytes(range(256)) * 9)

    def publish(self, content: bytes) -> None:
        made, _ = self.registry.publish(
            "finance/fuel-cost", [bundle_tar(content)], TAR, by="anna", may_create_department=True
        )
        self.registry.checks.start(made.model, made.version)
        self.registry.checks.passed(made.model, made.version, SIGNATURE)

    def back_up(self, vault: Vault) -> BackupReport:
        return backups.back_up(vault, self.database, self.blobs, self.data, "1.0", quiet)

    def restore(self, vault: Vault, name: str | None = None) -> BackupReport:
        return backups.restore(vault, name, self.database, self.blobs, self.data, quiet)

    def rows(self) -> dict[str, list[tuple[object, ...]]]:
        with self.database.read() as connection:
            return {
                name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
                for name, table in metadata.tables.items()
            }


def quiet(_: str) -> None:
    """Nobody reads."""


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str, str], Kept]]:
    """Makes an empty place for a yard, on a kind of database."""
    made: list[Kept] = []

    def make(kind: str, name: str) -> Kept:
        url = f"sqlite:///{tmp_path / name}.sqlite"
        if kind == "postgresql":
            server: Server = request.getfixturevalue("postgresql")
            url = server.url(server.create())
        made.append(Kept(url, tmp_path / name))
        return made[-1]

    yield make
    for kept in made:
        kept.database.close()


@pytest.fixture
def yard(place: Callable[[str, str], Kept]) -> Kept:
    kept = place("sqlite", "yard")
    kept.fill()
    return kept


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE], ids=["open", "sealed"])
@pytest.mark.parametrize("to", DATABASES)
@pytest.mark.parametrize("of", DATABASES)
def test_a_restored_yard_is_the_yard(
    of: str, to: str, passphrase: str, place: Callable[[str, str], Kept], tmp_path: Path
) -> None:
    yard, again = place(of, "yard"), place(to, "again")
    yard.fill()
    made = yard.back_up(Vault(tmp_path / "vault", passphrase, make=True))
    restored = again.restore(Vault(tmp_path / "vault", passphrase))
    assert again.rows() == yard.rows()
    assert sorted(again.blobs.digests()) == sorted(yard.blobs.digests())
    assert (made.rows, made.blobs, made.bytes) == (restored.rows, restored.blobs, restored.bytes)
    for path in ("admin.token", "spool/front-0.yrd"):
        assert (again.data / path).read_bytes() == (yard.data / path).read_bytes()
        assert (again.data / path).stat().st_mode & 0o077 == 0
    again.registry = Registry(again.database, again.blobs, again.data / "scratch")
    again.publish(b"life goes on")  # keys are counted on from where they were
    assert again.registry.model("finance/fuel-cost").latest == 4
    assert again.registry.history("finance/fuel-cost")[0].why == "it's \u20ac 3 cheaper"
    if passphrase:
        everything = b"".join(path.read_bytes() for path in (tmp_path / "vault").rglob("*") if path.is_file())
        assert b"yard_secret" not in everything
        assert b"fuel-cost" not in everything
        names = {path.name for path in (tmp_path / "vault" / "blobs").rglob("*")}
        assert names.isdisjoint(yard.blobs.digests())


def test_the_second_backup_copies_what_is_new_and_old_ones_go(yard: Kept, tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault", make=True)
    first = yard.back_up(vault)
    assert first.copied == first.bytes > 0
    yard.publish(b"brand new")
    second = yard.back_up(vault)
    assert second.copied == len(b"brand new")
    assert second.blobs == first.blobs + 1
    gone = next(iter(set(yard.blobs.digests())))
    assert backups.prune(vault, 1) == [first.name]
    assert vault.names() == [second.name]
    assert vault.has_blob(gone)
    assert vault.sweep() == 0


def test_the_audits_chain_comes_along_and_a_change_of_it_shows(
    yard: Kept, place: Callable[[str, str], Kept], tmp_path: Path
) -> None:
    audit = Audit(yard.database, yard.data / "audit.checkpoint")
    audit.advance()
    vault, again, third = (
        Vault(tmp_path / "vault", make=True),
        place("sqlite", "again"),
        place("sqlite", "third"),
    )
    yard.back_up(vault)
    assert again.restore(vault).problems == ()
    assert Audit(again.database, again.data / "audit.checkpoint").verify().entries > 5
    with yard.database.write() as connection:  # as somebody with the file could
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS audit_is_not_changed")
        for (name,) in connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
        ).all():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql("UPDATE audit SET by = 'nobody' WHERE number = 2")
    yard.back_up(vault)
    assert "audit: " in third.restore(vault).problems[0]
    with pytest.raises(MalformedError, match="audit: "):
        backups.drill(vault, tmp_path / "scratch", quiet)


def test_an_older_backup_can_be_chosen(yard: Kept, place: Callable[[str, str], Kept], tmp_path: Path) -> None:
    vault, again = Vault(tmp_path / "vault", make=True), place("sqlite", "again")
    first = yard.back_up(vault)
    yard.publish(b"brand new")
    yard.back_up(vault)
    again.restore(vault, first.name)
    assert Registry(again.database, again.blobs, again.data).model("finance/fuel-cost").latest == 3
    with pytest.raises(NotFoundError, match=first.name):
        again.restore(vault, "20200101T000000Z")


def test_a_restore_never_writes_over_a_yard(
    yard: Kept, place: Callable[[str, str], Kept], tmp_path: Path
) -> None:
    vault = Vault(tmp_path / "vault", make=True)
    yard.back_up(vault)
    before = yard.rows()
    with pytest.raises(ConflictError, match="database is not empty"):
        yard.restore(vault)
    assert yard.rows() == before
    with_blobs, with_folder = place("sqlite", "b"), place("sqlite", "c")
    with_blobs.blobs.put_bytes(b"mine")
    (with_folder.data / "admin.token").write_text("mine")
    for taken in (with_blobs, with_folder):
        with pytest.raises(ConflictError, match="is not empty"):
            taken.restore(vault)


@pytest.fixture(scope="module")
def vaults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A vault with a backup, by its passphrase; to be copied."""
    folder = tmp_path_factory.mktemp("vaults")
    kept = Kept(f"sqlite:///{folder / 'yard.sqlite'}", folder / "yard")
    kept.fill()
    made = {passphrase: folder / f"vault{bool(passphrase)}" for passphrase in ("", PASSPHRASE)}
    for passphrase, place in made.items():
        kept.back_up(Vault(place, passphrase, make=True))
    kept.database.close()
    return made


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE], ids=["open", "sealed"])
@pytest.mark.parametrize("part", ["blobs", "tables", "files", "manifest"])
@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
def test_a_damaged_backup_is_said_to_be_and_leaves_no_half_yard(
    vaults: dict[str, Path],
    place: Callable[[str, str], Kept],
    tmp_path: Path,
    passphrase: str,
    part: str,
    how: str,
) -> None:
    shutil.copytree(vaults[passphrase], tmp_path / "vault")
    vault, again = Vault(tmp_path / "vault", passphrase), place("sqlite", "again")
    victim = largest(path for path in vault.folder.rglob("*") if part in path.as_posix())
    data = bytearray(victim.read_bytes())
    if how == "gone":
        victim.unlink()
    elif how == "cut":
        victim.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    with pytest.raises((MalformedError, NotFoundError)):
        again.restore(vault)
    with again.database.read() as connection:
        assert dump.is_empty(connection)


def largest(paths: Iterable[Path]) -> Path:
    return max((path for path in paths if path.is_file()), key=lambda path: path.stat().st_size)


def test_a_blob_that_is_damaged_in_the_yard_makes_no_backup(yard: Kept, tmp_path: Path) -> None:
    digest = next(iter(yard.blobs.digests()))
    path = next(p for p in (tmp_path / "yard").rglob(digest))
    path.chmod(0o644)
    path.write_bytes(b"changed")
    vault = Vault(tmp_path / "vault", make=True)
    with pytest.raises(UnavailableError, match="damaged"):
        yard.back_up(vault)
    assert vault.names() == []


def test_a_blob_removed_meanwhile_begins_the_backup_anew(yard: Kept, tmp_path: Path) -> None:
    extra, _ = yard.blobs.put_bytes(b"soon removed")
    seen = list(yard.blobs.digests())
    assert extra in seen
    listed = iter([iter(seen)])
    real = yard.blobs.digests
    yard.blobs.digests = lambda: next(listed, None) or real()  # type: ignore[method-assign]
    yard.blobs.delete(extra)
    said: list[str] = []
    vault = Vault(tmp_path / "vault", make=True)
    report = backups.back_up(vault, yard.database, yard.blobs, yard.data, "1.0", said.append)
    assert any("once more" in words for words in said)
    assert report.blobs == len(seen) - 1
    vault.sweep()
    assert vault.names() == [report.name]


def test_what_is_no_vault(tmp_path: Path, yard: Kept) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(InvalidError, match="other things"):
        Vault(tmp_path / "photos", make=True)
    with pytest.raises(NotFoundError, match="no backups"):
        Vault(tmp_path / "empty")
    Vault(tmp_path / "sealed", PASSPHRASE, make=True)
    for wrong, words in (
        ("", "are sealed"),
        ("another passphrase", "not the passphrase"),
        ("short", "under 12"),
    ):
        with pytest.raises(InvalidError, match=words):
            Vault(tmp_path / "sealed", wrong)
    yard.back_up(Vault(tmp_path / "open", make=True))
    with pytest.raises(InvalidError, match="not sealed"):
        Vault(tmp_path / "open", PASSPHRASE)


def test_a_backup_of_a_newer_release(yard: Kept, place: Callable[[str, str], Kept], tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault", make=True)
    yard.back_up(vault)
    vault.finish(msgspec.structs.replace(vault.manifest(), revision="9999"))
    with pytest.raises(ConflictError, match="newer Modelyard"):
        place("sqlite", "again").restore(vault)
    head = vault.folder / "vault.json"
    head.write_text(json.dumps({**json.loads(head.read_text()), "format": 99}))
    with pytest.raises(ConflictError, match="newer Modelyard"):
        Vault(vault.folder)


def test_a_list_that_leads_elsewhere_writes_nothing_there(
    yard: Kept, place: Callable[[str, str], Kept], tmp_path: Path
) -> None:
    vault, again = Vault(tmp_path / "vault", make=True), place("sqlite", "again")
    yard.back_up(vault)
    manifest = vault.manifest()
    (own,) = (f for f in manifest.files if f.path == "admin.token")
    evil = msgspec.structs.replace(own, path="../../stolen")
    vault.finish(msgspec.structs.replace(manifest, files=(evil,)))
    with pytest.raises(YardError):
        again.restore(vault)
    assert not (tmp_path / "stolen").exists()


def test_the_duty_backs_up_drills_and_says_what_failed(yard: Kept, tmp_path: Path) -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    chosen = Settings(data=yard.data, backup=str(tmp_path / "vault"), backup_keep=2)
    step = BackupStep(chosen, yard.database, yard.blobs, "1.0", lambda: moment)
    assert step(DUTY) == moment + timedelta(hours=24)
    with yard.database.read() as connection:
        made, drilled = (runs.newest(connection, kind) for kind in ("backup", "drill"))
    assert made is not None
    assert drilled is not None
    assert made.ok
    assert drilled.ok
    assert "is whole" in drilled.words
    moment += timedelta(hours=1)
    assert step(DUTY) == made.at + timedelta(hours=24)  # another engine's, an hour ago
    for _ in range(3):
        moment += timedelta(hours=24)
        step(DUTY)
    assert len(Vault(tmp_path / "vault").names()) == 2
    assert not list((yard.data / "scratch").glob("drill-*"))
    moment += DRILL_EVERY
    blob = max(
        (tmp_path / "vault" / "blobs").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0
    )
    blob.write_bytes(b"rot")
    step(DUTY)
    with yard.database.read() as connection:
        failed = runs.newest(connection, "drill")
    assert failed is not None
    assert not failed.ok
    assert "is not what it was" in failed.words


def test_a_vault_that_cannot_be_used_is_tried_again_soon(yard: Kept, tmp_path: Path) -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    (tmp_path / "file").touch()
    chosen = Settings(data=yard.data, backup=str(tmp_path / "file" / "vault"))
    step = BackupStep(chosen, yard.database, yard.blobs, "1.0", lambda: moment)
    assert step(DUTY) == moment + timedelta(hours=1)
    with yard.database.read() as connection:
        run = runs.newest(connection, "backup")
    assert run is not None
    assert not run.ok


KEY = bytes(range(32))


def sealed(data: bytes) -> bytes:
    out = io.BytesIO()
    sealing = SealingFile(out, KEY)
    sealing.write(data)
    sealing.close()
    return out.getvalue()


def opened(data: bytes, key: bytes = KEY) -> bytes:
    return OpeningFile(io.BytesIO(data), key, "x").read() or b""


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 7])
def test_sealed_files_of_every_length(size: int) -> None:
    data = bytes(size)
    assert opened(sealed(data)) == data
    whole = sealed(data)
    for cut in (len(whole) - 1, len(whole) // 2, 24, 23, 0):
        with pytest.raises(MalformedError):
            opened(whole[:cut])
    with pytest.raises(MalformedError):
        opened(whole + b"x")
    with pytest.raises(MalformedError):
        opened(whole, bytes(32))


def test_pieces_cannot_change_places_or_end_the_file_early() -> None:
    whole = sealed(bytes(PIECE) + bytes([1]) * PIECE + b"end")
    piece = 4 + PIECE + 16
    head, a, b, rest = (
        whole[:24],
        whole[24 : 24 + piece],
        whole[24 + piece : 24 + 2 * piece],
        whole[24 + 2 * piece :],
    )
    assert opened(head + a + b + rest)
    for wrong in (head + b + a + rest, head + a + b, head + a, head + a + rest, head + a + a + b + rest):
        with pytest.raises(MalformedError):
            opened(wrong)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.data())
def test_any_change_of_a_sealed_file_shows(data: bytes, draw: st.DataObject) -> None:
    whole = bytearray(sealed(data))
    at = draw.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(MalformedError):
        opened(bytes(whole))
