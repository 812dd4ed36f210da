"""What a version's predictions are compared with: the data it was trained on, else its first predictions."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from modelyard.catalog import summaries
from modelyard.catalog.history import History
from modelyard.catalog.registry import Registry
from modelyard.catalog.yardsticks import Yardstick, yardstick_of
from modelyard.loop.noticing import FEWEST
from modelyard.records.errors import YardError
from modelyard.records.models import Version
from modelyard.records.predictions import INPUT
from modelyard.records.signatures import ColumnType
from modelyard.store import datasets, segments
from modelyard.store.database import Database

_FIRST = 2_000  # predictions of a version that become its reference where there is no training data
_MOST_TRAINING = 200_000  # rows of a dataset that become one
_TEXTS = (ColumnType.STRING, ColumnType.BOOL)


class References:
    """Keeps the reference of each version, and makes it where there is none yet.

    Args:
        scratch: a folder for what is only needed for a moment.
    """

    def __init__(self, database: Database, history: History, registry: Registry, scratch: Path) -> None:
        self._database = database
        self._history = history
        self._registry = registry
        self._scratch = scratch

    def __call__(self, version: Version, now: datetime) -> Yardstick | None:
        """What the version is compared with: the data it was trained on, else its first predictions.

        None also where these were taken just now: they are no window of themselves.
        """
        with self._database.read() as connection:
            kept = yardstick_of(connection, version.model, version.version)
        if kept is not None:
            return kept
        trained = self._of_training(version)
        made = trained or self._of_first(version, now)
        if made is None:
            return None
        found = Yardstick(made.source, summaries.binned_on_itself(made.summary))
        with self._database.write(unaudited="what windows are compared with") as connection:
            key = (version.model, version.version)
            segments.put_profile(connection, key, found.source, summaries.pack(found.summary), now)
        return found if trained else None

    def _of_training(self, version: Version) -> Yardstick | None:
        with self._database.read() as connection:
            known = datasets.datasets_of(connection, version.model)
        for name, number in [(t.dataset, t.dataset_version) for t in known if t.version == version.version]:
            with TemporaryDirectory(dir=self._scratch, prefix="profile-") as folder:
                path = Path(folder) / "data.parquet"
                try:
                    self._registry.datasets.lay_out(name, number, path, rows=(0, _MOST_TRAINING))
                    table = training_rows(pl.read_parquet(path), version)
                except (YardError, pl.exceptions.PolarsError):
                    continue
            if table.width and table.height >= FEWEST:
                return Yardstick(f"the data it was trained on, {name}/{number}", summaries.summarise(table))
        return None

    def _of_first(self, version: Version, now: datetime) -> Yardstick | None:
        whole = self._history.window(version.model, version.version, version.created_at, now)
        if whole.rows < _FIRST:
            return None
        return Yardstick(f"its first {whole.rows:,} predictions", whole)


def training_rows(table: pl.DataFrame, version: Version) -> pl.DataFrame:
    """The columns of a dataset that are inputs of a version, in its types, under the names of the frames."""
    taken = []
    for column in version.bundle.signature.inputs:
        if column.name in table.columns:
            kind = pl.String if column.type in _TEXTS else pl.Float64
            taken.append(table[column.name].cast(kind).alias(INPUT + column.name))
    return pl.DataFrame(taken)
