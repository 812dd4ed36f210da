"""The tables. A change here comes with a migration; a test compares the two on both databases.

Natural keys throughout: a model is `department/name`, a version its model and number.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """A time in UTC, stored as whole microseconds since 1970: exact, in order, the same on both."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """To microseconds; a time without a zone is a mistake of ours."""
        return None if value is None else (value - _BEGIN) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To a time in UTC."""
        return None if value is None else _BEGIN + timedelta(microseconds=value)


departments = Table(
    "departments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("model", Text, primary_key=True),  # department/name
    Column("department", Text, ForeignKey("departments.name"), nullable=False, index=True),
    Column("latest", Integer, nullable=False),  # the last number given out; never given out again
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("model", Text, ForeignKey("models.model"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("bundle", Text, nullable=False),  # JSON of records.models.Bundle
    Column("state", Text, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("log", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("form", Text, nullable=False),
    Column("form_reason", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("wanted_alias", Text),  # set to this version once it is checked
    Column("wanted_why", Text, nullable=False),
    UniqueConstraint("model", "digest"),
)

version_files = Table(
    "version_files",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

version_forms = Table(  # the portable form's files, laid out as a bundle's are
    "version_forms",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

alias_history = Table(
    "alias_history",
    metadata,
    # Not BigInteger: SQLite counts up only an INTEGER key, which has 64 bits there anyway.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("model", Text, ForeignKey("models.model"), nullable=False),
    Column("alias", Text, nullable=False),
    Column("before", Integer),
    Column("after", Integer),
    Column("changed_at", Moment, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("cause", Text, nullable=False),  # store.aliases.Cause
    Index(None, "model", "alias", "id"),
)

principals = Table(
    "principals",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
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
)

state = Table(
    "state",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
