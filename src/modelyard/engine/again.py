"""An older version answers recorded rows again, in a worker of its own that serves nobody."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import polars as pl

from modelyard.engine.checks import ask
from modelyard.records.errors import DeadlineError, InvalidError, ModelError, WorkerLostError, YardError
from modelyard.records.models import Version
from modelyard.records.outcomes import ACTUAL
from modelyard.records.predictions import INPUT, OUTPUT
from modelyard.records.signatures import Signature
from modelyard.serving.answers import read_answer
from modelyard.serving.inputs import InputPlan
from modelyard.serving.tables import from_table
from modelyard.workers.plans import Worker

MOST = 20_000  # rows of a month, evenly spread: more would hardly tell more
_BATCH = 1_000
_BESIDE = ("request", "row", "at", ACTUAL)

Started = Callable[[Version], AbstractContextManager[Worker]]


class Again:
    """Asks versions again on one node.

    Args:
        started: starts a worker of a version for as long as the block lasts.
        timeout: seconds a worker may take for a batch.
    """

    def __init__(self, started: Started, timeout: float) -> None:
        self._started = started
        self._timeout = timeout

    def __call__(self, version: Version, rows: pl.DataFrame) -> tuple[pl.DataFrame | None, str]:
        """What a version answers to rows under the names of the frames, and why it does not to some.

        Rows that it fails are left out.
        """
        if rows.height > MOST:
            rows = rows.gather_every(-(-rows.height // MOST))
        signature, found, why = version.bundle.signature, [], ""
        try:
            with self._started(version) as worker:
                for begin in range(0, rows.height, _BATCH):
                    part = rows[begin : begin + _BATCH]
                    try:
                        found.append(self._answered(worker, signature, part))
                    except ModelError as error:
                        why = error.message
        except InvalidError as error:  # a column that is not kept, or that it never had
            why = f"the rows that were kept do not fit version {version.version}: {error.message}"
        except (WorkerLostError, DeadlineError) as error:
            why = error.message
        except YardError as error:
            why = f"version {version.version} does not start: {error.message}"
        return (pl.concat(found) if found else None), why

    def _answered(self, worker: Worker, signature: Signature, rows: pl.DataFrame) -> pl.DataFrame:
        inputs = rows.select(pl.col(f"^{INPUT}.*$").name.map(lambda name: name.removeprefix(INPUT)))
        plan = InputPlan(signature, _BATCH)
        columns = plan.columns_of([from_table(plan, inputs)])
        answer = ask(worker, columns, rows.height, self._timeout)
        outputs = read_answer(answer, signature, rows.height)
        answered = [
            pl.Series(OUTPUT + column.name, values)
            for column, values in zip(signature.outputs, outputs, strict=True)
        ]
        return rows.select(*_BESIDE).with_columns(answered)
