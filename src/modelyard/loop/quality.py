"""The quality of what is asked: missing values, other types, values never seen, hours without rows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from modelyard.catalog.summaries import Numbers, Texts
from modelyard.loop.noticing import FEWEST, MORE, ROWS, Noticed, level_of
from modelyard.records.policies import Level
from modelyard.records.predictions import VOLUME

_NEARLY_ALL = 0.99
_OTHER_TYPE = ((0.2, Level.HIGH), (0.05, Level.MEDIUM))  # of the rows
_MANY = [n / 100 for n in range(1, 100)]
_HALF = 0.5
_VOLUME = ((0.05, Level.HIGH), (0.2, Level.MEDIUM))  # of what is usual for the hour
_USUAL = 50  # rows of an hour, of fewer nothing is said
_WEEK = 7  # hours to compare with
_RARE = 2  # rows


def more_often(before: tuple[int, int], after: tuple[int, int]) -> float:
    """The chance that so many rows of the window have something, were it as frequent as before.

    Exact, however few rows there are: Fisher's test ("The Design of Experiments", 1935), to one side.

    Args:
        before, after: rows that have it, and all rows.

    >>> round(more_often((0, 2000), (2, 200)), 4)
    0.0082
    """
    hits, rows = before[0] + after[0], before[1] + after[1]
    return float(stats.hypergeom.sf(after[0] - 1, rows, hits, after[1]))


def is_usual(usual: Sequence[int]) -> bool:
    """Whether enough is known of an hour, and it has rows enough, for their lack to be told.

    Args:
        usual: rows of the same hour of days before.
    """
    return len(usual) >= _WEEK and float(np.median(usual)) >= _USUAL


def few_rows(now: int, usual: Sequence[int]) -> Noticed | None:
    """Whether an hour had far fewer rows than the same hour of other days.

    Args:
        now: rows of an hour that is over.
        usual: of the same hour of days before; of fewer than seven nothing is said.

    >>> few_rows(3, [100] * 7).level
    <Level.HIGH: 'high'>
    """
    if not is_usual(usual) or now >= min(usual):
        return None
    middle = float(np.median(usual))
    share = now / middle
    level = next((level for limit, level in _VOLUME if share <= limit), None)
    if level is None:
        return None
    words = f"{now:,} predictions were asked for in an hour; {middle:,.0f} are usual for it."
    return Noticed(VOLUME, "", level, 1 - share, "share of the usual rows that did not come", words)


def constant_number(name: str, before: Numbers, after: Numbers, doubt: float) -> Noticed | None:
    """Whether a column that varied has one value; not one that nearly all rows had before."""
    if after.low != after.high or not before.deviation:
        return None
    _, had, _ = before.shares([math.nextafter(after.low, -math.inf), after.low])
    if _is_constant(round(had * before.count), before.count, after.count, doubt):
        words = f"{name} was {after.low:.6g} in all {after.count:,} rows; before it varied."
        return Noticed("constant", name, Level.HIGH, 1.0, "share of rows with one value", words, 1.0)
    return None


def constant_text(name: str, before: Texts, after: Texts, doubt: float) -> Noticed | None:
    """Whether a column that varied has one value; not one that nearly all rows had before."""
    if len(after.counts) != 1 or after.other or len(before.counts) <= 1:
        return None
    value = next(iter(after.counts))
    if _is_constant(before.counts.get(value, 0), before.count, after.count, doubt):
        words = f"{name} was {value!r} in all {after.count:,} rows; before it varied."
        return Noticed("constant", name, Level.HIGH, 1.0, "share of rows with one value", words, 1.0)
    return None


def _is_constant(had: int, rows: int, now: int, doubt: float) -> bool:
    """Whether it is no chance that all rows have what `had` of the rows before had."""
    return had < _NEARLY_ALL * rows and more_often((had, rows), (now, now)) < doubt


def missing(name: str, before: tuple[int, int], after: tuple[int, int], doubt: float) -> Iterator[Noticed]:
    """More missing than before; counts of (missing, there)."""
    rows_before, rows_after = sum(before), sum(after)
    if min(rows_before, rows_after) < FEWEST:
        return
    was, is_now = before[0] / rows_before, after[0] / rows_after
    level = level_of(MORE, is_now - was)
    if level is not None and more_often((before[0], rows_before), (after[0], rows_after)) < doubt:
        words = f"{is_now:.1%} of {name} are missing, before {was:.1%}."
        yield Noticed("missing", name, level, is_now - was, ROWS, words, is_now)


def out_of_range(name: str, before: Numbers, after: Numbers, doubt: float) -> Iterator[Noticed]:
    """Values below or above all that was seen before.

    By chance the k outermost of all rows are in the window, in k + 1 ways: so many of them at either end.
    """
    if after.low >= before.low and after.high <= before.high:
        return
    below, inside = _below_and_within(before, after)
    share = 1 - inside
    level = level_of(MORE, share)
    rows = round(share * after.count)
    if level is not None and (rows + 1) * more_often((0, before.count), (rows, after.count)) < doubt:
        side = "below" if below > share / 2 else "above"
        span = f"{before.low:.4g} to {before.high:.4g}"
        words = f"{share:.1%} of {name} lie {side} all that was seen before ({span})."
        yield Noticed("out-of-range", name, level, share, ROWS, words, share)


def _below_and_within(before: Numbers, after: Numbers) -> tuple[float, float]:
    """The shares of the window below and within what was seen before."""
    lowest = math.nextafter(before.low, -math.inf)  # what equals the lowest is within
    if lowest >= before.high:
        return 0.0, 1.0
    below, inside, _ = after.shares([lowest, before.high])
    return below, inside


def new_values(name: str, before: Texts, after: Texts, doubt: float) -> Iterator[Noticed]:
    """Texts that were never seen before; those that are only written otherwise are told as such.

    Where values are many, some are always new: as many rows as had a value that came once (Good, "The
    population frequencies of species", Biometrika 40, 1953). Those that came twice are counted as well, for
    that number is itself a matter of chance.
    """
    if not before.is_whole:
        return
    new = {value: n for value, n in after.counts.items() if value not in before.counts}
    rows, rare = sum(new.values()), sum(n for n in before.counts.values() if n <= _RARE)
    share = rows / after.count
    level = level_of(MORE, share)
    if level is not None and more_often((rare, before.count), (rows, after.count)) < doubt:
        most = sorted(new, key=lambda v: -new[v])
        words = f"{share:.1%} of {name} have a value that was never seen before: "
        words += f"{', '.join(repr(v) for v in most[:3])}."
        alike = {_folded(v): v for v in before.counts}
        if same := next((v for v in most if _folded(v) in alike), None):
            words += f" {same!r} may be {alike[_folded(same)]!r}, written otherwise."
        yield Noticed("new-category", name, level, share, ROWS, words, share)


def other_number(name: str, before: Numbers, after: Numbers) -> Noticed | None:
    """Whether whole numbers have fractions now, or have lost them: a column of another type or unit."""
    was, is_now = _with_fraction(before), _with_fraction(after)
    level = level_of(_OTHER_TYPE, is_now) if was == 0 else None
    if level is not None:
        words = f"{name} was a whole number; now about {is_now:.0%} of the rows have fractions."
        return Noticed("type", name, level, is_now, ROWS, words, is_now)
    if was > _HALF and is_now == 0 and after.low != after.high:
        words = f"{name} had fractions; now all values are whole numbers, as if they were rounded."
        return Noticed("type", name, Level.MEDIUM, was, ROWS, words, 1.0)
    return None


def other_text(name: str, before: Texts, after: Texts) -> Noticed | None:
    """Whether texts look like numbers now, or no longer do."""
    was, is_now = _like_numbers(before), _like_numbers(after)
    level = level_of(_OTHER_TYPE, abs(is_now - was)) if was in (0, 1) else None
    if level is None:
        return None
    is_number = is_now > was
    example = next((v for v in after.counts if looks_like_number(v) is is_number), "")
    share = abs(is_now - was)
    how = "look like numbers" if is_number else "do not look like numbers"
    words = f"{share:.0%} of {name} {how} now, as {example!r}; before none did."
    return Noticed("type", name, level, share, ROWS, words, share)


def looks_like_number(text: str) -> bool:
    """Whether a text is a number as programs write it.

    >>> looks_like_number("1e3"), looks_like_number("UA"), looks_like_number("nan")
    (True, False, False)
    """
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _with_fraction(column: Numbers) -> float:
    """The share of values that are no whole numbers: the sketch's quantiles are values that came."""
    found = column.quantiles(_MANY)
    return sum(not value.is_integer() for value in found) / len(found)


def _like_numbers(column: Texts) -> float:
    known = sum(column.counts.values())
    return sum(n for v, n in column.counts.items() if looks_like_number(v)) / known if known else math.nan


def _folded(text: str) -> str:
    return "".join(text.casefold().split()).replace("-", "").replace("_", "")
