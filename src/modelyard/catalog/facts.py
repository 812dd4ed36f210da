"""What is known of a model when it is decided whether to train it anew."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from modelyard.catalog.gates import DUTY as GATE
from modelyard.catalog.policies import metric_of, policy_of
from modelyard.records.audit import YARD
from modelyard.records.estimates import Judgement, past_errors
from modelyard.records.jobs import Job, Usage
from modelyard.records.metrics import AnyMetric, Metric
from modelyard.records.models import Version
from modelyard.records.policies import Policy
from modelyard.records.predictions import VOLUME, Performance
from modelyard.records.projects import dataset_of, read_project
from modelyard.records.references import CHAMPION
from modelyard.records.triggers import NORMAL, Cause, Facts, Measured, Noticed
from modelyard.store import (
    aliases,
    datasets,
    duties,
    jobs,
    models,
    projects,
    refits,
    rollouts,
    verdicts,
    versions,
    watch,
)
from modelyard.store.rights import may_read

DAY = timedelta(days=1)
_FIRST = timedelta(days=30)  # the champion's first month, which `worse_by` compares with
_NOW = timedelta(days=7)  # what counts as now
_FEW = 100  # labelled rows that either needs
_ASKED = (Cause.PERSON, Cause.WEBHOOK)


def facts_of(connection: Connection, model: str, now: datetime) -> Facts:
    """What is known of a model that is there, now; what its policy does not ask for is left out."""
    policy = policy_of(connection, model)
    retrain = policy.retrain
    number = aliases.of_model(connection, model).get(CHAMPION)
    champion = versions.get(connection, model, number) if number is not None else None
    recent = jobs.find(connection, None, model=model)
    began = _trained_at(connection, model, champion, recent)
    automatic = [job.created_at for job in recent if job.by == YARD and job.trigger not in _ASKED]
    watches = retrain.worse_share is not None and champion is not None and now - began > DAY
    return Facts(
        trained_at=began,
        automatic_at=max(automatic, default=None),
        running=_is_busy(connection, model, recent),
        requests=refits.requests(connection, model),
        labelled=watch.labelled_since(connection, model, began) if retrain.new_rows else 0,
        findings=_findings(connection, model, began, now) if retrain.drift else (),
        performance=_performance(connection, policy, champion, now) if watches and champion else None,
        new_data=tuple(_new_data(connection, recent, now)) if retrain.new_data else (),
        upstream=tuple(_upstream(connection, retrain.upstream, began)),
        cpu_seconds=sum((j.usage for j in recent if (j.ended_at or now) > now - DAY), Usage()).cpu_seconds,
    )


def _trained_at(
    connection: Connection, model: str, champion: Version | None, recent: Sequence[Job]
) -> datetime:
    if recent:
        return recent[0].created_at
    if champion is not None:
        return champion.created_at
    known = models.get(connection, model)
    assert known is not None  # noqa: S101 - the caller has seen that it is there
    return known.created_at


def _is_busy(connection: Connection, model: str, recent: Sequence[Job]) -> bool:
    """Whether a training runs, or a candidate is being judged or rolled out."""
    if any(job.state.goes_on for job in recent) or verdicts.is_waiting(connection, model):
        return True
    last = recent[0].version if recent else None
    gate = duties.get(connection, GATE, f"{model}/{last}")
    if gate is not None and (gate.due_at or gate.leased_until):
        return True
    return rollouts.active(connection, model) is not None


def _findings(connection: Connection, model: str, began: datetime, now: datetime) -> tuple[Noticed, ...]:
    """What was noticed since the last training; a day after it also what has stayed since before.

    A candidate that was refused leaves the finding open: without the day, each cooldown would train again.
    """
    found = watch.open_findings(connection, model)
    recent = [f for f in found if f.noticed_at > began or now - began > DAY]
    return tuple(Noticed(f.level, f.words) for f in recent if f.kind != VOLUME)  # fewer rows teach nothing


def _performance(connection: Connection, policy: Policy, champion: Version, now: datetime) -> Measured | None:
    """The champion's metric now and in its first month: measured, or estimated where outcomes lack, unless
    estimates have proved to be worth nothing.
    """
    metric = metric_of(connection, policy, champion.bundle.signature)
    days = watch.performances(connection, champion.model, champion.version, str(metric))
    doubtful = any(p.judgement is Judgement.DOUBTFUL for p in past_errors(days))
    for estimated in (False,) if doubtful else (False, True):
        if found := measured([d for d in days if d.estimated is estimated], metric, now):
            return found
    return None


def measured(days: Sequence[Performance], metric: AnyMetric, now: datetime) -> Measured | None:
    """A version's metric over the last seven days beside its first month's, out of its days.

    The month ends where the seven days begin. None where either has fewer than 100 rows.
    """
    recent = now - _NOW
    first = _first_month([day for day in days if day.day < recent])
    last = [day for day in days if recent <= day.day <= now]
    labels = sum(day.labels for day in last)
    if labels < _FEW or not first:
        return None
    value, error = pooled(last, metric)
    low, high = value - NORMAL * error, value + NORMAL * error
    before, first_error = pooled(first, metric)
    return Measured(metric, before, value, low, high, labels, last[0].estimated, first_error)


def _first_month(days: Sequence[Performance]) -> list[Performance]:
    """The first thirty days that have 100 rows, from a day with rows on; a few that a clock which was wrong
    had stamped years before are not the beginning.
    """
    for begin in sorted({day.day for day in days}):
        month = [day for day in days if begin <= day.day < begin + _FIRST]
        if sum(day.labels for day in month) >= _FEW:
            return month
    return []


def pooled(days: Iterable[Performance], metric: AnyMetric) -> tuple[float, float]:
    """The metric over several days, weighted by their rows, and its standard error.

    Squares are pooled for RMSE; a day's error is read off its 95 % interval.
    """
    known = [day for day in days if math.isfinite(day.value)]
    rows = sum(day.labels for day in known)
    if not rows:
        return math.nan, math.nan
    power = 2 if metric is Metric.RMSE else 1
    value = sum(day.labels * day.value**power for day in known) / rows
    errors = [day.labels * (day.high - day.low) / (2 * NORMAL) for day in known]
    spread = math.sqrt(math.fsum(error**2 for error in errors if math.isfinite(error))) / rows
    return value ** (1 / power), spread


def _new_data(connection: Connection, recent: Sequence[Job], now: datetime) -> Iterator[tuple[str, int]]:
    """The datasets of the last project that have a newer version than its job read, and may be read still."""
    if not recent:
        return
    person = jobs.sender(connection, recent[0])
    kept = projects.get(connection, recent[0].project)
    assert kept is not None  # noqa: S101 - a job's project is kept as long as the job
    read = {each.dataset: each.version for each in recent[0].data}
    for text in read_project(kept.description).train.data.values():
        name, fixed = dataset_of(text)
        found = datasets.get(connection, name)
        if fixed is not None or found is None or found.latest <= read.get(name, found.latest):
            continue
        if may_read(connection, name, recent[0].department, person, now):
            yield name, found.latest


def _upstream(connection: Connection, names: Iterable[str], began: datetime) -> Iterator[tuple[str, int]]:
    """The models of these that got a new champion since."""
    for name in names:
        if models.get(connection, name) is None or CHAMPION not in aliases.of_model(connection, name):
            continue
        change = aliases.last_change(connection, name, CHAMPION)
        if change.at > began and change.after is not None:
            yield name, change.after
