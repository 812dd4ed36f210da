"""What the watch keeps: shipped predictions and outcomes, their summaries, labels, findings.

Nothing here refers to `models`: what a node has recorded is kept even where the database is an older backup.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, Table, Text

from modelyard.store.schema.base import COUNTED, Moment, metadata

spool_offsets = Table(
    "spool_offsets",
    metadata,
    Column("node", Text, primary_key=True),
    Column("file", Text, primary_key=True),
    Column("end", BigInteger, nullable=False),  # bytes of the file that are in segments
    Column("shipped_at", Moment, nullable=False),
)

segments = Table(
    "segments",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("model", Text, nullable=False),
    Column("kind", Text, nullable=False),  # records.predictions.Kind
    Column("version", Integer, nullable=False),  # 0 for outcomes
    Column("day", Moment, nullable=False),  # its beginning
    Column("node", Text, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("shipped_at", Moment, nullable=False),
    Column("requests", Text, nullable=False),  # JSON: of each front's start, the first and last number
    Column("is_seen", Boolean, nullable=False),  # by the watch
    Column("gone_at", Moment),  # no reader takes it any more; its blob is deleted an hour later
    Index(None, "model", "kind", "day"),
)

summaries = Table(
    "summaries",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("grain", Text, primary_key=True),  # `hour` or `day`
    Column("at", Moment, primary_key=True),  # when it begins
    Column("rows", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),  # catalog.summaries.Summary
)

keeping = Table(
    "keeping",
    metadata,
    Column("model", Text, primary_key=True),
    Column("rule", Text, nullable=False),  # JSON of records.predictions.Keeping
    Column("salt", LargeBinary, nullable=False),  # the key of its hashes
    Column("changed_at", Moment, nullable=False),
    Column("changed_by", Text, nullable=False),
)

profiles = Table(  # what a version's predictions are compared with
    "profiles",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # catalog.summaries.Summary
    Column("made_at", Moment, nullable=False),
)

labelled = Table(  # predictions with their outcomes, by the day of the prediction
    "labelled",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("day", Moment, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    Column("changed_at", Moment, nullable=False),
)

labels = Table(  # how many rows got their first outcome when
    "labels",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("model", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Index(None, "model", "at"),
)

waiting = Table(  # outcomes that no prediction was found for yet
    "waiting",
    metadata,
    Column("model", Text, primary_key=True),
    Column("digest", Text, nullable=False, index=True),
    Column("rows", BigInteger, nullable=False),
    Column("first_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
)

performance = Table(
    "performance",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("day", Moment, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("slice", Text, primary_key=True),  # `column=value`, or an empty string for all rows
    Column("kind", Text, primary_key=True),  # `measured` or `estimated`
    Column("value", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("labels", BigInteger, nullable=False),
)

findings = Table(
    "findings",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("subject", Text, nullable=False),  # kind and column: one open finding each
    Column("active", Text, unique=True),  # model, version and subject while it is open
    Column("level", Text, nullable=False),
    Column("noticed_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),  # the last window that showed it
    Column("closed_at", Moment),
    Column("acknowledged_by", Text, nullable=False),
    Column("finding", Text, nullable=False),  # JSON of records.predictions.Finding
    Index(None, "model", "noticed_at"),
)

own_metrics = Table(  # of one model, beside the usual ones
    "own_metrics",
    metadata,
    Column("model", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("expression", Text, nullable=False),
    Column("higher_is_better", Boolean, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("measured_at", Moment),  # when the days that were there got it
)
