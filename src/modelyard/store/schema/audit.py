"""The audit's chain, and its end."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from modelyard.store.schema.base import Moment, metadata

audit = Table(  # triggers refuse to change or delete a row: see migration 0006
    "audit",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False, index=True),
    Column("by", Text, nullable=False, index=True),
    Column("action", Text, nullable=False, index=True),
    Column("subject", Text, nullable=False, index=True),
    Column("before", Text),
    Column("after", Text),
    Column("origin", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

audit_head = Table(  # one row: the lock that writers pass one after another, and what the next is chained to
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)
