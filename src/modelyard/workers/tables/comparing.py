"""What changed between two versions: schema, rows, distributions."""

from __future__ import annotations

import numpy as np
import polars as pl

from modelyard.records.datasets import ColumnChange, DataType
from modelyard.records.errors import InvalidError
from modelyard.records.references import shown
from modelyard.workers.tables.tasks import Compare, Compared
from modelyard.workers.tables.types import named

MOVED = 0.1  # an effect from which a column is said to have moved
_ROW = "row hash"
_SECOND = " after"


def compare(task: Compare) -> Compared:
    """See `records.datasets.Changes`.

    Raises:
        InvalidError: a column of the key is not in both.
    """
    before, after = (_read(path, task.columns) for path in (task.before, task.after))
    both = [name for name in after.columns if name in before.columns]
    if task.key:
        _check_key(task.key, both)
        rows, differing = _by_key(before, after, task.key, both)
    else:
        rows, differing = _by_row(before, after, both), {}
    names = [*before.columns, *(n for n in after.columns if n not in before.columns)]
    columns = tuple(_column(n, before, after, differing.get(n)) for n in names)
    return Compared(**rows, columns=columns)


def _read(path: str, columns: tuple[str, ...]) -> pl.DataFrame:
    there = pl.scan_parquet(path).collect_schema().names()
    return pl.read_parquet(path, columns=[name for name in there if name in columns])


def _check_key(key: tuple[str, ...], both: list[str]) -> None:
    for name in key:
        if name not in both:
            raise InvalidError(
                f"The key column {shown(name)} is not in both versions, or may not be seen.",
                "Name columns that both have.",
                column=name,
            )


def _by_row(before: pl.DataFrame, after: pl.DataFrame, both: list[str]) -> dict[str, int]:
    """Whole rows, each as often as it is there, in the columns that both have with one type."""
    names = [n for n in both if before[n].dtype == after[n].dtype]
    if not names:
        return _counts(after.height, before.height)
    counts = [
        pl.DataFrame({_ROW: t.select(names).hash_rows()}).group_by(_ROW).len("n") for t in (before, after)
    ]
    joined = counts[0].join(counts[1], on=_ROW, how="full", suffix=_SECOND)
    filled = joined.select(pl.col("n").fill_null(0), pl.col("n" + _SECOND).fill_null(0))
    same = int(filled.min_horizontal().sum()) if filled.height else 0
    return _counts(after.height - same, before.height - same, 0, same)


def _counts(added: int, removed: int, changed: int = 0, same: int = 0, repeated: int = 0) -> dict[str, int]:
    return {"added": added, "removed": removed, "changed": changed, "same": same, "repeated": repeated}


def _by_key(
    before: pl.DataFrame, after: pl.DataFrame, key: tuple[str, ...], both: list[str]
) -> tuple[dict[str, int], dict[str, int]]:
    on = list(key)
    for name in on:
        if before[name].dtype != after[name].dtype:
            was, now = named(before[name].dtype), named(after[name].dtype)
            message = f"The key column {shown(name)} was {was} and is {now}."
            raise InvalidError(message, "Choose another key.", column=name)
    once = [t.filter(pl.struct(on).is_unique()) for t in (before, after)]
    repeated = sum(
        t.select(pl.struct(on).n_unique()).item() - u.height
        for t, u in zip((before, after), once, strict=True)
    )
    values = [n for n in both if n not in key and before[n].dtype == after[n].dtype]
    matched = (
        once[0]
        .select(on + values)
        .join(once[1].select(on + values), on=on, how="inner", suffix=_SECOND, nulls_equal=True)
    )
    flags = matched.select([pl.col(n).ne_missing(pl.col(n + _SECOND)).alias(n) for n in values])
    differing = {n: int(flags[n].sum()) for n in values}
    changed = int(flags.select(pl.any_horizontal(pl.all())).to_series().sum()) if values else 0
    gone = once[0].join(after.select(on), on=on, how="anti", nulls_equal=True).height
    new = once[1].join(before.select(on), on=on, how="anti", nulls_equal=True).height
    rows = _counts(new, gone, changed, matched.height - changed, repeated)
    return rows, differing


def _column(name: str, before: pl.DataFrame, after: pl.DataFrame, changed: int | None) -> ColumnChange:
    old = before[name] if name in before.columns else None
    new = after[name] if name in after.columns else None
    if old is None or new is None:
        what = "added" if old is None else "removed"
        return ColumnChange(name, what, _type(old), _type(new), _missing(old), _missing(new))
    moved = effect(old, new) if old.dtype == new.dtype else None
    what = "retyped" if moved is None else "moved" if moved >= MOVED else "same"
    means = (_mean(old), _mean(new)) if moved is not None else (None, None)
    return ColumnChange(
        name, what, _type(old), _type(new), _missing(old), _missing(new), moved, *means, changed=changed
    )


def _type(series: pl.Series | None) -> DataType | None:
    return None if series is None else named(series.dtype)


def _missing(series: pl.Series | None) -> float | None:
    return None if series is None else series.null_count() / len(series)


def _mean(series: pl.Series) -> float | None:
    if not series.dtype.is_numeric():
        return None
    finite = series.drop_nulls().cast(pl.Float64)
    mean = finite.filter(finite.is_finite()).mean()
    return float(mean) if isinstance(mean, float) else None


def effect(before: pl.Series, after: pl.Series) -> float:
    """How far a column's distribution moved, 0 to 1; the share of missing values counts, too.

    Of numbers and times it is Kolmogorov and Smirnov's D, of other values the total variation.

    >>> effect(pl.Series([1.0, 2.0]), pl.Series([3.0, 4.0]))
    1.0
    >>> effect(pl.Series(["a", "b"]), pl.Series(["a", "a"]))
    0.5
    """
    missing = abs((_missing(before) or 0.0) - (_missing(after) or 0.0))
    old, new = before.drop_nulls(), after.drop_nulls()
    if not len(old) or not len(new):
        return round(missing, 6)
    if old.dtype in (pl.String, pl.Boolean):
        moved = _total_variation(old, new)
    else:
        moved = _ks(
            old.to_physical().cast(pl.Float64).to_numpy(), new.to_physical().cast(pl.Float64).to_numpy()
        )
    return round(max(moved, missing), 6)


def _ks(old: np.ndarray, new: np.ndarray) -> float:
    old, new = np.sort(old), np.sort(new)
    every = np.concatenate([old, new])
    shares = [np.searchsorted(part, every, side="right") / len(part) for part in (old, new)]
    return float(np.abs(shares[0] - shares[1]).max())


def _total_variation(old: pl.Series, new: pl.Series) -> float:
    shares = [
        pl.DataFrame({"v": s}).group_by("v").len("n").select("v", pl.col("n") / len(s)) for s in (old, new)
    ]
    joined = shares[0].join(shares[1], on="v", how="full", suffix=_SECOND)
    gaps = joined["n"].fill_null(0.0) - joined["n" + _SECOND].fill_null(0.0)
    return float(gaps.abs().sum()) / 2
