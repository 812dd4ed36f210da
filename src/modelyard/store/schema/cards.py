"""Model cards."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKeyConstraint, Index, Integer, Table, Text

from modelyard.store.schema.base import COUNTED, Moment, metadata

cards = Table(
    "cards",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),  # the first it is of
    Column("text", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("changed_by", Text, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
    Index(None, "model", "version"),
)
