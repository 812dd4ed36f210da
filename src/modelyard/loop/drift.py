"""Drift that is worth waking for: a window of predictions beside what the version was made on. Pure.

A finding needs both: an effect that matters, and a test that leaves no doubt of it. Effects are the
difference of means in standard deviations (Cohen, "Statistical Power Analysis", 1988) and the Jensen-Shannon
distance of the shares (Lin, IEEE Trans. Inf. Theory 37, 1991; 0 the same, 1 nothing in common). Doubt is
shared out (Bonferroni) over all columns, the tests of each, what it is compared with, and the looks of a day:
all looks of a day at a model that has not moved raise a finding with a chance of 1 % at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from msgspec import Struct
from scipy import stats

from modelyard.catalog.summaries import SECONDS, Numbers, Summary, Texts, distance
from modelyard.loop import quality
from modelyard.loop.noticing import FEWEST, Noticed, level_of, plain
from modelyard.records.policies import Level

ALPHA = 0.01
LOOKS = 2_880  # a day: one whenever predictions were shipped
DEVIATIONS, DISTANCE = "standard deviations", "Jensen-Shannon distance"
_MOVED = ((0.8, Level.HIGH), (0.4, Level.MEDIUM), (0.1, Level.LOW))  # standard deviations
_APART = ((0.4, Level.HIGH), (0.25, Level.MEDIUM), (0.1, Level.LOW))  # Jensen-Shannon distance
_FEW_OF_A_KIND = 5  # rows that a bin or a value is expected to have, or it is counted with its neighbours
_FREQUENT = 0.01  # at most a hundred values are, so they are among the 200 that a summary keeps
_TESTS = 4  # of a column
_COMPARED = 2  # with the reference, and with the last good day
_SINCE_GOOD = ("drift", "outputs", "missing")  # a day is too short to know all ranges and values by
_ENOUGH_DAYS = 7  # to know what is usual from day to day


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
    doubt = ALPHA / (max(1, len(numbers) + len(texts)) * _TESTS * _COMPARED * max(1, looks))
    found: list[Noticed] = []
    for name in numbers:
        found += _of_numbers(name, reference.numbers[name], window.numbers[name], doubt)
    for name in texts:
        found += _of_texts(name, reference.texts[name], window.texts[name], doubt)
    return _gravest_first(found)


class Usual(Struct, frozen=True):
    """What is usual from one day to the next.

    Attributes:
        days: that it is known of.
        changes: the largest effect, by column and measure.
    """

    days: int
    changes: Mapping[tuple[str, str], float]


def since_good(good: Summary, window: Summary, usual: Usual, against: str) -> list[Noticed]:
    """What has moved at least moderately since the last good day, and more than is usual from day to day.

    Args:
        good: that day.
        window: the last 24 hours.
        usual: what changes from day to day; where fewer than seven are known only what is grave is told.
        against: the day in words.
    """
    least = Level.MEDIUM if usual.days >= _ENOUGH_DAYS else Level.HIGH
    return [
        msgspec.structs.replace(f, against=against)
        for f in noticed(good, window)
        if f.kind in _SINCE_GOOD
        and f.level.rank >= least.rank
        and f.effect > usual.changes.get((f.column, f.measure), 0.0)
    ]


def with_good(found: Sequence[Noticed], since: Sequence[Noticed]) -> list[Noticed]:
    """What was noticed against the reference and against the last good day, one of each subject."""
    news = {f.subject: f for f in since}
    both = []
    for each in found:
        new = news.pop(each.subject, None)
        if new is not None and new.measure == each.measure:
            words = f"{each.words} It is new since {new.against} ({new.effect:.2g} {new.measure})."
            each = msgspec.structs.replace(each, words=words, good_effect=new.effect)  # noqa: PLW2901
        both.append(each)
    for new in news.values():
        words = f"Since {new.against}: {new.words}"
        both.append(msgspec.structs.replace(new, words=words, good_effect=new.effect))
    return _gravest_first(both)


def usual_changes(days: Sequence[Summary]) -> Usual:
    """What is usual, out of days that follow each other."""
    found: dict[tuple[str, str], float] = {}

    def seen(name: str, measure: str, effect: float) -> None:
        key = (plain(name)[0], measure)
        found[key] = max(found.get(key, 0.0), effect)

    for one, two in pairwise(days):
        for name in one.numbers.keys() & two.numbers.keys():
            before, after = one.numbers[name], two.numbers[name]
            if min(before.count, after.count) >= FEWEST:
                seen(name, DEVIATIONS, abs(_shift(before, after)))
                seen(name, DISTANCE, distance(*_binned(before, after)))
        for name in one.texts.keys() & two.texts.keys():
            if min(one.texts[name].count, two.texts[name].count) >= FEWEST:
                names = _comparable(one.texts[name], two.texts[name])
                shares = [_shares(names, day.texts[name]) for day in (one, two)]
                seen(name, DISTANCE, distance(*shares))
    return Usual(len(days), found)


def _gravest_first(found: Sequence[Noticed]) -> list[Noticed]:
    return sorted(found, key=lambda f: (-f.level.rank, -f.effect, f.column))


def _of_numbers(name: str, before: Numbers, after: Numbers, doubt: float) -> Iterator[Noticed]:
    own, kind = plain(name)
    yield from quality.missing(own, (before.missing, before.count), (after.missing, after.count), doubt)
    if min(before.count, after.count) < FEWEST:
        return
    if constant := quality.constant_number(own, before, after, doubt):
        yield constant
        return
    yield from _moved(own, kind, before, after, doubt)
    if kind == "drift":
        yield from quality.out_of_range(own, before, after, doubt)
        if other := quality.other_number(own, before, after):
            yield other


def _moved(name: str, kind: str, before: Numbers, after: Numbers, doubt: float) -> Iterator[Noticed]:
    """By the mean or by the shape, whichever says more.

    A window that varies less than the rows before may do so by chance: that it lacks their rare values is no
    reason to be surer of its mean.
    """
    shift = _shift(before, after)
    varies = max(before.deviation, after.deviation)
    spread = math.hypot(before.deviation / math.sqrt(before.count), varies / math.sqrt(after.count))
    is_sure = spread > 0 and 2 * stats.norm.sf(abs(after.mean - before.mean) / spread) < doubt
    by_mean = level_of(_MOVED, abs(shift)) if is_sure else None
    shares = _binned(before, after)
    apart = distance(*shares)
    is_other = _differ(*shares, before.count, after.count) < doubt
    by_shape = level_of(_APART, apart) if is_other else None
    if by_mean is None and by_shape is None:
        return
    was = f"on average {after.mean:.4g}, before {before.mean:.4g}"
    if by_shape is None or (by_mean is not None and by_mean.rank >= by_shape.rank):
        assert by_mean is not None  # noqa: S101 - else there is a shape
        words = f"{name} moved by {shift:+.2f} standard deviations: {was}."
        yield Noticed(kind, name, by_mean, abs(shift), DEVIATIONS, words)
    else:
        words = f"The values of {name} are spread otherwise than before (distance {apart:.2f} of 1; {was})."
        yield Noticed(kind, name, by_shape, apart, DISTANCE, words)


def _shift(before: Numbers, after: Numbers) -> float:
    return (after.mean - before.mean) / before.deviation if before.deviation else 0.0


def _binned(before: Numbers, after: Numbers) -> tuple[list[float], list[float]]:
    """The shares in the bins of the first; none where it has none, as before there was a reference.

    Of a first without variance those below, at and above its one value.
    """
    if before.count and before.low == before.high:
        around = [math.nextafter(before.low, -math.inf), before.low]
        return before.shares(around), after.shares(around)
    return (before.shares(before.edges), after.shares(before.edges)) if before.edges else ([], [])


def _of_texts(name: str, before: Texts, after: Texts, doubt: float) -> Iterator[Noticed]:
    own, kind = plain(name)
    yield from quality.missing(own, (before.missing, before.count), (after.missing, after.count), doubt)
    if min(before.count, after.count) < FEWEST:
        return
    if constant := quality.constant_text(own, before, after, doubt):
        yield constant
        return
    yield from quality.new_values(own, before, after, doubt)
    if other := quality.other_text(own, before, after):
        yield other
    names = _comparable(before, after)
    shares = _shares(names, before), _shares(names, after)
    apart = distance(*shares)
    level = level_of(_APART, apart)
    if level is not None and _differ(*shares, before.count, after.count) < doubt:
        change = most_changed(before, after)
        words = (
            f"The values of {own} are shared otherwise than before (distance {apart:.2f} of 1: "
            f"{change[0]!r} has {change[2]:.1%}, before {change[1]:.1%})."
        )
        yield Noticed(kind, own, level, apart, DISTANCE, words)


def most_changed(before: Texts, after: Texts) -> tuple[str, float, float]:
    """The value whose share changed most, with its shares before and after."""
    return max(_changes(before, after), key=lambda c: abs(c[2] - c[1]), default=("", 0.0, 0.0))


def most_grown(before: Texts, after: Texts) -> tuple[str, float, float]:
    """The value whose share grew most, with its shares before and after."""
    return max(_changes(before, after), key=lambda c: c[2] - c[1], default=("", 0.0, 0.0))


def _changes(before: Texts, after: Texts) -> Iterator[tuple[str, float, float]]:
    names = _comparable(before, after)
    return zip(names, _shares(names, before), _shares(names, after), strict=False)


def _comparable(before: Texts, after: Texts) -> list[str]:
    """The values whose shares are known on both sides: of a summary that was cut off the frequent ones."""
    if before.is_whole and after.is_whole:
        return sorted(before.counts)
    return sorted(v for v, n in before.counts.items() if n >= _FREQUENT * before.count)


def _shares(names: Sequence[str], of: Texts) -> list[float]:
    """The shares of these values, and of all others."""
    found = [of.counts.get(name, 0) / of.count for name in names]
    return [*found, max(0.0, 1 - sum(found))]


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
