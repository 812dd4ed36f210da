"""Numbers of the whole yard."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from modelyard.store.schema.base import metadata

state = Table(
    "state",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
