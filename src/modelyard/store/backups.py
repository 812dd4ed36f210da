"""Backups and drills that were made, newest first."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from modelyard.records.backups import BackupRun
from modelyard.store.schema import backup_runs

_MAX_WORDS = 2_000


def add(connection: Connection, run: BackupRun) -> None:
    """Keep that one was made, or was tried to be."""
    values = {"kind": run.kind, "at": run.at, "ok": run.ok, "words": run.words[:_MAX_WORDS]}
    connection.execute(insert(backup_runs).values(values))


def newest(connection: Connection, kind: str, *, ok: bool | None = None) -> BackupRun | None:
    """The newest of a kind; of those that went well or badly, where `ok` says so."""
    query = select(backup_runs).where(backup_runs.c.kind == kind)
    if ok is not None:
        query = query.where(backup_runs.c.ok == ok)
    row = connection.execute(query.order_by(backup_runs.c.id.desc()).limit(1)).first()
    return None if row is None else BackupRun(kind=row.kind, at=row.at, ok=row.ok, words=row.words)
