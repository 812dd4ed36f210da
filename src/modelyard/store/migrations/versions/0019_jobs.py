"""Hosts outside that a job's project names, those that an owner has approved; logs that were let go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Jobs that are there name none."""
    op.add_column("jobs", sa.Column("hosts", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("jobs", sa.Column("forgotten_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "approved_hosts",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("hosts", sa.Text(), nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_approved_hosts"),
    )
