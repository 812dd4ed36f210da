"""Alerts, the channels they are sent to, and what was sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables of alerts."""
    op.create_table(
        "channels",
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("every", sa.Integer(), nullable=False),
        sa.Column("quiet", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("department", "name", name="pk_channels"),
        sa.ForeignKeyConstraint(["department"], ["departments.name"], name="fk_channels_department"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=False),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.UniqueConstraint("key", name="uq_alerts_key"),
    )
    op.create_index("ix_alerts_department_opened_at", "alerts", ["department", "opened_at"])
    _sent()


def _sent() -> None:
    op.create_table(
        "alerts_sent",
        sa.Column("alert", COUNTED, nullable=False),
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("alert", "department", "channel", name="pk_alerts_sent"),
        sa.ForeignKeyConstraint(["alert"], ["alerts.id"], name="fk_alerts_sent_alert"),
        sa.ForeignKeyConstraint(
            ["department", "channel"],
            ["channels.department", "channels.name"],
            name="fk_alerts_sent_department",
            ondelete="CASCADE",
        ),
    )
