"""Metrics of a model's own: set by its owner, measured by the watch."""

from __future__ import annotations

from sqlalchemy import Connection

from modelyard.catalog import clock, expressions, looked_up
from modelyard.catalog.policies import policy_of
from modelyard.records.errors import ConflictError, InvalidError, NotFoundError
from modelyard.records.metrics import OwnMetric, check_metric_name
from modelyard.records.references import shown
from modelyard.store import audit, duties, own_metrics
from modelyard.store.database import Database

WATCH = "watch"  # the duty of looking at a model
_MOST = 20  # of a model


class OwnMetrics:
    """A model's own metrics. Every method is one transaction; NotFoundError is for an unknown model."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_model(self, model: str) -> list[OwnMetric]:
        """A model's own metrics, by name."""
        with self._database.read() as connection:
            looked_up.known(connection, model)
            return own_metrics.of_model(connection, model)

    def put(
        self, model: str, name: str, expression: str, *, higher_is_better: bool = False, by: str
    ) -> OwnMetric:
        """Set a metric; the days that have outcomes get it soon. The same one again changes nothing.

        Raises:
            InvalidError: its name or its expression cannot be; the message says why.
        """
        check_metric_name(name)
        with self._database.write() as connection:
            looked_up.known(connection, model)
            known = own_metrics.of_model(connection, model)
            before = next((m for m in known if m.name == name), None)
            if before and (before.expression, before.higher_is_better) == (expression, higher_is_better):
                return before
            if before is None and len(known) >= _MOST:
                message = f"{model} has {_MOST} metrics of its own."
                raise InvalidError(message, "Remove one: yard metric MODEL NAME --remove.", field="name")
            _check_expression(connection, model, expression)
            now = clock.now()
            metric = OwnMetric(model, name, expression, higher_is_better, now, by)
            own_metrics.put(connection, metric)
            duties.ensure(connection, WATCH, model, now)
            subject = f"{model} {name}"
            audit.append(connection, by=by, action="metric.set", subject=subject, before=before, after=metric)
            return metric

    def remove(self, model: str, name: str, *, by: str) -> OwnMetric:
        """Forget a metric, and what was measured by it.

        Raises:
            ConflictError: the model's policy names it.
        """
        with self._database.write() as connection:
            looked_up.known(connection, model)
            if policy_of(connection, model).promote.metric == name:
                message = f"Candidates of {model} are judged by {name}, so it is not forgotten."
                raise ConflictError(message, f"Set [promote] metric to another: yard policy set {model}.")
            before = own_metrics.remove(connection, model, name)
            if before is None:
                hint = f"See what there is: yard metric {model}."
                raise NotFoundError(f"{model} has no metric {shown(name)} of its own.", hint)
            audit.append(connection, by=by, action="metric.remove", subject=f"{model} {name}", before=before)
            return before


def _check_expression(connection: Connection, model: str, expression: str) -> None:
    """Against the version in use, else the newest that was checked."""
    signature = looked_up.signature(connection, model)
    if signature is None:
        hint = "Publish a version first."
        raise InvalidError(f"{model} has no version whose columns are known.", hint, field="expression")
    expressions.check(expression, signature)
