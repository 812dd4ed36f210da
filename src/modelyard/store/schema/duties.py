"""Duties: what the loop has to look at, and when."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from modelyard.store.schema.base import Moment, metadata

duties = Table(
    "duties",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("due_at", Moment, index=True),  # NULL: asleep, or being done and nobody asked for more
    Column("leased_by", Text, nullable=False),
    Column("leased_until", Moment, index=True),  # NULL: nobody is at it
    Column("fence", BigInteger, nullable=False),  # grows with each claim; an old holder's writes are refused
    Column("failures", Integer, nullable=False),  # in a row
    Column("note", Text, nullable=False),  # what the last failure said
)
