"""The gate: whether a candidate is good enough to be rolled out. A pure decision, and the step that takes it.

A candidate wins where a 95 % interval around the difference to the champion, on the same rows, lies wholly on
its side (`loop.scores`). A tie keeps the champion: a change that brings nothing is a risk for nothing. A
first version, which is champion for want of another, is compared with always guessing the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from modelyard.catalog.gates import Case, Gates, Judged
from modelyard.loop import scores
from modelyard.loop.rollout import FAILED
from modelyard.loop.scores import Answers, Doubles, Interval, Score, Summed, compare, own_score, score
from modelyard.records.compatibility import refusal
from modelyard.records.errors import InvalidError, WorkerStartError, YardError
from modelyard.records.metrics import AnyMetric, Metric, OwnMetric, metric_for
from modelyard.records.models import Version, VersionState
from modelyard.records.policies import Opponent, Promote
from modelyard.records.references import shown
from modelyard.records.rollouts import Rules
from modelyard.records.signatures import Signature
from modelyard.records.verdicts import Numbers, Slice, Verdict, VerdictState
from modelyard.store.duties import Duty

FEW = 30  # rows below which nothing is compared, of a hold-out or of a slice
HURRIED = 0.025  # seconds: an answer below it is never too slow, as in a rollout
_MOST_SLICES = 100  # values of one column, the most frequent; the others have too few rows each anyway
_SHOWN_SLICES = 20
_BINS = 10
_TRIES = 2  # starts of a worker before it counts as one that does not start
_WAIT = timedelta(seconds=2)


class CannotCompareError(YardError):
    """Nothing can be said of the candidate: the hold-out or the champion is at fault."""

    code = "cannot-compare"


class FailsError(YardError):
    """The candidate fails on the held-out rows as a whole."""

    code = "candidate-fails"


class Side(Struct, frozen=True):
    """One version before the gate.

    Attributes:
        answers: to the rows that are compared.
        rows: these rows with the answers, for a metric of the model's own; see `catalog.expressions`.
        outputs: the number of each row that a rollout counts in bins; empty for labels alone.
        seconds: the median time of one row asked alone.
        size: bytes of its bundle.
    """

    answers: Answers
    outputs: Doubles
    seconds: float
    size: int
    rows: pl.DataFrame | None = None

    def score(
        self, metric: AnyMetric, came: Sequence[str] | Doubles, which: NDArray[np.bool_] | None = None
    ) -> Score | Summed:
        """How good its answers were, to some of the rows or to all.

        Args:
            came: the outcomes of those rows.
        """
        if isinstance(metric, OwnMetric):
            assert self.rows is not None  # noqa: S101 - who compares by such a metric brings them
            return own_score(metric, self.rows if which is None else self.rows.filter(pl.Series(which)))
        return score(metric, self.answers if which is None else self.answers.at(which), came)


class Compared(Struct, frozen=True):
    """What both versions answered to the same rows.

    Attributes:
        signature: the candidate's; its metric must fit the champion, too.
        came: the outcome of each row, numbers or texts.
        slices: column to its text in each row.
        left_out: rows without an outcome or without an answer of the champion's.
        failed: rows that the candidate failed, which are not among those compared, and
        words: what the last such failure said.
        champion: None for a first version.
        own: metrics of the model's own that the policy may name.
    """

    signature: Signature
    came: Sequence[str] | Doubles
    slices: Mapping[str, Sequence[str]]
    candidate: Side
    champion: Side | None
    left_out: int = 0
    failed: int = 0
    words: str = ""
    own: tuple[OwnMetric, ...] = ()


def judge(promote: Promote, compared: Compared, seed: int) -> Judged:
    """Whether a candidate may be rolled out. Pure: the same rows and the same seed give the same verdict.

    Raises:
        CannotCompareError: too few rows, one class alone, or a metric that is no number.
        InvalidError: the policy's metric does not fit the model.
    """
    metric = metric_for(promote.metric, compared.signature, compared.own)
    _refuse_empty(metric, compared)
    other = compared.champion
    mine, theirs = (
        side.score(metric, compared.came)
        for side in (compared.candidate, other or _guessing(metric, compared))
    )
    if not np.isfinite([mine.value, theirs.value]).all():
        raise CannotCompareError(f"The {metric} of these rows is not a number.", "Look at the hold-out.")
    found = compare(mine, theirs, seed)
    slices = () if other is None else tuple(_slices(metric, compared, seed))
    numbers = Numbers(
        metric=str(metric),
        rows=len(compared.came),
        left_out=compared.left_out,
        failed=compared.failed,
        candidate=mine.value,
        champion=theirs.value,
        better=found.better,
        low=found.low,
        high=found.high,
        slices=slices[:_SHOWN_SLICES],
        candidate_seconds=compared.candidate.seconds,
        champion_seconds=other.seconds if other else 0.0,
        candidate_size=compared.candidate.size,
        champion_size=other.size if other else 0,
    )
    faults = tuple(_faults(promote, compared, numbers, found, slices))
    state = VerdictState.REFUSED if faults else VerdictState.PASSED
    words = _sentence(promote, compared, numbers, faults)
    return Judged(state, words, faults, numbers, _rules(promote, compared))


def _guessing(metric: AnyMetric, compared: Compared) -> Side:
    """What always guesses the same, instead of a champion."""
    answers, rows = scores.constant(metric, compared.came), compared.candidate.rows
    rows = None if rows is None else scores.answering(rows, compared.signature, answers)
    return Side(answers, answers.values, 0.0, 0, rows)


def _refuse_empty(metric: AnyMetric, compared: Compared) -> None:
    count = len(compared.came)
    if count < FEW:
        raise CannotCompareError(
            f"Only {count} rows with an outcome can be compared; {FEW} are the least.",
            "Give more rows: a larger [promote] holdout, or yard gate REF --data FILE.",
        )
    if not isinstance(compared.came, np.ndarray) and len(classes := set(compared.came)) == 1:
        raise CannotCompareError(
            f"All {count:,} held-out rows have the outcome {shown(next(iter(classes)))}.",
            "Hold out more rows, so that there are others among them.",
        )
    if metric is Metric.AUC:
        for side in (compared.candidate, compared.champion):
            if side is not None and len(side.answers.classes) != 2:  # noqa: PLR2004 - one against the other
                raise CannotCompareError(
                    "The metric auc is of two classes, and this model has others.",
                    "Set [promote] metric to logloss.",
                )


def _slices(metric: AnyMetric, compared: Compared, seed: int) -> Iterator[Slice]:
    """Each slice with enough rows, the worst first."""
    parts = [
        (column, value, rows)
        for column, texts in compared.slices.items()
        for value, rows in _parts(np.array(texts, object))
    ]
    found = [
        part
        for column, value, rows in parts
        if (part := _slice(metric, compared, column, value, rows, len(parts), seed))
    ]
    yield from sorted(found, key=lambda part: -part.worse)


def _parts(texts: NDArray[np.object_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    values, counts = np.unique(texts.astype(str), return_counts=True)
    for place in np.argsort(-counts, kind="stable")[:_MOST_SLICES]:
        if counts[place] >= FEW:
            yield str(values[place]), texts == values[place]


def _slice(  # which metric of what, in which slice, among how many
    metric: AnyMetric,
    compared: Compared,
    column: str,
    value: str,
    rows: NDArray[np.bool_],
    places: int,
    seed: int,
) -> Slice | None:
    assert compared.champion is not None  # noqa: S101 - a first version has no slices
    came = compared.came
    own = came[rows] if isinstance(came, np.ndarray) else [c for c, r in zip(came, rows, strict=True) if r]
    mine, theirs = (side.score(metric, own, rows) for side in (compared.candidate, compared.champion))
    found = compare(mine, theirs, seed)
    if not np.isfinite([found.better, found.spread]).all():
        return None
    worse = -found.better / abs(theirs.value) if theirs.value else float(np.sign(-found.better))
    is_sure = found.is_worse(places)
    return Slice(column, value, int(rows.sum()), mine.value, theirs.value, worse, is_sure)


def _faults(
    promote: Promote, compared: Compared, numbers: Numbers, found: Interval, slices: Sequence[Slice]
) -> Iterator[str]:
    asked = numbers.rows + compared.failed
    if compared.failed > FAILED * asked:
        last = f" The last failure said: {compared.words}" if compared.words else ""
        yield f"It failed {compared.failed:,} of {asked:,} rows; at most {FAILED:.1%} is accepted.{last}"
    if promote.must_beat is Opponent.CHAMPION:
        yield from _comparison(compared, numbers, found)
        for part in slices:
            if part.is_sure and part.worse > promote.tolerance:
                yield (
                    f"Where {part.column} is {shown(part.value)} it is {part.worse:.1%} worse "
                    f"({part.candidate:.4g} against {part.champion:.4g} on {part.rows:,} rows); "
                    f"at most {promote.tolerance:.0%} is accepted."
                )
    yield from _limits(promote, compared)


def _comparison(compared: Compared, numbers: Numbers, found: Interval) -> Iterator[str]:
    if found.low > 0:
        return
    other = "the champion" if compared.champion else "always guessing the same"
    what = f"its {numbers.metric} is {numbers.candidate:.4g} against {numbers.champion:.4g}"
    if found.high < 0:
        yield f"It is worse than {other}: {what}."
    else:
        stays = " The champion stays." if compared.champion else ""
        yield (
            f"It is a tie with {other}: {what}, and the difference may be chance "
            f"(it lies between {found.low:.2g} and {found.high:.2g} in its favour).{stays}"
        )


def _limits(promote: Promote, compared: Compared) -> Iterator[str]:
    mine, other = compared.candidate, compared.champion
    limit = promote.latency_seconds
    if limit is None and other is not None and promote.latency_times is not None:
        limit = max(promote.latency_times * other.seconds, HURRIED)
    if limit is not None and mine.seconds > limit:
        took = f" (the champion {_ms(other.seconds)})" if other else ""
        yield f"It answers a row in {_ms(mine.seconds)}{took}; at most {_ms(limit)} is accepted."
    if promote.size_bytes is not None and mine.size > promote.size_bytes:
        yield f"It takes {mine.size / 1e6:,.1f} MB; at most {promote.size} is accepted."


def _sentence(promote: Promote, compared: Compared, numbers: Numbers, faults: Sequence[str]) -> str:
    """The verdict as a manager reads it."""
    rows = f"on {numbers.rows:,} held-out rows"
    if faults:
        more = f" ({len(faults) - 1} more against it.)" if len(faults) > 1 else ""
        return f"Refused, {rows}. {faults[0]}{more}"
    what = f"its {numbers.metric} is {numbers.candidate:.4g} against {numbers.champion:.4g}"
    if promote.must_beat is Opponent.NOTHING:
        return f"Passed: the policy asks for no comparison. {rows.capitalize()} {what}."
    if compared.champion is None:
        return (
            f"Passed: the first version is better than always guessing the same. {rows.capitalize()} {what}."
        )
    share = abs(numbers.better / numbers.champion) if numbers.champion else 1.0
    groups = f"No group by {', '.join(promote.slices)} got worse by more than {promote.slice_tolerance}. "
    mine, other = _ms(numbers.candidate_seconds), _ms(numbers.champion_seconds)
    return (
        f"Better than the champion: {rows} {what}, {share:.1%} better "
        f"(at least {numbers.low:.2g}, with 95 % confidence). {groups if promote.slices else ''}"
        f"It answers a row in {mine}, the champion in {other}."
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _rules(promote: Promote, compared: Compared) -> Rules:
    """How it is rolled out: by the policy, its live outputs compared with those on the held-out rows."""
    other = compared.champion
    if other is None or not len(compared.candidate.outputs) or not len(other.outputs):
        return promote.rules()
    levels = np.arange(1, _BINS) / _BINS
    edges = tuple(float(edge) for edge in np.unique(np.quantile(compared.candidate.outputs, levels)))
    return promote.rules(edges, _shares(compared.candidate.outputs, edges), _shares(other.outputs, edges))


def _shares(outputs: Doubles, edges: tuple[float, ...]) -> tuple[float, ...]:
    """The share in each bin; half a row is added to each, so that none is impossible."""
    counts = np.bincount(np.searchsorted(edges, outputs, side="right"), minlength=len(edges) + 1) + 0.5
    return tuple(float(share) for share in counts / counts.sum())


Compare = Callable[[Case], Compared]


class GateStep:
    """The step of the duty `gate`, whose subject is a version, as `department/name/7`.

    Args:
        compare: has candidate and champion answer the held-out rows; raises FailsError or CannotCompareError.
        is_ready: whether the form in which a version answers is settled.
        changed: called after the routes have changed.
        clock: what time it is.
    """

    def __init__(
        self,
        gates: Gates,
        compare: Compare,
        is_ready: Callable[[Version], bool],
        changed: Callable[[], object],
        clock: Callable[[], datetime],
    ) -> None:
        self._gates = gates
        self._compare = compare
        self._is_ready = is_ready
        self._changed = changed
        self._clock = clock

    def __call__(self, duty: Duty) -> datetime | None:
        """Judge what waits of this version; when to look again, None if nothing waits any more."""
        self._gates.open(duty)
        case = self._gates.case(duty.subject)
        if case is None:
            return None
        waits = case.waits_for
        if not waits and not self._is_ready(case.candidate):
            waits = "It is judged once its portable form has been tried."
        if waits:
            self._gates.wait(duty, case.verdict, waits)
            return self._clock() + _WAIT
        if self._gates.settle(duty, case, self._judged(duty, case), self._clock()):
            self._changed()
        return self._clock()  # another may have been asked for meanwhile

    def _judged(self, duty: Duty, case: Case) -> Judged:
        if plain := _without_rows(case):
            return _plain(*plain, case.promote)
        try:
            compared = self._compare(case)
            return judge(case.promote, compared, seed_of(case.verdict))
        except FailsError as error:
            return _plain(VerdictState.REFUSED, f"Refused. {error}", case.promote)
        except WorkerStartError as error:  # once may be the machine's fault
            if duty.failures + 1 < _TRIES:
                raise
            return _undecided(error, case.promote)
        except (CannotCompareError, InvalidError) as error:
            return _undecided(error, case.promote)


def seed_of(verdict: Verdict) -> int:
    """The seed of a verdict's draws: the same for the same candidate, so that it can be repeated."""
    return zlib.crc32(f"{verdict.model}/{verdict.candidate}".encode())


def _without_rows(case: Case) -> tuple[VerdictState, str] | None:
    """What can be said of a candidate before any row is asked; None if rows must be."""
    if case.candidate.state is VersionState.FAILED:
        return VerdictState.REFUSED, f"Refused. It failed its check: {case.candidate.reason}"
    if case.champion is not None:
        found = refusal(case.champion.bundle.signature, case.candidate.bundle.signature)
        if found:
            return VerdictState.REFUSED, f"Refused. It cannot answer the champion's callers: {found}."
    if case.verdict.held_out.dataset or case.verdict.held_out.file:
        return None
    if case.promote.must_beat is Opponent.NOTHING:
        return VerdictState.PASSED, "Passed: the policy asks for no comparison, and no rows were held out."
    return VerdictState.UNDECIDED, (
        "Nothing could be compared: no rows were held out. Name in yard.toml what is learned ([train] "
        "target) and a dataset that has it, or give rows: yard gate REF --data FILE."
    )


def _undecided(error: YardError, promote: Promote) -> Judged:
    return _plain(VerdictState.UNDECIDED, f"Nothing could be compared. {error}", promote)


def _plain(state: VerdictState, words: str, promote: Promote) -> Judged:
    faults = (words,) if state is VerdictState.REFUSED else ()
    return Judged(state, words, faults, None, promote.rules())
