"""Hosts that jobs of a model may reach."""

from __future__ import annotations

from sqlalchemy import Column, Table, Text

from modelyard.store.schema.base import Moment, metadata

approved_hosts = Table(
    "approved_hosts",
    metadata,
    Column("model", Text, primary_key=True),  # which is not there before its first version is
    Column("hosts", Text, nullable=False),  # JSON of ["name:port"], as jobs.hosts is
    Column("approved_at", Moment, nullable=False),
    Column("approved_by", Text, nullable=False),
    Column("why", Text, nullable=False),
)
