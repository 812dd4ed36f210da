"""Verdicts of the gate, requests for trainings, and what was decided last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables of the gate and of the trigger."""
    _verdicts()
    _refits()


def _verdicts() -> None:
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


def _refits() -> None:
    op.create_table(
        "refit_requests",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("job", COUNTED, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_refit_requests"),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_refit_requests_model"),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_refit_requests_job"),
    )
    op.create_index("ix_refit_requests_model", "refit_requests", ["model"])
    op.create_table(
        "outlooks",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_outlooks"),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_outlooks_model"),
    )
