"""Projects, and their jobs with what these say."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, Table, Text

from modelyard.store.schema.base import COUNTED, Moment, metadata

projects = Table(
    "projects",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("model", Text, nullable=False),  # which is not there before its first version is
    Column("description", Text, nullable=False),  # yard.toml as it was written
    Column("size", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
)

project_files = Table(
    "project_files",
    metadata,
    Column("project", Text, ForeignKey("projects.digest"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, index=True),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("model", Text, nullable=False, index=True),
    Column("department", Text, ForeignKey("departments.name"), nullable=False),
    Column("language", Text, nullable=False),
    Column("project", Text, ForeignKey("projects.digest"), nullable=False),
    Column("state", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("parameters", Text, nullable=False),  # JSON of {name: value}
    Column("sets_policy", Boolean, nullable=False),  # whether yard.toml's tables become the model's policy
    Column("hosts", Text, nullable=False, server_default="[]"),  # JSON of ["name:port"], sorted
    Column("data", Text, nullable=False),  # JSON of [records.jobs.Input]
    Column("attempt", Integer, nullable=False),
    Column("progress", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("exit_code", Integer),
    Column("version", Integer),
    Column("cancelled_by", Text, nullable=False),
    Column("usage", Text, nullable=False),  # JSON of records.jobs.Usage
    Column("metrics", Text, nullable=False),  # JSON of {name: last value}
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("forgotten_at", Moment),  # when its log and its curves were let go
    Index("ix_jobs_department_state", "department", "state"),
)

job_logs = Table(
    "job_logs",
    metadata,
    Column("job", COUNTED, ForeignKey("jobs.id"), primary_key=True, autoincrement=False),
    Column(
        "start", BigInteger, primary_key=True, autoincrement=False
    ),  # characters of the log before this part
    Column("text", Text, nullable=False),
)

job_metrics = Table(
    "job_metrics",
    metadata,
    Column("job", COUNTED, ForeignKey("jobs.id"), primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("value", Float, nullable=False),
)
