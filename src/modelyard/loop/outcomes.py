"""Outcomes meet their predictions: late, out of order, repeated or corrected; what finds none waits.

A match makes the labelled rows of a version's day anew, out of those that were there and the new ones, of
several outcomes the one that came last; so a step that is repeated changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import polars as pl

from modelyard.catalog.keeping import KEYS
from modelyard.records.outcomes import ACTUAL, key_text
from modelyard.records.predictions import INPUT, Kind, Labelled, Performance, Segment, Waiting
from modelyard.store import duties, segments, watch
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty

CAME_AT = "came_at"
_ID = ["request", "row"]
_ROWS_AT_ONCE = 1_000_000
_OTHERS = ""  # where ids that are not of our form are found in `Segment.requests`
_Day = tuple[int, datetime]
Measure = Callable[[str, int, datetime, pl.DataFrame], list[Performance]]


class Matched(NamedTuple):
    """What one round did.

    Attributes:
        days: version and day whose labelled rows changed, with all of them.
        labels: rows that had no outcome before.
        more: whether outcomes are left for another round.
        fresh: version and day of predictions that came since the last look.
    """

    days: dict[_Day, pl.DataFrame]
    labels: int
    more: bool
    fresh: list[_Day]


class Matcher:
    """Matches one model's outcomes.

    Args:
        scratch: a folder for what is only needed for a moment.
        measure: the performance on labelled rows of a model's version and day; kept with them.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        scratch: Path,
        measure: Measure,
        clock: Callable[[], datetime],
    ) -> None:
        self._measure = measure
        self._database = database
        self._blobs = blobs
        self._scratch = scratch
        self._clock = clock

    def match(self, duty: Duty) -> Matched:
        """Match what came since the last look at the model, the duty's subject.

        Raises:
            LostLeaseError: another engine looks at it now.
        """
        model = duty.subject
        with self._database.read() as connection:
            came = segments.of_model(connection, model, Kind.OUTCOMES, unseen=True)
            fresh = segments.of_model(connection, model, Kind.PREDICTIONS, unseen=True)
            waits = watch.waiting(connection, model)
            # Most looks find predictions alone: all that there ever were is not read for them.
            every = segments.of_model(connection, model, Kind.PREDICTIONS) if came else []
            labelled = watch.labelled_days(connection, model) if came or (waits and fresh) else []
            known = {(d.version, d.day): d for d in labelled}
        taken = _some(came)
        with TemporaryDirectory(dir=self._scratch, prefix="match-") as scratch:
            folder = Path(scratch)
            new = [self._read(s.digest, folder) for s in taken]
            old = [self._read(waits.digest, folder)] if waits and fresh else []
            pairs = [(new, every), (old, fresh)]
            days, left = self._days(pairs, folder)
            full = {day: self._with_known(rows, known.get(day), folder) for day, rows in days.items()}
            rest = _tall([*left, *([] if old or waits is None else [self._read(waits.digest, folder)])])
            labels = self._keep(duty, full, known, rest if (taken or old) else None, [*taken, *fresh], folder)
        return Matched(full, labels, len(taken) < len(came), sorted({(s.version, s.day) for s in fresh}))

    def _days(
        self, pairs: Sequence[tuple[list[pl.DataFrame], list[Segment]]], folder: Path
    ) -> tuple[dict[_Day, pl.DataFrame], list[pl.DataFrame]]:
        """The predictions that found an outcome, by version and day, and the outcomes that found none."""
        found: dict[_Day, list[pl.DataFrame]] = {}
        left = []
        for tables, where in pairs:
            outcomes = _tall(tables)
            if outcomes is None:
                continue
            outcomes = outcomes.with_row_index("place")
            places: list[pl.Series] = []
            for segment in where:
                if not _may_have(segment, outcomes):
                    continue
                matched = _joined(self._read(segment.digest, folder), outcomes)
                if matched.height:
                    places.append(matched["place"])
                    found.setdefault((segment.version, segment.day), []).append(matched.drop("place"))
            seen = pl.concat(places) if places else pl.Series("place", [], pl.UInt32)
            left.append(outcomes.filter(~pl.col("place").is_in(seen.implode())).drop("place"))
        return {day: pl.concat(parts, how="diagonal_relaxed") for day, parts in found.items()}, left

    def _with_known(self, rows: pl.DataFrame, known: Labelled | None, folder: Path) -> pl.DataFrame:
        parts = [rows] if known is None else [self._read(known.digest, folder), rows]
        every = pl.concat(parts, how="diagonal_relaxed").sort(CAME_AT, maintain_order=True)
        return every.unique(_ID, keep="last", maintain_order=True).sort("at", *_ID)

    def _keep(
        self,
        duty: Duty,
        days: dict[_Day, pl.DataFrame],
        known: dict[_Day, Labelled],
        rest: pl.DataFrame | None,
        seen: list[Segment],
        folder: Path,
    ) -> int:
        if not seen:
            return 0
        model, now = duty.subject, self._clock()
        kept = {day: self._put(rows, folder) for day, rows in days.items()}
        waits = None
        if rest is not None and rest.height:
            waits = Waiting(model, self._put(rest, folder), rest.height, rest["at"][0], rest["at"][-1])
        measured = {day: self._measure(model, *day, rows) for day, rows in days.items()}
        labels = 0
        with self._database.write(unaudited="rows of data, as predictions are") as connection:
            duties.hold(connection, duty)
            for (version, day), rows in days.items():
                digest = kept[version, day]
                before = watch.put_labelled(
                    connection, Labelled(model, version, day, rows.height, digest, now)
                )
                segments.bury(connection, model, before, now)
                watch.put_performance(connection, (model, version, day), measured[version, day])
                labels += rows.height - (known[version, day].rows if (version, day) in known else 0)
            if rest is not None:
                segments.bury(connection, model, watch.put_waiting(connection, waits, model), now)
            watch.count_labels(connection, model, now, labels)
            segments.see(connection, [s.id for s in seen])
        return labels

    def _put(self, rows: pl.DataFrame, folder: Path) -> str:
        path = folder / f"{uuid.uuid4()}.parquet"
        rows.write_parquet(path, metadata={"segment": path.stem})
        digest, _ = self._blobs.put_file(path)
        path.unlink()
        return digest

    def _read(self, digest: str, folder: Path) -> pl.DataFrame:
        path = folder / digest
        if not path.exists():
            self._blobs.fetch(digest, path)
        return pl.read_parquet(path)


def _some(came: list[Segment]) -> list[Segment]:
    """The first of the segments, of so many rows that they fit into memory; one at least."""
    taken: list[Segment] = []
    for segment in came:
        if taken and sum(s.rows for s in taken) + segment.rows > _ROWS_AT_ONCE:
            break
        taken.append(segment)
    return taken


def _tall(tables: list[pl.DataFrame]) -> pl.DataFrame | None:
    return pl.concat(tables, how="diagonal_relaxed").sort("at", maintain_order=True) if tables else None


def _may_have(segment: Segment, outcomes: pl.DataFrame) -> bool:
    """Whether a segment may hold the prediction of one of these outcomes; by keys it may."""
    if outcomes["request"].null_count() or _OTHERS in segment.requests:
        return True
    return any(_between(outcomes["request"], boot, *span) for boot, span in segment.requests.items())


def _between(ids: pl.Series, boot: str, low: int, high: int) -> bool:
    mine = ids.filter(ids.str.starts_with(f"{boot}-"))
    numbers = mine.str.slice(len(boot) + 1).str.to_integer(base=16, strict=False)
    return bool(numbers.is_between(low, high).any())


def _joined(predictions: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """The predictions with their outcomes; of several for one the last."""
    wanted = [*_ID, ACTUAL, "place", pl.col("at").alias(CAME_AT)]
    by_id = outcomes.filter(pl.col("request").is_not_null()).select(wanted)
    parts = [predictions.join(by_id, on=_ID, how="inner", maintain_order="left_right")]
    by_keys = outcomes.filter(pl.col("request").is_null())
    for names, some in _by_names(by_keys):
        texts = predictions.with_columns(key_columns(predictions, names))
        marks = [_mark(name) for name in names]
        keyed = some.select(*marks, ACTUAL, "place", pl.col("at").alias(CAME_AT))
        parts.append(texts.join(keyed, on=marks, how="inner", maintain_order="left_right").drop(marks))
    return pl.concat(parts, how="diagonal_relaxed")


def _by_names(outcomes: pl.DataFrame) -> Iterator[tuple[list[str], pl.DataFrame]]:
    """Outcomes by the key columns they name, each of these a column of its own."""
    groups: dict[tuple[str, ...], tuple[list[int], list[dict[str, str]]]] = {}
    for place, text in enumerate(outcomes[KEYS].to_list() if KEYS in outcomes.columns else []):
        keys = msgspec.json.decode(text) if text else {}
        if keys:
            places, rows = groups.setdefault(tuple(sorted(keys)), ([], []))
            places.append(place)
            rows.append(keys)
    for names, (places, rows) in groups.items():
        columns = [pl.Series(_mark(n), [r[n] for r in rows], dtype=pl.String) for n in names]
        yield list(names), outcomes[places].with_columns(columns)


def key_columns(predictions: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    """The values of key columns as texts: of the keys beside the model's columns, else of its inputs."""
    texts = predictions[KEYS].to_list() if KEYS in predictions.columns else [None] * predictions.height
    keys = [msgspec.json.decode(text) if text else {} for text in texts]
    found = []
    for name in names:
        values = [key_text(row.get(name)) for row in keys]
        own = INPUT + name
        if own in predictions.columns:
            given = predictions[own].to_list()
            values = [v if v is not None else key_text(o) for v, o in zip(values, given, strict=True)]
        found.append(pl.Series(_mark(name), values, dtype=pl.String))
    return found


def _mark(name: str) -> str:
    return f"key:{name}"
