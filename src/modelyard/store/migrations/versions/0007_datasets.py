"""Datasets, their versions, clearances, connections, and the lineage of models to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of datasets."""
    _datasets()
    _clearances()
    _connections()
    _lineage()


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.Column("marks", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", name="pk_datasets"),
        sa.ForeignKeyConstraint(["department"], ["departments.name"], name="fk_datasets_department"),
    )
    op.create_index("ix_datasets_department", "datasets", ["department"])
    op.create_table(
        "dataset_versions",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "version", name="pk_dataset_versions"),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.dataset"], name="fk_dataset_versions_dataset"),
        sa.UniqueConstraint("dataset", "digest", name="uq_dataset_versions_dataset_digest"),
    )
    op.create_index("ix_dataset_versions_blob", "dataset_versions", ["blob"])


def _clearances() -> None:
    op.create_table(
        "clearances",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("given_at", sa.BigInteger(), nullable=False),
        sa.Column("given_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "principal", "mark", name="pk_clearances"),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.dataset"], name="fk_clearances_dataset"),
    )


def _connections() -> None:
    op.create_table(
        "data_connections",
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("department", "name", name="pk_data_connections"),
        sa.ForeignKeyConstraint(["department"], ["departments.name"], name="fk_data_connections_department"),
    )


def _lineage() -> None:
    op.create_table(
        "version_datasets",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("dataset_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "dataset", name="pk_version_datasets"),
        sa.ForeignKeyConstraint(
            ["model", "version"], ["versions.model", "versions.version"], name="fk_version_datasets_model"
        ),
    )
    op.create_index(
        "ix_version_datasets_dataset_dataset_version", "version_datasets", ["dataset", "dataset_version"]
    )
