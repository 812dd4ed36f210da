"""A prediction, from checked rows to a recorded answer."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable

from modelyard.records.errors import YardError
from modelyard.records.people import Grant
from modelyard.records.references import CHAMPION
from modelyard.records.rollouts import ServedVersion
from modelyard.serving.answers import Answer
from modelyard.serving.counters import Counters
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.pool import Pool
from modelyard.serving.quotas import Quotas
from modelyard.serving.tap import Asked
from modelyard.serving.trials import Trials
from modelyard.workers.wire import Value


class Predictor:
    """Answers requests of one front.

    Args:
        pool: the versions' batchers.
        counters: what is counted of each answer.
        trials: the rollouts that go on.
    """

    def __init__(self, pool: Pool, counters: Counters, trials: Trials) -> None:
        self._pool = pool
        self._counters = counters
        self._trials = trials
        self._quotas = Quotas()
        self._boot = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def plan(self, served: ServedVersion) -> InputPlan:
        """How requests to this version are read."""
        return self._pool.batcher(served).plan

    def admit(self, grant: Grant, rows: int) -> None:
        """Nothing if this token may have so many rows predicted now.

        Raises:
            QuotaError: it had too many in the last seconds.
        """
        self._quotas.take(grant, rows)

    def new_request_id(self) -> str:
        """An id no other request of the yard has: 12 random digits of this front's start, and a number."""
        return f"{self._boot}-{next(self._numbers):x}"

    async def answer(self, served: ServedVersion, inputs: Inputs, asked: Asked) -> Answer:
        """The version's answer; it is in the spool when this returns.

        Raises:
            BusyError: too much waits already, or no worker can be had now.
            ModelError, WorkerLostError, DeadlineError: see `records.errors`.
        """
        if inputs.count == 0:
            return _nothing(served, asked)
        try:
            live = self._trials.of(served) if asked.route == CHAMPION else None
            if live is not None:
                answer = await self._trials.answer(live, inputs, asked)
            else:
                answer = await self._pool.answering(served, inputs.count).submit(inputs, asked)
        except YardError as error:
            self._counters.failed(served.model, served.version, error.code)
            raise
        self._counters.answered(answer.model, answer.version, asked.rows, time.monotonic() - asked.began)
        return answer

    def is_tried(self, served: ServedVersion, route: str) -> bool:
        """Whether such requests are part of a rollout, so that `ask` is not enough."""
        return route == CHAMPION and self._trials.of(served) is not None

    def ask(
        self,
        served: ServedVersion,
        inputs: Inputs,
        asked: Asked,
        then: Callable[[Answer | YardError], object],
        gone: Callable[[], bool],
    ) -> None:
        """As `answer`, for who is called back instead of waiting; see `Batcher.ask`."""

        def counted(outcome: Answer | YardError) -> None:
            if isinstance(outcome, YardError):
                self._counters.failed(served.model, served.version, outcome.code)
            else:
                seconds = time.monotonic() - asked.began
                self._counters.answered(served.model, served.version, asked.rows, seconds)
            then(outcome)

        if inputs.count == 0:
            then(_nothing(served, asked))
            return
        try:
            self._pool.answering(served, inputs.count).ask(inputs, asked, counted, gone)
        except YardError as error:
            counted(error)


def _nothing(served: ServedVersion, asked: Asked) -> Answer:
    """The answer to no rows."""
    outputs: list[list[Value]] = [[] for _ in served.signature.outputs]
    return Answer(served.model, served.version, asked.request_id, served.signature, outputs)
