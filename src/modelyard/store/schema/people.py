"""Departments, principals and what they hold; how they come in."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, Table, Text, true

from modelyard.store.schema.base import COUNTED, Moment, metadata

departments = Table(
    "departments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("trusted", Boolean, nullable=False, server_default=true()),  # with code of its own
    Column("grace", Float),  # seconds its predictions go on without the database; NULL: as usual
)

principals = Table(
    "principals",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("kind", Text, nullable=False, server_default="service"),
    Column("disabled_at", Moment),
)

memberships = Table(
    "memberships",
    metadata,
    Column("principal", Text, ForeignKey("principals.name"), primary_key=True),
    Column("department", Text, primary_key=True),  # empty: the whole yard
    Column("source", Text, primary_key=True),  # `hand`, or `oidc`: what an identity provider says
    Column("role", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
)

shares = Table(
    "shares",
    metadata,
    Column("id", COUNTED, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),  # department/name of the model or dataset
    Column("department", Text, ForeignKey("departments.name"), nullable=False),  # whose it is
    Column("need", Text, nullable=False),
    Column("to_department", Text, ForeignKey("departments.name")),
    Column("to_principal", Text, ForeignKey("principals.name")),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Index("ix_shares_department", "department"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("principal", Text, ForeignKey("principals.name"), nullable=False),
    Column("role", Text, nullable=False),
    Column("department", Text, ForeignKey("departments.name")),
    Column("digest", Text, nullable=False, unique=True),  # sha256 of the secret, which is nowhere
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("used_at", Moment),
    Column("rows_per_second", Float),  # that may be predicted with it; null: no limit
)

passwords = Table(
    "passwords",
    metadata,
    Column("principal", Text, ForeignKey("principals.name"), primary_key=True),
    Column("hash", Text, nullable=False),  # argon2id, with its salt and costs
    Column("changed_at", Moment, nullable=False),
)

links = Table(
    "links",
    metadata,
    Column("digest", Text, primary_key=True),  # sha256 of the code in the link
    Column("principal", Text, ForeignKey("principals.name"), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
)

identities = Table(
    "identities",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("principal", Text, ForeignKey("principals.name"), nullable=False),
    Column("created_at", Moment, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", Text, primary_key=True),  # sha256 of the cookie's secret
    Column("principal", Text, ForeignKey("principals.name"), nullable=False),
    Column("token", Integer, ForeignKey("tokens.id")),  # where a token was pasted: its rights, its end
    Column("how", Text, nullable=False),  # `password`, `oidc` or `token`
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index("ix_sessions_principal", "principal"),
)

browsers = Table(
    "browsers",
    metadata,
    Column("digest", Text, primary_key=True),  # of a cookie: from here somebody has signed in before
    Column("principal", Text, ForeignKey("principals.name"), nullable=False),
    Column("seen_at", Moment, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("key", Text, primary_key=True),  # of an account, a browser or an address
    Column("level", Float, nullable=False),  # attempts that count, as of
    Column("at", Moment, nullable=False),
)
