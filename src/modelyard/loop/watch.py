"""The step that looks at a model after predictions or outcomes came: labels, performance, findings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from modelyard.catalog.history import History
from modelyard.catalog.registry import Registry
from modelyard.loop.estimating import Estimating
from modelyard.loop.kept import Kept
from modelyard.loop.labelled import Rows
from modelyard.loop.looking import Looking
from modelyard.loop.measures import answers_of, measured
from modelyard.loop.outcomes import CAME_AT, Matcher
from modelyard.loop.scores import Doubles, score
from modelyard.records.errors import NotFoundError
from modelyard.records.metrics import Metric
from modelyard.records.predictions import Labelled, Performance
from modelyard.records.rollouts import Rollout
from modelyard.records.signatures import Signature, Task
from modelyard.store import duties, own_metrics, watch
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty

_FIRST = 50  # labelled rows of the champion that say how large its errors are
_TIMES = 4.0  # so many times the 90th percentile of these is the range of losses
_HIGH = 0.9
_MOST_DAYS = 120  # with outcomes that a new metric is measured on
_ROLLOUTS = 8  # whose losses are kept in memory


class WatchStep:
    """The step of the duty `watch`, whose subject is a model.

    Args:
        spool: of this node.
        scratch: a folder for what is only needed for a moment.
        clock: what time it is.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        registry: Registry,
        spool: Path,
        scratch: Path,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._rows = Rows(database, blobs, scratch)
        self._matcher = Matcher(database, blobs, scratch, self._measure, clock)
        self._estimating = Estimating(database, self._rows, registry, clock)
        history = History(database, blobs, spool)
        self._looking = Looking(database, history, self._rows, registry, scratch, clock)

    def __call__(self, duty: Duty) -> datetime | None:
        """Look at the model once; it is looked at again when something is shipped or an hour is over."""
        matched = self._matcher.match(duty)
        self._measure_again(duty)
        self._estimating(duty, matched.fresh)
        if matched.more:
            return self._clock()
        self._looking.look(duty)
        return self._looking.next_look(duty.subject)

    def _measure(self, model: str, version: int, day: datetime, rows: pl.DataFrame) -> list[Performance]:
        try:
            signature = self._registry.version(model, version).bundle.signature
        except NotFoundError:  # the database is an older backup
            return []
        slices = self._registry.policies.policy(model).promote.slices
        with self._database.read() as connection:
            own = own_metrics.of_model(connection, model)
        return measured(rows, signature, (model, version, day), slices, own)

    def _measure_again(self, duty: Duty) -> None:
        """Measure the days that have outcomes anew where the model has got a metric of its own."""
        model = duty.subject
        with self._database.read() as connection:
            if not own_metrics.is_new(connection, model):
                return
            own = own_metrics.of_model(connection, model)
            days = watch.labelled_days(connection, model)[-_MOST_DAYS:]
        for day in days:
            rows = self._rows.read([day])
            if rows is None:
                continue
            key = (model, day.version, day.day)
            found = self._measure(*key, rows)
            with self._database.write(unaudited="what is measured is a record itself") as connection:
                duties.hold(connection, duty)
                watch.put_performance(connection, key, found)
        with self._database.write(unaudited="what is measured is a record itself") as connection:
            duties.hold(connection, duty)
            own_metrics.measured(connection, model, own, self._clock())


class Losses:
    """What outcomes say of a rollout's candidate, row by row."""

    def __init__(self, database: Database, blobs: Blobs, registry: Registry, scratch: Path) -> None:
        self._database = database
        self._rows = Rows(database, blobs, scratch)
        self._registry = registry
        self._known: Kept[tuple[str, ...], tuple[float, ...]] = Kept(_ROLLOUTS)

    def __call__(self, rollout: Rollout) -> tuple[float, ...]:
        """The candidate's loss less the champion's of rows that both answered and whose outcomes have come,
        in the order in which these came; see `loop.rollout.Facts`.
        """
        with self._database.read() as connection:
            days = [
                watch.labelled_days(connection, rollout.model, version)
                for version in (rollout.candidate, rollout.champion)
            ]
        days = [[d for d in some if d.changed_at >= rollout.began_at] for some in days]
        if not all(days):
            return ()
        digests = tuple(d.digest for some in days for d in some)
        return self._known.of(digests, lambda: self._losses(rollout, *days))

    def _losses(self, rollout: Rollout, *days: list[Labelled]) -> tuple[float, ...]:
        signature = self._registry.version(rollout.model, rollout.champion).bundle.signature
        tables = [t for some in days if (t := self._rows.read(some)) is not None]
        candidate, champion = (t.filter(pl.col("at") >= rollout.began_at) for t in tables)
        both = candidate.select("request", "row").join(
            champion.select("request", "row", CAME_AT), on=["request", "row"], maintain_order="right"
        )
        both = both.sort(CAME_AT, maintain_order=True)
        rows = both.select("request", "row")
        mine_of, champions = (
            rows.join(t, on=rows.columns, maintain_order="left") for t in (candidate, champion)
        )
        return differences(mine_of, champions, signature)


def differences(candidate: pl.DataFrame, champion: pl.DataFrame, signature: Signature) -> tuple[float, ...]:
    """The candidate's loss less the champion's, row by row, each loss scaled to 0 to 1.

    Of classes half the Brier score; of labels alone whether they are wrong; of numbers the absolute error,
    cut at four times the 90th percentile of the champion's first fifty, which are left out. An answer that is
    missing is as bad as any.
    """
    losses = [_losses_of(rows, signature) for rows in (candidate, champion)]
    limit = 1.0
    if signature.task is Task.REGRESSION:
        first = losses[1][:_FIRST][np.isfinite(losses[1][:_FIRST])]
        if candidate.height <= _FIRST or not len(first):
            return ()
        limit = _TIMES * float(np.quantile(first, _HIGH))
        if not limit > 0:
            return ()
        losses = [each[_FIRST:] for each in losses]
    losses = [np.fmin(each, limit) / limit for each in losses]  # of NaN the limit
    return tuple(float(x) for x in losses[0] - losses[1])


def _losses_of(rows: pl.DataFrame, signature: Signature) -> Doubles:
    answers, came = answers_of(rows, signature)
    if signature.task is Task.REGRESSION:
        return score(Metric.MAE, answers, came).rows
    if signature.classes:
        return score(Metric.BRIER, answers, came).rows / 2
    return 1 - score(Metric.ACCURACY, answers, came).rows
