"""Verdicts of the gate."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, ForeignKeyConstraint, Integer, Table, Text

from modelyard.store.schema.base import COUNTED, Moment, metadata

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("model", Text, ForeignKey("models.model"), nullable=False, index=True),
    Column("candidate", Integer, nullable=False),
    Column("champion", Integer),
    Column("state", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("held_out", Text, nullable=False),  # JSON of records.verdicts.HeldOut
    Column("asked_at", Moment, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("faults", Text, nullable=False),  # JSON list of texts
    Column("numbers", Text),  # JSON of records.verdicts.Numbers
    Column("judged_at", Moment),
    Column("rolls_out", Boolean, nullable=False),
    Column("rollout", COUNTED, ForeignKey("rollouts.id")),
    ForeignKeyConstraint(
        ["model", "candidate"],
        ["versions.model", "versions.version"],
        name="fk_verdicts_model_candidate",
    ),
)
