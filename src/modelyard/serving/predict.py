"""A prediction, from checked rows to a recorded answer."""

from __future__ import annotations

import itertools
import secrets
import time

from modelyard.records.errors import YardError
from modelyard.records.references import CHAMPION
from modelyard.records.rollouts import ServedVersion
from modelyard.serving.answers import Answer
from modelyard.serving.counters import Counters
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.pool import Pool
from modelyard.serving.tap import Asked
from modelyard.serving.trials import Trials


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
        self._boot = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def plan(self, served: ServedVersion) -> InputPlan:
        """How requests to this version are read."""
        return self._pool.batcher(served).plan

    def new_request_id(self) -> str:
        """An id no other request of the yard has: 12 random digits of this front's start, and a number."""
        return f"{self._boot}-{next(self._numbers):x}"

    async def answer(  # who asks for what, by which route, since when
        self, served: ServedVersion, inputs: Inputs, caller: str, route: str, began: float, request_id: str
    ) -> Answer:
        """The version's answer; it is in the spool when this returns.

        Raises:
            BusyError: too much waits already, or no worker can be had now.
            ModelError, WorkerLostError, DeadlineError: see `records.errors`.
        """
        try:
            if inputs.count == 0:
                return Answer(
                    served.model,
                    served.version,
                    request_id,
                    served.signature,
                    [[] for _ in served.signature.outputs],
                )
            asked = Asked(request_id, caller, route, inputs.count, began, inputs.keys)
            live = self._trials.of(served) if route == CHAMPION else None
            if live is not None:
                answer = await self._trials.answer(live, inputs, asked)
            else:
                answer = await self._pool.batcher(served).submit(inputs, asked)
        except YardError as error:
            self._counters.failed(served.model, served.version, error.code)
            raise
        self._counters.answered(answer.model, answer.version, inputs.count, time.monotonic() - began)
        return answer
