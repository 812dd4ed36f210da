"""Metrics of a model's own, and which of them its earlier days still lack."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from modelyard.records.metrics import OwnMetric
from modelyard.store.schema import own_metrics, performance


def of_model(connection: Connection, model: str) -> list[OwnMetric]:
    """A model's own metrics, by name."""
    query = select(own_metrics).where(own_metrics.c.model == model).order_by(own_metrics.c.name)
    return [_record(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - its public name


def put(connection: Connection, metric: OwnMetric) -> OwnMetric | None:
    """Keep a metric; the one that had its name. What was measured by that is forgotten."""
    before = remove(connection, metric.model, metric.name)
    values = {name: getattr(metric, name) for name in metric.__struct_fields__}
    connection.execute(insert(own_metrics), values)
    return before


def remove(connection: Connection, model: str, name: str) -> OwnMetric | None:
    """Forget a metric and what was measured by it; the metric, or None where there was none."""
    this = (own_metrics.c.model == model) & (own_metrics.c.name == name)
    row = connection.execute(select(own_metrics).where(this).with_for_update()).first()
    connection.execute(delete(own_metrics).where(this))
    connection.execute(delete(performance).where(performance.c.model == model, performance.c.metric == name))
    return None if row is None else _record(row._mapping)  # noqa: SLF001 - its public name


def is_new(connection: Connection, model: str) -> bool:
    """Whether earlier days lack one of the model's metrics."""
    query = select(own_metrics.c.name).where(
        own_metrics.c.model == model, own_metrics.c.measured_at.is_(None)
    )
    return connection.execute(query).first() is not None


def measured(connection: Connection, model: str, metrics: list[OwnMetric], at: datetime) -> None:
    """Earlier days have these metrics now; one that was changed meanwhile is still new."""
    for metric in metrics:
        this = (own_metrics.c.model == model) & (own_metrics.c.name == metric.name)
        this &= own_metrics.c.changed_at == metric.changed_at
        connection.execute(update(own_metrics).where(this).values(measured_at=at))


def _record(row: Mapping[Any, Any]) -> OwnMetric:
    return OwnMetric(**{name: row[name] for name in OwnMetric.__struct_fields__})
