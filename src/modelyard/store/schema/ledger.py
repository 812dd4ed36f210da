"""The ledger: what was counted, kept and stated, and what budgets there are. Money is in whole millionths."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from modelyard.store.schema.base import COUNTED, Moment, metadata

ledger_counts = Table(
    "ledger_counts",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("day", Moment, primary_key=True),  # its beginning
    Column("node", Text, primary_key=True),
    Column("answered", BigInteger, nullable=False),  # requests
    Column("refused", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("cpu", BigInteger, nullable=False),  # microseconds of its workers
    Index(None, "day"),
)

ledger_nodes = Table(
    "ledger_nodes",
    metadata,
    Column("node", Text, primary_key=True),
    Column("batch", Text, nullable=False),  # the last that was taken: records.meters.Batch
    Column("at", Moment, nullable=False),
)

ledger_jobs = Table(  # what jobs took; they stay here when the jobs are let go
    "ledger_jobs",
    metadata,
    Column("job", COUNTED, primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("ended_at", Moment, nullable=False, index=True),
    Column("cpu", BigInteger, nullable=False),  # microseconds
    Column("memory", BigInteger, nullable=False),  # bytes, the most it held
)

ledger_storage = Table(
    "ledger_storage",
    metadata,
    Column("month", Text, primary_key=True),  # 2026-11
    Column("kind", Text, primary_key=True),  # store.ledger.Kept
    Column("name", Text, primary_key=True),  # of a model or a dataset
    Column("byte_days", BigInteger, nullable=False),  # of the month's days before `day`
    Column("day", Moment, nullable=False),  # the last that was looked at
    Column("bytes", BigInteger, nullable=False),  # the most that were seen on it
)

ledger_rates = Table(
    "ledger_rates",
    metadata,
    Column("since", Text, primary_key=True),  # the first month they hold for
    Column("currency", Text, nullable=False),
    Column("cpu_hour", BigInteger, nullable=False),
    Column("gb_month", BigInteger, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", Moment, nullable=False),
)

ledger_budgets = Table(
    "ledger_budgets",
    metadata,
    Column("place", Text, primary_key=True),  # department, or department/name
    Column("amount", BigInteger, nullable=False),  # a month
    Column("currency", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", Moment, nullable=False),
)

ledger_worths = Table(  # what owners state
    "ledger_worths",
    metadata,
    Column("model", Text, primary_key=True),
    Column("worth", Text, nullable=False),  # JSON of records.worth.Worth
    Column("stated_by", Text, nullable=False),
    Column("stated_at", Moment, nullable=False),
)

ledger_measured = Table(  # what outcomes say of a month, for the worth that was stated
    "ledger_measured",
    metadata,
    Column("model", Text, primary_key=True),
    Column("month", Text, primary_key=True),
    Column("made_of", Text, nullable=False),  # a digest of the worth and of the labelled rows
    Column("measured", Text, nullable=False),  # JSON of records.worth.Measured
)
