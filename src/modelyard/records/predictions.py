"""Predictions after they were answered: where they are kept, how long, and what the watch noticed in them."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.metrics import Metric
from modelyard.records.policies import Level

INPUT, OUTPUT = "in:", "out:"  # before the names of a model's columns, in frames and in segments
VOLUME = "volume"  # the kind of finding that an hour had fewer rows than usual
_MOST_DAYS = 36_500
_MOST_COLUMNS = 200


class Kind(StrEnum):
    """What a segment holds."""

    PREDICTIONS = "predictions"
    OUTCOMES = "outcomes"


class Keeping(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a model's predictions are kept once they leave the spool.

    Attributes:
        days: rows older than so many days are deleted; their summaries stay.
        drop: columns, of the model's or beside it, that are not kept.
        hash: columns of which a keyed hash is kept: equal values stay equal, nobody reads them.

    Raises:
        InvalidError: a value that means nothing; `key` names it.
    """

    days: int = 400
    drop: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.days <= _MOST_DAYS:
            raise InvalidError(f"days is {self.days}.", f"It must be 1 to {_MOST_DAYS}.", key="days")
        if len(self.drop) + len(self.hash) > _MOST_COLUMNS:
            raise InvalidError("Too many columns are named.", f"Name at most {_MOST_COLUMNS}.", key="drop")
        if both := set(self.drop) & set(self.hash):
            message = f"The column {min(both)!r} is to be dropped and hashed."
            raise InvalidError(message, "Name it once.", key="hash")


class Segment(Struct, frozen=True):
    """Shipped rows of one model, kind, version and day, as a Parquet blob.

    Attributes:
        id: unique in the yard; 0 before it is kept.
        version: 0 for outcomes.
        day: its beginning, UTC.
        first_at, last_at: of its rows.
        requests: of each front's start (the first part of a request's id), the lowest and highest number.
    """

    id: int
    model: str
    kind: Kind
    version: int
    day: datetime
    node: str
    digest: str
    size: int
    rows: int
    first_at: datetime
    last_at: datetime
    shipped_at: datetime
    requests: dict[str, tuple[int, int]]


class Labelled(Struct, frozen=True):
    """Predictions of one version and day whose outcomes are known, as a Parquet blob."""

    model: str
    version: int
    day: datetime
    rows: int
    digest: str
    changed_at: datetime


class Waiting(Struct, frozen=True):
    """Outcomes of a model that no prediction was found for yet, as a Parquet blob; when they came."""

    model: str
    digest: str
    rows: int
    first_at: datetime
    last_at: datetime


class Performance(Struct, frozen=True):
    """How good a version was on one day, or over a window.

    Attributes:
        day: its beginning, UTC.
        metric: of `records.metrics`, or one of the model's own.
        slice: `column=value`, or empty for all rows.
        value, low, high: with its 95 % interval.
        labels: rows behind it (for an estimate: the rows it was made for).
        estimated: made without outcomes.
    """

    model: str
    version: int
    day: datetime
    metric: str
    slice: str
    value: float
    low: float
    high: float
    labels: int
    estimated: bool = False


class Finding(Struct, frozen=True):
    """Something the watch noticed about a version.

    Attributes:
        id: unique in the yard; 0 before it is kept.
        kind: `drift`, `outputs`, `missing`, `out-of-range`, `new-category`, `type`, `constant`, `volume`,
            `performance` or `estimated`.
        column: what it is about, or empty.
        level: how grave it is.
        effect: its size, as `measure` says.
        measure: what `effect` is, in words, as `standard deviations`.
        rows: behind it, in the window.
        share: of the window's rows that carry it, 0 to 1, where that can be said.
        since, until: the window.
        callers: the share of the callers behind it, 0 to 1, and the one most of it comes from.
        caller: that one.
        slices: where it is strongest, as `carrier=UA`.
        examples: some of the rows that carry it, as `REQUEST_ID/ROW`.
        cost: what it is estimated to do to `metric` (positive: worse); None where that cannot be said.
        cost_share: the same as a share of what `metric` would be without it.
        against: what the window is compared with, in words: the reference, or the last good day.
        good_effect: the effect against the last good day, where it is new since then.
        words: for a person.
        noticed_at, seen_at, closed_at: the first and the last window that showed it; when it was over.
        acknowledged_by: who has seen it, or empty.
    """

    model: str
    version: int
    kind: str
    level: Level
    words: str
    since: datetime
    until: datetime
    noticed_at: datetime
    seen_at: datetime
    column: str = ""
    effect: float = 0.0
    measure: str = ""
    rows: int = 0
    share: float | None = None
    callers: float | None = None
    caller: str = ""
    slices: tuple[str, ...] = ()
    metric: Metric | None = None
    cost: float | None = None
    cost_share: float | None = None
    examples: tuple[str, ...] = ()
    against: str = ""
    good_effect: float | None = None
    id: int = 0
    closed_at: datetime | None = None
    acknowledged_by: str = ""

    @property
    def subject(self) -> str:
        """What it is about: of one there is one open finding at most."""
        return f"{self.kind}:{self.column}"


def day_of(moment: datetime) -> datetime:
    """The beginning of its day, UTC."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def hour_of(moment: datetime) -> datetime:
    """The beginning of its hour."""
    return moment.replace(minute=0, second=0, microsecond=0)


def days_of(since: datetime, until: datetime) -> list[datetime]:
    """The days that a span touches, oldest first; none where it ends before it begins."""
    first = day_of(since)
    count = -((first - until) // timedelta(days=1)) if until > since else 0
    return [first + timedelta(days=n) for n in range(count)]
