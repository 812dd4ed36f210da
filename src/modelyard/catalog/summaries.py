"""Summaries of predictions that merge: any window is the sum of its hours and days, never a scan of rows.

Of numbers a summary has exact counts, mean and variance (merged by Chan, Golub & LeVeque, 1979, "Updating
formulae and a pairwise algorithm for computing sample variances"), the histogram on the reference's bins
where there is a reference, and a KLL sketch of the quantiles (Karnin, Lang & Liberty, 2016, "Optimal quantile
approximation in streams"; rank error about 1 %, none for small windows). Of texts it has the counts of the
most frequent ones.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterable, Sequence

import datasketches
import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Struct

from modelyard.records.predictions import INPUT, OUTPUT

SECONDS = "seconds"
_SKETCH = 256
_MOST_TEXTS = 200
_BINS = [n / 20 for n in range(1, 20)]
_LEVEL = 1  # of zlib: most of a summary is doubles, which do not shrink much

Edges = dict[str, tuple[float, ...]]
Doubles = npt.NDArray[np.float64]


class Numbers(Struct, frozen=True):
    """A column of numbers.

    Attributes:
        count: values that are there; `missing` are not.
        low, high: the smallest and largest; NaN where there is none.
        m2: the sum of squared differences from `mean`.
        edges: of the bins, ascending; `bins` has one more count than there are edges. Empty where nothing is
            known to compare with.
        sketch: of the quantiles, serialised.
    """

    count: int = 0
    missing: int = 0
    low: float = math.nan
    high: float = math.nan
    mean: float = 0.0
    m2: float = 0.0
    edges: tuple[float, ...] = ()
    bins: tuple[int, ...] = ()
    sketch: bytes = b""

    @property
    def deviation(self) -> float:
        """The standard deviation of the values; 0 for less than two."""
        return math.sqrt(self.m2 / (self.count - 1)) if self.count > 1 else 0.0

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The values below which these shares of all lie; NaN where there is none."""
        if not self.count:
            return [math.nan] * len(shares)
        found: list[float] = _opened(self.sketch).get_quantiles(list(shares))
        return found

    def shares(self, edges: Sequence[float]) -> list[float]:
        """The share of the values in each bin of these edges: exact on the summary's own bins.

        Bin i holds what is over edge i - 1 and up to edge i.
        """
        if not self.count:
            return [0.0] * (len(edges) + 1)
        if tuple(edges) == self.edges:
            return [n / self.count for n in self.bins]
        if not edges:
            return [1.0]
        steps = np.array([*_opened(self.sketch).get_cdf(list(edges), True)])  # noqa: FBT003 - its own way
        return [float(x) for x in np.diff(steps, prepend=0.0)]


class Texts(Struct, frozen=True):
    """A column of texts or of true and false.

    Attributes:
        counts: of the most frequent ones; `other` values are none of these.
    """

    count: int = 0
    missing: int = 0
    counts: dict[str, int] = {}
    other: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every value that came is among the counts."""
        return not self.other


class Summary(Struct, frozen=True):
    """What is known of a set of predictions.

    Attributes:
        rows: how many; `requests` they came in.
        callers: rows by who asked.
        numbers, texts: the columns, by their names in the frames: `in:x`, `out:prediction`, `seconds`.
    """

    rows: int = 0
    requests: int = 0
    callers: Texts = Texts()
    numbers: dict[str, Numbers] = {}
    texts: dict[str, Texts] = {}


_decoder = msgspec.msgpack.Decoder(Summary)


def pack(summary: Summary) -> bytes:
    """A summary as it is kept."""
    return zlib.compress(msgspec.msgpack.encode(summary), _LEVEL)


EMPTY = pack(Summary())


def unpack(data: bytes) -> Summary:
    """What `pack` made."""
    return _decoder.decode(zlib.decompress(data))


def summarise(table: pl.DataFrame, edges: Edges | None = None) -> Summary:
    """The summary of rows under the names of the frames.

    Args:
        table: with `row`, `caller`, `seconds` and columns `in:…` and `out:…`; others are left out.
        edges: of the reference's bins, by column.
    """
    numbers: dict[str, Numbers] = {}
    texts: dict[str, Texts] = {}
    for series in table:
        if not (series.name.startswith((INPUT, OUTPUT)) or series.name == SECONDS):
            continue
        if series.dtype.is_numeric():
            numbers[series.name] = numbers_of(series, (edges or {}).get(series.name, ()))
        else:
            texts[series.name] = texts_of(series)
    return Summary(
        rows=table.height,
        requests=int((table["row"] == 0).sum()) if "row" in table.columns else 0,
        callers=texts_of(table["caller"]) if "caller" in table.columns else Texts(),
        numbers=numbers,
        texts=texts,
    )


def numbers_of(series: pl.Series, edges: tuple[float, ...] = ()) -> Numbers:
    """A column of numbers; infinities count as missing, for nothing can be averaged with them."""
    every = series.cast(pl.Float64).to_numpy()
    values: Doubles = every[np.isfinite(every)]
    if not len(values):
        return Numbers(missing=len(every), edges=edges, bins=(0,) * (len(edges) + 1) if edges else ())
    sketch = datasketches.kll_doubles_sketch(_SKETCH)
    sketch.update(values)
    mean = float(values.mean())
    return Numbers(
        count=len(values),
        missing=len(every) - len(values),
        low=float(values.min()),
        high=float(values.max()),
        mean=mean,
        m2=float(np.square(values - mean).sum()),
        edges=edges,
        bins=binned(values, edges) if edges else (),
        sketch=sketch.serialize(),
    )


def binned_on_itself(summary: Summary) -> Summary:
    """A summary as a reference: its numbers in twenty bins that hold about as many rows each."""
    return msgspec.structs.replace(summary, numbers={n: _with_bins(c) for n, c in summary.numbers.items()})


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


def _with_bins(column: Numbers) -> Numbers:
    if not column.count:
        return column
    edges = tuple(dict.fromkeys(column.quantiles(_BINS)))
    bins = tuple(
        round(share * column.count) for share in msgspec.structs.replace(column, edges=()).shares(edges)
    )
    return msgspec.structs.replace(column, edges=edges, bins=bins)


def binned(values: Doubles, edges: tuple[float, ...]) -> tuple[int, ...]:
    """How many values are over the edge before and up to the edge of each bin."""
    places = np.searchsorted(np.array(edges), values, side="left")
    return tuple(int(n) for n in np.bincount(places, minlength=len(edges) + 1))


def texts_of(series: pl.Series) -> Texts:
    """A column of texts, or of true and false."""
    there = series.cast(pl.String).drop_nulls()
    counted = there.value_counts(name="n")
    counts = dict(zip(counted[there.name].to_list(), counted["n"].to_list(), strict=True))
    return _capped(len(there), len(series) - len(there), counts, 0)


def merge(summaries: Iterable[Summary]) -> Summary:
    """The summary of all their rows together; an empty one of none."""
    every = list(summaries)
    if len(every) == 1:
        return every[0]
    numbers = {name for s in every for name in s.numbers}
    texts = {name for s in every for name in s.texts}
    return Summary(
        rows=sum(s.rows for s in every),
        requests=sum(s.requests for s in every),
        callers=merge_texts([s.callers for s in every]),
        numbers={n: merge_numbers([s.numbers[n] for s in every if n in s.numbers]) for n in sorted(numbers)},
        texts={n: merge_texts([s.texts[n] for s in every if n in s.texts]) for n in sorted(texts)},
    )


def merge_numbers(parts: Sequence[Numbers]) -> Numbers:
    """The column of all their rows; its bins are kept where all that have values have the same."""
    missing = sum(p.missing for p in parts)
    full = [p for p in parts if p.count]
    if not full:
        return Numbers(missing=missing)
    same = all(p.edges == full[0].edges for p in full)
    total = functools.reduce(_moments, [(p.count, p.mean, p.m2) for p in full])
    sketch = datasketches.kll_doubles_sketch(_SKETCH)
    for part in full:
        sketch.merge(_opened(part.sketch))
    return Numbers(
        count=total[0],
        missing=missing,
        low=min(p.low for p in full),
        high=max(p.high for p in full),
        mean=total[1],
        m2=total[2],
        edges=full[0].edges if same else (),
        bins=tuple(map(sum, zip(*(p.bins for p in full), strict=True))) if same else (),
        sketch=sketch.serialize(),
    )


def merge_texts(parts: Sequence[Texts]) -> Texts:
    """The column of all their rows."""
    counts: dict[str, int] = {}
    for part in parts:
        for text, n in part.counts.items():
            counts[text] = counts.get(text, 0) + n
    count, missing = sum(p.count for p in parts), sum(p.missing for p in parts)
    return _capped(count, missing, counts, sum(p.other for p in parts))


def _moments(one: tuple[int, float, float], two: tuple[int, float, float]) -> tuple[int, float, float]:
    count = one[0] + two[0]
    delta = two[1] - one[1]
    mean = one[1] + delta * two[0] / count
    return count, mean, one[2] + two[2] + delta * delta * one[0] * two[0] / count


def _capped(count: int, missing: int, counts: dict[str, int], other: int) -> Texts:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept, rest = ranked[:_MOST_TEXTS], ranked[_MOST_TEXTS:]
    return Texts(count, missing, dict(kept), other + sum(n for _, n in rest))


def _opened(sketch: bytes) -> datasketches.kll_doubles_sketch:
    return datasketches.kll_doubles_sketch.deserialize(sketch)
