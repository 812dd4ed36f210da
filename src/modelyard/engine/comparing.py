"""Candidate and champion answer the same held-out rows, each in a worker of its own that serves nobody."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from modelyard.catalog.expressions import own_table
from modelyard.catalog.frames import series
from modelyard.catalog.gates import Case
from modelyard.engine.checks import ask
from modelyard.engine.heldout import MOST, HeldOutRows, columns_beside, numbers, outcomes, texts, untold
from modelyard.loop.gate import CannotCompareError, Compared, FailsError, Side
from modelyard.loop.scores import Answers, Doubles, label_text
from modelyard.records.errors import (
    DeadlineError,
    InvalidError,
    MalformedError,
    ModelError,
    TooLargeError,
    WorkerLostError,
    YardError,
)
from modelyard.records.models import Version
from modelyard.records.outcomes import ACTUAL
from modelyard.records.policies import Promote
from modelyard.records.predictions import INPUT, OUTPUT
from modelyard.records.references import shown
from modelyard.records.signatures import PROBABILITY, Signature, Task
from modelyard.serving.answers import read_answer
from modelyard.serving.counting import score_index
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.workers.plans import Worker
from modelyard.workers.wire import ColumnData, Value, from_values, to_values

_BATCH = 512
_TIMED = 30  # rows asked alone, by turns, to see how long one takes
_MOST_FAILURES = 200  # after these the rest counts as failed, too, without being asked row by row
_WORDS = 500  # characters of a failure's
_BROKEN = (WorkerLostError, DeadlineError, MalformedError)
_NO_FAULT_OF_MODELS = (InvalidError, MalformedError, TooLargeError)

Started = Callable[[Version], AbstractContextManager[Worker]]
Row = tuple[Value, ...]


class _Asked(Struct):
    """What one version answered.

    Attributes:
        outputs: its output columns, row by row; None in rows that it failed.
        words: what the last failure said.
        broke: why it answers nothing any more, or an empty string.
        seconds: the median time of a row asked alone.
    """

    outputs: list[list[Value]]
    failed: NDArray[np.bool_]
    words: str = ""
    broke: str = ""
    seconds: float = 0.0


class Rows(Struct, frozen=True):
    """The held-out rows: as the champion's inputs, the columns beside them, and what came (None: unknown).

    Attributes:
        marked: columns whose values a verdict does not tell.
    """

    inputs: Inputs
    beside: dict[str, list[object]]
    came: list[object]
    marked: frozenset[str] = frozenset()


class Comparing:
    """Compares versions on one node.

    Args:
        started: starts a worker of a version for as long as the block lasts.
        rows: where held-out rows come from.
        timeout: seconds a worker may take for a batch.
    """

    def __init__(self, started: Started, rows: HeldOutRows, timeout: float) -> None:
        self._started = started
        self._rows = rows
        self._timeout = timeout

    def __call__(self, case: Case) -> Compared:
        """What both answer; see `loop.gate.Compare`.

        Raises:
            FailsError: the candidate cannot take or answer the rows at all.
            CannotCompareError: the rows or the champion are at fault.
            WorkerStartError: one of them does not start.
        """
        candidate, champion, target = case.candidate, case.champion, case.verdict.held_out.target
        read = self._rows.reader(case.verdict.held_out, case.promote)
        first = champion or candidate
        try:
            inputs = read(InputPlan(first.bundle.signature, MOST))
        except _NO_FAULT_OF_MODELS as error:
            raise CannotCompareError(
                f"The held-out rows do not fit version {first.version}: {error.message}", error.hint
            ) from error
        if not inputs.count:
            raise CannotCompareError("The hold-out has no rows.", "Hold out more: [promote] holdout.")
        beside = columns_beside(inputs)
        marked = self._rows.marked(case.verdict.model, case.verdict.held_out)
        rows = Rows(inputs, beside, outcomes(beside, target), marked)
        try:
            mine = inputs if champion is None else read(InputPlan(candidate.bundle.signature, MOST))
        except InvalidError as error:
            raise FailsError(f"It cannot take the held-out rows: {error.message}") from error
        sides = [(candidate, mine)] if champion is None else [(candidate, mine), (champion, inputs)]
        answered = self._answered(sides)
        return _compared(case, rows, sides, answered)

    def _answered(self, sides: Sequence[tuple[Version, Inputs]]) -> list[_Asked]:
        """What each answers, the candidate first; timed by turns."""
        with ExitStack() as stack:
            asking = [
                _Asking(version, inputs, self._timeout, stack.enter_context(self._started(version)))
                for version, inputs in sides
            ]
            answered = [each.all() for each in asking]
            for place, found in enumerate(answered):
                broke = found.broke or (f"It failed every row: {found.words}" if found.failed.all() else "")
                if broke and not place:
                    raise FailsError(broke)
                if broke:
                    number = sides[place][0].version
                    raise CannotCompareError(f"The champion, version {number}, does not answer. {broke}")
            _time(asking, answered)
        return answered


class _Asking:
    """Asks one worker all rows."""

    def __init__(self, version: Version, inputs: Inputs, timeout: float, worker: Worker) -> None:
        self.version = version
        self.signature = version.bundle.signature
        self._timeout = timeout
        self._worker = worker
        columns = InputPlan(self.signature, MOST).columns_of([inputs])
        values = [to_values(column) for column in columns]
        self.rows: list[Row] = list(zip(*values, strict=True)) if inputs.count else []
        self._failures = 0

    def all(self) -> _Asked:
        """Its answers to all rows."""
        blank: list[list[Value]] = [[None] * len(self.rows) for _ in self.signature.outputs]
        found = _Asked(blank, np.zeros(len(self.rows), np.bool_))
        for at in range(0, len(self.rows), _BATCH):
            self._part(found, at, min(at + _BATCH, len(self.rows)))
            if found.broke:
                return found
        for column in found.outputs:
            gaps = np.array([value is None or value != value for value in column], np.bool_)  # noqa: PLR0124
            if (gaps & ~found.failed).any():
                found.words = "It answered rows without a number."
            found.failed |= gaps
        return found

    def _part(self, found: _Asked, begin: int, end: int) -> None:
        """Ask rows together; where they fail, halves of them, so that a good one is not blamed."""
        try:
            answered = self.ask(self.rows[begin:end])
        except ModelError as error:
            found.words = error.message[:_WORDS]
            if end - begin > 1 and self._failures < _MOST_FAILURES:
                middle = (begin + end) // 2
                self._part(found, begin, middle)
                self._part(found, middle, end)
            else:
                self._failures += end - begin
                found.failed[begin:end] = True
        except _BROKEN as error:
            found.broke = error.message[:_WORDS]
        else:
            for column, values in zip(found.outputs, answered, strict=True):
                column[begin:end] = values

    def ask(self, rows: Sequence[Row]) -> list[list[Value]]:
        """Its output columns for these rows."""
        columns: tuple[ColumnData, ...] = tuple(
            from_values(c.name, c.type, [row[i] for row in rows]) for i, c in enumerate(self.signature.inputs)
        )
        answer = ask(self._worker, columns, len(rows), self._timeout)
        return read_answer(answer, self.signature, len(rows))


def _time(asking: Sequence[_Asking], answered: Sequence[_Asked]) -> None:
    """How long a row alone takes each, asked by turns so that both meet the same machine."""
    took: list[list[float]] = [[] for _ in asking]
    good = ~np.any([found.failed for found in answered], axis=0)
    for row in np.flatnonzero(good)[:_TIMED]:
        for times, each in zip(took, asking, strict=True):
            began = time.perf_counter()
            try:
                each.ask([each.rows[row]])
            except YardError:
                continue  # with others around it, it was answered
            times.append(time.perf_counter() - began)
    for found, times in zip(answered, took, strict=True):
        found.seconds = statistics.median(times) if times else 0.0


def _compared(
    case: Case, rows: Rows, sides: Sequence[tuple[Version, Inputs]], answered: Sequence[_Asked]
) -> Compared:
    """The rows that can be compared: with an outcome, and answered by both."""
    mine, *theirs = answered
    askable = np.array([value is not None for value in rows.came], np.bool_)
    for found in theirs:
        askable &= ~found.failed
    both = askable & ~mine.failed
    known = [value for value, keep in zip(rows.came, both, strict=True) if keep]
    signature, target = case.candidate.bundle.signature, case.verdict.held_out.target
    came = numbers(known, target) if signature.task is Task.REGRESSION else texts(known)
    tables = [
        _table(*side, found, both, came) if case.own else None
        for side, found in zip(sides, answered, strict=True)
    ]
    candidate, *champion = [
        _side(version, found, both, table)
        for (version, _), found, table in zip(sides, answered, tables, strict=True)
    ]
    return Compared(
        signature=signature,
        came=came,
        slices=slices_of(case.promote, sides[-1][0].bundle.signature, rows, both),
        candidate=candidate,
        champion=champion[0] if champion else None,
        left_out=int((~askable).sum()),
        failed=int((askable & mine.failed).sum()),
        words=mine.words,
        own=case.own,
    )


def _table(  # which version, what it was asked and answered, which rows of that, and what came of these
    version: Version, inputs: Inputs, asked: _Asked, which: NDArray[np.bool_], came: Sequence[str] | Doubles
) -> pl.DataFrame:
    """The rows and the answers to them as a metric of the model's own reads them."""
    signature = version.bundle.signature
    columns = [series(INPUT + c.name, c) for c in InputPlan(signature, MOST).columns_of([inputs])]
    columns += [
        series(OUTPUT + c.name, from_values(c.name, c.type, values))
        for c, values in zip(signature.outputs, asked.outputs, strict=True)
    ]
    table = pl.DataFrame(columns).filter(pl.Series(which))
    return own_table(table.with_columns(pl.Series(ACTUAL, came)), signature)


def slices_of(
    promote: Promote, signature: Signature, rows: Rows, both: NDArray[np.bool_]
) -> dict[str, list[str]]:
    """The slice columns' texts, of the model's own columns or of those beside them; of a marked column none
    is told, for verdicts are for everybody who may see the model.

    Args:
        signature: that the rows were read against.
        both: which rows are compared.

    Raises:
        CannotCompareError: a slice column is not there.
    """
    plan = InputPlan(signature, MOST)
    places = {column.name: place for place, column in enumerate(plan.columns)}
    columns = plan.columns_of([rows.inputs])
    found = {}
    for name in promote.slices:
        values = to_values(columns[places[name]]) if name in places else rows.beside.get(name)
        if values is None:
            raise CannotCompareError(
                f"The held-out rows have no column {shown(name)}, which [promote] slices names.",
                "Correct the policy, or give rows that have it.",
            )
        told = texts([value for value, keep in zip(values, both, strict=True) if keep])
        found[name] = untold(told) if name in rows.marked else told
    return found


def _side(version: Version, asked: _Asked, rows: NDArray[np.bool_], table: pl.DataFrame | None) -> Side:
    signature = version.bundle.signature
    kept = [[value for value, keep in zip(column, rows, strict=True) if keep] for column in asked.outputs]
    place = score_index(signature)
    outputs = np.array([], float) if place is None else np.array(kept[place], float)
    return Side(_answers(signature, kept, outputs), outputs, asked.seconds, version.size, table)


def _answers(signature: Signature, outputs: list[list[Value]], scores: Doubles) -> Answers:
    if signature.task is Task.REGRESSION:
        return Answers(scores)
    given = [
        values
        for column, values in zip(signature.outputs, outputs, strict=True)
        if column.name.startswith(PROBABILITY)
    ]
    labels = tuple(label_text(value) for value in outputs[0])
    classes = tuple(label_text(text) for text in signature.classes)
    probabilities = np.array(given, float).T if given else np.empty((0, 0))
    return Answers(np.empty(0), labels, classes, probabilities)
