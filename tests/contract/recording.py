"""Predictions as fronts record them, for tests of what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from unittest.mock import patch

import numpy as np

from modelyard.records.signatures import ColumnType
from modelyard.serving.tap import Asked, Tap
from modelyard.store.spool import SpoolWriter
from modelyard.workers.wire import ColumnData, Value, block_of, from_values

MODEL = "finance/fuel-cost"
NUMBERS = count(1)
_TYPES = {float: ColumnType.FLOAT64, int: ColumnType.INT64, bool: ColumnType.BOOL, str: ColumnType.STRING}


def column(name: str, values: Sequence[Value] | np.ndarray) -> ColumnData:
    """A column of the type of its first value that is there."""
    if isinstance(values, np.ndarray):
        return ColumnData(name, ColumnType.FLOAT64, values.astype("<f8").tobytes())
    kind = next((_TYPES[type(v)] for v in values if v is not None), ColumnType.FLOAT64)
    return from_values(name, kind, values)


class Front:
    """Writes batches as a front does.

    Args:
        boot: what its requests' ids begin with.
    """

    def __init__(
        self, spool: Path, name: str = "front-0", boot: str = "b0", max_bytes: int = 1 << 26
    ) -> None:
        self.writer = SpoolWriter(spool, name, max_bytes)
        self.tap = Tap(self.writer.append)
        self.boot = boot

    def answer(  # noqa: PLR0913 - what of which model was answered to whom, and when
        self,
        inputs: dict[str, Sequence[Value] | np.ndarray],
        outputs: dict[str, Sequence[Value] | np.ndarray],
        *,
        model: str = MODEL,
        version: int = 1,
        at: datetime | None = None,
        keys: Sequence[str | None] | None = None,
        caller: str = "anna",
        route: str = "champion",
        request: str = "",
    ) -> str:
        """Record one request's rows; its id."""
        request = request or f"{self.boot}-{next(NUMBERS):x}"
        rows = len(next(iter(outputs.values())))
        asked = [Asked(request, caller, route, rows, time.monotonic(), keys)]
        given, answered = (block_of([column(n, v) for n, v in s.items()]) for s in (inputs, outputs))
        moment = time.time_ns() if at is None else int(at.timestamp() * 1e6) * 1000
        if self.writer.path is None:  # its name has the time in it, and is made before the clock is set
            self.writer._begin()
        with patch("time.time_ns", return_value=moment):
            self.tap.record(model, version, asked, given, answered)
        return request
