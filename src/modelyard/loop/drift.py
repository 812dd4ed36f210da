"""Drift that is worth waking for: a window of predictions beside what the version was made on. Pure.

A finding needs both: an effect that matters, and a test that leaves no doubt of it. Effects are the
difference of means in standard deviations (Cohen, "Statistical Power Analysis", 1988) and the Jensen-Shannon
distance of the shares (Lin, IEEE Trans. Inf. Theory 37, 1991; 0 the same, 1 nothing in common). Doubt is
shared out (Bonferroni) over all columns, the tests of each, and the looks of a day: all looks of a day at a
model that has not moved raise a finding with a chance of 1 % at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from scipy import stats

from modelyard.catalog.summaries import OUTPUT, SECONDS, Numbers, Summary, Texts
from modelyard.records.policies import Level

FEWEST = 200  # rows of a window or a reference; of fewer nothing is said
ALPHA = 0.01
LOOKS = 2_880  # a day: one whenever predictions were shipped
_MOVED = ((0.8, Level.HIGH), (0.4, Level.MEDIUM), (0.1, Level.LOW))  # standard deviations
_APART = ((0.4, Level.HIGH), (0.25, Level.MEDIUM), (0.1, Level.LOW))  # Jensen-Shannon distance
_MORE = ((0.2, Level.HIGH), (0.05, Level.MEDIUM), (0.01, Level.LOW))  # of the rows
_FEW_OF_A_KIND = 5  # rows that a bin or a value is expected to have, or it is counted with its neighbours
_NEARLY_ALL = 0.99
_FREQUENT = 0.01  # at most a hundred values are, so they are among the 200 that a summary keeps
_TESTS = 4  # of a column
_VOLUME = ((0.05, Level.HIGH), (0.2, Level.MEDIUM))  # of what is usual for the hour
_USUAL = 50  # rows of an hour, of fewer nothing is said
_WEEK = 7  # hours to compare with


class Noticed(Struct, frozen=True):
    """What is noticed in one column.

    Attributes:
        kind, column, level, effect, measure, words: see `records.predictions.Finding`.
        share: of the window's rows that carry it, or None where that is not to be said.
    """

    kind: str
    column: str
    level: Level
    effect: float
    measure: str
    words: str
    share: float | None = None


def noticed(reference: Summary, window: Summary, *, looks: int = LOOKS) -> list[Noticed]:
    """What has moved, the gravest first; nothing where either has fewer than 200 rows.

    Args:
        reference: with the bins that the window was counted in, where it began after that was made.
        looks: how often a day the model is looked at.
    """
    if min(reference.rows, window.rows) < FEWEST:
        return []
    numbers = [n for n in reference.numbers if n in window.numbers and n != SECONDS]
    texts = [n for n in reference.texts if n in window.texts]
    doubt = ALPHA / (max(1, len(numbers) + len(texts)) * _TESTS * max(1, looks))
    found: list[Noticed] = []
    for name in numbers:
        found += _of_numbers(name, reference.numbers[name], window.numbers[name], doubt)
    for name in texts:
        found += _of_texts(name, reference.texts[name], window.texts[name], doubt)
    return sorted(found, key=lambda f: (-f.level.rank, -f.effect, f.column))


def few_rows(now: int, usual: Sequence[int]) -> Noticed | None:
    """Whether an hour had far fewer rows than the same hour of other days.

    Args:
        now: rows of an hour that is over.
        usual: of the same hour of days before; of fewer than seven nothing is said.

    >>> few_rows(3, [100] * 7).level
    <Level.HIGH: 'high'>
    """
    if len(usual) < _WEEK:
        return None
    middle = float(np.median(usual))
    lowest = min(usual)
    if middle < _USUAL or now >= lowest:
        return None
    share = now / middle
    level = next((level for limit, level in _VOLUME if share <= limit), None)
    if level is None:
        return None
    words = f"{now:,} predictions were asked for in an hour; {middle:,.0f} are usual for it."
    return Noticed("volume", "", level, 1 - share, "share of the usual rows that did not come", words)


def _of_numbers(name: str, before: Numbers, after: Numbers, doubt: float) -> Iterator[Noticed]:
    plain, kind = _plain(name)
    yield from _missing(plain, (before.missing, before.count), (after.missing, after.count), doubt)
    if min(before.count, after.count) < FEWEST:
        return
    if before.deviation > 0 and after.low == after.high:
        words = f"{plain} was {after.low:.6g} in all {after.count:,} rows; before it varied."
        yield Noticed("constant", plain, Level.HIGH, 1.0, "share of rows with one value", words, 1.0)
        return
    yield from _moved(plain, kind, before, after, doubt)
    yield from _out_of_range(plain, kind, before, after)


def _moved(name: str, kind: str, before: Numbers, after: Numbers, doubt: float) -> Iterator[Noticed]:
    """By the mean or by the shape, whichever says more."""
    edges = before.edges
    shift = (after.mean - before.mean) / before.deviation if before.deviation else 0.0
    spread = math.hypot(before.deviation / math.sqrt(before.count), after.deviation / math.sqrt(after.count))
    is_sure = spread > 0 and 2 * stats.norm.sf(abs(after.mean - before.mean) / spread) < doubt
    by_mean = _level(_MOVED, abs(shift)) if is_sure else None
    shares = before.shares(edges), after.shares(edges)
    apart = distance(*shares)
    is_other = _differ(*shares, before.count, after.count) < doubt
    by_shape = _level(_APART, apart) if is_other else None
    if by_mean is None and by_shape is None:
        return
    was = f"on average {after.mean:.4g}, before {before.mean:.4g}"
    if by_shape is None or (by_mean is not None and by_mean.rank >= by_shape.rank):
        assert by_mean is not None  # noqa: S101 - else there is a shape
        words = f"{name} moved by {shift:+.2f} standard deviations: {was}."
        yield Noticed(kind, name, by_mean, abs(shift), "standard deviations", words)
    else:
        words = f"The values of {name} are spread otherwise than before (distance {apart:.2f} of 1; {was})."
        yield Noticed(kind, name, by_shape, apart, "Jensen-Shannon distance", words)


def _out_of_range(name: str, kind: str, before: Numbers, after: Numbers) -> Iterator[Noticed]:
    if kind == "outputs" or (after.low >= before.low and after.high <= before.high):
        return
    below, inside, _ = _thirds(before, after)
    share = 1 - inside
    level = _level(_MORE, share)
    if level is not None:
        side = "below" if below > share / 2 else "above"
        span = f"{before.low:.4g} to {before.high:.4g}"
        words = f"{share:.1%} of {name} lie {side} all that was seen before ({span})."
        yield Noticed("out-of-range", name, level, share, "share of rows", words, share)


def _thirds(before: Numbers, after: Numbers) -> tuple[float, float, float]:
    """The shares of the window below, within and above what was seen before."""
    lowest = math.nextafter(before.low, -math.inf)  # what equals the lowest is within
    below, inside, above = after.shares([lowest, before.high]) if lowest < before.high else (0.0, 1.0, 0.0)
    return below, inside, above


def _of_texts(name: str, before: Texts, after: Texts, doubt: float) -> Iterator[Noticed]:
    plain, kind = _plain(name)
    yield from _missing(plain, (before.missing, before.count), (after.missing, after.count), doubt)
    if min(before.count, after.count) < FEWEST:
        return
    if (
        len(after.counts) == 1
        and len(before.counts) > 1
        and max(before.counts.values()) < 0.99 * before.count
    ):
        value = next(iter(after.counts))
        words = f"{plain} was {value!r} in all {after.count:,} rows; before it varied."
        yield Noticed("constant", plain, Level.HIGH, 1.0, "share of rows with one value", words, 1.0)
        return
    yield from _new_values(plain, before, after)
    names = _comparable(before, after)
    shares = _shares(names, before), _shares(names, after)
    apart = distance(*shares)
    level = _level(_APART, apart)
    if level is not None and _differ(*shares, before.count, after.count) < doubt:
        change = max(zip(names, *shares, strict=False), key=lambda c: abs(c[2] - c[1]))
        words = (
            f"The values of {plain} are shared otherwise than before (distance {apart:.2f} of 1): "
            f"{change[0]!r} has {change[2]:.1%}, before {change[1]:.1%}."
        )
        yield Noticed(kind, plain, level, apart, "Jensen-Shannon distance", words)


def _new_values(name: str, before: Texts, after: Texts) -> Iterator[Noticed]:
    if not before.is_whole:
        return
    new = {value: n for value, n in after.counts.items() if value not in before.counts}
    share = sum(new.values()) / after.count
    level = _level(_MORE, share)
    if level is not None:
        first = ", ".join(repr(v) for v in sorted(new, key=lambda v: -new[v])[:3])
        words = f"{share:.1%} of {name} have a value that was never seen before: {first}."
        yield Noticed("new-category", name, level, share, "share of rows", words, share)


def _missing(name: str, before: tuple[int, int], after: tuple[int, int], doubt: float) -> Iterator[Noticed]:
    """More missing than before; counts of (missing, there)."""
    rows_before, rows_after = sum(before), sum(after)
    if min(rows_before, rows_after) < FEWEST:
        return
    was, is_now = before[0] / rows_before, after[0] / rows_after
    level = _level(_MORE, is_now - was)
    both = (before[0] + after[0]) / (rows_before + rows_after)
    spread = math.sqrt(both * (1 - both) * (1 / rows_before + 1 / rows_after))
    if level is not None and (spread == 0 or stats.norm.sf((is_now - was) / spread) < doubt):
        words = f"{is_now:.1%} of {name} are missing, before {was:.1%}."
        yield Noticed("missing", name, level, is_now - was, "share of rows", words, is_now)


def _comparable(before: Texts, after: Texts) -> list[str]:
    """The values whose shares are known on both sides: of a summary that was cut off the frequent ones."""
    if before.is_whole and after.is_whole:
        return sorted(before.counts)
    return sorted(v for v, n in before.counts.items() if n >= _FREQUENT * before.count)


def _shares(names: Sequence[str], of: Texts) -> list[float]:
    """The shares of these values, and of all others."""
    found = [of.counts.get(name, 0) / of.count for name in names]
    return [*found, max(0.0, 1 - sum(found))]


def distance(one: Sequence[float], two: Sequence[float]) -> float:
    """The Jensen-Shannon distance of two sets of shares, 0 to 1.

    >>> distance([1.0, 0.0], [0.0, 1.0]), distance([0.5, 0.5], [0.5, 0.5])
    (1.0, 0.0)
    """
    p, q = np.array(one), np.array(two)
    middle = (p + q) / 2

    def information(x: np.ndarray) -> float:
        some = x > 0
        return float((x[some] * np.log2(x[some] / middle[some])).sum())

    return math.sqrt(max(0.0, (information(p) + information(q)) / 2))


def _differ(one: Sequence[float], two: Sequence[float], rows_one: int, rows_two: int) -> float:
    """The chance of shares so different if both came from one source: Pearson's test of homogeneity, in which
    bins with few rows are counted together.
    """
    counts = np.array([[s * rows_one for s in one], [s * rows_two for s in two]])
    expected = counts.sum(axis=0) * min(rows_one, rows_two) / (rows_one + rows_two)
    few = expected < _FEW_OF_A_KIND
    if few.any():
        counts = np.column_stack([counts[:, ~few], counts[:, few].sum(axis=1)])
        counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:  # noqa: PLR2004 - one bin is no difference
        return 1.0
    return float(stats.chi2_contingency(counts, correction=False).pvalue)


def _level(limits: Sequence[tuple[float, Level]], effect: float) -> Level | None:
    return next((level for limit, level in limits if effect >= limit), None)


def _plain(name: str) -> tuple[str, str]:
    """A column's name as people know it, and the kind of finding that it moved."""
    side, _, plain = name.partition(":")
    return plain, "outputs" if f"{side}:" == OUTPUT else "drift"
