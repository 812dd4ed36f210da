"""Datasets, their versions, who may look behind their marks, connections, and what was trained on them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from modelyard.store.schema.base import Moment, metadata

datasets = Table(
    "datasets",
    metadata,
    Column("dataset", Text, primary_key=True),  # department/name
    Column("department", Text, ForeignKey("departments.name"), nullable=False, index=True),
    Column("latest", Integer, nullable=False),
    Column("marks", Text, nullable=False),  # JSON: column to mark
    Column("source", Text, nullable=False),  # JSON of records.datasets.Source, or null
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
)

dataset_versions = Table(
    "dataset_versions",
    metadata,
    Column("dataset", Text, ForeignKey("datasets.dataset"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("blob", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("columns", Text, nullable=False),  # JSON of records.datasets.DataColumn, without marks
    Column("origin", Text, nullable=False),  # JSON of records.datasets.Origin
    Column("why", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("dataset", "digest"),
)

clearances = Table(
    "clearances",
    metadata,
    Column("dataset", Text, ForeignKey("datasets.dataset"), primary_key=True),
    Column("principal", Text, primary_key=True),
    Column("mark", Text, primary_key=True),
    Column("until", Moment),
    Column("given_at", Moment, nullable=False),
    Column("given_by", Text, nullable=False),
)

data_connections = Table(
    "data_connections",
    metadata,
    Column("department", Text, ForeignKey("departments.name"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("address", Text, nullable=False),  # without the password
    Column("sealed", LargeBinary, nullable=False),  # the whole address, by store.secrets
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
)

version_datasets = Table(  # the datasets in the lineage of a model's version; the dataset may be gone
    "version_datasets",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("dataset", Text, primary_key=True),
    Column("dataset_version", Integer, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
    Index(None, "dataset", "dataset_version"),
)
