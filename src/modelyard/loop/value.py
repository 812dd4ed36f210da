"""What answers were worth, measured on rows whose outcomes came. Pure.

The interval of a month's value is by the normal law. Rows of one day are alike (one storm delays a hundred
flights), so beside the variance of independent rows that of whole days is taken (a cluster-robust variance:
Cameron & Miller, "A practitioner's guide to cluster-robust inference", Journal of Human Resources 50, 2015),
and the larger of the two counts; of few days it is widened as Student's law is. It speaks of the rows with
outcomes, and is not stretched to others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from modelyard.loop.measures import NORMAL, answers_of, student
from modelyard.loop.scores import Doubles, label_text
from modelyard.records.rollouts import SHADOW
from modelyard.records.signatures import Signature, Task
from modelyard.records.worth import FEWEST, MAJORITY, MEAN, NO_OUTCOMES, Cell, Measured, Tally, Worth

_FEWEST_DAYS = 7
_AT, _CAME, _SAID, _OTHER, _COUNT = "day", "came", "said", "other", "n"
_ID = ["request", "row"]


class Part(NamedTuple):
    """Labelled rows that one version answered, under the names of the frames."""

    signature: Signature
    rows: pl.DataFrame


def measure(parts: Sequence[Part], worth: Worth, older: Sequence[Part] = (), failed: str = "") -> Measured:
    """What a month's labelled rows say of the model and of its baseline.

    Args:
        parts: what callers got; shadow copies among them are left out.
        older: what the version that is the baseline answered to the same rows, where there is one.
        failed: why it did not answer more of them.
    """
    table = _table(parts, shadows=False)
    if not table.height:
        return Measured(0, why=NO_OUTCOMES)
    if worth.version is not None:
        other = _table(older, shadows=True).select(*_ID, pl.col(_SAID).alias(_OTHER))
        table = table.join(other.unique(_ID), on=_ID, how="inner")
        against = f"version {worth.version}, on the {table.height:,} rows that it answered, too"
    else:
        answer, against = _always(worth, table[_CAME])
        table = table.with_columns(pl.lit(answer, dtype=table[_SAID].dtype).alias(_OTHER))
    if table.height < FEWEST:
        what = "rows that both versions answered" if worth.version is not None else "answers of this month"
        why = f"Outcomes have come for {table.height} {what}; {FEWEST} are needed."
        why += f" Why not more: {failed}" if failed else ""
        return Measured(table.height, against=against, why=why)
    is_numbers = parts[0].signature.task is Task.REGRESSION
    return _of_numbers(table, worth, against) if is_numbers else _of_classes(table, worth, against)


def asked_again(parts: Sequence[Part], older: Sequence[Part]) -> pl.DataFrame | None:
    """The rows that callers got answered, and the older version did not; None where there are none."""
    mine = [part.rows.filter(_is_real(part.rows)) for part in parts]
    if not any(rows.height for rows in mine):
        return None
    rows = pl.concat(mine, how="diagonal_relaxed").sort("at", *_ID)
    for part in older:
        rows = rows.join(part.rows.select(_ID), on=_ID, how="anti")
    return rows if rows.height else None


def _is_real(rows: pl.DataFrame) -> pl.Expr:
    """Whether callers got the answers: no shadow copies."""
    return pl.col("route") != SHADOW if "route" in rows.columns else pl.lit(value=True)


def _table(parts: Sequence[Part], *, shadows: bool) -> pl.DataFrame:
    """Day, what came and what was said, row by row; rows without a number are left out."""
    tables = []
    for signature, rows in parts:
        some = rows if shadows else rows.filter(_is_real(rows))
        if not some.height:
            continue
        answers, came = answers_of(some, signature)
        said = answers.values if signature.task is Task.REGRESSION else list(answers.labels)
        table = some.select(*_ID, pl.col("at").dt.truncate("1d").alias(_AT))
        table = table.with_columns(pl.Series(_CAME, came), pl.Series(_SAID, said))
        if signature.task is Task.REGRESSION:
            table = table.filter(pl.col(_CAME).is_finite() & pl.col(_SAID).is_finite())
        tables.append(table)
    if tables:
        return pl.concat(tables, how="vertical_relaxed")
    kinds = {"request": pl.String, "row": pl.Int64, _AT: pl.Datetime, _CAME: pl.String, _SAID: pl.String}
    return pl.DataFrame(schema=kinds)


def _always(worth: Worth, came: pl.Series) -> tuple[str | float, str]:
    """The one answer of a baseline without a model, and that in words."""
    if worth.constant is not None:
        value: str | float = worth.constant
        return (float(value) if came.dtype.is_float() else label_text(value)), f"always {value}, as stated"
    if worth.baseline == MEAN:
        mean = float(np.mean(came.to_numpy()))
        return mean, f"always {mean:.6g}, the mean of what came in the month"
    assert worth.baseline == MAJORITY  # noqa: S101 - check_worth lets no other through
    counted = came.value_counts(name=_COUNT).sort(_COUNT, _CAME, descending=[True, False])
    most = str(counted[_CAME][0])
    return most, f"always {most}, what came most often in the month"


def _of_classes(table: pl.DataFrame, worth: Worth, against: str) -> Measured:
    groups = table.group_by(_AT, _CAME, _SAID, _OTHER).len(_COUNT).sort(_AT, _CAME, _SAID, _OTHER)
    of = worth.by_pair()
    rows = groups.select(_CAME, _SAID, _OTHER).iter_rows()
    gains = np.array([float(of(came, said)) - float(of(came, other)) for came, said, other in rows])
    weights = groups[_COUNT].cast(pl.Float64).to_numpy()
    return Measured(
        labelled=table.height,
        model=Tally(_cells(groups, _SAID)),
        baseline=Tally(_cells(groups, _OTHER)),
        against=against,
        spread=spread(gains, weights, groups[_AT].rank("dense").to_numpy()),
    )


def _cells(groups: pl.DataFrame, side: str) -> tuple[Cell, ...]:
    counted = groups.group_by(_CAME, side).agg(pl.col(_COUNT).sum())
    ordered = counted.sort(_COUNT, _CAME, side, descending=[True, False, False])
    return tuple(Cell(came, said, int(count)) for came, said, count in ordered.iter_rows())


def _of_numbers(table: pl.DataFrame, worth: Worth, against: str) -> Measured:
    came = table[_CAME].to_numpy()
    sides = []
    gains = np.zeros(table.height)
    for sign, name in ((1, _SAID), (-1, _OTHER)):
        error = table[name].to_numpy() - came
        over, under = np.maximum(error, 0.0), np.maximum(-error, 0.0)
        gains += sign * (over * float(worth.over) + under * float(worth.under))
        sides.append(Tally(over=float(over.sum()), under=float(under.sum())))
    ones = np.ones(table.height)
    return Measured(
        labelled=table.height,
        model=sides[0],
        baseline=sides[1],
        against=against,
        spread=spread(gains, ones, table[_AT].rank("dense").to_numpy()),
    )


def spread(gains: Doubles, weights: Doubles, days: Doubles) -> float:
    """The standard error of the sum of all gains; of few days so much larger as Student's law is wider.

    Args:
        gains: of a row, in the currency.
        weights: how many rows have it.
        days: which day they are of, as numbers.
    """
    count = float(weights.sum())
    if count <= 1:
        return 0.0
    middle = float((gains * weights).sum()) / count
    apart = gains - middle
    variance = count / (count - 1) * float((apart * apart * weights).sum())
    _, place = np.unique(days, return_inverse=True)
    sums = np.bincount(place, weights=apart * weights)
    if len(sums) >= _FEWEST_DAYS:
        wider = (student(len(sums)) / NORMAL) ** 2
        variance = max(variance, wider * len(sums) / (len(sums) - 1) * float((sums * sums).sum()))
    return math.sqrt(variance)
