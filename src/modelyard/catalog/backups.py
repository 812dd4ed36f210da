"""Backing up a running yard, and restoring it on an empty machine.

The database is read in one snapshot; blobs never change and are written before the rows that name them, so
copying them after the snapshot was begun makes a backup that is of one moment. A blob that is removed in
between belongs to a row that is, too: then the backup is begun anew.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
from sqlalchemy import Connection

from modelyard.catalog.audit import Audit
from modelyard.records.audit import YARD
from modelyard.records.backups import BackupReport, BackupRun, BackupState, KeptFile, KeptTable, Manifest
from modelyard.records.errors import ConflictError, MalformedError, NotFoundError, UnavailableError
from modelyard.store import audit, dump
from modelyard.store import backups as runs
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.folder import whole_file
from modelyard.store.vault import Vault, copied

Say = Callable[[str], None]
Make = Callable[[str, Callable[[Connection], None]], None]

# Of the data folder: what cannot be made again. Predictions that are not shipped yet are in the spool.
_FILES = ("admin.token", "keys", "audit.checkpoint")
_FOLDERS = ("spool",)
_TRIES = 3


class Backups:
    """The record of backups and drills.

    Args:
        every_hours: how often this node makes one by itself; 0 if it does not.
    """

    def __init__(self, database: Database, every_hours: float = 0.0) -> None:
        self._database = database
        self._every = every_hours

    def state(self) -> BackupState:
        """How the yard stands with them."""
        with self._database.read() as connection:
            newest = [runs.newest(connection, kind) for kind in ("backup", "drill")]
            failed = [run for run in newest if run is not None and not run.ok]
            return BackupState(
                every_hours=self._every,
                backup=runs.newest(connection, "backup", ok=True),
                drill=runs.newest(connection, "drill", ok=True),
                failure=max(failed, key=lambda run: run.at, default=None),
            )

    def record(self, kind: str, at: datetime, words: str, *, ok: bool) -> None:
        """Keep that one was made, or was tried to be."""
        with self._database.write() as connection:
            run = BackupRun(kind=kind, at=at, ok=ok, words=words)
            runs.add(connection, run)
            audit.append(connection, by=YARD, action="backup.run", subject=YARD, after=run)


def in_words(kind: str, report: BackupReport) -> str:
    """What came of it, in a sentence.

    >>> in_words("drill", BackupReport(name="x", rows=3, blobs=2, bytes=2_500_000, copied=0, seconds=1.26))
    'Backup x was restored and is whole: 3 rows, 2 files of 2.5 MB, in 1.3 s.'
    """
    done = "was restored and is whole" if kind == "drill" else "was made"
    size = f"{report.blobs:,} files of {report.bytes / 1e6:,.1f} MB"
    more = f" ({report.copied / 1e6:,.1f} MB of them new)" if kind == "backup" else ""
    return f"Backup {report.name} {done}: {report.rows:,} rows, {size}{more}, in {report.seconds:.1f} s."


def back_up(
    vault: Vault, database: Database, blobs: Blobs, data: Path, release: str, say: Say = print
) -> BackupReport:
    """Add a backup to a vault, while the yard goes on.

    Args:
        data: the yard's data folder.
        release: of the software.
        say: hears what is being done.

    Raises:
        UnavailableError: the database, the blobs or the vault's disk fail; what is half made counts as none.
    """
    for _ in range(_TRIES - 1):
        with suppress(NotFoundError):
            return _back_up(vault, database, blobs, data, release, say)
        say("A blob was removed meanwhile: once more.")
    return _back_up(vault, database, blobs, data, release, say)


def _back_up(
    vault: Vault, database: Database, blobs: Blobs, data: Path, release: str, say: Say
) -> BackupReport:
    began = time.monotonic()
    name = _new_name(vault)
    # Before the database: what is shipped or noted in between is in the database then, and not missed twice.
    files = tuple(_keep_files(vault, name, data))
    say("Copying the database.")
    revision, tables = _dump(vault, name, database, data)
    kept, copied_bytes = [], 0
    last: dict[str, KeptFile] = {}
    with suppress(NotFoundError, MalformedError):  # there is none, or it is damaged: they are asked for
        last = {blob.digest: blob for blob in vault.manifest().blobs}
    for digest in sorted(set(blobs.digests())):
        blob, was_new = _keep_blob(vault, blobs, digest, last)
        kept.append(blob)
        copied_bytes += blob.size if was_new else 0
        if len(kept) % 1_000 == 0:
            say(f"{len(kept):,} blobs.")
    manifest = Manifest(
        name=name, release=release, revision=revision, tables=tables, blobs=tuple(kept), files=files
    )
    vault.finish(manifest)
    return _report(manifest, copied_bytes, began)


def _new_name(vault: Vault) -> str:
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    taken = {path.name for path in vault.folder.iterdir()}
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, 100))) if n not in taken)


def _dump(vault: Vault, name: str, database: Database, data: Path) -> tuple[str, tuple[KeptTable, ...]]:
    digests: dict[str, str] = {}
    scratch = data / "scratch"
    scratch.mkdir(exist_ok=True)

    @contextmanager
    def create(table: str) -> Iterator[BinaryIO]:
        with tempfile.TemporaryFile(dir=scratch) as packed:
            yield packed
            packed.seek(0)
            with vault.write(f"{name}/tables/{table}") as file:
                digests[table], _ = copied(packed, file)

    with database.snapshot(scratch) as snapshot, snapshot.read() as connection:
        revision, tables = dump.dump(connection, create)
    return revision, tuple(KeptTable(t.table, t.rows, digests[t.table]) for t in tables)


def _keep_blob(
    vault: Vault, blobs: Blobs, digest: str, last: Mapping[str, KeptFile]
) -> tuple[KeptFile, bool]:
    """Copy a blob that no earlier backup has; `last`, of the newest one, saves asking for its size again."""
    if vault.has_blob(digest):
        return last.get(digest) or KeptFile(digest, blobs.size(digest), digest), False
    seen, size = hashlib.sha256(), 0
    with vault.write_blob(digest) as file:
        for piece in blobs.open(digest):
            seen.update(piece)
            size += len(piece)
            file.write(piece)
        if seen.hexdigest() != digest:
            raise UnavailableError(
                f"The blob {digest} is damaged, so no backup was made.",
                "Restore it from an older backup: see the operator's guide, 'A damaged file'.",
            )
    return KeptFile(digest, size, digest), True


def _keep_files(vault: Vault, name: str, data: Path) -> Iterator[KeptFile]:
    found = [data / file for file in _FILES if (data / file).is_file()]
    found += [path for folder in _FOLDERS for path in sorted((data / folder).rglob("*")) if path.is_file()]
    for path in found:
        own = path.relative_to(data).as_posix()
        with suppress(FileNotFoundError), path.open("rb") as source:  # shipped and removed in between
            with vault.write(f"{name}/files/{own}") as file:
                digest, size = copied(source, file)
            yield KeptFile(own, size, digest)


def restore(
    vault: Vault, name: str | None, database: Database, blobs: Blobs, data: Path, say: Say = print
) -> BackupReport:
    """Make an empty place the yard that was backed up; each byte is compared with its digest on the way.

    Args:
        name: of the backup, the newest by default.
        data: the new data folder.

    Raises:
        ConflictError: the database, the blobs' place or the folder is not empty, or the backup is of a newer
            release.
        MalformedError: the backup is damaged; the message names the part.
    """
    began = time.monotonic()
    manifest = vault.manifest(name)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    _refuse_unless_empty(database, blobs, data)
    try:
        _restore(vault, manifest, database, blobs, data, say)
    except BaseException:
        for digest in list(blobs.digests()):  # it was empty before: nothing of another's is here
            blobs.delete(digest)
        for file in manifest.files:
            if (place := _place(data, file.path)) is not None:
                place.unlink(missing_ok=True)
        raise
    say("Following the audit's chain.")
    faults = Audit(database, data / "audit.checkpoint").verify().faults
    report = _report(manifest, sum(blob.size for blob in manifest.blobs), began)
    return msgspec.structs.replace(report, problems=tuple(f"audit: {fault.words}" for fault in faults))


def _restore(
    vault: Vault, manifest: Manifest, database: Database, blobs: Blobs, data: Path, say: Say
) -> None:
    with tempfile.TemporaryDirectory(dir=data, prefix=".restore-") as scratch:
        for number, blob in enumerate(manifest.blobs, 1):
            _restore_blob(vault, blobs, blob, Path(scratch) / "blob")
            if number % 1_000 == 0:
                say(f"{number:,} of {len(manifest.blobs):,} blobs.")
        for file in manifest.files:
            _restore_file(vault, manifest.name, file, data)
        say("Writing the database.")
        _load(vault, manifest, database.rebuild, Path(scratch))  # last, and in one transaction


def _refuse_unless_empty(database: Database, blobs: Blobs, data: Path) -> None:
    places = {"The database": True, "The place of the blobs": next(iter(blobs.digests()), None) is None}
    with database.read() as connection:
        places["The database"] = dump.is_empty(connection)
    places[f"The folder {data}"] = not any((data / name).exists() for name in ("routes", *_FILES))
    for what, is_empty in places.items():
        if not is_empty:
            raise ConflictError(
                f"{what} is not empty, and a restore never writes over a yard.",
                "Give a new --data folder, an empty --database and an empty --blobs.",
            )


def _restore_blob(vault: Vault, blobs: Blobs, blob: KeptFile, scratch: Path) -> None:
    with vault.read_blob(blob.path) as source, scratch.open("wb") as file:
        digest, _ = copied(source, file)
    if digest != blob.digest:
        raise _damaged(f"blob {blob.path}")
    blobs.put_file(scratch)


def put_back(vault: Vault, name: str, database: Database, scratch: Path) -> None:
    """Make a database again what it was in a backup; what was written since is lost.

    Blobs never change and files of the data folder were not touched, so both stay as they are.

    Raises:
        MalformedError: the backup is damaged; the database stays as it is then.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="back-") as own:
        _load(vault, vault.manifest(name), database.put_back, Path(own))


def _load(vault: Vault, manifest: Manifest, make: Make, scratch: Path) -> None:
    for table in manifest.tables:
        packed = scratch / table.table
        with vault.read(f"{manifest.name}/tables/{table.table}") as source, packed.open("wb") as file:
            digest, _ = copied(source, file)
        if digest != table.digest:
            raise _damaged(f"table {table.table}")

    @contextmanager
    def source_of(table: str) -> Iterator[BinaryIO]:
        with (scratch / table).open("rb") as file:
            yield file

    dumped = tuple(dump.Dumped(table.table, table.rows) for table in manifest.tables)
    make(manifest.revision, lambda connection: dump.load(connection, dumped, source_of))


def _restore_file(vault: Vault, name: str, kept: KeptFile, data: Path) -> None:
    place = _place(data, kept.path)
    if place is None:
        raise _damaged(f"file {kept.path}")
    with vault.read(f"{name}/files/{kept.path}") as source, whole_file(place) as file:
        digest, _ = copied(source, file)  # type: ignore[arg-type] # a file as any other
        if digest != kept.digest:
            raise _damaged(f"file {kept.path}")
    place.chmod(0o600)


def _place(data: Path, path: str) -> Path | None:
    """Where a file belongs; None if that is outside the folder."""
    place = data / path
    return place if place.resolve().is_relative_to(data.resolve()) else None


def prune(vault: Vault, keep: int) -> list[str]:
    """Remove all but the newest so many backups, and the blobs that were only theirs; which went."""
    gone = vault.names()[: -max(1, keep)]
    for name in gone:
        vault.remove(name)
    vault.sweep()
    return gone


def drill(vault: Vault, scratch: Path, say: Say = print) -> BackupReport:
    """Restore the newest backup into a folder of its own, look whether all is there, and remove it again."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="drill-") as folder:
        data = Path(folder) / "yard"
        database = Database(f"sqlite:///{Path(folder) / 'yard.sqlite'}")
        try:
            report = restore(vault, None, database, Blobs(str(Path(folder) / "blobs")), data, say)
        finally:
            database.close()
    if report.problems:
        raise MalformedError(f"The backup was restored, but {'; '.join(report.problems)}.")
    return report


def _damaged(what: str) -> MalformedError:
    return MalformedError(
        f"The backup's {what} is not what it was when it was made.",
        "Restore an older one (yard restore DIR --name NAME), and look after the disk it lies on.",
    )


def _report(manifest: Manifest, copied_bytes: int, began: float) -> BackupReport:
    return BackupReport(
        name=manifest.name,
        rows=sum(table.rows for table in manifest.tables),
        blobs=len(manifest.blobs),
        bytes=sum(blob.size for blob in manifest.blobs),
        copied=copied_bytes,
        seconds=round(time.monotonic() - began, 3),
    )
