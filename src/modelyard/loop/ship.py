"""From the spool to history: what this node's fronts recorded becomes segments in the blob store.

Exactly once in effect: a segment's blob is written first; then one transaction keeps the segment, adds to its
summaries, and moves the place up to which the file is shipped. A crash before it repeats the work, one after
it does not. A blob that no transaction followed is named in a journal and deleted at the next start.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import polars as pl

from modelyard.catalog import summaries
from modelyard.catalog.frames import Most, Pile, Piles, table_of
from modelyard.catalog.history import Found, in_time, node_of
from modelyard.catalog.keeping import Keeper
from modelyard.catalog.summaries import Edges, Summary
from modelyard.loop.tidy import Journal, Tidy
from modelyard.records.errors import UnavailableError, YardError
from modelyard.records.predictions import Keeping, Kind, Segment, day_of
from modelyard.store import duties, segments
from modelyard.store.blobs import Blobs, digest_of
from modelyard.store.database import Database
from modelyard.store.spool import read_spool, remove_ended, spool_files

log = logging.getLogger(__name__)

WATCH = "watch"  # the duty of looking at a model
_ROWS_A_CHUNK = 200_000
_BYTES_A_CHUNK = 64 * 1024 * 1024
_MUCH = 32 * 1024 * 1024  # bytes that are shipped without further waiting
_LOOK_EVERY = 1.0  # seconds
_REMEMBERED = timedelta(days=1)  # readers may still have a file open that was shipped and removed
_TIDY_EVERY = 1800.0
_NICE = 10  # the fronts come first
_BOOT = 13  # characters of an id before its number
_OWN = re.compile("[0-9a-f]{12}-")
_KINDS = {kind.value: kind for kind in Kind}


class Part(NamedTuple):
    """Rows that become one segment, with the summaries of their hours (none of outcomes)."""

    segment: Segment
    path: Path
    hours: dict[datetime, Summary]


class Shipper:
    """Ships one node's spool, in a thread of its engine.

    Args:
        scratch: a folder for what is only needed for a moment.
        after: seconds that records may wait, so that segments do not become too many.
        clock: what time it is.
        may_tidy: whether anything may be deleted at the moment.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        spool: Path,
        scratch: Path,
        after: float,
        clock: Callable[[], datetime],
        may_tidy: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._spool = spool
        self._scratch = scratch
        self._after = after
        self._clock = clock
        self._may_tidy = may_tidy
        self._node = node_of(spool)
        self._journal = Journal(spool)
        self.tidy = Tidy(database, blobs, self._journal, self._node, scratch, clock)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ship", daemon=True)

    def start(self) -> None:
        """Ship in a thread until `stop`."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Begin nothing further; what is interrupted is done again at the next start."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def recover(self) -> None:
        """Delete the blobs that an interrupted round left; before the first round."""
        self._journal.recover(self._database, self._blobs)

    def ship(self) -> int:
        """Ship all that is recorded by now; how many rows that were.

        Raises:
            UnavailableError: the database or the place for blobs does not answer; nothing is lost or doubled.
        """
        with self._database.read() as connection:
            ends = segments.offsets(connection, self._node)
        files = [(p.name, read_spool(p, ends.get(p.name, 0))) for p in spool_files(self._spool)]
        places = {name: ends.get(name, 0) for name, _ in files}
        rows = 0
        try:
            for chunk, ends in _in_chunks(in_time(files)):
                rows += self._commit(chunk, ends, places)
        finally:
            for _, reader in files:
                reader.close()
        self._clear(places)
        return rows

    def pending(self) -> int:
        """Bytes that are not shipped yet, those of a torn end included."""
        with self._database.read() as connection:
            ends = segments.offsets(connection, self._node)
        sizes = 0
        for path in spool_files(self._spool):
            with suppress(FileNotFoundError):
                sizes += max(0, path.stat().st_size - ends.get(path.name, 0))
        return sizes

    def _commit(self, chunk: Piles, after: dict[str, int], places: dict[str, int]) -> int:
        now = self._clock()
        with self._database.read() as connection:
            rules = segments.rules(connection)
        with TemporaryDirectory(dir=self._scratch, prefix="ship-") as scratch:
            parts = [
                part
                for (verb, model, version), piles in chunk.by(lambda head: head[:3]).items()
                for part in self._parts(_KINDS[verb], model, version, piles, rules, now, Path(scratch))
            ]
            self._keep(parts, {name: (places[name], end) for name, end in after.items()}, now)
        places.update(after)
        return sum(part.segment.rows for part in parts)

    def _parts(
        self,
        kind: Kind,
        model: str,
        version: int,
        piles: list[Pile],
        rules: dict[str, tuple[Keeping, bytes]],
        now: datetime,
        scratch: Path,
    ) -> Iterator[Part]:
        keeper = Keeper(*rules.get(model, (Keeping(), b"")))
        table = keeper(table_of(piles))
        edges = self._edges(model, version) if kind is Kind.PREDICTIONS else {}
        for day, rows in _by(table, "1d"):
            path = scratch / f"{uuid.uuid4()}.parquet"
            # Its own name in it, so that its digest is no other blob's and it can be deleted.
            rows.write_parquet(path, metadata={"segment": path.stem})
            digest = digest_of(path)
            segment = Segment(
                id=0,
                model=model,
                kind=kind,
                version=version,
                day=day,
                node=self._node,
                digest=digest,
                size=path.stat().st_size,
                rows=rows.height,
                first_at=rows["at"][0],
                last_at=rows["at"][-1],
                shipped_at=now,
                requests=requests_of(rows),
            )
            yield Part(segment, path, _hours(rows, keeper, edges) if kind is Kind.PREDICTIONS else {})

    def _edges(self, model: str, version: int) -> Edges:
        with self._database.read() as connection:
            found = segments.profile(connection, model, version)
        if found is None:
            return {}
        return {name: n.edges for name, n in summaries.unpack(found[1]).numbers.items() if n.edges}

    def _keep(self, parts: list[Part], moved: dict[str, tuple[int, int]], now: datetime) -> None:
        self._journal.write([part.segment.digest for part in parts])
        for part in parts:
            self._blobs.put_file(part.path)
        with self._database.write(unaudited="where predictions lie is no change") as connection:
            for name, span in sorted(moved.items()):
                segments.advance(connection, self._node, name, span, now)
            for part in parts:
                segments.add(connection, part.segment)
            for key, added in sorted(_summaries(parts).items()):
                rows = sum(s.rows for s in added)
                segments.merge_summary(connection, key, rows, partial(_merged, added))
            for model in {part.segment.model for part in parts}:
                duties.ensure(connection, WATCH, model, now)
        self._journal.clear()

    def _clear(self, places: dict[str, int]) -> None:
        """Remove the files that are shipped to their end and written to no more."""
        files = spool_files(self._spool)
        newest = {path.name.rpartition("-")[0]: path.name for path in files}
        for path in files:
            is_newest = newest[path.name.rpartition("-")[0]] == path.name
            if path.name not in places or (is_newest and _is_fresh(path)):
                continue
            left = remove_ended(path, places[path.name])
            if left:
                log.warning("%s ended with %d bytes that are no record; it is kept aside", path.name, left)
        there = [path.name for path in spool_files(self._spool)]
        with self._database.write(unaudited="where predictions lie is no change") as connection:
            segments.forget_offsets(connection, self._node, there, self._clock() - _REMEMBERED)

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        waits_since: float | None = None
        recovered, tidies_at = False, 0.0
        while not self._stopping.wait(min(_LOOK_EVERY, self._after)):
            try:
                if not recovered:
                    self.recover()
                    recovered = True
                pending = self.pending()
                now = time.monotonic()
                waits_since = (waits_since or now) if pending else None
                if waits_since is not None and (pending >= _MUCH or now - waits_since >= self._after):
                    waits_since = None
                    self.ship()
                if now >= tidies_at and self._may_tidy():
                    self.tidy()
                    tidies_at = now + _TIDY_EVERY
            except UnavailableError as error:
                log.warning("what was recorded waits in the spool: %s", error)
            except (YardError, OSError):
                log.exception("what was recorded waits in the spool; the next try comes soon")
            except Exception:
                log.exception("shipping failed in the yard itself; the next try comes soon")


def _is_fresh(path: Path) -> bool:
    """Whether it may just have been made: it is left alone then, though its writer's lock would tell."""
    with suppress(FileNotFoundError):
        return path.stat().st_size == 0
    return True


def _in_chunks(found: Iterator[Found]) -> Iterator[tuple[Piles, dict[str, int]]]:
    """So many frames at once, and how far each file is read then."""
    most = Most(_ROWS_A_CHUNK, _ROWS_A_CHUNK, _BYTES_A_CHUNK)
    while ends := (chunk := Piles()).fill(found, most):
        yield chunk, ends


def _by(table: pl.DataFrame, length: str) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """The rows by the day or hour they are of; they are in the order of time."""
    begins = table["at"].dt.truncate(length)
    starts = [0, *(begins != begins.shift()).fill_null(value=False).arg_true().to_list(), table.height]
    for begin, end in pairwise(starts):
        if end > begin:
            yield begins[begin], table[begin:end]


def _hours(rows: pl.DataFrame, keeper: Keeper, edges: Edges) -> dict[datetime, Summary]:
    seen = rows.drop([name for name in rows.columns if keeper.hides(name)])
    return {hour: summaries.summarise(part, edges) for hour, part in _by(seen, "1h")}


def _summaries(parts: list[Part]) -> dict[tuple[str, int, str, datetime], list[Summary]]:
    found: dict[tuple[str, int, str, datetime], list[Summary]] = {}
    for segment, _, hours in parts:
        for hour, summary in hours.items():
            for grain, at in ((segments.HOUR, hour), (segments.DAY, day_of(hour))):
                found.setdefault((segment.model, segment.version, grain, at), []).append(summary)
    return found


def _merged(added: list[Summary], kept: bytes) -> bytes:
    return summaries.pack(summaries.merge([*([summaries.unpack(kept)] if kept else []), *added]))


def requests_of(rows: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Of each front's start that requests' ids begin with, the lowest and highest number.

    Ids that are not of that form are under an empty string.
    """
    ids = rows["request"].drop_nulls().unique()
    boots = ids.str.slice(0, _BOOT).unique()
    if len(boots) == 1 and _OWN.fullmatch(boot := boots[0]):  # one front, most often: no pattern a row
        numbers = ids.str.slice(_BOOT).str.to_integer(base=16, strict=False, dtype=pl.Int64)
        if not numbers.null_count():
            return {boot[:-1]: (int(numbers.min()), int(numbers.max()))}  # type: ignore[arg-type]  # no null
    split = pl.DataFrame(
        {
            "boot": ids.str.extract(r"^([0-9a-zA-Z]{1,40})-[0-9a-f]{1,14}$", 1),
            "number": ids.str.extract(r"-([0-9a-f]{1,14})$", 1).str.to_integer(base=16, strict=False),
        }
    )
    split = split.with_columns(pl.col("boot").fill_null(""), pl.col("number").fill_null(0))
    grouped = split.group_by("boot").agg(
        pl.col("number").min().alias("low"), pl.col("number").max().alias("high")
    )
    return {boot: (low, high) for boot, low, high in grouped.sort("boot").iter_rows()}
