"""Aliases: pointers from a model's name to one of its versions, and all that they ever pointed to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from sqlalchemy import Connection, Row, and_, delete, insert, select

from modelyard.records.models import AliasChange
from modelyard.store import audit
from modelyard.store.schema import alias_history, aliases


class Cause(StrEnum):
    """What changed an alias."""

    PERSON = "person"
    CHECK = "check"  # a version passed, and was asked to be there or is the first
    ROLLBACK = "rollback"
    ROLLOUT = "rollout"  # the loop, after its stages


class Step(Struct, frozen=True):
    """One change of an alias: what it points to since, and why."""

    after: int | None
    cause: Cause
    at: datetime


def of_model(connection: Connection, model: str) -> dict[str, int]:
    """A model's aliases and their versions, by name."""
    query = select(aliases.c.alias, aliases.c.version).where(aliases.c.model == model)
    return {row.alias: row.version for row in sorted(connection.execute(query))}


def of_all(connection: Connection) -> dict[str, dict[str, int]]:
    """The aliases of all models that have any, of each by name."""
    found: dict[str, dict[str, int]] = {}
    query = select(aliases.c.model, aliases.c.alias, aliases.c.version)
    for model, alias, version in connection.execute(query):
        found.setdefault(model, {})[alias] = version
    # Most models have one; sorting all rows took longer than all else of a listing of 10,000.
    return {model: own if len(own) == 1 else dict(sorted(own.items())) for model, own in found.items()}


def change(connection: Connection, change: AliasChange, *, cause: Cause) -> None:
    """Point an alias to `change.after` (None: drop it), and keep that in its history and the audit."""
    this = and_(aliases.c.model == change.model, aliases.c.alias == change.alias)
    connection.execute(delete(aliases).where(this))
    if change.after is not None:
        row = {"model": change.model, "alias": change.alias, "version": change.after}
        connection.execute(insert(aliases), row)
    entry = {
        "model": change.model,
        "alias": change.alias,
        "before": change.before,
        "after": change.after,
        "changed_at": change.at,
        "changed_by": change.by,
        "why": change.why,
        "cause": cause,
    }
    connection.execute(insert(alias_history), entry)
    audit.append(
        connection,
        by=change.by,
        action="alias.drop" if change.after is None else "alias.move",
        subject=f"{change.model}@{change.alias}",
        before=change.before,
        after={"version": change.after, "why": change.why, "cause": cause},
    )


def history(connection: Connection, model: str) -> list[AliasChange]:
    """All alias changes of a model, newest first."""
    query = select(alias_history).where(alias_history.c.model == model)
    return _records(connection.execute(query.order_by(alias_history.c.id.desc())))


def last_change(connection: Connection, model: str, alias: str) -> AliasChange:
    """The change that made an alias what it is; it has been set at least once."""
    this = and_(alias_history.c.model == model, alias_history.c.alias == alias)
    query = select(alias_history).where(this).order_by(alias_history.c.id.desc()).limit(1)
    return _records(connection.execute(query))[0]


def steps(connection: Connection, model: str, alias: str) -> list[Step]:
    """Every change of an alias, oldest first."""
    this = and_(alias_history.c.model == model, alias_history.c.alias == alias)
    columns = (alias_history.c.after, alias_history.c.cause, alias_history.c.changed_at)
    query = select(*columns).where(this).order_by(alias_history.c.id)
    return [Step(row.after, Cause(row.cause), row.changed_at) for row in connection.execute(query)]


def _records(rows: Iterable[Row[tuple[object, ...]]]) -> list[AliasChange]:
    return [AliasChange(r.model, r.alias, r.before, r.after, r.changed_at, r.changed_by, r.why) for r in rows]
