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
    """Counts answers; keys are whole Prometheus sample names with labels."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._labels: dict[tuple[str, int], str] = {}

    def answered(self, model: str, version: int, rows: int, seconds: float) -> None:
        """One request was answered."""
        labels = self._label(model, version)
        add = self._add
        add(f'modelyard_predict_requests_total{{{labels},outcome="answered"}}', 1)
        add(f"modelyard_predict_rows_total{{{labels}}}", rows)
        add(f"modelyard_predict_seconds_sum{{{labels}}}", seconds)
        add(f"modelyard_predict_seconds_count{{{labels}}}", 1)
        place = bisect_left(BUCKETS, seconds)
        bound = BUCKETS[place] if place < len(BUCKETS) else "+Inf"
        add(f'modelyard_predict_seconds_bucket{{{labels},le="{bound}"}}', 1)

    def failed(self, model: str, version: int, code: str) -> None:
        """One request was refused or failed, with this error code."""
        labels = self._label(model, version)
        self._add(f'modelyard_predict_requests_total{{{labels},outcome="{code}"}}', 1)

    def _add(self, key: str, by: float) -> None:
        self.values[key] = self.values.get(key, 0.0) + by

    def _label(self, model: str, version: int) -> str:
        key = (model, version)
        label = self._labels.get(key)
        if label is None:
            label = self._labels[key] = f'model="{model}",version="{version}"'
        return label


def exposition(values: dict[str, float], departments: Iterable[str] | None) -> str:
    """Counters as Prometheus reads them; only of these departments (None: all).

    The buckets are made cumulative here, where they are read, not where they are counted.
    """
    allowed = None if departments is None else tuple(f'model="{d}/' for d in departments)
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
