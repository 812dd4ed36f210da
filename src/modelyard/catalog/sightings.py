"""What pages show of the watch: findings of many models, how models did lately, columns then and now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from modelyard.catalog import facts
from modelyard.catalog.good import last_good_days
from modelyard.catalog.policies import metric_of
from modelyard.catalog.yardsticks import Yardstick, yardstick_of
from modelyard.records.errors import NotFoundError
from modelyard.records.estimates import Judgement, PastError, past_errors
from modelyard.records.findings import Asked, FindingState
from modelyard.records.metrics import AnyMetric, Metric, default_metric
from modelyard.records.models import AliasChange
from modelyard.records.policies import Policy
from modelyard.records.predictions import Finding, Performance
from modelyard.records.references import CHAMPION
from modelyard.records.signatures import Signature
from modelyard.records.triggers import Measured
from modelyard.store import aliases, policies, sightings, watch
from modelyard.store.database import Database

_FIRST_MONTH = timedelta(days=30)


class Answering(Struct, frozen=True):
    """The version of a model that answers, and what it takes and gives."""

    version: int
    signature: Signature


class Standing(Struct, frozen=True):
    """How a model does by the metric of its policy, beside what its policy lets pass.

    Attributes:
        days: of the champion, one a day, oldest first: measured, or where that is not known yet estimated.
        measured: its last week beside its first month, estimated where outcomes lack; None where either has
            too few rows.
        worse_share: how much worse leads to a refit, or None where nothing does.
    """

    metric: AnyMetric
    days: tuple[Performance, ...]
    measured: Measured | None
    worse_share: float | None

    @property
    def limit(self) -> float | None:
        """The value beyond which the policy asks for a refit; None where it names none."""
        if self.measured is None or self.worse_share is None:
            return None
        return limit_of(self.metric, self.measured.first, self.worse_share)

    @property
    def is_beyond(self) -> bool:
        """Whether the last week is beyond the limit."""
        if self.measured is None or self.limit is None:
            return False
        now = self.measured.now
        return now < self.limit if self.metric.higher_is_better else now > self.limit


class Course(Struct, frozen=True):
    """How a model did over a time, whatever version answered.

    Attributes:
        metric: that of its policy, which stands first.
        days: of all metrics and versions, oldest first, without slices.
        slices: of `metric` alone.
        champions: which version became champion when, oldest first; the first is that which was it already.
        standing: of the champion now, or None where there is none.
        estimates: how far its estimates were from what came, by metric.
    """

    metric: AnyMetric
    days: tuple[Performance, ...]
    slices: tuple[Performance, ...]
    champions: tuple[AliasChange, ...]
    standing: Standing | None
    estimates: tuple[PastError, ...]


class Sightings:
    """Reads for pages. Every method is one snapshot."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def findings(self, asked: Asked) -> list[Finding]:
        """Those asked for."""
        with self._database.read() as connection:
            return sightings.find(connection, asked)

    def counted(self, asked: Asked) -> tuple[list[Finding], dict[FindingState, int]]:
        """Those asked for, and how many there are in each state."""
        with self._database.read() as connection:
            return sightings.find(connection, asked), sightings.count(connection, asked)

    def finding(self, model: str, number: int) -> Finding:
        """One finding.

        Raises:
            NotFoundError: the model has none of this number.
        """
        with self._database.read() as connection:
            found = watch.finding(connection, number)
        if found is None or found.model != model:
            message = f"{model} has no finding {number}."
            raise NotFoundError(message, f"See what there is: yard watch {model}.")
        return found

    def standings(self, models: Mapping[str, Answering], now: datetime, days: int) -> dict[str, Standing]:
        """How these models did in the last days; those without any performance are left out."""
        since = now - timedelta(days=days)
        with self._database.read() as connection:
            known = {policy.model: policy for policy in policies.of_all(connection)}
            found = {}
            for model, answering in models.items():
                policy, version = known.get(model), answering.version
                metric = _metric(connection, policy, answering.signature)
                recent = watch.performances(connection, model, version, str(metric), since=since)
                if recent and policy is not None and policy.retrain.worse_share is not None:
                    first = sightings.first_days(connection, model, version, str(metric), _FIRST_MONTH)
                    found[model] = _standing(metric, policy, [*first, *recent], since, now)
                elif recent:  # nothing to compare with: the first month is not read
                    standing = _standing(metric, policy, recent, since, now)
                    found[model] = msgspec.structs.replace(standing, measured=None)
        return found

    def course(
        self,
        model: str,
        answering: Answering | None,
        since: datetime,
        now: datetime,
        *,
        with_slices: bool = False,
    ) -> Course:
        """How a model did since a time; its slices only where they are asked for, for they are many rows."""
        with self._database.read() as connection:
            policy = policies.get(connection, model)
            metric = _metric(connection, policy, answering.signature) if answering else Metric.MAE
            days = watch.performances(connection, model, since=since)
            slices = (
                watch.performances(connection, model, metric=str(metric), slices=True, since=since)
                if with_slices
                else []
            )
            own = watch.performances(connection, model, answering.version) if answering else []
            mine = [day for day in own if day.metric == str(metric)]
            standing = _standing(metric, policy, mine, since, now) if mine else None
            changes = [c for c in aliases.history(connection, model) if c.alias == CHAMPION]
        return Course(
            metric,
            tuple(days),
            tuple(day for day in slices if day.slice),
            tuple(reversed(changes)),
            standing,
            tuple(past_errors(own)),
        )

    def last_good(self, model: str, version: int, now: datetime) -> datetime | None:
        """The last whole day of a version on which nothing was noticed, or what was is acknowledged."""
        with self._database.read() as connection:
            found = last_good_days(connection, model, version, now)
        return found[-1] if found else None

    def reference(self, model: str, version: int) -> Yardstick | None:
        """What a version's predictions are compared with; None where nothing is known yet."""
        with self._database.read() as connection:
            return yardstick_of(connection, model, version)


def limit_of(metric: AnyMetric, first: float, worse_share: float) -> float:
    """The value that is so much worse than the first month's.

    >>> limit_of(Metric.MAE, 10.0, 0.05), round(limit_of(Metric.AUC, 0.8, 0.25), 6)
    (10.5, 0.6)
    """
    step = abs(first) * worse_share
    return first - step if metric.higher_is_better else first + step


def _metric(connection: Connection, policy: Policy | None, signature: Signature) -> AnyMetric:
    return metric_of(connection, policy, signature) if policy else default_metric(signature)


def _standing(
    metric: AnyMetric, policy: Policy | None, days: list[Performance], since: datetime, now: datetime
) -> Standing:
    kinds = {
        estimated: {day.day: day for day in days if day.estimated is estimated} for estimated in (False, True)
    }
    doubtful = any(past.judgement is Judgement.DOUBTFUL for past in past_errors(days))
    trusted = [own for estimated, own in kinds.items() if not (estimated and doubtful)]
    known = [facts.measured(list(own.values()), metric, now) for own in trusted]
    every = kinds[True] | kinds[False]
    return Standing(
        metric=metric,
        days=tuple(every[day] for day in sorted(every) if day >= since),
        measured=next((found for found in known if found is not None), None),
        worse_share=policy.retrain.worse_share if policy else None,
    )
