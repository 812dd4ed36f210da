"""A metric of one's own: what it can say, and that there is no way to say anything else."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.catalog.expressions import check, evaluated, own_table, sample
from modelyard.loop.measures import own_interval
from modelyard.records.errors import InvalidError
from modelyard.records.signatures import Column, ColumnType, Signature

NUMBERS = Signature(
    (Column("distance", ColumnType.FLOAT64), Column("carrier", ColumnType.STRING)),
    (Column("prediction", ColumnType.FLOAT64), Column("q90", ColumnType.FLOAT64)),
)
CLASSES = Signature(
    (Column('odd "name"', ColumnType.FLOAT64), Column("label", ColumnType.STRING)),
    (Column("label", ColumnType.STRING), Column("probability:yes", ColumnType.FLOAT64)),
)
ROWS = own_table(
    pl.DataFrame(
        {
            "in:distance": [10.0, 20.0, 30.0],
            "in:carrier": ["UA", "AA", None],
            "out:prediction": [1.0, 2.0, 6.0],
            "out:q90": [2.0, 2.0, 2.0],
            "actual": [1.0, 4.0, 4.0],
        }
    ),
    NUMBERS,
)


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("abs(prediction - actual)", [0, 2, 2]),
        ("AVG(ABS(prediction-actual)) / avg(actual)", [4 / 9]),
        (
            "case when prediction > actual then 3 * (prediction - actual) else actual - prediction end",
            [0, 2, 6],
        ),
        ("carrier = 'UA'", [1, 0, None]),
        ("carrier in ('UA', 'A''A') and actual between 1 and 2", [1, 0, 0]),
        ('sum("actual") / count(*)', [3]),
        ("-1.5e1 * (distance > 15)", [0, -15, -15]),
        ("actual > q90", [0, 1, 1]),
        ("greatest(actual, prediction, 3)", [3, 4, 6]),
    ],
)
def test_what_it_can_say(expression: str, values: list[float | None]) -> None:
    assert evaluated(expression, ROWS).to_list() == pytest.approx(values)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("(select 1)", "'select'"),
        ("(SELECT * FROM read_csv('/etc/passwd'))", "'SELECT'"),
        ("read_csv('/etc/passwd')", "function 'read_csv'"),
        ("read_parquet /**/ ('/etc/passwd')", "'read_parquet'"),
        ("actual; drop table models", "';"),
        ("actual -- a remark", "'a' is not known"),
        ("actual || 'x'", "|| 'x'"),
        ("repeat('x', 1000000000)", "function 'repeat'"),
        ("cast(actual as int)", "function 'cast'"),
        ("pg_sleep(5)", "function 'pg_sleep'"),
        ("prediktion", "'prediktion' is not known"),
        ('"no such"', "'no such'"),
        ("1 +", "cannot be computed"),
        ("(" * 300 + "1" + ")" * 300, "cannot be computed"),
        ("'text'", "are no numbers"),
        ("carrier", "are no numbers"),
        ("carrier + actual", "."),
        ("", "0 characters"),
        ("1" * 1001, "1,001 characters"),
        ("a\0b", "not known"),
        ("1x", "not known"),
        ("0x10", "not known"),
        ("case", "cannot be computed"),
        ("actual @ 2", "'@ 2'"),
        ("{}", "not known"),
    ],
    ids=lambda v: v[:20],
)
def test_what_it_cannot(expression: str, words: str) -> None:
    with pytest.raises(InvalidError) as error:
        check(expression, NUMBERS)
    assert words in error.value.message


@given(st.text(max_size=60) | st.from_regex(r"[a-z(),*'\" =0-9]{1,60}", fullmatch=True))
def test_any_text_is_a_metric_or_refused(expression: str) -> None:
    try:
        found = evaluated(expression, ROWS)
    except InvalidError:
        return
    assert found.dtype == pl.Float64


def test_columns_of_a_classifier_outputs_first() -> None:
    check('(label = actual) * "probability:yes" * "odd ""name"""', CLASSES)
    assert sample(CLASSES).columns == ["actual", "label", "probability:yes", 'odd "name"']


def test_the_interval_of_means_and_of_what_sums_up() -> None:
    """Of a mean both ways of saying it agree."""
    chance = np.random.default_rng(1)
    table = pl.DataFrame({"actual": chance.normal(5, 2, 4000)})
    one, two = (own_interval(e, table) for e in ("actual", "sum(actual) / count(*)"))
    assert one is not None
    assert two is not None
    assert one.value == pytest.approx(two.value)
    assert one.high - one.low == pytest.approx(2 * 1.96 * 2 / math.sqrt(4000), rel=0.05)
    assert two.high - two.low == pytest.approx(one.high - one.low, rel=0.5)
    assert own_interval("nullif(actual, actual)", table) is None
    assert own_interval("max(nullif(actual, actual))", table) is None
    for expression in ("actual", "sum(actual)"):
        single = own_interval(expression, table.head(1))
        assert single is not None
        assert single.low < -5 < single.value < 5 * single.value < single.high, "one row says little"
