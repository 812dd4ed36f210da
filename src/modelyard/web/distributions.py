"""Columns of a model then and now: what it was made on beside what it is asked. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence

from msgspec import Struct

from modelyard.catalog.summaries import SECONDS, Numbers, Summary, Texts, distance
from modelyard.records.predictions import INPUT, OUTPUT
from modelyard.web.words import number

_BINS = 24
_OUTER = (0.005, 0.995)  # what lies beyond these shares of both does not stretch the axis
_MOST_VALUES = 12
_OTHERS = "all others"


class Bin(Struct, frozen=True):
    """One bin or value: its name, and the share of the rows in it then and now, 0 to 1."""

    name: str
    before: float
    now: float


class Compared(Struct, frozen=True):
    """One column then and now.

    Attributes:
        name: as people know it; `side` is `input` or `output`.
        bins: in order; of numbers they are equally wide, of texts the most frequent values.
        apart: the Jensen-Shannon distance of the shares, 0 to 1.
        moved: of numbers, by how many of the reference's standard deviations the mean is off; else None.
        missing: the shares that are missing, then and now.
        before, now: in a few words, what is usual.
    """

    name: str
    side: str
    is_number: bool
    bins: tuple[Bin, ...]
    apart: float
    moved: float | None
    missing: tuple[float, float]
    before: str
    now: str

    @property
    def ends(self) -> tuple[str, str]:
        """What stands at the left and the right end of the chart."""
        return (self.bins[0].name, self.bins[-1].name) if self.bins else ("", "")


def compare(before: Summary, now: Summary, hidden: Collection[str] = ()) -> list[Compared]:
    """All columns that both have, those that have moved most first.

    Args:
        hidden: names of columns of which nothing is shown.
    """
    found = [
        compared
        for name in sorted({*before.numbers, *before.texts})
        if name != SECONDS and name.removeprefix(INPUT) not in hidden
        if (compared := _compare(name, before, now)) is not None
    ]
    return sorted(found, key=lambda c: (-c.apart, c.side, c.name))


def _compare(name: str, before: Summary, now: Summary) -> Compared | None:
    side = "output" if name.startswith(OUTPUT) else "input"
    plain = name.partition(":")[2] or name
    if name in before.numbers and name in now.numbers:
        return _numbers(plain, side, before.numbers[name], now.numbers[name])
    if name in before.texts and name in now.texts:
        return _texts(plain, side, before.texts[name], now.texts[name])
    return None


def _numbers(name: str, side: str, before: Numbers, now: Numbers) -> Compared | None:
    if not before.count or not now.count:
        return None
    edges = _edges(before, now)
    shares = before.shares(edges), now.shares(edges)
    bins = tuple(Bin(text, a, b) for text, a, b in zip(_spans(edges), *shares, strict=True))
    own = before.edges or edges
    deviation = before.deviation
    return Compared(
        name=name,
        side=side,
        is_number=True,
        bins=bins,
        apart=distance(before.shares(own), now.shares(own)),
        moved=(now.mean - before.mean) / deviation if deviation else None,
        missing=(_missing(before), _missing(now)),
        before=f"mean {number(before.mean)} ± {number(deviation)}",
        now=f"mean {number(now.mean)} ± {number(now.deviation)}",
    )


def _edges(before: Numbers, now: Numbers) -> list[float]:
    """Equally wide inner edges over what both have, without their outermost values."""
    (a, b), (c, d) = before.quantiles(_OUTER), now.quantiles(_OUTER)
    low, high = min(a, c), max(b, d)
    if not high > low:
        return [low]
    step = (high - low) / _BINS
    edges = [low + step * n for n in range(1, _BINS)]
    return edges if all(math.isfinite(e) for e in edges) else [low]


def _spans(edges: Sequence[float]) -> list[str]:
    """The bins in words.

    >>> _spans([1.0, 2.0])
    ['up to 1', '1 to 2', 'over 2']
    """
    inner = [f"{number(a)} to {number(b)}" for a, b in itertools.pairwise(edges)]
    return [f"up to {number(edges[0])}", *inner, f"over {number(edges[-1])}"]


def _texts(name: str, side: str, before: Texts, now: Texts) -> Compared | None:
    if not before.count or not now.count:
        return None
    shares = {
        value: (before.counts.get(value, 0) / before.count, now.counts.get(value, 0) / now.count)
        for value in before.counts.keys() | now.counts.keys()
    }
    ranked = sorted(shares.items(), key=lambda item: (-max(item[1]), item[0]))
    bins = [Bin(value, *both) for value, both in ranked[:_MOST_VALUES]]
    rest = [max(0.0, 1 - sum(b.before for b in bins)), max(0.0, 1 - sum(b.now for b in bins))]
    if max(rest) > 1e-9:  # noqa: PLR2004 - more than rounding
        bins.append(Bin(_OTHERS, *rest))
    every = sorted(shares.values())
    whole = [max(0.0, 1 - sum(a for a, _ in every)), max(0.0, 1 - sum(b for _, b in every))]
    return Compared(
        name=name,
        side=side,
        is_number=False,
        bins=tuple(bins),
        apart=distance([*(a for a, _ in every), whole[0]], [*(b for _, b in every), whole[1]]),
        moved=None,
        missing=(_missing(before), _missing(now)),
        before=_most(before),
        now=_most(now),
    )


def _missing(column: Numbers | Texts) -> float:
    rows = column.count + column.missing
    return column.missing / rows if rows else 0.0


def _most(column: Texts) -> str:
    value, many = max(column.counts.items(), key=lambda item: (item[1], item[0]))
    return f"{value[:60]} {many / column.count:.0%}"
