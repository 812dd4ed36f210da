"""Policies, rollouts and their story."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, ForeignKeyConstraint, Integer, Table, Text

from modelyard.store.schema.base import COUNTED, Moment, metadata

policies = Table(
    "policies",
    metadata,
    Column("model", Text, ForeignKey("models.model"), primary_key=True),
    Column("retrain", Text, nullable=False),  # JSON of records.policies.Retrain
    Column("promote", Text, nullable=False),  # JSON of records.policies.Promote
    Column("paused", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("changed_by", Text, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("model", Text, ForeignKey("models.model"), nullable=False, index=True),
    Column("active", Text, unique=True),  # the model while it goes on, so that each has one at most
    Column("candidate", Integer, nullable=False),
    Column("champion", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("rules", Text, nullable=False),  # JSON of records.rollouts.Rules
    Column("stage", Integer, nullable=False),
    Column("stage_began_at", Moment, nullable=False),
    Column("stage_asked", Integer, nullable=False),
    Column("approved_by", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("began_by", Text, nullable=False),
    Column("ended_at", Moment),
    Column("evidence", Text, nullable=False),  # JSON of records.rollouts.Evidence
    ForeignKeyConstraint(
        ["model", "candidate"],
        ["versions.model", "versions.version"],
        name="fk_rollouts_model_candidate",  # that of `model` alone has the name by custom
    ),
)

rollout_steps = Table(
    "rollout_steps",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("rollout", COUNTED, ForeignKey("rollouts.id"), nullable=False, index=True),
    Column("at", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("by", Text, nullable=False),
    Column("words", Text, nullable=False),
)
