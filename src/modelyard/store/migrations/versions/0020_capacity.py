"""Capacity: how many workers a model may have, and what each asks of a machine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Models of a database from before have the default: one worker."""
    op.create_table(
        "capacities",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("serve", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_capacities"),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_capacities_model"),
    )
