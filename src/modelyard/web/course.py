"""How a model did over time, as its pages show it: a timeline a metric, and slices. Pure, but for a read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from modelyard.api.services import Services
from modelyard.catalog.facts import pooled
from modelyard.catalog.sightings import Answering, Course
from modelyard.records.metrics import AnyMetric
from modelyard.records.models import Model
from modelyard.records.predictions import Performance
from modelyard.records.rollouts import RouteTable
from modelyard.web.timeline import Mark, Timeline

_MOST_METRICS = 8
_MOST_SLICES = 60
_NORMAL = 1.96  # standard errors on each side of a 95 % interval
_LIMIT = "a refit is asked for beyond"


class Sliced(Struct, frozen=True):
    """One slice over the time shown: the metric over all its rows, and beside all rows.

    Attributes:
        worse: by how much worse than all rows, as a share of theirs; negative where better.
        is_sure: whether its interval leaves no doubt that it is worse.
        line: the metric by day.
    """

    name: str
    value: float
    low: float
    high: float
    labels: int
    worse: float
    is_sure: bool
    line: tuple[float, ...]


def course_of(
    services: Services, model: Model, since: datetime, now: datetime, *, with_slices: bool = False
) -> Course:
    """How a model did since a time. Blocking."""
    answering = answering_of(services.table(), model)
    return services.watching.sightings.course(model.model, answering, since, now, with_slices=with_slices)


def answering_of(table: RouteTable, model: Model) -> Answering | None:
    """What answers for a model now, or None."""
    routes = table.models.get(model.model)
    if routes is None or model.champion is None or model.champion not in routes.versions:
        return None
    return Answering(model.champion, routes.versions[model.champion].signature)


def timelines(course: Course, since: datetime, until: datetime) -> list[Timeline]:
    """One of each metric, that of the policy first."""
    names = sorted({day.metric for day in course.days}, key=lambda n: (n != str(course.metric), n))
    marks = tuple(Mark(c.at, c.after) for c in course.champions if c.after is not None)
    return [_timeline(course, name, marks, since, until) for name in names[:_MOST_METRICS]]


def _timeline(
    course: Course, name: str, marks: tuple[Mark, ...], since: datetime, until: datetime
) -> Timeline:
    own = [day for day in course.days if day.metric == name and math.isfinite(day.value)]
    limit = course.standing.limit if course.standing and name == str(course.metric) else None
    return Timeline(
        name=name,
        measured=by_day(day for day in own if not day.estimated),
        estimated=by_day(day for day in own if day.estimated),
        marks=marks,
        since=since,
        until=until,
        limit=limit,
        limit_words=_LIMIT,
    )


def by_day(days: Iterable[Performance]) -> tuple[Performance, ...]:
    """One a day: of several versions the one with most rows, or a newer one with half as many or more.

    So a day on which a version took over is told by the one that goes on.
    """
    found: dict[datetime, list[Performance]] = {}
    for day in days:
        found.setdefault(day.day, []).append(day)
    return tuple(_most_of(found[day]) for day in sorted(found))


def _most_of(day: Sequence[Performance]) -> Performance:
    most = max(each.labels for each in day)
    return max((each for each in day if 2 * each.labels >= most), key=lambda each: each.version)


def slices(course: Course) -> list[Sliced]:
    """Of what was measured, the worst slices first; of what was not, nothing."""
    metric = course.metric
    whole = [d for d in course.days if d.metric == str(metric) and not d.estimated]
    if not whole:
        return []
    every = pooled(whole, metric)[0]
    own: dict[str, list[Performance]] = {}
    for day in course.slices:
        if not day.estimated:
            own.setdefault(day.slice, []).append(day)
    found = [_sliced(name, days, metric, every) for name, days in own.items()]
    known = [s for s in found if math.isfinite(s.value)]
    return sorted(known, key=lambda s: (not s.is_sure, -s.worse, s.name))[:_MOST_SLICES]


def _sliced(name: str, days: Sequence[Performance], metric: AnyMetric, every: float) -> Sliced:
    value, error = pooled(days, metric)
    low, high = value - _NORMAL * error, value + _NORMAL * error
    sign = -1 if metric.higher_is_better else 1
    return Sliced(
        name=name,
        value=value,
        low=low,
        high=high,
        labels=sum(day.labels for day in days),
        worse=sign * (value - every) / abs(every) if every else 0.0,
        is_sure=(high < every) if metric.higher_is_better else (low > every),
        line=tuple(day.value for day in by_day(days) if math.isfinite(day.value)),
    )
