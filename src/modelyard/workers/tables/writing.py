"""Versions written as other files, or shown."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl

from modelyard.workers.tables.profiles import as_text
from modelyard.workers.tables.tasks import Show, Shown, Write, Written

_FORMULA = r"^([=+\-@\t\r])"
_MAX_TEXT = 500  # characters of a text that is shown


def write(task: Write) -> Written:
    """Write some columns and rows of a version as another file."""
    rows = pl.scan_parquet(task.source).select(task.columns).slice(task.start, task.count)
    if task.form == "parquet":
        table = rows.collect()
        table.write_parquet(Path(task.into), compression="zstd")
        return Written(table.height)
    table = rows.collect()
    if task.is_for_people:
        table = table.with_columns(pl.col(pl.String).str.replace(_FORMULA, "'$1"))
    moments = [pl.col(s.name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ") for s in table if s.dtype == pl.Datetime]
    table.with_columns(moments).write_csv(Path(task.into), quote_style="necessary")
    return Written(table.height)


def show(task: Show) -> Shown:
    """Tell some rows, as values that JSON has."""
    rows = pl.scan_parquet(task.source).select(task.columns).slice(task.start, task.count).collect()
    return Shown(tuple(tuple(_plain(value) for value in row) for row in rows.iter_rows()))


def _plain(value: object) -> float | int | str | bool | None:
    match value:
        case str():
            return value[:_MAX_TEXT]
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float():
            return value
    return as_text(value)
