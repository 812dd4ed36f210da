"""Held-out rows: the newest of a dataset, or a file given by hand, read against a version's signature."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl

from modelyard.catalog.datasets import Datasets
from modelyard.loop.gate import CannotCompareError
from modelyard.loop.scores import Doubles, label_text
from modelyard.records.policies import Promote
from modelyard.records.references import shown
from modelyard.records.verdicts import HeldOut
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.parquet import ParquetReader
from modelyard.serving.tables import from_table, read_csv
from modelyard.store.blobs import Blobs

MOST = 50_000  # rows that are compared, the newest: more would hardly tell more
_SHOWN = 12
_ABSENT = ("", "NA", "NaN", "nan", "null")

Read = Callable[[InputPlan], Inputs]


class HeldOutRows:
    """Where held-out rows come from.

    Args:
        scratch: a folder for what is only needed for a moment.
    """

    def __init__(self, blobs: Blobs, datasets: Datasets, scratch: Path) -> None:
        self._blobs = blobs
        self._datasets = datasets
        self._scratch = scratch

    def marked(self, model: str, held_out: HeldOut) -> frozenset[str]:
        """The columns whose values are not told: those marked in the data of the model or of these rows."""
        own = self._datasets.dataset(held_out.dataset).marks if held_out.dataset else {}
        return frozenset({**self._datasets.marks_of_model(model), **own})

    def reader(self, held_out: HeldOut, promote: Promote) -> Read:
        """What reads these rows against a signature, as often as is wanted.

        Raises:
            NotFoundError: the dataset or the file is gone.
        """
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="gate-") as own:
            path = Path(own) / "rows"
            if held_out.dataset:
                version = self._datasets.version(held_out.dataset, held_out.number)
                count = min(held_out.rows or promote.held_out(version.rows), MOST)
                rows = version.rows - count, version.rows
                self._datasets.lay_out(version.dataset, version.version, path, rows=rows)
                newest = pl.read_parquet(path)
                return lambda plan: from_table(plan, newest)
            self._blobs.fetch(held_out.file, path)
            body = path.read_bytes()
        if held_out.form == "csv":
            table = read_csv(body)
            return lambda plan: from_table(plan, table)
        return lambda plan: asyncio.run(_parquet(plan, body))


async def _parquet(plan: InputPlan, body: bytes) -> Inputs:
    reader = ParquetReader()
    try:
        return await reader.read(plan, body)
    finally:
        await reader.close()


def columns_beside(inputs: Inputs) -> dict[str, list[object]]:
    """The columns that a signature does not have, row by row; None where a value is missing."""
    records = [msgspec.json.decode(text) if text else {} for text in inputs.keys or [None] * inputs.count]
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def outcomes(beside: dict[str, list[object]], target: str) -> list[object]:
    """The outcome of each row; None where it is missing.

    Raises:
        CannotCompareError: there is no such column.
    """
    if target in beside:
        return [None if value in _ABSENT else value for value in beside[target]]
    if not beside:
        raise CannotCompareError(
            f"The held-out rows have no column {shown(target)} with what came, or no rows at all.",
            "Name the column that the model predicts: --target.",
        )
    names = ", ".join(list(beside)[:_SHOWN])
    raise CannotCompareError(
        f"The held-out rows have no column {shown(target)} with what came.",
        f"Beside the model's own they have: {names}. Name another: --target.",
    )


def numbers(values: list[object], target: str) -> Doubles:
    """Outcomes as numbers.

    Raises:
        CannotCompareError: one is none.
    """
    try:
        return pl.Series([float(value) for value in values], dtype=pl.Float64).to_numpy()  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise CannotCompareError(
            f"The model predicts numbers, and the column {shown(target)} has others: {error}.",
            "Name the column that the model predicts: --target.",
        ) from error


def texts(values: list[object]) -> list[str]:
    """Values as texts, the same from CSV and from Parquet; a missing one is empty."""
    return ["" if value is None else label_text(value) for value in values]


def untold(values: list[str]) -> list[str]:
    """The values of a marked column: told apart, and not told.

    >>> untold(["Anna", "Ben", "Anna"])
    ['value 1 (marked)', 'value 2 (marked)', 'value 1 (marked)']
    """
    names = {value: f"value {number} (marked)" for number, value in enumerate(dict.fromkeys(values), 1)}
    return [names[value] for value in values]
