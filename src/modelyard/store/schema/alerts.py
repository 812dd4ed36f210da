"""Alerts, the channels they are sent to, and what was sent."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)

from modelyard.store.schema.base import COUNTED, Moment, metadata

channels = Table(
    "channels",
    metadata,
    Column("department", Text, ForeignKey("departments.name"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # the whole address and the signing secret, sealed
    Column("level", Text, nullable=False),
    Column("every", Integer, nullable=False),
    Column("quiet", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("sent_at", Moment),
    Column("next_at", Moment),
    Column("failures", Integer, nullable=False),
    Column("note", Text, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("department", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("acknowledged_by", Text, nullable=False),
    Column("acknowledged_at", Moment),
    Index(None, "department", "opened_at"),
)

alerts_sent = Table(
    "alerts_sent",
    metadata,
    Column("alert", COUNTED, ForeignKey("alerts.id"), primary_key=True),
    Column("department", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("sent_at", Moment, nullable=False),
    ForeignKeyConstraint(
        ["department", "channel"], ["channels.department", "channels.name"], ondelete="CASCADE"
    ),
)
