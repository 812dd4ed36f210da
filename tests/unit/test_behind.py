"""Who and what is behind a finding, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from modelyard.catalog.summaries import numbers_of, texts_of
from modelyard.loop.behind import behind, examples_of, moved_by, strongest, told
from modelyard.loop.losses import cost_of, loss_model
from modelyard.records.metrics import Metric
from modelyard.records.signatures import Column, ColumnType, Signature

NUMBERS = numbers_of(pl.Series([1.0, 2.0, 3.0, 4.0]))
TEXTS = texts_of(pl.Series(["UA", "UA", "AA", "AA"]))


@pytest.mark.parametrize(
    ("kind", "values", "before", "moved"),
    [
        ("drift", [3.5, None], NUMBERS, [1.0, None]),
        ("missing", [None, float("nan"), 1.0], NUMBERS, [1.0, 1.0, 0.0]),
        ("out-of-range", [0.0, 1.0, 4.0, 9.0, None], NUMBERS, [1.0, 0.0, 0.0, 1.0, 0.0]),
        ("type", [1.5, 2.0], NUMBERS, [1.0, 0.0]),
        ("constant", [1.0], NUMBERS, None),
        ("drift", ["UA", "AA"], TEXTS, [0.5, -0.5]),
        ("new-category", ["UA", "XX", None], TEXTS, [0.0, 1.0, 0.0]),
        ("type", ["UA", "12"], TEXTS, [0.0, 1.0]),
        ("constant", ["UA"], TEXTS, None),
    ],
    ids=lambda v: str(v)[:20],
)
def test_how_far_rows_carry_it(kind: str, values: list[Any], before: Any, moved: list[Any] | None) -> None:
    after = texts_of(pl.Series(["UA", "UA", "UA", "AA"])) if before is TEXTS else NUMBERS
    found = moved_by(kind, pl.Series(values), before, after)
    assert (None if found is None else found.to_list()) == moved


def test_groups_that_move_as_all_do_are_not_behind_it() -> None:
    rows = pl.DataFrame(
        {
            "request": ["a", "a", "b", "c"],
            "row": [0, 1, 0, 0],
            "caller": ["anna", "anna", "ben", "ben"],
            "in:carrier": ["UA", "UA", "AA", "AA"],
            "in:origin": ["JFK", "LGA", "JFK", "LGA"],
            "moved": [0.0, 0.0, 5.0, 3.0],
        }
    )
    assert behind(rows, "caller") == (0.5, "ben")
    assert strongest(rows, "in:carrier") == "AA"
    assert strongest(rows, "in:origin") == ""
    assert strongest(rows, "in:gone") == ""
    assert examples_of(rows)[:2] == ("b/0", "c/0")


def test_what_a_moved_column_costs() -> None:
    """Errors grow with x and not with y: moving x costs, moving y does not."""
    chance = np.random.default_rng(1)
    signature = Signature(
        (Column("x", ColumnType.FLOAT64), Column("y", ColumnType.FLOAT64)),
        (Column("prediction", ColumnType.FLOAT64),),
    )

    def rows(x: float, y: float) -> pl.DataFrame:
        xs, ys = chance.normal(x, 1, 5000), chance.normal(y, 1, 5000)
        actual = xs + chance.normal(0, 1 + np.maximum(0, xs))
        return pl.DataFrame({"in:x": xs, "in:y": ys, "out:prediction": xs, "actual": actual})

    before = rows(0, 0)
    model = loss_model(before, signature, Metric.MAE)
    assert model is not None
    window = rows(1.5, 1.5)
    dear, cheap = (cost_of(model, window, before, f"in:{name}") for name in "xy")
    assert dear is not None
    assert cheap is not None
    assert dear.cost > 0.5
    assert dear.share > 0.4
    assert abs(cheap.share) < 0.1
    assert cost_of(model, window, before, "in:gone") is None
    assert "worse by" in told(Metric.MAE, dear.cost, dear.share)
    assert "hardly" in told(Metric.MAE, cheap.cost, 0.02)
