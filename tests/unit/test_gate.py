"""The gate's decision: who wins, who ties, which slice fell, and what cannot be compared at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from modelyard.catalog.expressions import own_table
from modelyard.catalog.gates import Judged
from modelyard.engine.comparing import Rows, slices_of
from modelyard.engine.heldout import columns_beside
from modelyard.loop.gate import CannotCompareError, Compared, Side, judge
from modelyard.loop.scores import Answers, Score, compare, constant, score
from modelyard.records.errors import InvalidError
from modelyard.records.metrics import Metric, OwnMetric
from modelyard.records.policies import Approval, Opponent, Promote
from modelyard.records.signatures import LABEL, PREDICTION, PROBABILITY, Column, ColumnType, Signature
from modelyard.records.verdicts import VerdictState
from modelyard.serving.inputs import InputPlan

X = Column("x", ColumnType.FLOAT64)
REGRESSION = Signature((X,), (Column(PREDICTION, ColumnType.FLOAT64),))
CLASSES = ("false", "true")
CLASSIFIER = Signature(
    (X,),
    (
        Column(LABEL, ColumnType.BOOL),
        *(Column(f"{PROBABILITY}{name}", ColumnType.FLOAT64) for name in CLASSES),
    ),
)
SEED = 7
NOW = datetime(2026, 11, 26, tzinfo=UTC)

Doubles = NDArray[np.float64]


def number_side(values: Doubles, seconds: float = 0.001, size: int = 1000) -> Side:
    return Side(Answers(values), values, seconds, size)


def class_side(chance: Doubles, labels: Sequence[str] = ()) -> Side:
    said = tuple(labels) or tuple("true" if p > 0.5 else "false" for p in chance)
    answers = Answers(np.empty(0), said, CLASSES, np.column_stack([1 - chance, chance]))
    return Side(answers, chance, 0.001, 1000)


def noisy(error: float, rows: int = 500, seed: int = 1) -> tuple[Doubles, Doubles]:
    """Outcomes, and predictions with this standard error around them."""
    chance = np.random.default_rng(seed)
    came = np.random.default_rng(0).normal(100, 30, rows)
    return came, came + chance.normal(0, error, rows)


def numbers_case(
    candidate: float,
    champion: float | None,
    rows: int = 500,
    slices: Mapping[str, Sequence[str]] | None = None,
    **more: Any,
) -> Compared:
    came, mine = noisy(candidate, rows)
    theirs = None if champion is None else number_side(noisy(champion, rows, 5)[1])
    return Compared(REGRESSION, came, slices or {}, number_side(mine), theirs, **more)


def verdict(promote: Promote, compared: Compared) -> Judged:
    return judge(promote, compared, SEED)


def test_a_better_candidate_passes_and_the_sentence_says_by_how_much() -> None:
    found = verdict(Promote(slices=("g",)), numbers_case(10, 20, slices={"g": ["a", "b"] * 250}))
    assert found.state is VerdictState.PASSED
    assert found.faults == ()
    assert found.numbers is not None
    assert found.numbers.metric == "mae"
    assert 0 < found.numbers.low < found.numbers.better < found.numbers.high
    assert found.words.startswith("Better than the champion: on 500 held-out rows its mae is")
    assert "No group by g got worse by more than 5%." in found.words
    assert sum(found.rules.expected) == pytest.approx(1)
    assert len(found.rules.edges) + 1 == len(found.rules.champion_expected)


def test_the_same_rows_give_the_same_verdict() -> None:
    case = numbers_case(10, 10.5)
    assert judge(Promote(), case, 3) == judge(Promote(), case, 3)


def test_a_tie_keeps_the_champion() -> None:
    found = verdict(Promote(), numbers_case(10, 10))
    assert found.state is VerdictState.REFUSED
    assert "tie with the champion" in found.words
    assert "The champion stays." in found.words


def test_a_worse_candidate_is_refused() -> None:
    found = verdict(Promote(), numbers_case(20, 10))
    assert found.state is VerdictState.REFUSED
    assert "It is worse than the champion" in found.words


def test_nothing_to_beat_passes_a_worse_candidate_but_not_a_slow_one() -> None:
    promote = Promote(must_beat=Opponent.NOTHING)
    assert verdict(promote, numbers_case(20, 10)).state is VerdictState.PASSED
    came, mine = noisy(20)
    slow = Compared(REGRESSION, came, {}, number_side(mine, seconds=0.2), number_side(mine))
    assert verdict(promote, slow).faults == (
        "It answers a row in 200 ms (the champion 1 ms); at most 25 ms is accepted.",
    )


def test_a_slice_that_falls_is_named_though_the_whole_is_better() -> None:
    came, _ = noisy(1)
    groups = np.array(["JFK"] * 100 + ["LGA"] * 400)
    chance = np.random.default_rng(5)
    mine = came + chance.normal(0, 1, 500) * np.where(groups == "JFK", 20, 5)
    theirs = came + chance.normal(0, 10, 500)
    case = Compared(REGRESSION, came, {"origin": list(groups)}, number_side(mine), number_side(theirs))
    found = verdict(Promote(slices=("origin",)), case)
    assert found.state is VerdictState.REFUSED
    assert found.faults[0].startswith("Where origin is 'JFK' it is")
    assert len(found.faults) == 1
    assert verdict(Promote(slices=("origin",), slice_tolerance="500%"), case).state is VerdictState.PASSED


def own_case(expression: str, mine: Doubles, theirs: Doubles | None, **more: Any) -> Compared:
    """Versions that are judged by a metric of the model's own; x is what the row weighs."""
    came = noisy(1)[0]
    metric = OwnMetric("a/b", "own", expression, higher_is_better=False, changed_at=NOW, changed_by="a")

    def side(values: Doubles) -> Side:
        rows = pl.DataFrame({"in:x": np.arange(500.0), "out:prediction": values, "actual": came})
        return Side(Answers(values), values, 0.001, 1000, own_table(rows, REGRESSION))

    slices = more.pop("slices", {})
    champion = None if theirs is None else side(theirs)
    return Compared(REGRESSION, came, slices, side(mine), champion, own=(metric,), **more)


OWN = Promote(metric="own", slices=("g",))


@pytest.mark.parametrize(
    "expression",
    [
        "abs(prediction - actual)",
        "sum(abs(prediction - actual)) / sum(abs(actual))",
        "case when x > 100 then abs(prediction - actual) end",
    ],
    ids=["a value a row", "a sum", "a value of some rows"],
)
def test_a_metric_of_the_models_own_decides(expression: str) -> None:
    near, far = noisy(10, seed=2)[1], noisy(20, seed=3)[1]
    better = verdict(OWN, own_case(expression, near, far, slices={"g": ["a", "b"] * 250}))
    assert better.state is VerdictState.PASSED, better.words
    assert better.numbers is not None
    assert (better.numbers.metric, len(better.numbers.slices)) == ("own", 2)
    assert 0 < better.numbers.low < better.numbers.better < better.numbers.high
    assert "its own is" in better.words
    assert "worse than the champion" in verdict(Promote(metric="own"), own_case(expression, far, near)).words
    assert "tie" in verdict(Promote(metric="own"), own_case(expression, near, noisy(10, seed=4)[1])).words
    first = verdict(Promote(metric="own"), own_case(expression, near, None))
    assert "better than always guessing the same" in first.words


def test_a_sum_over_rows_has_the_interval_of_the_same_metric_by_row() -> None:
    """The sum's draws are computed one by one, the others by sums of blocks: both are the same bootstrap."""
    near, far = noisy(10, seed=2)[1], noisy(11, seed=3)[1]
    found = [
        verdict(Promote(metric="own"), own_case(expression, near, far)).numbers
        for expression in ("abs(prediction - actual)", "sum(abs(prediction - actual)) / count(actual)")
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[1].better == pytest.approx(found[0].better)
    width = found[0].high - found[0].low
    assert found[1].low == pytest.approx(found[0].low, abs=0.15 * width)
    assert found[1].high == pytest.approx(found[0].high, abs=0.15 * width)


def test_classes_are_judged_by_a_metric_of_their_own_against_the_most_frequent() -> None:
    chance = np.random.default_rng(1).uniform(size=500)
    came = ["true" if p > 0.3 else "false" for p in chance]
    said = np.clip(chance + 0.2, 0.01, 0.99)
    rows = pl.DataFrame(
        {"in:x": chance, "out:label": said > 0.5, "actual": came}
        | {"out:probability:false": 1 - said, "out:probability:true": said}
    )
    expression = "case when label then actual = 'false' else actual = 'true' end"
    own = OwnMetric("a/b", "own", expression, higher_is_better=False, changed_at=NOW, changed_by="a")
    side = class_side(said)
    mine = Side(side.answers, side.outputs, 0.001, 1000, own_table(rows, CLASSIFIER))
    found = verdict(Promote(metric="own"), Compared(CLASSIFIER, came, {}, mine, None, own=(own,)))
    assert found.state is VerdictState.PASSED, found.words
    assert found.numbers is not None
    assert (found.numbers.candidate, found.numbers.champion) == (0.0, came.count("false") / 500)


def test_a_metric_that_is_gone_or_cannot_be_computed_compares_nothing() -> None:
    with pytest.raises(InvalidError, match="no such metric"):
        verdict(Promote(metric="own"), numbers_case(10, 20))
    mine = noisy(10)[1]
    with pytest.raises(InvalidError, match="'y' is not known"):
        verdict(Promote(metric="own"), own_case("y > 1", mine, mine))
    with pytest.raises(CannotCompareError, match="not a number"):
        verdict(Promote(metric="own"), own_case("sum(actual) / nullif(0, 0)", mine, mine))


def test_a_slice_of_a_marked_column_is_judged_and_its_value_not_told() -> None:
    groups = ["Anna"] * 300 + ["Ben"] * 200
    plan = InputPlan(REGRESSION, 500)
    inputs = plan.from_json(msgspec.json.encode([{"x": 1.0, "pilot": name} for name in groups]))
    rows = Rows(inputs, columns_beside(inputs), [], frozenset({"pilot"}))
    slices = slices_of(Promote(slices=("pilot",)), REGRESSION, rows, np.ones(500, np.bool_))
    assert slices == {"pilot": ["value 1 (marked)"] * 300 + ["value 2 (marked)"] * 200}
    case = numbers_case(4, 8)
    mine = case.candidate.answers.values.copy()
    mine[300:] += 40
    found = verdict(
        Promote(slices=("pilot",)), msgspec.structs.replace(case, slices=slices, candidate=number_side(mine))
    )
    assert found.state is VerdictState.REFUSED
    assert "pilot is 'value 2 (marked)'" in " ".join(found.faults)


def test_slices_with_few_rows_are_left_out() -> None:
    found = verdict(Promote(slices=("g",)), numbers_case(10, 20, slices={"g": ["rare"] * 29 + ["b"] * 471}))
    assert found.numbers is not None
    assert [part.value for part in found.numbers.slices] == ["b"]


def test_a_first_version_must_beat_always_guessing_the_same() -> None:
    good = verdict(Promote(approval=Approval.OWNER), numbers_case(10, None))
    assert good.state is VerdictState.PASSED
    assert "better than always guessing the same" in good.words
    assert good.rules.needs_approval
    useless = verdict(Promote(), numbers_case(500, None))
    assert useless.state is VerdictState.REFUSED
    assert "worse than always guessing the same" in useless.words


def test_failed_rows_are_refused_with_what_the_model_said() -> None:
    found = verdict(Promote(), numbers_case(10, 20, failed=1, words="no three"))
    assert found.faults == (
        "It failed 1 of 501 rows; at most 0.1% is accepted. The last failure said: no three",
    )


def test_size_is_limited_where_the_policy_says_so() -> None:
    found = verdict(Promote(size="1 MB"), numbers_case(10, 20))
    assert found.state is VerdictState.PASSED
    came, mine = noisy(10)
    large = Compared(REGRESSION, came, {}, number_side(mine, size=2 * 10**6), number_side(noisy(20)[1]))
    assert verdict(Promote(size="1 MB"), large).faults == ("It takes 2.0 MB; at most 1 MB is accepted.",)


@pytest.mark.parametrize("metric", [m for m in Metric if m.needs_probabilities or m is Metric.ACCURACY])
def test_each_metric_of_classes_knows_its_direction(metric: Metric) -> None:
    chance = np.random.default_rng(1)
    came = chance.random(2000) < 0.3
    sharp, dull = (
        np.clip(0.5 + (came - 0.5) * k + chance.normal(0, 0.2, 2000), 0.01, 0.99) for k in (1, 0.4)
    )
    texts = ["true" if c else "false" for c in came]
    case = Compared(CLASSIFIER, texts, {}, class_side(sharp), class_side(dull))
    assert verdict(Promote(metric=metric), case).state is VerdictState.PASSED
    other = Compared(CLASSIFIER, texts, {}, class_side(dull), class_side(sharp))
    assert "It is worse" in verdict(Promote(metric=metric), other).words


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (["true"] * 100, "All 100 held-out rows have the outcome 'true'"),
        (["true", "false"] * 10, "Only 20 rows"),
        ([], "Only 0 rows"),
    ],
)
def test_what_cannot_be_compared_is_said(came: list[str], words: str) -> None:
    side = class_side(np.full(len(came), 0.5))
    with pytest.raises(CannotCompareError, match=words):
        verdict(Promote(), Compared(CLASSIFIER, came, {}, side, side))


def test_a_metric_that_is_no_number_is_no_verdict() -> None:
    came, mine = noisy(10)
    case = Compared(REGRESSION, came, {}, number_side(mine * np.inf), number_side(mine))
    with pytest.raises(CannotCompareError, match="is not a number"):
        verdict(Promote(), case)


def test_a_metric_of_another_task_is_named() -> None:
    with pytest.raises(InvalidError, match="logloss"):
        verdict(Promote(metric="logloss"), numbers_case(10, 20))


def test_a_class_nobody_knew_costs_much_but_not_infinity() -> None:
    answers = class_side(np.array([0.2, 0.9])).answers
    assert score(Metric.LOGLOSS, answers, ["true", "never"]).rows == pytest.approx([1.609, 34.54], abs=0.01)
    assert score(Metric.BRIER, answers, ["true", "never"]).rows == pytest.approx([1.28, 1.82])


def test_the_area_counts_ties_half() -> None:
    answers = class_side(np.array([0.1, 0.5, 0.5, 0.9])).answers
    assert score(Metric.AUC, answers, ["false", "false", "true", "true"]).value == pytest.approx(0.875)


def test_a_constant_guess_is_the_best_one() -> None:
    assert constant(Metric.MAE, np.array([1.0, 2.0, 9.0])).values.tolist() == [2.0] * 3
    assert constant(Metric.RMSE, np.array([1.0, 2.0, 9.0])).values.tolist() == [4.0] * 3
    guess = constant(Metric.LOGLOSS, ["a", "b", "b", "b"])
    assert (guess.labels[0], guess.probabilities[0].tolist()) == ("b", [0.25, 0.75])


def test_the_interval_holds_what_is_true_about_as_often_as_it_says() -> None:
    """Two equal models: of 300 comparisons about 2.5 % may call the candidate better."""
    chance = np.random.default_rng(3)
    wins = 0
    for seed in range(300):
        mine, theirs = np.abs(chance.normal(0, 1, (2, 300)))
        wins += compare(Score(Metric.MAE, mine), Score(Metric.MAE, theirs), seed).low > 0
    assert wins <= 17  # of 300, at 2.5 %: more than this has a chance below 0.001


def test_rows_that_hang_together_widen_the_interval() -> None:
    """A storm delays a whole day: 500 rows of 25 days are not 500 independent ones."""
    chance = np.random.default_rng(4)
    daily = np.repeat(chance.normal(0, 1, 100), 20)
    mixed = chance.permutation(daily)
    zeros = Score(Metric.MAE, np.zeros(2000))
    apart, together = (compare(Score(Metric.MAE, rows), zeros, 1).spread for rows in (mixed, daily))
    assert together > 2 * apart
