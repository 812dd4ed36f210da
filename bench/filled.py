"""A data folder as a company has it after years: many models, many versions each, a year of windows.

Written straight into the database, for nobody waits a year. What stands in it is what the yard itself writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Table, insert, select
from tests import sea

from modelyard.catalog import summaries
from modelyard.records.predictions import day_of
from modelyard.store import segments
from modelyard.store.database import Database
from modelyard.store.schema import (
    alias_history,
    aliases,
    departments,
    models,
    performance,
    profiles,
    versions,
)
from modelyard.store.schema import summaries as windows

_DAY = timedelta(days=1)
_AT_ONCE = 20_000  # rows of one statement
_ROWS = 2_000
_FEW = 40


class Size(Struct, frozen=True):
    """How much is written."""

    departments: int = 10
    models: int = 100  # of each department
    versions: int = 200  # of each model
    days: int = 365

    @property
    def words(self) -> str:
        """For a report."""
        models = self.departments * self.models
        return f"{models:,} models, {self.versions} versions each, {self.days} days of windows"


def fill(data: Path, like: str, size: Size) -> list[str]:
    """Write models like one that is there: its last version, many times; their names.

    Args:
        data: the folder of a yard that is down.
        like: `department/name`.
    """
    database = Database(f"sqlite:///{data / 'yard.sqlite'}")
    now = datetime.now(UTC)
    names = [f"unit-{d}/model-{n:03}" for d in range(size.departments) for n in range(size.models)]
    with database.write(unaudited="a benchmark's data") as connection:
        row = connection.execute(select(versions).where(versions.c.model == like)).mappings().first()
        assert row is not None
        _put(
            connection,
            departments,
            (
                {"name": f"unit-{d}", "created_at": now, "created_by": "bench"}
                for d in range(size.departments)
            ),
        )
        _put(connection, models, (_model(name, size, now) for name in names))
        _put(
            connection,
            versions,
            (_version(row, name, n, size, now) for name in names for n in range(1, size.versions + 1)),
        )
        _put(
            connection,
            aliases,
            ({"model": name, "alias": "champion", "version": size.versions} for name in names),
        )
        _put(connection, alias_history, (change for name in names for change in _changes(name, size, now)))
        _put(connection, performance, (day for name in names for day in _days(name, size, now)))
        _put_windows(connection, names, size, now)
        for name in names[:: max(1, size.models // 5)]:
            sea.findings(connection, name, size.versions, now)
    database.close()
    return names


def _put(connection: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _AT_ONCE:
            connection.execute(insert(table), part)
            part = []
    if part:
        connection.execute(insert(table), part)


def _model(name: str, size: Size, now: datetime) -> dict[str, Any]:
    return {
        "model": name, "department": name.partition("/")[0], "latest": size.versions,
        "created_at": now - _DAY * size.days, "created_by": "bench",
    }  # fmt: skip


def _version(row: Mapping[Any, Any], name: str, number: int, size: Size, now: datetime) -> dict[str, Any]:
    bundle = msgspec.json.decode(row["bundle"]) | {"metrics": {"mae": 10 + number / 100}}
    age = _DAY * (size.days * (size.versions - number) / size.versions)
    return dict(row) | {
        "model": name, "version": number, "digest": f"{number:064x}", "created_at": now - age,
        "bundle": msgspec.json.encode(bundle).decode(),
    }  # fmt: skip


def _changes(name: str, size: Size, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(1, size.versions + 1):
        age = _DAY * (size.days * (size.versions - number) / size.versions)
        yield {
            "model": name, "alias": "champion", "before": number - 1 or None, "after": number,
            "changed_at": now - age, "changed_by": "the yard", "why": "it passed the gate",
            "cause": "rollout",
        }  # fmt: skip


def _days(name: str, size: Size, now: datetime) -> Iterator[dict[str, Any]]:
    for ago in range(size.days):
        version = _answering(size, ago)
        value = 10 + (ago % 40) / 20
        kinds = [("mae", "", "measured"), ("rmse", "", "measured"), ("mae", "", "estimated")]
        kinds += [("mae", f"carrier={c}", "measured") for c in sea.CARRIERS]
        for metric, of, kind in kinds:
            yield {
                "model": name, "version": version, "day": day_of(now) - _DAY * ago, "metric": metric,
                "slice": of, "kind": kind, "value": value, "low": value - 0.3, "high": value + 0.3,
                "labels": 1_900,
            }  # fmt: skip


def _put_windows(connection: Connection, names: list[str], size: Size, now: datetime) -> None:
    """A summary a day; that of the first model is of as many rows as one would have, the others are small."""
    whole, small = (summaries.pack(sea.columns(rows, moved=0.9, new=True)) for rows in (_ROWS, _FEW))
    rows = (
        {
            "model": name, "version": _answering(size, ago), "grain": segments.DAY, "rows": _ROWS,
            "at": day_of(now) - _DAY * ago, "data": whole if name == names[0] else small,
        }
        for name in names
        for ago in range(size.days)
    )  # fmt: skip
    _put(connection, windows, rows)
    reference = summaries.pack(summaries.binned_on_itself(sea.columns(_ROWS)))
    made = {
        "source": "the data it was trained on",
        "data": reference,
        "made_at": now,
        "version": size.versions,
    }
    _put(connection, profiles, (made | {"model": name} for name in names))


def _answering(size: Size, ago: int) -> int:
    return max(1, size.versions - ago * size.versions // size.days)
