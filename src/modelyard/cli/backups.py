"""`yard backup` and `yard restore`: on the server itself, beside the yard or in its place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import modelyard
from modelyard.cli import output
from modelyard.cli.server import Data, installed
from modelyard.records import spans
from modelyard.records.backups import BackupReport

Folder = Annotated[Path, typer.Argument(help="The folder of backups.", metavar="DIR")]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help="A file with the passphrase that seals the backups.")
]
Database = Annotated[str | None, typer.Option(help="The yard's database; see `yard up`.")]
Blobs = Annotated[str | None, typer.Option(help="Where the yard's files are; see `yard up`.")]


def backup(  # noqa: PLR0913, PLR0917 - options of a command
    folder: Folder,
    data: Data = None,
    database: Database = None,
    blobs: Blobs = None,
    passphrase_file: Passphrase = None,
    keep: Annotated[
        int | None, typer.Option(help="Keep the newest so many, remove older ones.", min=1)
    ] = None,
    drill: Annotated[
        bool, typer.Option("--drill", help="Then restore it to a folder of its own, to see that it is whole.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Back up a yard on this machine, while it runs: database, models' files, keys, recorded predictions.

    Each file is kept once, so the second backup copies what is new. Keep DIR on another disk. A backup has
    all that the yard has: with --passphrase-file it is sealed.

    Example: yard backup /mnt/backups --data /srv/yard
    """
    with installed():
        from modelyard.catalog import backups  # noqa: PLC0415 - an optional dependency
        from modelyard.store.vault import Vault  # noqa: PLC0415 - the same
    settings, store, files = _parts(data, database, blobs)
    vault = Vault(folder, words_of(passphrase_file), make=True)
    report = backups.back_up(vault, store, files, settings.data, modelyard.__version__, output.note)
    made = backups.Backups(store)
    made.record("backup", datetime.now(UTC), backups.in_words("backup", report), ok=True)
    gone = backups.prune(vault, keep) if keep else []
    if drill:
        again = backups.drill(vault, settings.data / "scratch", output.note)
        made.record("drill", datetime.now(UTC), backups.in_words("drill", again), ok=True)
    _tell(report, "was made", as_json=as_json)
    if not as_json:
        if gone:
            output.note(f"Removed: {', '.join(gone)}.")
        if drill:
            output.note("Restored to a folder of its own: it is whole.")
        output.note(f"To have it back on an empty machine: yard restore {folder} --data NEW")


def restore(
    folder: Folder,
    data: Data = None,
    name: Annotated[str | None, typer.Option(help="Which backup; the newest by default.")] = None,
    database: Database = None,
    blobs: Blobs = None,
    passphrase_file: Passphrase = None,
    as_json: output.Json = False,
) -> None:
    """Make an empty folder (and database) the yard that was backed up; each byte is checked on the way.

    A restore never writes over a yard. SQLite may become PostgreSQL and a folder S3 by it, and the other way.

    Example: yard restore /mnt/backups --data /srv/yard
    """
    with installed():
        from modelyard.catalog import backups  # noqa: PLC0415 - an optional dependency
        from modelyard.store.vault import Vault  # noqa: PLC0415 - the same
    vault = Vault(folder, words_of(passphrase_file))
    settings, store, files = _parts(data, database, blobs)
    report = backups.restore(vault, name, store, files, settings.data, output.note)
    _tell(report, "is restored", as_json=as_json)
    if not as_json:
        output.note(f"Start it: yard up --data {settings.data}")
        for problem in report.problems:
            output.note(f"Look into this first: {problem}")
        output.note("If the yard it was made from still runs, stop one of them: both would act on their own.")


def _parts(data: Path | None, database: str | None, blobs: str | None) -> tuple:  # type: ignore[type-arg]
    from modelyard.settings import Settings  # noqa: PLC0415 - an optional dependency
    from modelyard.store.blobs import Blobs as Files  # noqa: PLC0415 - the same
    from modelyard.store.database import Database as Store  # noqa: PLC0415 - the same

    settings = Settings.from_environment(data=data, database=database, blobs=blobs)
    endpoint = {"endpoint": settings.blobs_endpoint} if settings.blobs_endpoint else None
    return settings, Store(settings.database_url), Files(settings.blobs_url, endpoint)


def words_of(path: Path | None) -> str:
    """The passphrase in a file; "" without one."""
    from modelyard.settings import read_passphrase  # noqa: PLC0415 - an optional dependency

    return read_passphrase(path) if path else ""


def _tell(report: BackupReport, done: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(report)
        return
    size = f"{report.blobs:,} files of {spans.size(report.bytes)}"
    new = f", {spans.size(report.copied)} of them new" if done == "was made" else ""
    output.note(f"Backup {report.name} {done}: {report.rows:,} rows, {size}{new}, in {report.seconds:.1f} s.")
