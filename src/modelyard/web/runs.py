"""Runs to compare: the metrics of jobs as curves, and their numbers side by side. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from modelyard.records.jobs import Job, Point
from modelyard.records.metrics import Metric
from modelyard.records.projects import Parameter
from modelyard.records.spans import span
from modelyard.web.charts import Curve
from modelyard.web.words import NONE, number, size

MOST = 6  # runs at a time: so many lines can be told apart
_SHORT = 10  # seconds
_LEAST_COST = 0.0001
_MOST_CURVES = 12
_MOST_POINTS = 400  # of a curve; a longer one is thinned


class Drawing(Struct, frozen=True):
    """The curves of one metric over the lines a script logged, one a job.

    Attributes:
        low, high: of all of them.
    """

    name: str
    curves: tuple[Curve, ...]
    low: float
    high: float


class Row(Struct, frozen=True):
    """One thing of all runs; `best` is the index of the best one, where that can be said."""

    what: str
    values: tuple[str, ...]
    best: int | None = None

    @property
    def differs(self) -> bool:
        """Whether the runs are not the same in it."""
        return len(set(self.values)) > 1


def drawings(points: Mapping[int, Sequence[Point]]) -> list[Drawing]:
    """The metrics that a script logged more than once, each with a curve a job.

    Args:
        points: job to what it logged, in order.
    """
    names = dict.fromkeys(point.name for each in points.values() for point in each)
    found = (_drawing(name, points) for name in names)
    return [drawing for drawing in found if drawing][:_MOST_CURVES]


def _drawing(name: str, points: Mapping[int, Sequence[Point]]) -> Drawing | None:
    series = {job: [(p.line, p.value) for p in each if p.name == name] for job, each in points.items()}
    series = {job: values for job, values in series.items() if values}
    if max(map(len, series.values()), default=0) < 2:  # noqa: PLR2004 - one number is no curve
        return None
    values = [value for each in series.values() for _, value in each]
    curves = tuple(Curve(f"job {job}", i, _thinned(each)) for i, (job, each) in enumerate(series.items()))
    return Drawing(name, curves, min(values), max(values))


def by_parameters(jobs: Sequence[Job]) -> list[Drawing]:
    """Each metric over each number that the runs were given and that differs: a dot a run."""
    pairs = [
        (parameter, metric)
        for parameter in _names(j.parameters for j in jobs)
        for metric in _names(j.metrics for j in jobs)
    ]
    return [found for pair in pairs if (found := _by_parameter(*pair, jobs))][:_MOST_CURVES]


def _by_parameter(parameter: str, metric: str, jobs: Sequence[Job]) -> Drawing | None:
    dots = []
    for place, job in enumerate(jobs):
        given, measured = job.parameters.get(parameter), job.metrics.get(metric)
        if measured is not None and isinstance(given, int | float) and not isinstance(given, bool):
            dots.append((place, job.id, float(given), measured))
    given_to = sorted({given for *_, given, _ in dots})
    if len(given_to) < 2:  # noqa: PLR2004 - of one value nothing can be seen
        return None
    curves = tuple(Curve(f"job {job}", place, ((x, y), (x, y))) for place, job, x, y in dots)
    name = f"{metric} by {parameter}, {number(given_to[0])} to {number(given_to[-1])}"
    values = [measured for *_, measured in dots]
    return Drawing(name, curves, min(values), max(values))


def _thinned(values: list[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    step = math.ceil(len(values) / _MOST_POINTS)
    return tuple(values[::step] if step == 1 else [*values[:-1:step], values[-1]])


def rows(jobs: Sequence[Job]) -> list[Row]:
    """Metrics, parameters, data and what the runs took.

    >>> from datetime import UTC, datetime
    >>> from modelyard.records.jobs import JobState
    >>> job = Job(1, "a/b", "r", "", JobState.FAILED, "", "", "", "git 4f1c", "", datetime.now(UTC))
    >>> rows([job, job])[0]
    Row(what='code', values=('git 4f1c', 'git 4f1c'), best=None)
    """
    found = [_metric(name, [j.metrics.get(name) for j in jobs]) for name in _names(j.metrics for j in jobs)]
    settings = [_settings(job) for job in jobs]
    found += [Row(name, tuple(each.get(name, NONE) for each in settings)) for name in _names(settings)]
    return [
        *found,
        Row("code", tuple(j.code or NONE for j in jobs)),
        Row("project", tuple(j.project[:12] for j in jobs)),
        Row("time", tuple(took(j.usage.seconds) for j in jobs)),
        Row("CPU", tuple(took(j.usage.cpu_seconds) for j in jobs)),
        Row("memory", tuple(size(j.usage.peak_memory) for j in jobs)),
    ]


def _settings(job: Job) -> dict[str, str]:
    """Parameters and data of a run."""
    data = {f"data {i.name}": f"{i.dataset} {i.version}" for i in job.data}
    return {name: setting(value) for name, value in job.parameters.items()} | data


def _names(each: Iterable[Mapping[str, object]]) -> list[str]:
    return sorted({name for one in each for name in one})


def _metric(name: str, values: list[float | None]) -> Row:
    return Row(name, tuple(map(number, values)), _best(name, values))


def _best(name: str, values: list[float | None]) -> int | None:
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:  # noqa: PLR2004 - nothing to be better than
        return None
    try:
        higher = Metric(name).higher_is_better
    except ValueError:
        return None
    return values.index(max(known) if higher else min(known))


def took(seconds: float) -> str:
    """A length of time; a short one with its tenths.

    >>> took(0.42), took(75)
    ('0.4 s', '1 min 15 s')
    """
    return f"{seconds:.1f} s" if seconds < _SHORT else span(seconds)


def cost(value: float) -> str:
    """What something cost, in the yard's currency.

    >>> cost(1.5), cost(0.000004)
    ('1.5000', '< 0.0001')
    """
    return f"{value:,.4f}" if value >= _LEAST_COST else f"< {_LEAST_COST}"


def setting(value: Parameter) -> str:
    """A parameter as `yard.toml` writes it.

    >>> setting(True), setting(0.5)
    ('true', '0.5')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)
