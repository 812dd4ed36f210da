"""Projects, jobs, their logs and metrics."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables of projects and jobs."""
    op.create_table(
        "projects",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_projects"),
    )
    op.create_table(
        "project_files",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "path", name="pk_project_files"),
        sa.ForeignKeyConstraint(["project"], ["projects.digest"], name="fk_project_files_project"),
    )
    op.create_index("ix_project_files_digest", "project_files", ["digest"])
    _jobs()
    op.create_table(
        "job_logs",
        sa.Column("job", COUNTED, nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job", "start", name="pk_job_logs"),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_job_logs_job"),
    )
    op.create_table(
        "job_metrics",
        sa.Column("job", COUNTED, nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("job", "line", "name", name="pk_job_metrics"),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_job_metrics_job"),
    )


def _jobs() -> None:
    texts = ("trigger", "reason", "by", "code", "target", "parameters")
    more = ("cancelled_by", "usage", "metrics")
    op.create_table(
        "jobs",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        sa.Column("sets_policy", sa.Boolean(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("version", sa.Integer()),
        *(sa.Column(name, sa.Text(), nullable=False) for name in more),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["department"], ["departments.name"], name="fk_jobs_department"),
        sa.ForeignKeyConstraint(["project"], ["projects.digest"], name="fk_jobs_project"),
    )
    op.create_index("ix_jobs_model", "jobs", ["model"])
    op.create_index("ix_jobs_department_state", "jobs", ["department", "state"])
