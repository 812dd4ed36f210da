"""Who and what is behind a finding: callers, slices, some of its rows, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec
import polars as pl
from msgspec import Struct

from modelyard.catalog.registry import Registry
from modelyard.catalog.summaries import Numbers, Summary, Texts
from modelyard.loop.drift import most_grown
from modelyard.loop.kept import Kept, drop_old
from modelyard.loop.labelled import Rows, newest, tenths
from modelyard.loop.losses import FEWEST, LossModel, cost_of, loss_model
from modelyard.loop.quality import looks_like_number
from modelyard.records.metrics import Metric, default_metric
from modelyard.records.models import Version
from modelyard.records.policies import Level
from modelyard.records.predictions import INPUT, OUTPUT, Finding, Kind, Labelled, day_of
from modelyard.records.signatures import ColumnType, Signature
from modelyard.store import segments
from modelyard.store.database import Database

_MOST = 100_000  # rows that are looked through
_COSTED = 20_000  # rows that a cost is of
_HALF, _STRONG = 0.5, 1.5  # times as far as all rows
_SLICED = 5  # text columns where the policy names no slices
_EXAMPLES = 5
_LITTLE = 0.03  # of the metric: what changes less is hardly worth a word
_EVERY = timedelta(minutes=10)
_LEARNED = 8  # loss models that are kept in memory, with rows
_Learned = tuple[str, int, datetime, int]  # of which version, of days before which, with how many rows


class Behind(Struct, frozen=True):
    """What is behind a finding; see `records.predictions.Finding`."""

    callers: float | None = None
    caller: str = ""
    slices: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    metric: Metric | None = None
    cost: float | None = None
    cost_share: float | None = None
    words: str = ""


class Looker:
    """Looks for what is behind findings; of one that stays as grave, again after ten minutes."""

    def __init__(
        self, database: Database, rows: Rows, registry: Registry, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._rows = rows
        self._registry = registry
        self._clock = clock
        self._known: dict[tuple[str, int, str, Level], tuple[datetime, Behind]] = {}
        self._learned: Kept[_Learned, tuple[LossModel, pl.DataFrame] | None] = Kept(_LEARNED)

    def __call__(
        self, findings: Sequence[Finding], version: Version, reference: Summary, window: Summary
    ) -> list[Finding]:
        """The findings with what is behind them, those of a column that are more than low."""
        now = self._clock()
        wanted = [f for f in findings if f.column and f.level is not Level.LOW]
        known = {_key(f): at[1] for f in wanted if (at := self._known.get(_key(f))) and now - at[0] < _EVERY}
        new = [f for f in wanted if _key(f) not in known]
        rows = self._window(new[0], version) if new else None
        for finding in new:
            found = Behind() if rows is None else self._behind(finding, version, rows, reference, window)
            known[_key(finding)] = found
            self._known[_key(finding)] = now, found
        drop_old(self._known, now - _EVERY, lambda each: each[0])
        return [_with(f, known[_key(f)]) if f in wanted else f for f in findings]

    def _window(self, finding: Finding, version: Version) -> pl.DataFrame | None:
        with self._database.read() as connection:
            found = segments.of_model(connection, finding.model, Kind.PREDICTIONS, since=finding.since)
        rows = self._rows.read(newest([s for s in found if s.version == version.version], _MOST))
        return None if rows is None else rows.filter(pl.col("at") >= finding.since)

    def _behind(
        self, finding: Finding, version: Version, rows: pl.DataFrame, reference: Summary, window: Summary
    ) -> Behind:
        column = (OUTPUT if finding.kind == "outputs" else INPUT) + finding.column
        if column not in rows.columns or not rows.height:
            return Behind()
        before: Numbers | Texts | None = reference.numbers.get(column) or reference.texts.get(column)
        after: Numbers | Texts | None = window.numbers.get(column) or window.texts.get(column)
        moved = (
            None if before is None or after is None else moved_by(finding.kind, rows[column], before, after)
        )
        found = Behind()
        if moved is not None:
            found = self._who(version, rows.with_columns(moved.alias("moved")), column)
        return self._cost(finding, version, rows, column, found)

    def _who(self, version: Version, rows: pl.DataFrame, column: str) -> Behind:
        slices = self._registry.policies.policy(version.model).promote.slices
        names = slices or texts_of(version.bundle.signature)[:_SLICED]
        strong = {name: strongest(rows, INPUT + name) for name in names if INPUT + name != column}
        callers, caller = behind(rows, "caller")
        most = [f"{name}={value}" for name, value in strong.items() if value]
        return Behind(
            callers, caller, tuple(most), examples_of(rows), words=_of_callers(rows, callers, caller)
        )

    def _cost(
        self, finding: Finding, version: Version, rows: pl.DataFrame, column: str, found: Behind
    ) -> Behind:
        learned = self._loss(version, day_of(finding.since))
        if learned is None:
            return found
        model, before = learned
        cost = cost_of(model, rows.tail(_COSTED), before, column)
        if cost is None:
            return found
        share = cost.share
        words = found.words + told(model.metric, cost.cost, share)
        return msgspec.structs.replace(
            found, metric=model.metric, cost=cost.cost, cost_share=share, words=words
        )

    def _loss(self, version: Version, before: datetime) -> tuple[LossModel, pl.DataFrame] | None:
        """The loss model of rows from days before, and these rows."""
        days = self._rows.labelled_days(version.model, version.version, before=before)
        if sum(d.rows for d in days) < FEWEST:
            return None
        key = (version.model, version.version, before, tenths(days))
        return self._learned.of(key, lambda: self._learn(version, days))

    def _learn(self, version: Version, days: list[Labelled]) -> tuple[LossModel, pl.DataFrame] | None:
        labelled = self._rows.read(days)
        if labelled is None:
            return None
        signature = version.bundle.signature
        model = loss_model(labelled, signature, default_metric(signature))
        return None if model is None else (model, labelled.tail(_COSTED))


def _of_callers(rows: pl.DataFrame, share: float, caller: str) -> str:
    """Who is behind it, in words: nobody is where there is one caller."""
    if not caller or rows["caller"].n_unique() == 1:
        return ""
    return " All callers are behind it." if share == 1 else f" Most of it comes from the caller {caller}."


def told(metric: Metric, cost: float, share: float) -> str:
    """What a finding costs, in words.

    >>> told(Metric.MAE, 0.8, 0.06)
    ' By the losses of earlier rows it makes the mae worse by 0.8 (6%).'
    """
    if abs(share) < _LITTLE:
        return f" By the losses of earlier rows it hardly touches the {metric}."
    side = "worse" if cost > 0 else "better"
    return (
        f" By the losses of earlier rows it makes the {metric} {side} by {abs(cost):.3g} ({abs(share):.0%})."
    )


def moved_by(
    kind: str, series: pl.Series, before: Numbers | Texts, after: Numbers | Texts
) -> pl.Series | None:
    """How far each row of a column carries a finding, less what is usual; None where no row does."""
    if kind == "missing":
        is_missing = series.is_null() | (series.is_nan() if series.dtype.is_float() else series.is_null())
        return is_missing.cast(pl.Float64) - before.missing / max(1, before.missing + before.count)
    if isinstance(before, Numbers) or isinstance(after, Numbers):
        return _number_moved(kind, series, before) if isinstance(before, Numbers) else None
    return _text_moved(kind, series.cast(pl.String), before, after)


def _number_moved(kind: str, series: pl.Series, before: Numbers) -> pl.Series | None:
    if kind in ("drift", "outputs"):
        return (series.cast(pl.Float64) - before.mean).fill_nan(None)
    if kind == "out-of-range":
        return _share((series < before.low) | (series > before.high))
    return _share(series != series.floor()) if kind == "type" else None


def _text_moved(kind: str, texts: pl.Series, before: Texts, after: Texts) -> pl.Series | None:
    if kind in ("drift", "outputs"):
        value, usual, _ = most_grown(before, after)
        return _share(texts == value) - usual
    if kind == "new-category":
        return _share(~texts.is_in(list(before.counts)))
    if kind == "type":
        was = any(looks_like_number(v) for v in before.counts)
        return _share(
            texts.is_in([v for v in texts.unique().drop_nulls() if looks_like_number(v) is not was])
        )
    return None


def _share(rows: pl.Series) -> pl.Series:
    return rows.cast(pl.Float64).fill_null(0.0)


def behind(rows: pl.DataFrame, group: str) -> tuple[float, str]:
    """The share of the groups that moved at least half as far as all rows did, and which moved them most.

    Args:
        rows: with `moved`, by how much each differs from what is usual.

    >>> behind(pl.DataFrame({"caller": ["a", "a", "b"], "moved": [3.0, 3.0, 0.0]}), "caller")
    (0.5, 'a')
    """
    whole = rows["moved"].mean()
    if not isinstance(whole, float) or whole == 0 or group not in rows.columns:
        return 0.0, ""
    each = _each(rows, group, whole)
    share = float((each["mean"] / whole >= _HALF).sum() / each.height)
    return share, str(each[group][0])


def strongest(rows: pl.DataFrame, group: str) -> str:
    """The group that most comes from if it moved half as far again as all rows did, or an empty string."""
    whole = rows["moved"].mean()
    if not isinstance(whole, float) or whole == 0 or group not in rows.columns:
        return ""
    each = _each(rows, group, whole)
    return str(each[group][0]) if each["mean"][0] / whole >= _STRONG and each[group][0] is not None else ""


def examples_of(rows: pl.DataFrame) -> tuple[str, ...]:
    """The rows that moved furthest the way all did, as `REQUEST_ID/ROW`."""
    whole = rows["moved"].mean()
    if not isinstance(whole, float) or whole == 0 or not {"request", "row"} <= set(rows.columns):
        return ()
    some = rows.drop_nulls("moved").sort("moved", descending=whole > 0, maintain_order=True).head(_EXAMPLES)
    return tuple(f"{request}/{row}" for request, row in some.select("request", "row").iter_rows())


def _each(rows: pl.DataFrame, group: str, whole: float) -> pl.DataFrame:
    each = rows.group_by(group).agg(pl.col("moved").mean().alias("mean"), pl.col("moved").sum().alias("sum"))
    return each.sort(pl.col("sum") * (1 if whole > 0 else -1), descending=True, nulls_last=True)


def texts_of(signature: Signature) -> tuple[str, ...]:
    """The input columns of texts."""
    return tuple(c.name for c in signature.inputs if c.type is ColumnType.STRING)


def _key(finding: Finding) -> tuple[str, int, str, Level]:
    return finding.model, finding.version, finding.subject, finding.level


def _with(finding: Finding, found: Behind) -> Finding:
    known = msgspec.structs.asdict(found)
    return msgspec.structs.replace(finding, **known | {"words": finding.words + found.words})
