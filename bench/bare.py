"""A bare session: a Python process with the model and the rows in memory that calls `predict`, nothing else.

python -m bench.bare FOLDER      # answers each line on its input with the seconds of one call
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.machine import ROOT


class Session:
    """Such a process; use as a context manager.

    Args:
        folder: with `model.pkl` and `rows.pkl`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bench.bare", str(self._folder)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def predict(self) -> float:
        """Seconds of one call on all rows."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def _answer(folder: Path) -> None:
    model = pickle.loads((folder / "model.pkl").read_bytes())
    rows = pickle.loads((folder / "rows.pkl").read_bytes())
    for _ in sys.stdin:
        began = time.perf_counter()
        model.predict(rows)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
