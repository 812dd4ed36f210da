"""What a front has answered, as Prometheus counts it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

_HELP = {
    "modelyard_predict_requests_total": ("counter", "Prediction requests, by model, version and outcome."),
    "modelyard_predict_rows_total": ("counter", "Rows answered."),
    "modelyard_predict_seconds": ("histogram", "Time from the request's last byte to its answer's first."),
}


class Counters:
    """Counts answers, by model and version."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, int], _Answered] = {}
        self._failed: dict[tuple[str, int, str], int] = {}

    def answered(self, model: str, version: int, rows: int, seconds: float) -> None:
        """One request was answered."""
        found = self._answered.get((model, version))
        if found is None:
            found = self._answered[model, version] = _Answered()
        found.rows += rows
        found.seconds += seconds
        found.buckets[bisect_left(BUCKETS, seconds)] += 1

    def failed(self, model: str, version: int, code: str) -> None:
        """One request was refused or failed, with this error code."""
        key = (model, version, code)
        self._failed[key] = self._failed.get(key, 0) + 1

    @property
    def values(self) -> dict[str, float]:
        """The counts; keys are whole Prometheus sample names with labels."""
        values: dict[str, float] = {}
        for (model, version), found in self._answered.items():
            labels = f'model="{model}",version="{version}"'
            asked = float(sum(found.buckets))
            values[f'modelyard_predict_requests_total{{{labels},outcome="answered"}}'] = asked
            values[f"modelyard_predict_rows_total{{{labels}}}"] = float(found.rows)
            values[f"modelyard_predict_seconds_sum{{{labels}}}"] = found.seconds
            values[f"modelyard_predict_seconds_count{{{labels}}}"] = asked
            for bound, count in zip((*BUCKETS, "+Inf"), found.buckets, strict=True):
                if count:
                    values[f'modelyard_predict_seconds_bucket{{{labels},le="{bound}"}}'] = float(count)
        for (model, version, code), count in self._failed.items():
            labels = f'model="{model}",version="{version}",outcome="{code}"'
            values[f"modelyard_predict_requests_total{{{labels}}}"] = float(count)
        return values


class _Answered:
    """What was answered by one version."""

    __slots__ = ("buckets", "rows", "seconds")

    def __init__(self) -> None:
        self.rows = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)


def exposition(
    values: dict[str, float], departments: Iterable[str] | None, models: Iterable[str] = ()
) -> str:
    """Counters as Prometheus reads them; only of these departments (None: all) and these models.

    The buckets are made cumulative here, where they are read, not where they are counted.
    """
    allowed = None if departments is None else [f'model="{d}/' for d in departments]
    if allowed is not None:
        allowed += [f'model="{m}"' for m in models]
    shown = {k: v for k, v in values.items() if allowed is None or any(a in k for a in allowed)}
    lines: list[str] = []
    for family, (kind, text) in _HELP.items():
        lines += [f"# HELP {family} {text}", f"# TYPE {family} {kind}"]
        samples = {k: v for k, v in shown.items() if k.startswith(family)}
        lines += _cumulative(family, samples) if kind == "histogram" else _plain(samples)
    return "\n".join(lines) + "\n"


def _plain(samples: dict[str, float]) -> list[str]:
    return [f"{key} {_exact(value)}" for key, value in sorted(samples.items())]


def _exact(value: float) -> str:
    """All its digits: a counter that is rounded stands still, then jumps."""
    return str(int(value)) if value.is_integer() else repr(value)


def _cumulative(family: str, samples: dict[str, float]) -> list[str]:
    prefix = f"{family}_count{{"
    lines: list[str] = []
    for labels in sorted(k[len(prefix) : -1] for k in samples if k.startswith(prefix)):
        total = 0.0
        for bound in (*BUCKETS, "+Inf"):
            key = f'{family}_bucket{{{labels},le="{bound}"}}'
            total += samples.get(key, 0.0)
            lines.append(f"{key} {_exact(total)}")
        for part in ("sum", "count"):
            key = f"{family}_{part}{{{labels}}}"
            lines.append(f"{key} {_exact(samples.get(key, 0.0))}")
    return lines
