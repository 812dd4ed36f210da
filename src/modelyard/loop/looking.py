"""A look at a champion: its newest predictions beside what it was made on, and who is behind a finding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import polars as pl

from modelyard.catalog import summaries
from modelyard.catalog.history import History
from modelyard.catalog.registry import Registry
from modelyard.catalog.summaries import Summary
from modelyard.loop.drift import FEWEST, Noticed, few_rows, noticed
from modelyard.records.errors import YardError
from modelyard.records.models import Version
from modelyard.records.policies import Level
from modelyard.records.predictions import Finding, Kind, Segment, hour_of
from modelyard.records.references import CHAMPION
from modelyard.records.signatures import ColumnType
from modelyard.store import aliases, duties, segments, versions, watch
from modelyard.store.database import Database
from modelyard.store.duties import Duty

_HOUR = timedelta(hours=1)
_ENOUGH = 2_000  # rows of a window, which is made of the last hours that have so many, or of
_LONGEST = timedelta(days=3)  # all of these
_FIRST = 2_000  # predictions of a version that become its reference where there is no training data
_MOST_TRAINING = 200_000  # rows of a dataset that become one
_MOST_BEHIND = 100_000  # rows that are looked through for who is behind a finding
_HALF = 0.5
_DAYS = 14
_DATASET = "dataset:"
_TEXTS = (ColumnType.STRING, ColumnType.BOOL)


class Looking:
    """Looks at champions.

    Args:
        scratch: a folder for what is only needed for a moment.
        clock: what time it is.
    """

    def __init__(
        self,
        database: Database,
        history: History,
        registry: Registry,
        scratch: Path,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._history = history
        self._registry = registry
        self._scratch = scratch
        self._clock = clock

    def look(self, duty: Duty) -> list[Finding]:
        """Look at the champion of the duty's model, and write down what is noticed and what is over.

        Raises:
            LostLeaseError: another engine looks at it now.
        """
        model, now = duty.subject, self._clock()
        with self._database.read() as connection:
            number = aliases.of_model(connection, model).get(CHAMPION)
            version = versions.get(connection, model, number) if number is not None else None
        reference = self._reference(version, now) if version is not None else None
        if version is None or reference is None:
            return []
        since, until = self._span(version, now)
        window = self._history.window(model, version.version, since, until)
        if window.rows < FEWEST:  # nothing can be said, so nothing is over either
            return []
        found = noticed(reference, window)
        if few := self._few(version, now):
            found.append(few)
        findings = [self._finding(version, f, reference, window, (since, min(until, now))) for f in found]
        with self._database.write(unaudited="findings are a record themselves") as connection:
            duties.hold(connection, duty)
            kept = [watch.notice(connection, finding) for finding in findings]
            watch.close_others(connection, model, version.version, [f.subject for f in kept], now)
        return kept

    def _reference(self, version: Version, now: datetime) -> Summary | None:
        """What the version is compared with: the data it was trained on, else its first predictions.

        None also where these were taken just now: they are no window of themselves.
        """
        with self._database.read() as connection:
            kept = segments.profile(connection, version.model, version.version)
        if kept is not None:
            return summaries.unpack(kept[1])
        trained = self._of_training(version)
        made = trained or self._of_first(version, now)
        if made is None:
            return None
        source, summary = made
        reference = summaries.binned_on_itself(summary)
        with self._database.write(unaudited="what windows are compared with") as connection:
            key = (version.model, version.version)
            segments.put_profile(connection, key, source, summaries.pack(reference), now)
        return reference if trained else None

    def _of_training(self, version: Version) -> tuple[str, Summary] | None:
        lineage = version.bundle.lineage
        for key in sorted(lineage):
            if not key.startswith(_DATASET) or not lineage[key].isdigit():
                continue
            name, number = key.removeprefix(_DATASET), int(lineage[key])
            with TemporaryDirectory(dir=self._scratch, prefix="profile-") as folder:
                path = Path(folder) / "data.parquet"
                try:
                    self._registry.datasets.lay_out(name, number, path, rows=(0, _MOST_TRAINING))
                    table = training_rows(pl.read_parquet(path), version)
                except (YardError, pl.exceptions.PolarsError):
                    continue
            if table.width and table.height >= FEWEST:
                return f"the data it was trained on, {name}/{number}", summaries.summarise(table)
        return None

    def _of_first(self, version: Version, now: datetime) -> tuple[str, Summary] | None:
        whole = self._history.window(version.model, version.version, version.created_at, now)
        if whole.rows < _FIRST:
            return None
        return f"its first {whole.rows:,} predictions", whole

    def _span(self, version: Version, now: datetime) -> tuple[datetime, datetime]:
        """The last whole hours that have enough rows, with that which goes on."""
        until = hour_of(now) + _HOUR
        with self._database.read() as connection:
            hours = segments.counts(connection, version.model, segments.HOUR, until - _LONGEST)
        rows, since = 0, until
        for at, number, count in reversed(hours):
            if number == version.version and at < until and rows < _ENOUGH:
                rows, since = rows + count, at
        return since, until

    def _few(self, version: Version, now: datetime) -> Noticed | None:
        last = hour_of(now) - _HOUR
        with self._database.read() as connection:
            counted = segments.counts(connection, version.model, segments.HOUR, last - timedelta(days=_DAYS))
        by_hour: dict[datetime, int] = {}
        for at, _, rows in counted:
            by_hour[at] = by_hour.get(at, 0) + rows
        days = [last - timedelta(days=n) for n in range(1, _DAYS + 1)]
        return few_rows(by_hour.get(last, 0), [by_hour[at] for at in days if at in by_hour])

    def _finding(
        self,
        version: Version,
        found: Noticed,
        reference: Summary,
        window: Summary,
        span: tuple[datetime, datetime],
    ) -> Finding:
        now = self._clock()
        finding = Finding(
            model=version.model,
            version=version.version,
            kind=found.kind,
            level=found.level,
            words=found.words,
            since=span[0],
            until=span[1],
            noticed_at=now,
            seen_at=now,
            column=found.column,
            effect=found.effect,
            measure=found.measure,
            rows=window.rows,
            share=found.share,
        )
        side = "out:" if found.kind == "outputs" else "in:"
        before = reference.numbers.get(side + found.column)
        if found.kind not in ("drift", "outputs") or before is None or found.level is Level.LOW:
            return finding
        slices = self._registry.policies.policy(version.model).promote.slices
        return self._behind(finding, side + found.column, before.mean, slices)

    def _behind(self, finding: Finding, column: str, mean: float, slices: Sequence[str]) -> Finding:
        """The finding with the callers and slices that it comes from."""
        names = {f"in:{name}": name for name in slices}
        rows = self._rows(finding, ["caller", column, *names])
        if rows is None:
            return finding
        moved = rows.with_columns((pl.col(column) - mean).alias("moved"))
        callers, caller = behind(moved, "caller")
        most = [f"{name}={behind(moved, own)[1]}" for own, name in names.items() if own in rows.columns]
        words = f"{finding.words} Most of it comes from the caller {caller}." if caller else finding.words
        return msgspec.structs.replace(
            finding, callers=callers, caller=caller, slices=tuple(most), words=words
        )

    def _rows(self, finding: Finding, columns: list[str]) -> pl.DataFrame | None:
        """The window's newest rows; None where they lack the column, which is the second."""
        with self._database.read() as connection:
            found = segments.of_model(connection, finding.model, Kind.PREDICTIONS, since=finding.since)
        tables = []
        with TemporaryDirectory(dir=self._scratch, prefix="behind-") as folder:
            for segment in _newest([s for s in found if s.version == finding.version]):
                path = Path(folder) / segment.digest
                self._history.fetch(segment, path)
                table = pl.read_parquet(path).filter(pl.col("at") >= finding.since)
                tables.append(table.select([c for c in columns if c in table.columns]))
        tables = [table for table in tables if columns[1] in table.columns]
        return pl.concat(tables, how="diagonal_relaxed") if tables else None


def _newest(found: list[Segment]) -> list[Segment]:
    taken: list[Segment] = []
    for segment in reversed(found):
        if taken and sum(s.rows for s in taken) + segment.rows > _MOST_BEHIND:
            break
        taken.append(segment)
    return taken


def behind(rows: pl.DataFrame, group: str) -> tuple[float, str]:
    """The share of the groups that moved at least half as far as all rows did, and which moved them most.

    Args:
        rows: with `moved`, by how much each differs from the reference's mean.

    >>> behind(pl.DataFrame({"caller": ["a", "a", "b"], "moved": [3.0, 3.0, 0.0]}), "caller")
    (0.5, 'a')
    """
    whole = rows["moved"].mean()
    if not isinstance(whole, float) or whole == 0:
        return 0.0, ""
    each = rows.group_by(group).agg(pl.col("moved").mean().alias("mean"), pl.col("moved").sum().alias("sum"))
    each = each.sort(pl.col("sum") * (1 if whole > 0 else -1), descending=True, nulls_last=True)
    share = float((each["mean"] / whole >= _HALF).sum() / each.height)
    return share, str(each[group][0])


def training_rows(table: pl.DataFrame, version: Version) -> pl.DataFrame:
    """The columns of a dataset that are inputs of a version, in its types, under the names of the frames."""
    taken = []
    for column in version.bundle.signature.inputs:
        if column.name in table.columns:
            kind = pl.String if column.type in _TEXTS else pl.Float64
            taken.append(table[column.name].cast(kind).alias(f"in:{column.name}"))
    return pl.DataFrame(taken)
