"""A model's policy: when it is retrained, what a candidate must beat, and how it is rolled out.

These are `[retrain]` and `[promote]` of `yard.toml`. A record keeps what a person wrote, as they wrote it,
and says what it means by properties; a record that there is was checked.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NoReturn

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.metrics import Metric, can_name
from modelyard.records.references import Reference, shown
from modelyard.records.rollouts import Rules, Stage, StageKind
from modelyard.records.schedules import check_schedule
from modelyard.records.spans import bytes_of, seconds_of, share_of
from modelyard.records.tables import read_table

_BUDGET = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?) cpu-(hours|minutes) ?/ ?day", re.ASCII)
_HOLDOUT = re.compile(r"newest (?:([0-9]{1,2}(?:\.[0-9]{1,2})?)%|([0-9]{1,9}) rows)", re.ASCII)
_STAGE = re.compile(r"(?:(shadow)|canary ([0-9]{1,2}(?:\.[0-9]{1,2})?)%) ([0-9]{1,6}[smhdw])", re.ASCII)
_TIMES = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)x", re.ASCII)
_MILLISECONDS = re.compile(r"([0-9]{1,6}) ?ms", re.ASCII)
_CPU = {"hours": 3600.0, "minutes": 60.0}
_MOST_STAGES = 12
_MOST_SLICES = 20
_MOST_UPSTREAM = 20
_MOST_ROWS = 10**9
_SPANS = "a number and s, m, h, d or w, as `6h`"


class Level(StrEnum):
    """How grave a finding is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0, 1, 2: the graver the larger."""
        return list(Level).index(self)


class Retrain(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[retrain]`: what leads to a new training. What is left out leads to none.

    Attributes:
        schedule: cron, five fields, UTC. What was missed while the yard was down runs once.
        new_rows: so many labelled rows since the last training.
        drift: a finding at or above this level.
        worse_by: measured (or estimated) performance so much worse than in the champion's first month.
        max_age: since the champion was trained.
        new_data: a new version of an input dataset.
        upstream: models whose new champion leads to a training here, as `department/name`.
        cooldown: the shortest time between two trainings that the yard starts by itself.
        budget: of CPU time, over the last 24 hours; `""` for none.

    Raises:
        InvalidError: a value that means nothing; `key` names it.
    """

    schedule: str = ""
    new_rows: int | None = None
    drift: Level | None = None
    worse_by: str = ""
    max_age: str = ""
    new_data: bool = False
    upstream: tuple[str, ...] = ()
    cooldown: str = "1h"
    budget: str = ""

    def __post_init__(self) -> None:
        if self.schedule:
            try:
                check_schedule(self.schedule)
            except InvalidError as error:
                raise InvalidError(error.message, error.hint, key="retrain.schedule") from None
        if self.new_rows is not None and not 1 <= self.new_rows <= _MOST_ROWS:
            _refuse("retrain.new_rows", str(self.new_rows), f"a whole number from 1 to {_MOST_ROWS:,}")
        _check("retrain.worse_by", self.worse_by, share_of(self.worse_by), "a percentage, as `5%`")
        _check("retrain.max_age", self.max_age, seconds_of(self.max_age), _SPANS)
        if seconds_of(self.cooldown) is None:
            _refuse("retrain.cooldown", self.cooldown, _SPANS)
        _check("retrain.budget", self.budget, self.budget_seconds, "as `2 cpu-hours / day`")
        _check_upstream(self.upstream)

    @property
    def worse_share(self) -> float | None:
        """`worse_by` as a share."""
        return share_of(self.worse_by)

    @property
    def max_age_seconds(self) -> int | None:
        """`max_age` in seconds."""
        return seconds_of(self.max_age) or None

    @property
    def cooldown_seconds(self) -> int:
        """`cooldown` in seconds."""
        return seconds_of(self.cooldown) or 0

    @property
    def budget_seconds(self) -> float | None:
        """`budget` in CPU seconds a day, or None for no limit."""
        found = _BUDGET.fullmatch(self.budget)
        return float(found[1]) * _CPU[found[2]] if found else None


class Approval(StrEnum):
    """Who lets a candidate that has passed all stages become champion."""

    AUTO = "auto"
    OWNER = "owner"


class Opponent(StrEnum):
    """What a candidate must beat."""

    CHAMPION = "champion"
    NOTHING = "nothing"


class Promote(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[promote]`: what a candidate must show, and how it takes over.

    Attributes:
        metric: see `records.metrics`, or one of the model's own; by default that of the model's task.
        holdout: `newest 20%` or `newest 5000 rows` of the training data, which no training sees.
        must_beat: the champion on the same rows, or nothing.
        slices: columns; among the rows of none of their values may the candidate be worse by more than
        slice_tolerance: this share of the champion's own value.
        latency: how long an answer may take: `2x` of the champion's, or `200 ms`.
        size: the largest bundle, as `500 MB`.
        rollout: the stages before it is champion: `shadow 30m`, `canary 10% 30m`; none is at once.
        sticky: a column, of the model's or beside it, whose values see one version each during a canary.
        differ: in shadow, the largest share of answers that may differ a lot from the champion's.
        approval: `owner` waits for a person after the last stage.

    Raises:
        InvalidError: a value that means nothing; `key` names it.
    """

    metric: str = ""
    holdout: str = "newest 20%"
    must_beat: Opponent = Opponent.CHAMPION
    slices: tuple[str, ...] = ()
    slice_tolerance: str = "5%"
    latency: str = "2x"
    size: str = ""
    rollout: tuple[str, ...] = ("shadow 30m", "canary 10% 30m", "canary 50% 30m")
    sticky: str = ""
    differ: str = "50%"
    approval: Approval = Approval.AUTO

    def __post_init__(self) -> None:
        if self.metric and not can_name(self.metric):
            due = f"one of {', '.join(Metric)}, or the name of a metric of the model's own"
            _refuse("promote.metric", self.metric, due)
        if _holdout(self.holdout) is None:
            _refuse("promote.holdout", self.holdout, "`newest 20%` or `newest 5000 rows`")
        if len(self.slices) > _MOST_SLICES or not all(self.slices):
            _refuse("promote.slices", str(list(self.slices)), f"at most {_MOST_SLICES} column names")
        if share_of(self.slice_tolerance) is None:
            _refuse("promote.slice_tolerance", self.slice_tolerance, "a percentage, as `5%`")
        if self.latency_times is None and self.latency_seconds is None:
            _refuse("promote.latency", self.latency, "`2x` (of the champion's) or `200 ms`")
        _check("promote.size", self.size, bytes_of(self.size), "as `500 MB`")
        if share_of(self.differ) is None:
            _refuse("promote.differ", self.differ, "a percentage, as `50%`")
        if len(self.rollout) > _MOST_STAGES:
            _refuse("promote.rollout", f"{len(self.rollout)} stages", f"at most {_MOST_STAGES} stages")
        read_stages(self.rollout)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """`rollout` as stages."""
        return read_stages(self.rollout)

    def rules(self, edges: tuple[float, ...] = (), *expected: tuple[float, ...]) -> Rules:
        """What a rollout keeps to.

        Args:
            edges: of the bins of outputs,
            expected: and the shares in them on the held-out rows: the candidate's, then the champion's.
        """
        mine, champion = expected or ((), ())
        return Rules(
            stages=self.stages,
            needs_approval=self.approval is Approval.OWNER,
            sticky=self.sticky,
            latency_times=self.latency_times,
            latency_seconds=self.latency_seconds,
            differ=self.differ_share,
            edges=edges,
            expected=mine,
            champion_expected=champion,
        )

    @property
    def tolerance(self) -> float:
        """`slice_tolerance` as a share."""
        return share_of(self.slice_tolerance) or 0.0

    @property
    def differ_share(self) -> float:
        """`differ` as a share."""
        return share_of(self.differ) or 0.0

    @property
    def latency_times(self) -> float | None:
        """How many times the champion's latency, or None if the limit is in milliseconds."""
        found = _TIMES.fullmatch(self.latency)
        return (float(found[1]) or None) if found else None

    @property
    def latency_seconds(self) -> float | None:
        """The limit in seconds, or None if it is relative to the champion."""
        found = _MILLISECONDS.fullmatch(self.latency)
        return (int(found[1]) / 1000 or None) if found else None

    @property
    def size_bytes(self) -> int | None:
        """`size` in bytes, or None for no limit."""
        return bytes_of(self.size)

    def held_out(self, rows: int) -> int:
        """How many of so many rows, the newest, are held out from training and used to compare.

        >>> Promote().held_out(101), Promote(holdout="newest 30 rows").held_out(20)
        (20, 20)
        """
        share, count = _holdout(self.holdout) or (0.0, 0)
        return min(rows, count) if count else int(rows * share)


class Policy(Struct, frozen=True):
    """A model's policy, and who set it.

    Attributes:
        model: `department/name`.
        paused: no training is started by the yard itself; a rollout that goes on goes on.
        source: where it was set: `job 17`, or a person's hand.
    """

    model: str
    retrain: Retrain
    promote: Promote
    paused: bool
    source: str
    changed_at: datetime
    changed_by: str


def read_retrain(table: Mapping[str, object]) -> Retrain:
    """`[retrain]` as it stands in a file.

    Raises:
        InvalidError: an unknown key, a wrong type or a value that means nothing; `key` is `retrain.NAME`.
    """
    return read_table(table, Retrain, "retrain")


def read_promote(table: Mapping[str, object]) -> Promote:
    """`[promote]` as it stands in a file.

    Raises:
        InvalidError: see `read_retrain`.
    """
    return read_table(table, Promote, "promote")


def read_stages(texts: tuple[str, ...]) -> tuple[Stage, ...]:
    """The stages of a rollout as a person writes them; none takes less traffic than the one before.

    Raises:
        InvalidError: one that is none, or out of order.

    >>> [stage.share for stage in read_stages(("shadow 30m", "canary 10% 30m"))]
    [0.0, 0.1]
    """
    stages = tuple(_stage(text) for text in texts)
    for earlier, later in itertools.pairwise(stages):
        if later.share < earlier.share:
            _refuse("promote.rollout", str(list(texts)), "shadow first, then canaries of growing shares")
    return stages


def _stage(text: str) -> Stage:
    found = _STAGE.fullmatch(text)
    share = float(found[2]) / 100 if found and found[2] else 0.0
    if found is None or (found[2] and not share):
        _refuse("promote.rollout", text, "`shadow 30m` or `canary 10% 30m` (1 to 99 %)")
    kind = StageKind.SHADOW if found[1] else StageKind.CANARY
    return Stage(kind, share, float(seconds_of(found[3]) or 0))


def _holdout(text: str) -> tuple[float, int] | None:
    found = _HOLDOUT.fullmatch(text)
    if found is None:
        return None
    share, count = float(found[1] or 0) / 100, int(found[2] or 0)
    return (share, count) if share or count else None


def _check(key: str, text: str, value: object, due: str) -> None:
    if text and value is None:
        _refuse(key, text, due)


def _check_upstream(models: tuple[str, ...]) -> None:
    for text in models:
        try:
            is_model = str(Reference.parse(text).model) == text
        except InvalidError:
            is_model = False
        if not is_model or len(models) > _MOST_UPSTREAM:
            _refuse("retrain.upstream", text, f"at most {_MOST_UPSTREAM} models, as `department/name`")


def _refuse(key: str, text: str, due: str) -> NoReturn:
    table, _, name = key.partition(".")
    raise InvalidError(f"[{table}] {name} is {shown(text)}.", f"It must be {due}.", key=key)
