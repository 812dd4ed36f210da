"""Who vouches for what a version is."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKeyConstraint, Integer, Table, Text

from modelyard.store.schema.base import Moment, metadata

version_signatures = Table(
    "version_signatures",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("what", Text, primary_key=True),  # bundle, or form: the portable one
    Column("digest", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("at", Moment, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)
