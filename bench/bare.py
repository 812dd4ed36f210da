"""A bare session: a Python process with the model in memory that calls `predict`, nothing else.

python -m bench.bare FOLDER      # answers each line on its input with the seconds of one call

Where the folder has a `rows.parquet` it is read with Polars, and the answers are written to
`answers.parquet`, each time; else the rows are in memory, too, as `rows.pkl`.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from bench.machine import ROOT


class Session:
    """Such a process; use as a context manager.

    Args:
        folder: with `model.pkl`, and `rows.pkl` or `rows.parquet`.
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


def _in_memory(folder: Path) -> Callable[[], object]:
    model = pickle.loads((folder / "model.pkl").read_bytes())
    rows = pickle.loads((folder / "rows.pkl").read_bytes())
    return lambda: model.predict(rows)


def _from_file(folder: Path) -> Callable[[], object]:
    """What the yard answers of a classifier as well: a label and its probabilities."""
    model = pickle.loads((folder / "model.pkl").read_bytes())

    def call() -> None:
        chances = model.predict_proba(pl.read_parquet(folder / "rows.parquet").to_numpy())
        columns = {f"probability:{name}": chances[:, i] for i, name in enumerate(model.classes_)}
        label = pl.Series("label", model.classes_[chances.argmax(axis=1)])
        pl.DataFrame([label, *[pl.Series(k, v) for k, v in columns.items()]]).write_parquet(
            folder / "answers.parquet"
        )

    return call


def _answer(folder: Path) -> None:
    call = _from_file(folder) if (folder / "rows.parquet").exists() else _in_memory(folder)
    for _ in sys.stdin:
        began = time.perf_counter()
        call()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
