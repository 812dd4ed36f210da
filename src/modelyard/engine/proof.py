"""The proof that two forms of a version answer alike: the rows that are asked, and how answers are compared.

What it can see: any difference on the rows asked. What it cannot: a difference on a part of the input that
none of them meets. Edges and thresholds are asked on purpose, some 2,000 rows in all, the first of them one
by one; then up to 50,000 rows are drawn, for as long as that takes little time. A form that differs on one
random row in 10,000 passes the first four times in five, and both less than once in a hundred.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from modelyard.engine.drawing import drawn_columns, pool_of, span_of
from modelyard.records.errors import InvalidError, ModelError
from modelyard.records.signatures import LABEL, PROBABILITY, Column, ColumnType
from modelyard.workers.wire import ColumnData, Frame, Value, from_values, to_values

TOLERANCE = 1e-5
TIE = 1e-9  # probabilities so close are equal: either label is right
PERTURBED = 1_000
UNSEEN = "\N{SNOWMAN} a value nobody has seen"
DRAWN = 50_000  # rows that are drawn beside
_FIRST_DRAWN, _MOST_DRAWN = 500, 10_000  # rows at once
_BATCH = 256
_ALONE = 16  # rows that are asked one by one, as most will be: a form may have a way of its own for these
_EDGE_COLUMNS = 100
_NEIGHBOURS = 1_500  # rows beside thresholds, in all
_CATEGORIES = 300  # rows of single categories, in all
_SHOWN = 6  # columns of a row that are told
_FLOATS = (
    0.0, -0.0, 1.0, 1e9, -1e9, 1e9 + 1 / 3, 1e38, 3.5e38, 1e308, -1e308, 5e-324, 1e-40, math.inf, -math.inf,
)  # fmt: skip
_INTEGERS = (0, 1, -1, 2**24 + 1, 10**9, -(10**9), 2**31, 2**53 + 1, 2**63 - 1, -(2**63))

Row = tuple[Value, ...]
Ask = Callable[[tuple[ColumnData, ...], int], Frame]


class DiffersError(Exception):
    """The two forms do not answer alike; the message says on which row and how."""


class Proved(Struct, frozen=True):
    """Two forms answered alike.

    Attributes:
        rows: how many rows were asked.
        refused: how many of these both refused.
        largest: the largest difference of two numbers, relative or absolute, whichever is smaller.
    """

    rows: int
    refused: int
    largest: float

    def __add__(self, other: Proved) -> Proved:
        """Of the same forms."""
        largest = max(self.largest, other.largest)
        return Proved(self.rows + other.rows, self.refused + other.refused, largest)

    def __str__(self) -> str:
        """As `yard show` says it.

        >>> str(Proved(1842, 0, 3e-8))
        'equal to the native form on 1,842 rows, largest difference 3e-08'
        """
        more = f" ({self.refused:,} of which both refuse)" if self.refused else ""
        return f"equal to the native form on {self.rows:,} rows{more}, largest difference {self.largest:.1g}"


def rows_to_ask(
    inputs: Sequence[Column], example: Sequence[Row], thresholds: dict[str, list[float]], seed: str
) -> list[Row]:
    """The rows of a proof: the example, perturbed rows, edges, categories, neighbours of thresholds.

    Args:
        example: one row at least.
        thresholds: column to numbers that the model compares it with, as far as they are known.
        seed: the same rows for the same seed.
    """
    chance = random.Random(seed)  # noqa: S311  # not a secret: the same proof each time is wanted
    pools = _pools(inputs, example)
    found = list(example)
    found += [tuple(_drawn(pool, column, chance) for pool, column in zip(pools, inputs, strict=True))
              for _ in range(PERTURBED)]  # fmt: skip
    found += _edges(inputs, example, chance)
    found += _categories(pools, inputs, example, chance)
    found += _beside_thresholds(inputs, found[: len(example) + PERTURBED], thresholds, chance)
    return found


def _pools(inputs: Sequence[Column], example: Sequence[Row]) -> list[list[Value]]:
    return [pool_of(column, [row[i] for row in example]) for i, column in enumerate(inputs)]


def _drawn(pool: list[Value], column: Column, chance: random.Random) -> Value:
    """A value of the column: a known one, one between or around these, at times a missing or unseen one."""
    if column.missing and chance.random() < 0.1:  # noqa: PLR2004
        return None
    value = chance.choice(pool)
    if column.type in (ColumnType.BOOL, ColumnType.STRING):
        unseen = column.type is ColumnType.STRING and column.levels is None and chance.random() < 0.03  # noqa: PLR2004
        return UNSEEN if unseen else value
    drawn = chance.uniform(*span_of(pool))
    if column.type is ColumnType.INT64:
        return max(-(2**63), min(2**63 - 1, round(drawn))) if math.isfinite(drawn) else value
    return drawn if chance.random() < 0.8 and math.isfinite(drawn) else value  # noqa: PLR2004


def _edges(inputs: Sequence[Column], example: Sequence[Row], chance: random.Random) -> Iterator[Row]:
    """An example row with one value at an edge; for very many columns, some of them."""
    numbers = range(len(inputs))
    some = numbers if len(inputs) <= _EDGE_COLUMNS else sorted(chance.sample(numbers, _EDGE_COLUMNS))
    for i in some:
        for edge in _edges_of(inputs[i]):
            row = chance.choice(example)
            yield (*row[:i], edge, *row[i + 1 :])
    if all(column.missing for column in inputs):
        yield (None,) * len(inputs)


def _edges_of(column: Column) -> tuple[Value, ...]:
    gap: tuple[Value, ...] = (None,) if column.missing else ()
    if column.type is ColumnType.FLOAT64:
        return (*_FLOATS, *gap)
    if column.type is ColumnType.INT64:
        return (*_INTEGERS, *gap)
    if column.type is ColumnType.BOOL:
        return (False, True, *gap)
    return gap if column.levels is not None else (UNSEEN, "", "nan", "None", *gap)


def _categories(
    pools: list[list[Value]], inputs: Sequence[Column], example: Sequence[Row], chance: random.Random
) -> list[Row]:
    """Every category of every column, up to a number of rows."""
    found = []
    for i, column in enumerate(inputs):
        if column.type is ColumnType.STRING:
            for value in pools[i]:
                row = chance.choice(example)
                found.append((*row[:i], value, *row[i + 1 :]))
    return found if len(found) <= _CATEGORIES else chance.sample(found, _CATEGORIES)


def _beside_thresholds(
    inputs: Sequence[Column], bases: Sequence[Row], thresholds: dict[str, list[float]], chance: random.Random
) -> list[Row]:
    """Rows with a value at a threshold, and at the doubles and the floats next to it."""
    places = {column.name: i for i, column in enumerate(inputs)}
    found: list[Row] = []
    for name, numbers in thresholds.items():
        i = places.get(name)
        if i is None or inputs[i].type not in (ColumnType.FLOAT64, ColumnType.INT64):
            continue
        for number in numbers:
            for value in _neighbours(number, inputs[i].type):
                row = chance.choice(bases)
                found.append((*row[:i], value, *row[i + 1 :]))
    return found if len(found) <= _NEIGHBOURS else chance.sample(found, _NEIGHBOURS)


def _neighbours(number: float, kind: ColumnType) -> list[Value]:
    if not math.isfinite(number) or abs(number) >= 2**62:
        return []
    if kind is ColumnType.INT64:
        return [math.floor(number), math.ceil(number), math.floor(number) + 1]
    with np.errstate(over="ignore"):
        single = np.float32(number)
        floats = [single, np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf))]
    close = [number, math.nextafter(number, -math.inf), math.nextafter(number, math.inf)]
    return [value for value in (*close, *map(float, floats)) if math.isfinite(value)]


def prove(
    native: Ask, portable: Ask, inputs: Sequence[Column], rows: Sequence[Row], seconds: float
) -> Proved:
    """Ask both forms the same rows and compare.

    Args:
        native, portable: answer columns; a ModelError is a refusal of these rows.
        seconds: how long it may take.

    Raises:
        DiffersError: they differ, or it takes too long.
    """
    proof = _Proof(native, portable, inputs, time.monotonic() + seconds)
    for row in rows[:_ALONE]:
        proof.ask([row])
    for at in range(_ALONE, len(rows), _BATCH):
        proof.ask(rows[at : at + _BATCH])
    if proof.refused == len(rows):
        raise DiffersError("both forms refuse every row, so nothing is proved")
    return Proved(len(rows), proof.refused, proof.largest)


def prove_drawn(  # both forms, their columns, and what is known of these
    native: Ask, portable: Ask, inputs: Sequence[Column], example: Sequence[Row], seed: str, seconds: float
) -> Proved:
    """Ask both forms very many rows that are drawn from what columns are known to hold, and compare.

    Args:
        seconds: after so many it ends, whatever has been asked by then; where both refuse such rows, sooner.

    Raises:
        DiffersError: they differ.
    """
    chance = np.random.default_rng(list(seed.encode()))
    pools, proof = _pools(inputs, example), _Proof(native, portable, inputs, math.inf)
    until = time.monotonic() + seconds
    done, size = 0, _FIRST_DRAWN
    while done < DRAWN and time.monotonic() < until:
        began = time.monotonic()
        if not proof.ask_columns(drawn_columns(inputs, pools, size, chance), size):
            done += min(size, _BATCH)
            break
        done += size
        fits = int(size * (until - time.monotonic()) / (time.monotonic() - began))
        size = max(1, min(_MOST_DRAWN, DRAWN - done, fits))
    return Proved(done, proof.refused, proof.largest)


class _Proof:
    def __init__(self, native: Ask, portable: Ask, inputs: Sequence[Column], deadline: float) -> None:
        self._native, self._portable = native, portable
        self._inputs = inputs
        self._deadline = deadline
        self.refused = 0
        self.largest = 0.0

    def ask(self, rows: Sequence[Row]) -> None:
        """Compare both answers to these rows; where one is refused, to halves of them."""
        if time.monotonic() > self._deadline:
            raise DiffersError("the proof took too long")
        columns = tuple(
            from_values(column.name, column.type, [row[i] for row in rows])
            for i, column in enumerate(self._inputs)
        )
        ours, theirs = _answer(self._native, columns, len(rows)), _answer(self._portable, columns, len(rows))
        if isinstance(ours, Frame) and isinstance(theirs, Frame):
            self._compare(rows.__getitem__, len(rows), ours, theirs)
        elif len(rows) > 1:
            middle = len(rows) // 2
            self.ask(rows[:middle])
            self.ask(rows[middle:])
        elif isinstance(ours, str) and isinstance(theirs, str):
            self.refused += 1
        else:
            words = (
                f"the native form refuses it ({ours})"
                if isinstance(ours, str)
                else f"only the portable form refuses it ({theirs})"
            )
            raise DiffersError(f"differs on {self._words(rows[0])}: {words}")

    def ask_columns(self, columns: tuple[ColumnData, ...], count: int) -> bool:
        """Compare both answers to these rows; where one is refused, to the first of them, and False."""

        def row_at(number: int) -> Row:
            return tuple(to_values(column)[number] for column in columns)

        ours, theirs = _answer(self._native, columns, count), _answer(self._portable, columns, count)
        if isinstance(ours, Frame) and isinstance(theirs, Frame):
            self._compare(row_at, count, ours, theirs)
            return True
        values = [to_values(column)[:_BATCH] for column in columns]
        self.ask(list(zip(*values, strict=True)))
        return False

    def _compare(self, row_at: Callable[[int], Row], count: int, ours: Frame, theirs: Frame) -> None:
        shape = [[(c.name, c.type) for c in frame.columns] for frame in (ours, theirs)]
        if shape[0] != shape[1] or not ours.rows == theirs.rows == count:
            raise DiffersError(f"answers other columns: {shape[1]} where the native form answers {shape[0]}")
        for mine, its in zip(ours.columns, theirs.columns, strict=True):
            if mine.type is ColumnType.FLOAT64:
                self._compare_numbers(row_at, mine, its)
            elif mine.name == LABEL:
                self._compare_labels(row_at, ours, to_values(mine), to_values(its))

    def _compare_numbers(self, row_at: Callable[[int], Row], mine: ColumnData, its: ColumnData) -> None:
        a, b = _doubles(mine), _doubles(its)
        gaps = _differences(a, b)
        worst = int(gaps.argmax())
        self.largest = max(self.largest, float(gaps[worst]))
        if gaps[worst] > TOLERANCE:
            raise DiffersError(
                f"differs by {abs(a[worst] - b[worst]):.2g} on {self._words(row_at(worst))}: "
                f"{mine.name} is {b[worst]:.6g}, natively {a[worst]:.6g}"
            )

    def _compare_labels(
        self, row_at: Callable[[int], Row], ours: Frame, mine: list[Value], its: list[Value]
    ) -> None:
        for number, (a, b) in enumerate(zip(mine, its, strict=True)):
            if a != b and not _is_tie(ours, number):
                raise DiffersError(
                    f"differs on {self._words(row_at(number))}: label is {b!r}, natively {a!r}"
                )

    def _words(self, row: Row) -> str:
        told = [f"{c.name}={v!r}" for c, v in zip(self._inputs, row, strict=True)]
        return "row " + ", ".join(told[:_SHOWN]) + (", …" if len(told) > _SHOWN else "")


def _answer(ask: Ask, columns: tuple[ColumnData, ...], count: int) -> Frame | str:
    try:
        return ask(columns, count)
    except (ModelError, InvalidError) as error:  # the latter: a number that its language cannot hold
        return error.message[:200]


def _doubles(column: ColumnData) -> NDArray[np.float64]:
    return np.frombuffer(column.data, "<f8")


def _differences(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative or absolute, whichever is smaller; 0 where both are missing or the same infinity."""
    with np.errstate(invalid="ignore", over="ignore"):
        absolute = np.abs(a - b)
        relative = absolute / np.maximum(np.maximum(np.abs(a), np.abs(b)), 1.0)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isfinite(relative), relative, np.inf))


def _is_tie(frame: Frame, row: int) -> bool:
    """Whether the native form's two highest probabilities are equal, as far as sums of doubles can say."""
    chances = sorted(_doubles(c)[row] for c in frame.columns if c.name.startswith(PROBABILITY))
    return len(chances) > 1 and bool(chances[-1] - chances[-2] < TIE)
