"""Models, versions, their files and aliases."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from modelyard.store.schema.base import COUNTED, Moment, metadata

models = Table(
    "models",
    metadata,
    Column("model", Text, primary_key=True),  # department/name
    Column("department", Text, ForeignKey("departments.name"), nullable=False, index=True),
    Column("latest", Integer, nullable=False),  # the last number given out; never given out again
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("model", Text, ForeignKey("models.model"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("bundle", Text, nullable=False),  # JSON of records.models.Bundle
    Column("state", Text, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("log", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("form", Text, nullable=False),
    Column("form_reason", Text, nullable=False),
    Column("native_from", Integer, nullable=False, default=0),  # rows of a request; 0: no request
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("wanted_alias", Text),  # set to this version once it is checked
    Column("wanted_why", Text, nullable=False),
    UniqueConstraint("model", "digest"),
)

version_files = Table(
    "version_files",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

version_forms = Table(  # the portable form's files, laid out as a bundle's are
    "version_forms",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

alias_history = Table(
    "alias_history",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("model", Text, ForeignKey("models.model"), nullable=False),
    Column("alias", Text, nullable=False),
    Column("before", Integer),
    Column("after", Integer),
    Column("changed_at", Moment, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("cause", Text, nullable=False),  # store.aliases.Cause
    Index(None, "model", "alias", "id"),
)
