"""Rollouts as a front serves them: shadow copies beside the answer, canaries with the champion behind them.

A candidate never costs a caller an answer: a shadow is asked after the champion has answered, and a request
that a canary fails is answered by the champion.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from modelyard.records.errors import BusyError, DeadlineError, ModelError, UnavailableError, YardError
from modelyard.records.rollouts import CANARY, SHADOW, Evidence, RouteTable, ServedVersion, StageKind, Trial
from modelyard.records.signatures import ColumnType, Signature
from modelyard.serving.answers import Answer
from modelyard.serving.counting import Counting, is_whole
from modelyard.serving.inputs import Inputs
from modelyard.serving.pool import Pool
from modelyard.serving.routes import goes_to_candidate
from modelyard.serving.tap import Asked
from modelyard.workers import wire
from modelyard.workers.wire import ColumnData, Value, from_values

_SHADOWS = 64  # copies on their way at once; more are left out, so that they never queue up
_PATIENCE = 0.25  # of the time an answer may take: so long a canary may take before the champion is asked
_NOT_ITS_FAULT = (BusyError, UnavailableError)


class Live(Struct):
    """One rollout on this front."""

    trial: Trial
    champion: ServedVersion
    candidate: ServedVersion
    counting: Counting
    convert: Callable[[Inputs], Inputs]


class Trials:
    """All rollouts on this front.

    Args:
        pool: the versions' batchers.
        answer_timeout: seconds a request may take in all.
    """

    def __init__(self, pool: Pool, answer_timeout: float) -> None:
        self._pool = pool
        self._patience = answer_timeout * _PATIENCE
        self._live: dict[str, Live] = {}
        self._left: list[tuple[int, Evidence]] = []
        self._shadows: set[asyncio.Task[None]] = set()

    def swap(self, table: RouteTable) -> None:
        """These are the routes now; what was counted of a rollout that has ended is still told."""
        before, self._live = self._live, {}
        for model, routes in table.models.items():
            if routes.rollout is not None and (live := _live(routes.rollout, table, model)):
                known = before.get(model)
                if known is not None and known.trial.rollout == live.trial.rollout:
                    live.counting = known.counting
                self._live[model] = live
        for model, gone in before.items():
            kept = self._live.get(model)
            if kept is None or kept.counting is not gone.counting:
                self._put_by(gone)

    def of(self, served: ServedVersion) -> Live | None:
        """The rollout that a request to this champion is part of, or None."""
        live = self._live.get(served.model)
        return live if live is not None and live.champion.id == served.id else None

    def take(self) -> dict[int, Evidence]:
        """What was counted since the last call, by rollout."""
        for live in self._live.values():
            self._put_by(live)
        found: dict[int, Evidence] = {}
        for rollout, evidence in self._left:
            found[rollout] = found[rollout] + evidence if rollout in found else evidence
        self._left = []
        return found

    async def answer(self, live: Live, inputs: Inputs, asked: Asked) -> Answer:
        """The answer to a request to the champion while a rollout goes on.

        Raises:
            YardError: the champion's, as without a rollout.
        """
        trial = live.trial
        is_canary = trial.kind is StageKind.CANARY
        is_warm = self._pool.batcher(live.candidate).is_warm  # else the engine is starting its workers
        if (
            is_canary
            and is_warm
            and goes_to_candidate(trial, live.champion.signature, inputs, asked.request_id)
        ):
            return await self._by_candidate(live, inputs, asked)
        answer = await self._by_champion(live, inputs, asked)
        if trial.kind is StageKind.SHADOW and is_warm:
            self._shadow(live, inputs, asked, answer)
        return answer

    async def _by_champion(self, live: Live, inputs: Inputs, asked: Asked) -> Answer:
        began = time.monotonic()
        answer = await self._pool.answering(live.champion, inputs.count).submit(inputs, asked)
        live.counting.champion(answer, time.monotonic() - began)
        return answer

    async def _by_candidate(self, live: Live, inputs: Inputs, asked: Asked) -> Answer:
        try:
            return await self._ask(live, inputs, asked, CANARY)
        except YardError as error:
            answer = await self._by_champion(live, inputs, asked)  # if it fails, too, the rows are to blame
            _count_failure(live, error)
            return answer

    async def _ask(self, live: Live, inputs: Inputs, asked: Asked, route: str) -> Answer:
        counting, timed = live.counting, live.counting.time_one()
        began = time.monotonic()
        patience, is_cut = self._patience, False
        if asked.wait is not None and asked.wait / 2 < patience:
            patience, is_cut = asked.wait / 2, True  # the champion needs the other half
        own = msgspec.structs.replace(asked, route=route, wait=None)
        try:
            future = self._pool.answering(live.candidate, inputs.count).submit(live.convert(inputs), own)
            async with asyncio.timeout(patience):
                answer = await future
        except TimeoutError:
            words = f"It did not answer within {patience:g} s."
            raise (DeadlineError(words) if timed and not is_cut else BusyError(words)) from None
        finally:
            if timed:
                counting.timed_one()
        if not is_whole(answer):
            raise ModelError("It answered rows without a number.")
        counting.candidate(answer, time.monotonic() - began, timed=timed)
        return answer

    def _shadow(self, live: Live, inputs: Inputs, asked: Asked, answer: Answer) -> None:
        if len(self._shadows) >= _SHADOWS:
            live.counting.dropped()
            return
        copy = self._ask_beside(live, inputs, asked, answer)
        task = asyncio.get_running_loop().create_task(copy)
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _ask_beside(self, live: Live, inputs: Inputs, asked: Asked, answer: Answer) -> None:
        began = msgspec.structs.replace(asked, began=time.monotonic(), wait=None)
        try:
            other = await self._ask(live, inputs, began, SHADOW)
        except YardError as error:
            if is_whole(answer):
                _count_failure(live, error)
        else:
            live.counting.pair(answer, other)

    def _put_by(self, live: Live) -> None:
        if evidence := live.counting.take():
            self._left.append((live.trial.rollout, evidence))


def _count_failure(live: Live, error: YardError) -> None:
    if isinstance(error, _NOT_ITS_FAULT):  # the yard is overloaded or restarting, or one stall counts already
        live.counting.dropped()
    else:
        live.counting.failed(str(error))


def _live(trial: Trial, table: RouteTable, model: str) -> Live | None:
    routes = table.models[model]
    champion, candidate = routes.champion, routes.versions.get(trial.candidate)
    if champion is None or candidate is None or champion.id == candidate.id:
        return None
    counting = Counting(trial, champion.signature, candidate.signature)
    convert = converter(champion.signature, candidate.signature)
    return Live(trial, champion, candidate, counting, convert)


def converter(champion: Signature, candidate: Signature) -> Callable[[Inputs], Inputs]:
    """How rows read for the champion become the candidate's; its signature accepts them.

    See `records.compatibility` for what may differ.
    """
    if [(c.name, c.type) for c in champion.inputs] == [(c.name, c.type) for c in candidate.inputs]:
        return lambda inputs: inputs
    places = {column.name: place for place, column in enumerate(champion.inputs)}
    wanted = [
        (c, places.get(c.name), _widens(champion, places.get(c.name), c.type)) for c in candidate.inputs
    ]

    def row(values: Sequence[Value]) -> tuple[Value, ...]:
        return tuple(
            None if at is None else _as_float(values[at]) if widens else values[at]
            for _, at, widens in wanted
        )

    def convert(inputs: Inputs) -> Inputs:
        if inputs.columns is None:
            return Inputs(inputs.count, rows=[row(r) for r in inputs.rows or ()], keys=inputs.keys)
        columns: list[ColumnData] = []
        for column, at, widens in wanted:
            if at is None:
                columns.append(from_values(column.name, column.type, [None] * inputs.count))
            else:
                data = inputs.columns[at]
                columns.append(wire.as_float64(data) if widens else data)
        return Inputs(inputs.count, columns=tuple(columns), keys=inputs.keys)

    return convert


def _widens(champion: Signature, at: int | None, kind: ColumnType) -> bool:
    return at is not None and champion.inputs[at].type is ColumnType.INT64 and kind is ColumnType.FLOAT64


def _as_float(value: Value) -> Value:
    return float(value) if isinstance(value, int) else value
