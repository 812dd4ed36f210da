"""The check of a version: what it answers to its example, by real workers, against what was published."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.hands import X, plan, settings, started

from modelyard.engine.checks import _outputs, answers_example, compare, same
from modelyard.records.errors import DeadlineError, InvalidError, ModelError, WorkerLostError, YardError
from modelyard.records.signatures import Column, ColumnType, Signature, Task
from modelyard.workers.local import LocalWorkers
from modelyard.workers.plans import Plan
from modelyard.workers.wire import Frame, Value, from_values

FLOAT, INT, BOOL, TEXT = ColumnType.FLOAT64, ColumnType.INT64, ColumnType.BOOL, ColumnType.STRING
DOUBLES = st.floats(-1e300, 1e300)


@given(DOUBLES)
def test_same_within_a_millionth(value: float) -> None:
    assert same(value, value)
    assert same(value, value + 5e-7)
    assert same(value, value * (1 + 5e-7))
    beyond = value + max(abs(value), 1.0) * 3e-6
    assert not same(value, beyond)


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (math.nan, math.nan, True),
        (math.nan, None, True),
        (None, None, True),
        (math.nan, 0.0, False),
        (None, 0.0, False),
        (math.inf, math.inf, True),
        (math.inf, -math.inf, False),
        (math.inf, 1e308, False),
        ("a", "a", True),
        ("a", "a ", False),
        ("", None, False),
        (2**60, 2**60 + 1, False),
        (True, False, False),
        (False, None, False),
    ],
)
def test_same_of_what_is_no_plain_number(a: Value, b: Value, equal: bool) -> None:  # a case
    assert same(a, b) is equal
    assert same(b, a) is equal


def answer(*values: Value, name: str = "prediction", kind: ColumnType = FLOAT) -> Frame:
    return Frame("answer", (("id", "1"),), len(values), (from_values(name, kind, values),))


def test_compare_accepts_equal_answers() -> None:
    compare(answer(1.0, math.nan, math.inf), b"prediction\n1.0000005\n\nInf\n")
    compare(answer("a", "", None, name="label", kind=TEXT), b'label\n"a"\n""\n\n')
    compare(answer(2**60, name="label", kind=INT), b"label\n1152921504606846976\n")
    compare(answer(*(True, None), name="label", kind=BOOL), b"label\ntrue\n\n")


def test_compare_says_row_column_and_both_values() -> None:
    with pytest.raises(ModelError, match=r"row 1, prediction: 2\.0 now, 2\.5 then") as caught:
        compare(answer(1.0, 2.0), b"prediction\n1\n2.5\n")
    assert "depends on" in caught.value.hint
    with pytest.raises(ModelError, match="row 0, label: 'a' now, 'b' then"):
        compare(answer("a", name="label", kind=TEXT), b'label\n"b"\n')


@pytest.mark.parametrize("expected", [b"prediction\n1\n", b"prediction\n1\n2\n3\n"])
def test_compare_says_how_many_rows(expected: bytes) -> None:
    with pytest.raises(ModelError, match="rows, the example 2"):
        compare(answer(1.0, 2.0), expected)


@pytest.mark.parametrize(
    "expected", [b"other\n1\n", b"", b"prediction\nabc\n", b'prediction\n"1\n', b"\xff\n1\n"]
)
def test_compare_with_a_table_that_does_not_fit(expected: bytes) -> None:
    with pytest.raises(YardError):
        compare(answer(1.0), expected)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    place = tmp_path / "bundle"
    place.mkdir()
    (place / "example.csv").write_text("x\n1\n2.5\n")
    return place


def check(
    bundle: Path,
    source: str,
    outputs: tuple[Column, ...] = (),
    inputs: tuple[Column, ...] = (X,),
    timeout: float = 20.0,
) -> Signature:
    """The signature of a Python model that passes its check."""
    wanted = msgspec.structs.replace(plan(bundle, f"def predict(columns):\n{source}\n"), inputs=inputs)
    with started(LocalWorkers(settings(bundle.parent / "data")), wanted) as worker:
        return answers_example(worker, Signature(inputs, outputs), timeout)


def names(signature: Signature) -> list[tuple[str, str]]:
    return [(c.name, c.type.value) for c in signature.outputs]


def test_outputs_are_filled_in(bundle: Path) -> None:
    (bundle / "expected.csv").write_text("prediction\n2\n5\n")
    found = check(bundle, "    return columns['x'] * 2")
    assert names(found) == [("prediction", "float64")]
    assert found.task is Task.REGRESSION
    assert found.inputs == (X,)


def test_outputs_that_were_declared_stay_as_they_are(bundle: Path) -> None:
    declared = Column("prediction", FLOAT, low=0.0, high=9.0)
    assert check(bundle, "    return columns['x'] * 2", (declared,)).outputs == (declared,)


def test_several_outputs(bundle: Path) -> None:
    found = check(bundle, "    return {'fuel': columns['x'], 'time': columns['x'] * 2}")
    assert names(found) == [("fuel", "float64"), ("time", "float64")]


def test_labels_and_probabilities(bundle: Path) -> None:
    source = "    p = [0.25, 0.75]\n    return {'label': ['no', 'yes'], 'probabilities': {'no': p, 'yes': p}}"
    (bundle / "expected.csv").write_text(
        'label,probability:no,probability:yes\n"no",0.25,0.25\n"yes",0.75,0.75\n'
    )
    found = check(bundle, source)
    assert names(found) == [
        ("label", "string"),
        ("probability:no", "float64"),
        ("probability:yes", "float64"),
    ]
    assert found.task is Task.CLASSIFICATION
    assert found.classes == ("no", "yes")


def test_answers_that_differ_from_those_at_publishing(bundle: Path) -> None:
    (bundle / "expected.csv").write_text("prediction\n2\n5.1\n")
    with pytest.raises(ModelError, match=r"row 1, prediction: 5\.0 now, 5\.1 then"):
        check(bundle, "    return columns['x'] * 2")


def test_outputs_other_than_declared(bundle: Path) -> None:
    declared = (Column("label", TEXT),)
    with pytest.raises(ModelError, match=r"answers prediction \(float64\); its bundle says label \(string\)"):
        check(bundle, "    return columns['x'] * 2", declared)


@pytest.mark.parametrize(
    "source",
    [
        "    return {'label': columns['x']}",
        "    return {'label': ['a', 'b'], 'score': columns['x']}",
        "    return {'prediction': columns['x'], 'word': ['a', 'b']}",
    ],
)
def test_columns_that_break_the_rules_of_the_wire(bundle: Path, source: str) -> None:
    with pytest.raises(ModelError):
        check(bundle, source)


@pytest.mark.parametrize(
    "columns",
    [
        (Column("only", FLOAT),),
        (Column("label", TEXT), Column("probability:a", TEXT)),
        (Column("prediction", INT),),
        (),
    ],
)
def test_columns_that_no_runtime_of_ours_would_answer(columns: tuple[Column, ...]) -> None:
    frame = Frame("answer", (), 0, tuple(from_values(c.name, c.type, []) for c in columns))
    with pytest.raises(ModelError):
        _outputs(frame, Signature((X,)))


def test_a_model_that_fails_on_its_own_example(bundle: Path) -> None:
    with pytest.raises(ModelError, match="fails on its own example: ValueError: no such season"):
        check(bundle, "    raise ValueError('no such season')")


def test_a_model_that_dies_on_its_own_example(bundle: Path) -> None:
    with pytest.raises(WorkerLostError, match="ended while it answered the example"):
        check(bundle, "    import os; os._exit(1)")


def test_a_worker_that_is_gone_already(bundle: Path) -> None:
    workers = LocalWorkers(settings(bundle.parent / "data"))
    worker = workers.start(plan(bundle), print)
    workers.stop(worker)
    with pytest.raises(WorkerLostError):
        answers_example(worker, Signature((X,)), 5.0)


def test_a_model_that_hangs_on_its_own_example(bundle: Path) -> None:
    with pytest.raises(DeadlineError):
        check(bundle, "    import time; time.sleep(99)", timeout=0.3)


@pytest.mark.parametrize("rows", ["[1.0]", "[1.0, 2.0, 3.0]", "[]"])
def test_another_number_of_rows(bundle: Path, rows: str) -> None:
    with pytest.raises(ModelError):
        check(bundle, f"    return {rows}")


@pytest.mark.parametrize(
    ("example", "words"),
    [("y\n1\n", "'x'"), ("x\nabc\n", "abc"), ("x\n\n1\n", "x"), ('x\n"1\n', "CSV")],
)
def test_an_example_that_does_not_fit_its_signature(bundle: Path, example: str, words: str) -> None:
    (bundle / "example.csv").write_text(example)
    with pytest.raises(YardError, match=words):
        check(bundle, "    return columns['x']")


def test_every_type_reaches_the_model_and_comes_back(bundle: Path) -> None:
    inputs = (
        Column("f", FLOAT, missing=True),
        Column("i", INT, missing=True),
        Column("b", BOOL),
        Column("s", TEXT, missing=True),
        Column("k", TEXT, levels=("AA", "UA")),
    )
    rows = f'f,i,b,s,k\n0.1,{2**60},true,"","AA"\n,1,false,,"UA"\n'
    (bundle / "example.csv").write_text(rows)
    (bundle / "expected.csv").write_text('label\n"0.1 True 0 AA"\n"nan False 1 UA"\n')
    source = '    c = columns\n    return [f"{f} {b} {int(s is None)} {k}" for f, b, s, k in '
    source += "zip(c['f'], c['b'], c['s'], c['k'])]"
    assert names(check(bundle, source, inputs=inputs)) == [("label", "string")]


R_FACTORS = """
d <- data.frame(carrier = factor(rep(c("AA", "UA"), 4)), distance = as.double(1:8))
d$delay <- ifelse(d$carrier == "AA", 10, 20) + d$distance
saveRDS(lm(delay ~ carrier + distance, d), "model.rds")
"""


@pytest.mark.r
@pytest.mark.parametrize(("levels", "fits"), [(("AA", "UA"), True), (("AA", "UA", "ZZ"), False)])
def test_factor_levels_in_r(
    bundle: Path, rscript: list[str], levels: tuple[str, ...], fits: bool
) -> None:  # a case
    subprocess.run([*rscript, "-e", R_FACTORS], cwd=bundle, check=True, capture_output=True)
    (bundle / "example.csv").write_text(f'carrier,distance\n"{levels[-1]}",3\n"AA",4\n')
    (bundle / "expected.csv").write_text("prediction\n23\n14\n")
    inputs = (Column("carrier", TEXT, levels=levels), Column("distance", INT))
    wanted = Plan("finance.fuel.1", 0, "r", "4.2.2", str(bundle), "model.rds", {}, inputs)
    with started(LocalWorkers(settings(bundle.parent / "data")), wanted) as worker:
        assert "int64" not in worker.takes, "whole numbers go as doubles"
        if fits:
            assert names(answers_example(worker, Signature(inputs), 20)) == [("prediction", "float64")]
        else:
            with pytest.raises(ModelError, match="ZZ"):
                answers_example(worker, Signature(inputs), 20)


def test_a_whole_number_that_r_cannot_hold_is_refused(bundle: Path) -> None:
    (bundle / "example.csv").write_text(f"x\n{2**53}\n")
    inputs = (Column("x", INT),)
    workers = LocalWorkers(settings(bundle.parent / "data"))
    with started(workers, msgspec.structs.replace(plan(bundle), inputs=inputs)) as worker:
        takes_no_integers = msgspec.structs.replace(worker, takes=("float64",))
        with pytest.raises(InvalidError, match=r"2\^53"):
            answers_example(takes_no_integers, Signature(inputs), 5)
