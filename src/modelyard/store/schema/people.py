"""Departments, principals and tokens."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, Table, Text

from modelyard.store.schema.base import Moment, metadata

departments = Table(
    "departments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
)

principals = Table(
    "principals",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("principal", Text, ForeignKey("principals.name"), nullable=False),
    Column("role", Text, nullable=False),
    Column("department", Text, ForeignKey("departments.name")),
    Column("digest", Text, nullable=False, unique=True),  # sha256 of the secret, which is nowhere
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
)
