"""A year at sea, written to the database as the watch writes it: days, findings, verdicts, columns that move.

For pages and their figures: what is counted, matched and decided has tests of its own.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from sqlalchemy import Connection, update

from modelyard.catalog import summaries
from modelyard.catalog.summaries import Summary
from modelyard.records.metrics import Metric
from modelyard.records.policies import Level
from modelyard.records.predictions import Finding, Performance, day_of
from modelyard.records.verdicts import HeldOut, Numbers, Slice, Verdict, VerdictState
from modelyard.store import segments, verdicts, watch
from modelyard.store.schema import alias_history

DAY = timedelta(days=1)
CARRIERS = ("UA", "DL", "AA")
ROWS = 2_000


def year(connection: Connection, model: str, changes: dict[int, int], now: datetime, days: int = 365) -> None:
    """Performance by day, measured until twelve days ago and estimated since, with slices.

    Args:
        changes: version to how many days ago it became champion.
    """
    chance, today = np.random.default_rng(11), day_of(now)
    for ago in range(days, -1, -1):
        version = max((v for v, began in changes.items() if began >= ago), default=min(changes))
        age = max(0, min(changes[version], days) - ago)
        level = 11.0 - 0.4 * version + 0.018 * age + 0.4 * math.sin(ago / 9) + float(chance.normal(0, 0.12))
        day = (model, version, today - DAY * ago)
        if ago > 12:
            own = [_day(day, metric, "", level * by, 1_900) for metric, by in (("mae", 1.0), ("rmse", 1.38))]
            own += [
                _day(day, "mae", f"carrier={c}", level * by, 600)
                for c, by in zip(CARRIERS, (0.9, 1.0, 1.24), strict=True)
            ]
            watch.put_performance(connection, day, own)
        if ago < 70 or ago > changes[version] - 35:
            guess = _day(
                day, "mae", "", level * (1 + float(chance.normal(0, 0.02))), 2_000, wide=3.0, estimated=True
            )
            watch.put_performance(connection, day, [guess], estimated=True)


def _day(
    day: tuple[str, int, datetime],
    metric: str,
    of: str,
    value: float,
    rows: int,
    *,
    wide: float = 1.0,
    estimated: bool = False,
) -> Performance:
    error = wide * value / math.sqrt(rows)
    return Performance(*day, metric, of, value, value - 1.96 * error, value + 1.96 * error, rows, estimated)


def columns(rows: int = ROWS, moved: float = 0.0, *, new: bool = False) -> Summary:
    """Predictions of the fuel model: distances, carriers, answers."""
    chance = np.random.default_rng(7)
    distance = chance.gamma(3.0, 380.0, rows) + 80 + moved * 500
    carriers = [*CARRIERS, "WN"] if new else list(CARRIERS)
    weights = [0.4, 0.3, 0.2, 0.1] if new else [0.5, 0.3, 0.2]
    table = pl.DataFrame(
        {
            "row": np.zeros(rows, dtype=np.int64),
            "caller": ["gate-screens"] * rows,
            "seconds": chance.gamma(2.0, 0.001, rows),
            "in:distance": distance,
            "in:carrier": chance.choice(carriers, rows, p=weights),
            "out:prediction": 2 * distance + chance.normal(0, 80, rows),
        }
    )
    return summaries.summarise(table)


def seen(connection: Connection, model: str, version: int, now: datetime, days: int = 30) -> None:
    """What the version was made on, and days of predictions that have moved away from it."""
    reference = summaries.binned_on_itself(columns(20_000))
    source = "the data it was trained on, finance/flights/3"
    segments.put_profile(connection, (model, version), source, summaries.pack(reference), now)
    packed = summaries.pack(columns(moved=0.9, new=True))
    for ago in range(days):
        for grain, at in ((segments.DAY, day_of(now) - DAY * ago), (segments.HOUR, day_of(now) - DAY * ago)):
            if grain == segments.DAY or ago < 3:
                segments.merge_summary(connection, (model, version, grain, at), ROWS, lambda _: packed)


def findings(connection: Connection, model: str, version: int, now: datetime) -> list[Finding]:
    """One of each level that is open, one that somebody looks at, and one that is over."""
    words = {
        (
            "drift",
            "distance",
            Level.HIGH,
        ): "distance moved by +0.68 standard deviations: on average 1,670, before 1,220.",
        (
            "new-category",
            "carrier",
            Level.MEDIUM,
        ): "10.0% of carrier have a value that was never seen before: 'WN'.",
        ("estimated", "", Level.MEDIUM): "mae is estimated at 13.6, 9 % worse than in its first month.",
        ("outputs", "prediction", Level.LOW): "prediction moved by +0.31 standard deviations.",
        ("volume", "", Level.MEDIUM): "12 predictions were asked for in an hour; 310 are usual for it.",
    }
    made = [
        Finding(
            model, version, kind, level, said, now - DAY, now, now - 3 * DAY, now, column,
            effect=0.68, measure="standard deviations", rows=ROWS, share=0.4, callers=1.0,
            caller="gate-screens", slices=("carrier=AA",), metric=Metric.MAE, cost=0.9,
        )
        for (kind, column, level), said in words.items()
    ]  # fmt: skip
    kept = [watch.notice(connection, finding) for finding in made]
    watch.close_others(connection, model, version, [f.subject for f in kept[:4]], now)
    watch.acknowledge(connection, kept[3].id, "owner-anna")
    return kept


def verdict(connection: Connection, model: str, candidate: int, champion: int, at: datetime) -> None:
    """A verdict that let a candidate pass."""
    measured = Numbers(
        Metric.MAE,
        4_000,
        12,
        0,
        10.9,
        11.8,
        0.9,
        0.6,
        1.2,
        (Slice("carrier", "AA", 800, 13.0, 13.4, -0.03, is_sure=False),),
    )
    words = f"Version {candidate} passed: mae 10.9, version {champion} has 11.8 on the same 4,000 rows."
    held = HeldOut("actual", dataset="finance/flights", number=3)
    made = Verdict(
        0,
        model,
        candidate,
        champion,
        VerdictState.PASSED,
        words,
        held,
        at,
        "the yard",
        numbers=measured,
        judged_at=at,
    )
    verdicts.add(connection, made)


def champions(connection: Connection, model: str, changes: dict[int, int], now: datetime) -> None:
    """Say that the versions became champion so many days ago."""
    for version, ago in changes.items():
        this = (alias_history.c.model == model) & (alias_history.c.after == version)
        connection.execute(update(alias_history).where(this).values(changed_at=now - DAY * ago))
