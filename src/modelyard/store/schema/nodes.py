"""Nodes: the machines that are this yard, and when each was heard of last."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Table, Text

from modelyard.store.schema.base import Moment, metadata

nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),  # kept in the node's spool; what it ships is under it
    Column("boot", Text, nullable=False),  # of its engine: two that beat under one id are told apart
    Column("address", Text, nullable=False),
    Column("former", Text, nullable=False),  # the address before this one, or empty
    Column("release", Text, nullable=False),
    Column("started_at", Moment, nullable=False),  # as all times here, by the database's clock
    Column("seen_at", Moment, nullable=False),
    Column("beat", BigInteger, nullable=False),  # grows by one with each
    Column("clock_off", Float, nullable=False),  # seconds by which its clock is ahead of the database's
    Column("stopped", Boolean, nullable=False),  # it went down as it should
    Column("condition", Text),  # JSON of records.conditions.Condition; none of an older release
)
