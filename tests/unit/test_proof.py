"""The proof: which rows are asked, what it sees, and what it cannot see."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from modelyard.engine.drawing import drawn_columns, pool_of
from modelyard.engine.proof import (
    DRAWN,
    UNSEEN,
    DiffersError,
    Proved,
    Row,
    prove,
    prove_drawn,
    rows_to_ask,
)
from modelyard.records.errors import ModelError
from modelyard.records.signatures import Column, ColumnType
from modelyard.workers.wire import ColumnData, Frame, from_values, to_values

X = Column("x", ColumnType.FLOAT64, low=0.0, high=1.0)
KIND = Column("kind", ColumnType.STRING, missing=True, categories=("a", "b"))
EXAMPLE: list[Row] = [(0.25, "a"), (0.75, None)]
Ask = Callable[[tuple[ColumnData, ...], int], Frame]


def form(answer: Callable[[float], float]) -> Ask:
    """A form of a model of x, row by row; a ValueError refuses."""

    def ask(columns: tuple[ColumnData, ...], count: int) -> Frame:
        values = [v if isinstance(v, float) else math.nan for v in to_values(columns[0])]
        try:
            found = [answer(v) for v in values]
        except ValueError as error:
            raise ModelError(str(error)) from error
        return Frame("answer", (), count, (from_values("prediction", ColumnType.FLOAT64, found),))

    return ask


def labels(answer: Callable[[float], tuple[str, float]]) -> Ask:
    """A classifier: label and the probability of "b"."""

    def ask(columns: tuple[ColumnData, ...], count: int) -> Frame:
        pairs = [answer(float(v)) for v in to_values(columns[0])]  # type: ignore[arg-type]
        chances = [p for _, p in pairs]
        return Frame("answer", (), count, (
            from_values("label", ColumnType.STRING, [label for label, _ in pairs]),
            from_values("probability:a", ColumnType.FLOAT64, [1 - p for p in chances]),
            from_values("probability:b", ColumnType.FLOAT64, chances),
        ))  # fmt: skip

    return ask


def rows(thresholds: Sequence[float] = ()) -> list[Row]:
    return rows_to_ask([X], [(0.25,), (0.75,)], {"x": list(thresholds)}, "seed")


def test_rows_hold_edges_every_category_missing_and_unseen_values() -> None:
    found = rows_to_ask([X, KIND], EXAMPLE, {"x": [0.5]}, "seed")
    assert found == rows_to_ask([X, KIND], EXAMPLE, {"x": [0.5]}, "seed"), "the same proof each time"
    assert found[:2] == EXAMPLE
    assert {"a", "b", None, UNSEEN, ""} <= {row[1] for row in found}
    numbers = {row[0] for row in found}
    assert {0.0, 1e9, -1e9, 1e308, -1e308, 5e-324, math.inf, -math.inf} <= numbers
    single = float(np.nextafter(np.float32(0.5), np.float32(1)))
    assert {0.5, math.nextafter(0.5, 1), math.nextafter(0.5, 0), single} <= numbers
    assert None not in numbers, "x may not be missing"


def test_whole_numbers_stay_within_64_bits_and_levels_stay_closed() -> None:
    count = Column("n", ColumnType.INT64, low=-(2.0**63), high=2.0**63)
    closed = Column("c", ColumnType.STRING, levels=("p", "q"))
    found = rows_to_ask([count, closed], [(1, "p")], {"n": [0.5, 1e300, math.inf]}, "seed")
    assert all(isinstance(n, int) and -(2**63) <= n < 2**63 for n, _ in found)
    assert {c for _, c in found} == {"p", "q"}


def test_equal_forms_and_the_largest_difference() -> None:
    asked = rows()
    proved = prove(form(lambda x: x), form(lambda x: x * (1 + 2e-8)), [X], asked, 30)
    assert proved.rows == len(asked)
    assert 1e-9 < proved.largest <= 2.1e-8
    assert str(Proved(1842, 3, 3e-8)).startswith(
        "equal to the native form on 1,842 rows (3 of which both refuse)"
    )


def test_a_difference_is_told_with_its_row() -> None:
    with pytest.raises(
        DiffersError, match=r"differs by 0\.99 on row x=-1000000000\.0: prediction is 0\.99, natively 0"
    ):
        prove(form(lambda _: 0.0), form(lambda x: 0.99 if x == -1e9 else 0.0), [X], rows(), 30)


def test_a_form_with_a_way_of_its_own_for_one_row_is_asked_that_way() -> None:
    def ask(columns: tuple[ColumnData, ...], count: int) -> Frame:
        return form(lambda x: x + (count == 1))(columns, count)

    with pytest.raises(DiffersError, match="differs by 1 "):
        prove(form(lambda x: x), ask, [X], rows(), 30)


def test_what_one_refuses_the_other_must_refuse() -> None:
    def strict(x: float) -> float:
        if math.isinf(x):
            raise ValueError("no infinity")
        return x

    asked = rows()
    assert prove(form(strict), form(strict), [X], asked, 30).refused == sum(math.isinf(x) for (x,) in asked)  # type: ignore[arg-type]
    with pytest.raises(DiffersError, match="the native form refuses it"):
        prove(form(strict), form(lambda x: x), [X], asked, 30)
    with pytest.raises(DiffersError, match="only the portable form refuses it"):
        prove(form(lambda x: x), form(strict), [X], asked, 30)


def test_missing_and_infinite_answers_are_equal_only_to_themselves() -> None:
    for odd in (math.nan, math.inf, -math.inf):
        prove(form(lambda _, odd=odd: odd), form(lambda _, odd=odd: odd), [X], rows(), 30)  # type: ignore[misc]
        with pytest.raises(DiffersError):
            prove(form(lambda _, odd=odd: odd), form(lambda _: 0.0), [X], rows(), 30)  # type: ignore[misc]


def test_labels_are_equal_but_for_exact_ties() -> None:
    prove(labels(lambda _: ("a", 0.5)), labels(lambda _: ("b", 0.5)), [X], rows(), 30)
    with pytest.raises(DiffersError, match="label is 'b', natively 'a'"):
        prove(labels(lambda _: ("a", 0.5001)), labels(lambda _: ("b", 0.5001)), [X], rows(), 30)


def test_other_columns_are_a_difference() -> None:
    with pytest.raises(DiffersError, match="answers other columns"):
        prove(form(lambda x: x), labels(lambda _: ("a", 0.5)), [X], rows(), 30)


def test_nothing_is_proved_by_refusals_alone_or_out_of_time() -> None:
    def never(x: float) -> float:
        raise ValueError(x)

    with pytest.raises(DiffersError, match="refuse every row"):
        prove(form(never), form(never), [X], rows(), 30)
    with pytest.raises(DiffersError, match="took too long"):
        prove(form(never), form(never), [X], rows(), -1)


def test_a_difference_on_one_row_in_ten_thousand_is_seen_at_a_known_threshold_and_else_may_not_be() -> None:
    """The two forms differ on a strip as wide as 1/10,000 of the range; the proof is honest about it."""

    def off(x: float) -> float:
        return 1.0 if 0.61 < x <= 0.6101 else 0.0

    with pytest.raises(DiffersError, match=r"differs by 1 on row x=0\.61"):
        prove(form(lambda _: 0.0), form(off), [X], rows([0.61, 0.6101]), 30)
    asked = rows()
    is_met = any(0.61 < x <= 0.6101 for (x,) in asked)  # type: ignore[operator]
    assert not is_met, "with this seed no row meets the strip: what no row meets, no proof can see"
    assert prove(form(lambda _: 0.0), form(off), [X], asked, 30).largest == 0


def test_a_difference_on_one_row_in_ten_thousand_is_seen_by_rows_that_are_drawn() -> None:
    def off(x: float) -> float:
        return 1.0 if 0.61 < x <= 0.6101 else 0.0

    example: list[Row] = [(0.25,), (0.75,)]
    with pytest.raises(DiffersError, match=r"differs by 1 on row x=0\.61"):
        prove_drawn(form(lambda _: 0.0), form(off), [X], example, "seed", 30)
    proved = prove_drawn(form(lambda x: x), form(lambda x: x), [X], example, "seed", 30)
    assert (proved.rows, proved.refused, proved.largest) == (DRAWN, 0, 0.0)


def test_drawn_rows_that_both_refuse_end_it_and_that_one_refuses_differ() -> None:
    def strict(x: float) -> float:
        if x > 0.9:
            raise ValueError("too large")
        return x

    example: list[Row] = [(0.25,), (0.75,)]
    proved = prove_drawn(form(strict), form(strict), [X], example, "seed", 30)
    assert 0 < proved.refused < proved.rows < 1_000
    with pytest.raises(DiffersError, match="only the portable form refuses it"):
        prove_drawn(form(lambda x: x), form(strict), [X], example, "seed", 30)


def test_drawn_columns_keep_to_their_types_and_to_what_may_be_missing() -> None:
    count = Column("n", ColumnType.INT64, missing=True, low=-(2.0**63), high=2.0**63)
    closed = Column("c", ColumnType.STRING, levels=("p", "q"))
    flag = Column("f", ColumnType.BOOL, missing=True)
    inputs = [X, KIND, count, closed, flag]
    example: list[Row] = [(0.25, "a", 3, "p", True)]
    pools = [pool_of(column, [row[i] for row in example]) for i, column in enumerate(inputs)]
    found = [to_values(c) for c in drawn_columns(inputs, pools, 500, np.random.default_rng(1))]
    assert all(isinstance(x, float) and -0.3 < x < 1.3 for x in found[0])
    assert set(found[1]) == {"a", "b", None}
    assert all(n is None or -(2**63) <= n < 2**63 for n in found[2])  # type: ignore[operator]
    assert None in found[2]
    assert set(found[3]) == {"p", "q"}
    assert set(found[4]) == {True, False, None}
