"""Backups: what is in one, and what came of making, trying or restoring it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

FORMAT = 1


class KeptFile(Struct, frozen=True):
    """A file of a backup.

    Attributes:
        path: relative to where it belongs; of a blob, its digest.
        size: bytes, as they were before they were packed or sealed.
        digest: sha256 of these bytes.
    """

    path: str
    size: int
    digest: str


class KeptTable(Struct, frozen=True):
    """A table of a backup; the digest is of its packed file."""

    table: str
    rows: int
    digest: str


class Manifest(Struct, frozen=True, kw_only=True):
    """All that is in one backup.

    Attributes:
        name: of the backup: the time when it was begun, as `20261125T214500Z`.
        release: of the software that made it.
        revision: of the database's schema.
        tables: parents before children.
        blobs: all that were kept when the database was read, and maybe a few more.
        files: of the data folder.
    """

    format: int = FORMAT
    name: str
    release: str
    revision: str
    tables: tuple[KeptTable, ...]
    blobs: tuple[KeptFile, ...]
    files: tuple[KeptFile, ...]


class BackupReport(Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        name: of the backup.
        rows: of all tables.
        blobs: how many there are.
        bytes: of all blobs.
        copied: bytes that had to be copied; the others were there from an earlier backup.
        seconds: it took.
        problems: what is wrong with it, in words; empty if it is whole.
    """

    name: str
    rows: int
    blobs: int
    bytes: int
    copied: int
    seconds: float
    problems: tuple[str, ...] = ()


class BackupRun(Struct, frozen=True, kw_only=True):
    """A backup or a drill that was made, or tried to be.

    Attributes:
        kind: `backup` or `drill`.
        words: what came of it, in a sentence.
    """

    kind: str
    at: datetime
    ok: bool
    words: str


class BackupState(Struct, frozen=True, kw_only=True):
    """How the yard stands with backups.

    Attributes:
        every_hours: how often this node makes one by itself; 0 if it does not.
        backup: the newest that was made.
        drill: the newest restore to look whether one is whole, that went well.
        failure: the newest attempt at either, if it went badly.
    """

    every_hours: float
    backup: BackupRun | None
    drill: BackupRun | None
    failure: BackupRun | None
