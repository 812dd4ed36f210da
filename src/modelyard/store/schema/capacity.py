"""What models' workers ask of machines."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Table, Text

from modelyard.store.schema.base import Moment, metadata

capacities = Table(
    "capacities",
    metadata,
    Column("model", Text, ForeignKey("models.model"), primary_key=True),
    Column("serve", Text, nullable=False),  # JSON of records.capacity.Demand
    Column("source", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("changed_by", Text, nullable=False),
)
