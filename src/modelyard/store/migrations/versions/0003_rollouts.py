"""Policies, duties of the loop, verdicts and rollouts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the loop's tables."""
    _duties()
    _policies()
    _rollouts()


def _duties() -> None:
    op.create_table(
        "duties",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("leased_by", sa.Text(), nullable=False),
        sa.Column("leased_until", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_duties"),
    )
    op.create_index("ix_duties_due_at", "duties", ["due_at"])
    op.create_index("ix_duties_leased_until", "duties", ["leased_until"])


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("retrain", sa.Text(), nullable=False),
        sa.Column("promote", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_policies"),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_policies_model"),
    )


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("active", sa.Text(), nullable=True),
        sa.Column("candidate", sa.Integer(), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("stage_began_at", sa.BigInteger(), nullable=False),
        sa.Column("stage_asked", sa.Integer(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("began_by", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_rollouts_model"),
        sa.ForeignKeyConstraint(
            ["model", "candidate"], ["versions.model", "versions.version"], name="fk_rollouts_model_candidate"
        ),
        sa.UniqueConstraint("active", name="uq_rollouts_active"),
    )
    op.create_index("ix_rollouts_model", "rollouts", ["model"])
    op.create_table(
        "rollout_steps",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("rollout", COUNTED, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rollout_steps"),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name="fk_rollout_steps_rollout"),
    )
    op.create_index("ix_rollout_steps_rollout", "rollout_steps", ["rollout"])
