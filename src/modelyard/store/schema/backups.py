"""Backups and drills that were made: what `yard doctor` looks at."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Table, Text

from modelyard.store.schema.base import COUNTED, Moment, metadata

backup_runs = Table(
    "backup_runs",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("words", Text, nullable=False),
)
