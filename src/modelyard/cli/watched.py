"""How well a model does, as `yard watch` and `yard show` print it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from modelyard.cli import output
from modelyard.records.estimates import PastError
from modelyard.records.predictions import Finding, Performance

if TYPE_CHECKING:
    from modelyard.client.connection import Connection  # brings httpx: `yard --help` does without

_SHOWN_DAYS = 14
METRICS = ("metric", "version", "day", "value", "95 % interval", "labels", "past error")


class Outcomes(Struct, frozen=True):
    """How many outcomes have met their prediction, and how many wait for one."""

    labelled: int
    waiting: int


class Window(Struct, frozen=True):
    """A day of a version."""

    day: str
    version: int
    rows: int
    labels: int


class Watched(Struct, frozen=True):
    """A model at sea; see `catalog.watch.Watched`."""

    champion: int | None
    windows: list[Window]
    metrics: list[Performance]
    findings: list[Finding]
    outcomes: Outcomes
    reference: str
    estimates: list[PastError] = []


def watched_of(connection: Connection, model: str) -> Watched:
    """How a model does."""
    return connection.get(f"/api/v1/models/{model}/watch", Watched)


def print_watched(model: str, watched: Watched) -> None:
    """All of it, for a person."""
    output.print_facts(
        [
            ("model", model),
            ("champion", watched.champion or "none"),
            ("compared with", watched.reference or "nothing yet"),
            ("outcomes", f"{watched.outcomes.labelled:,} labelled, {watched.outcomes.waiting:,} waiting"),
            ("findings", f"{len(watched.findings):,} open"),
        ]
    )
    tables = (
        (
            ("day", "version", "predictions", "labels"),
            [(w.day[:10], w.version, f"{w.rows:,}", f"{w.labels:,}") for w in watched.windows[-_SHOWN_DAYS:]],
            "Days",
        ),
        (METRICS, list(metric_rows(watched)), "Newest metrics"),
        (
            ("estimate", "version", "judgement", "why"),
            [(e.metric, e.version, e.judgement.value, e.words) for e in watched.estimates],
            "Are the estimates to be trusted?",
        ),
        (
            ("finding", "level", "since", "what"),
            [(f.id, f.level.value, output.when(f.noticed_at), f.words) for f in watched.findings],
            "Findings",
        ),
    )
    for columns, rows, title in tables:
        if rows:
            output.print_table(columns, rows, f"\n{title}")


def metric_rows(watched: Watched, version: int | None = None) -> Iterator[Sequence[object]]:
    """The newest value of each metric, of one version or all; an estimate with how far it was off before."""
    past = {(e.version, e.metric): e for e in watched.estimates}
    last = {(p.metric, p.version, p.estimated): p for p in watched.metrics}
    for p in last.values():
        if version not in (None, p.version):
            continue
        known = past.get((p.version, p.metric)) if p.estimated else None
        error = "" if known is None or known.error is None else f"{known.error:.3g} ({known.judgement})"
        yield (
            f"{p.metric}{' (estimated)' if p.estimated else ''}",
            p.version,
            p.day.strftime("%Y-%m-%d"),
            f"{p.value:.4g}",
            f"{p.low:.4g} to {p.high:.4g}",
            f"{p.labels:,}",
            error,
        )
