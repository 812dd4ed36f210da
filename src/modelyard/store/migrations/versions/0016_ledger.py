"""The ledger: counts by day, jobs' use, storage, rates, budgets, what answers are worth."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables of the ledger."""
    _taken()
    _stated()


def _taken() -> None:
    op.create_table(
        "ledger_counts",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("cpu", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "day", "node", name="pk_ledger_counts"),
    )
    op.create_index("ix_ledger_counts_day", "ledger_counts", ["day"])
    op.create_table(
        "ledger_nodes",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_ledger_nodes"),
    )
    op.create_table(
        "ledger_jobs",
        sa.Column("job", COUNTED, autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("cpu", sa.BigInteger(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job", name="pk_ledger_jobs"),
    )
    op.create_index("ix_ledger_jobs_ended_at", "ledger_jobs", ["ended_at"])
    op.create_table(
        "ledger_storage",
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("byte_days", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month", "kind", "name", name="pk_ledger_storage"),
    )


def _stated() -> None:
    op.create_table(
        "ledger_rates",
        sa.Column("since", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("cpu_hour", sa.BigInteger(), nullable=False),
        sa.Column("gb_month", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("since", name="pk_ledger_rates"),
    )
    op.create_table(
        "ledger_budgets",
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("place", name="pk_ledger_budgets"),
    )
    op.create_table(
        "ledger_worths",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("worth", sa.Text(), nullable=False),
        sa.Column("stated_by", sa.Text(), nullable=False),
        sa.Column("stated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_ledger_worths"),
    )
    op.create_table(
        "ledger_measured",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("made_of", sa.Text(), nullable=False),
        sa.Column("measured", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "month", name="pk_ledger_measured"),
    )
