"""Verdicts of the gate."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the gate's table."""
    op.create_table(
        "verdicts",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("candidate", sa.Integer(), nullable=False),
        sa.Column("champion", sa.Integer(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("held_out", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("faults", sa.Text(), nullable=False),
        sa.Column("numbers", sa.Text(), nullable=True),
        sa.Column("judged_at", sa.BigInteger(), nullable=True),
        sa.Column("rolls_out", sa.Boolean(), nullable=False),
        sa.Column("rollout", COUNTED, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_verdicts"),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_verdicts_model"),
        sa.ForeignKeyConstraint(
            ["model", "candidate"], ["versions.model", "versions.version"], name="fk_verdicts_model_candidate"
        ),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name="fk_verdicts_rollout"),
    )
    op.create_index("ix_verdicts_model", "verdicts", ["model"])
