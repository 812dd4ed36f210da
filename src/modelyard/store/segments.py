"""Shipped segments, how far each spool file is shipped, summaries by hour and day, rules of keeping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from modelyard.records.errors import ConflictError
from modelyard.records.predictions import Keeping, Kind, Segment
from modelyard.store.database import insert_missing
from modelyard.store.schema import keeping, profiles, segments, spool_offsets, summaries

HOUR, DAY = "hour", "day"
REPLACED = "replaced"
_requests = msgspec.json.Decoder(dict[str, tuple[int, int]])
_rule = msgspec.json.Decoder(Keeping)


def offsets(connection: Connection, node: str) -> dict[str, int]:
    """How far each spool file of a node is shipped, in bytes; also of files that are gone since lately."""
    query = select(spool_offsets).where(spool_offsets.c.node == node)
    return {row.file: row.end for row in connection.execute(query)}


def advance(connection: Connection, node: str, file: str, spans: tuple[int, int], at: datetime) -> None:
    """Write down that a file is shipped from where it was (first of `spans`) up to the second.

    Raises:
        ConflictError: it is shipped from somewhere else: another process ships this node's files.
    """
    begin, end = spans
    row = {"node": node, "file": file, "end": 0, "shipped_at": at}
    insert_missing(connection, spool_offsets, row)
    this = (spool_offsets.c.node == node) & (spool_offsets.c.file == file) & (spool_offsets.c.end == begin)
    if connection.execute(update(spool_offsets).where(this).values(end=end, shipped_at=at)).rowcount != 1:
        raise ConflictError(
            f"The spool file {file} is being shipped by another process.",
            "Give each node a data folder of its own; this one tries again.",
        )


def forget_offsets(connection: Connection, node: str, there: Iterable[str], before: datetime) -> None:
    """Forget files that are not there any more and were shipped before this time."""
    old = (spool_offsets.c.node == node) & (spool_offsets.c.shipped_at < before)
    connection.execute(delete(spool_offsets).where(old, spool_offsets.c.file.not_in(list(there))))


def add(connection: Connection, segment: Segment, *, is_seen: bool = False) -> int:
    """Keep a segment (its id is not read); its id."""
    row = msgspec.structs.asdict(segment) | {"is_seen": is_seen}
    del row["id"]
    row["requests"] = msgspec.json.encode(segment.requests).decode()
    row["kind"] = segment.kind.value
    return int(connection.execute(insert(segments).returning(segments.c.id), row).scalar_one())


def of_model(
    connection: Connection,
    model: str,
    kind: Kind,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    unseen: bool = False,
) -> list[Segment]:
    """The segments of a model that have rows in a span, by their first row.

    Args:
        since, until: of the rows, None for no bound; `until` is not in it.
        unseen: only those the watch has not seen.
    """
    wanted = [segments.c.model == model, segments.c.kind == kind.value, segments.c.gone_at.is_(None)]
    if since is not None:
        wanted.append(segments.c.last_at >= since)
    if until is not None:
        wanted.append(segments.c.first_at < until)
    if unseen:
        wanted.append(segments.c.is_seen.is_(False))
    return _segments(connection, *wanted)


def kept(connection: Connection, digests: Iterable[str]) -> set[str]:
    """Those of these digests that a segment has."""
    query = select(segments.c.digest).where(segments.c.digest.in_(list(digests)))
    return set(connection.scalars(query))


def see(connection: Connection, ids: Iterable[int]) -> None:
    """The watch has seen these segments."""
    connection.execute(update(segments).where(segments.c.id.in_(list(ids))).values(is_seen=True))


def older(connection: Connection, model: str, before: datetime) -> list[Segment]:
    """A model's segments whose rows are all from before this time."""
    return _segments(
        connection, segments.c.model == model, segments.c.gone_at.is_(None), segments.c.last_at < before
    )


def crowded(connection: Connection, node: str, before: datetime, least: int) -> list[list[Segment]]:
    """Days before this time of which one version has so many segments of a node, which could be one."""
    mine = (segments.c.node == node) & segments.c.gone_at.is_(None)
    groups: dict[tuple[str, Kind, int, datetime], list[Segment]] = {}
    for segment in _segments(connection, mine, segments.c.day < before, segments.c.is_seen):
        key = (segment.model, segment.kind, segment.version, segment.day)
        groups.setdefault(key, []).append(segment)
    return [group for group in groups.values() if len(group) >= least]


def let_go(connection: Connection, ids: Iterable[int], at: datetime) -> int:
    """No reader takes these segments any more; how many that were."""
    this = segments.c.id.in_(list(ids)) & segments.c.gone_at.is_(None)
    return connection.execute(update(segments).where(this).values(gone_at=at)).rowcount


def bury(connection: Connection, model: str, digest: str, at: datetime) -> None:
    """A blob of a model that another has taken the place of: readers may have it open, so it goes later."""
    if digest:
        row = {"model": model, "kind": REPLACED, "version": 0, "day": at, "node": "", "digest": digest}
        row |= {"size": 0, "rows": 0, "first_at": at, "last_at": at, "shipped_at": at, "requests": "{}"}
        connection.execute(insert(segments), row | {"is_seen": True, "gone_at": at})


def gone(connection: Connection, before: datetime) -> list[tuple[int, str]]:
    """The segments let go before this time, with their digests: no reader has them open any more."""
    query = select(segments.c.id, segments.c.digest).where(segments.c.gone_at < before)
    return [(row.id, row.digest) for row in connection.execute(query)]


def remove(connection: Connection, ids: Iterable[int]) -> None:
    """Forget segments; their blobs are deleted."""
    connection.execute(delete(segments).where(segments.c.id.in_(list(ids))))


def models(connection: Connection) -> list[str]:
    """The models of which segments are kept, in order."""
    query = select(segments.c.model).where(segments.c.gone_at.is_(None)).distinct()
    return sorted(connection.scalars(query))


def merge_summary(  # of which model and version, at what grain, from when on
    connection: Connection, key: tuple[str, int, str, datetime], rows: int, merged: Callable[[bytes], bytes]
) -> None:
    """Add rows to an hour's or a day's summary.

    Args:
        key: model, version, grain, beginning.
        merged: what was kept (empty for nothing) to what is to be.
    """
    names = ("model", "version", "grain", "at")
    row = dict(zip(names, key, strict=True)) | {"rows": 0, "data": b""}
    insert_missing(connection, summaries, row)
    this = _is_summary(*key)
    before = connection.execute(select(summaries).where(this).with_for_update()).one()
    values = {"rows": before.rows + rows, "data": merged(before.data)}
    connection.execute(update(summaries).where(this).values(values))


def summary_rows(
    connection: Connection, model: str, version: int | None, grain: str, since: datetime, until: datetime
) -> list[tuple[datetime, int, bytes]]:
    """Beginning, rows and data of the summaries in a span, oldest first (version None: of all)."""
    wanted = [summaries.c.model == model, summaries.c.grain == grain]
    wanted += [summaries.c.at >= since, summaries.c.at < until]
    if version is not None:
        wanted.append(summaries.c.version == version)
    query = select(summaries.c.at, summaries.c.rows, summaries.c.data).where(*wanted).order_by(summaries.c.at)
    return [(row.at, row.rows, row.data) for row in connection.execute(query)]


def counts(
    connection: Connection, model: str, grain: str, since: datetime
) -> list[tuple[datetime, int, int]]:
    """Beginning, version and rows of each hour or day since, oldest first."""
    wanted = (summaries.c.model == model, summaries.c.grain == grain, summaries.c.at >= since)
    query = select(summaries.c.at, summaries.c.version, summaries.c.rows).where(*wanted)
    return [(row.at, row.version, row.rows) for row in connection.execute(query.order_by(summaries.c.at))]


def thin_hours(connection: Connection, before: datetime, empty: bytes) -> None:
    """Leave of hours before this time how many rows there were; `empty` takes the place of their data."""
    old = (summaries.c.grain == HOUR) & (summaries.c.at < before) & (summaries.c.data != empty)
    connection.execute(update(summaries).where(old).values(data=empty))


def forget_hours(connection: Connection, before: datetime) -> None:
    """Delete the summaries of hours before this time; those of the days stay."""
    connection.execute(delete(summaries).where(summaries.c.grain == HOUR, summaries.c.at < before))


def profile(connection: Connection, model: str, version: int) -> tuple[str, bytes] | None:
    """What a version's predictions are compared with: where it comes from, and its summary; None for none."""
    this = (profiles.c.model == model) & (profiles.c.version == version)
    row = connection.execute(select(profiles.c.source, profiles.c.data).where(this)).first()
    return None if row is None else (row.source, row.data)


def put_profile(connection: Connection, key: tuple[str, int], source: str, data: bytes, at: datetime) -> None:
    """Keep what a version (model, number) is compared with."""
    this = (profiles.c.model == key[0]) & (profiles.c.version == key[1])
    connection.execute(delete(profiles).where(this))
    row = {"model": key[0], "version": key[1], "source": source, "data": data, "made_at": at}
    connection.execute(insert(profiles), row)


def rules(connection: Connection) -> dict[str, tuple[Keeping, bytes]]:
    """How rows are kept, with the key of the hashes, by model; those that are not there have the default."""
    return {row.model: (_rule.decode(row.rule), row.salt) for row in connection.execute(select(keeping))}


def put_rule(
    connection: Connection, model: str, rule: Keeping, *, salt: bytes, by: str, at: datetime
) -> None:
    """Set how a model's rows are kept. The key of its hashes stays what it was, so that equal stays equal."""
    values = {"rule": msgspec.json.encode(rule).decode(), "changed_at": at, "changed_by": by}
    if not insert_missing(connection, keeping, values | {"model": model, "salt": salt}):
        connection.execute(update(keeping).where(keeping.c.model == model).values(values))


def _is_summary(model: str, version: int, grain: str, at: datetime) -> ColumnElement[bool]:
    same = (summaries.c.model == model) & (summaries.c.version == version)
    return same & (summaries.c.grain == grain) & (summaries.c.at == at)


def _segments(connection: Connection, *wanted: ColumnElement[bool]) -> list[Segment]:
    query = select(segments).where(*wanted).order_by(segments.c.first_at, segments.c.id)
    return [_record(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - its public name


def _record(row: Mapping[Any, Any]) -> Segment:
    known = {name: row[name] for name in Segment.__struct_fields__}
    known |= {"kind": Kind(row["kind"]), "requests": _requests.decode(row["requests"])}
    return Segment(**known)
