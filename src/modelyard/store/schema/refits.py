"""Trainings that were asked for, and what was decided last about each model."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Table, Text

from modelyard.store.schema.base import COUNTED, Moment, metadata

refit_requests = Table(
    "refit_requests",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("model", Text, ForeignKey("models.model"), nullable=False, index=True),
    Column("cause", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("job", COUNTED, ForeignKey("jobs.id")),  # that followed it; empty while it waits
)

outlooks = Table(
    "outlooks",
    metadata,
    Column("model", Text, ForeignKey("models.model"), primary_key=True),
    Column("words", Text, nullable=False),
    Column("at", Moment, nullable=False),
)
