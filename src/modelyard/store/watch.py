"""What the watch knows of a model: labels, performance by day, findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from modelyard.records.policies import Level
from modelyard.records.predictions import Finding, Labelled, Performance, Waiting
from modelyard.store.datasets import marks_of_model
from modelyard.store.schema import findings, labelled, labels, performance
from modelyard.store.schema import waiting as waits

MEASURED, ESTIMATED = "measured", "estimated"
_finding = msgspec.json.Decoder(Finding)


def labelled_since(connection: Connection, model: str, since: datetime) -> int:
    """How many rows of a model got their first outcome after this time."""
    query = select(func.coalesce(func.sum(labels.c.rows), 0))
    return int(connection.scalar(query.where(labels.c.model == model, labels.c.at > since)) or 0)


def count_labels(connection: Connection, model: str, at: datetime, rows: int) -> None:
    """Write down that so many rows have got their first outcome."""
    if rows:
        connection.execute(insert(labels), {"model": model, "at": at, "rows": rows})


def labelled_days(
    connection: Connection,
    model: str,
    version: int | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Labelled]:
    """The days with labelled rows, oldest first.

    Args:
        version: of this one, or of all.
        since, until: of the days, None for no bound; `until` is not in it.
    """
    query = select(labelled).where(labelled.c.model == model)
    if version is not None:
        query = query.where(labelled.c.version == version)
    if since is not None:
        query = query.where(labelled.c.day >= since)
    if until is not None:
        query = query.where(labelled.c.day < until)
    rows = connection.execute(query.order_by(labelled.c.day, labelled.c.version))
    return [Labelled(**row._mapping) for row in rows]  # noqa: SLF001 - its public name


def put_labelled(connection: Connection, day: Labelled) -> str:
    """Keep a day's labelled rows in place of those that were there; their digest, or an empty string."""
    this = (labelled.c.model == day.model) & (labelled.c.version == day.version) & (labelled.c.day == day.day)
    before = connection.scalar(select(labelled.c.digest).where(this).with_for_update())
    connection.execute(delete(labelled).where(this))
    connection.execute(insert(labelled), msgspec.structs.asdict(day))
    return str(before or "")


def forget_labelled(connection: Connection, model: str, before: datetime) -> list[str]:
    """Forget the labelled rows of days before this one; the digests of their blobs. Performance stays."""
    old = (labelled.c.model == model) & (labelled.c.day < before)
    digests = list(connection.scalars(select(labelled.c.digest).where(old)))
    connection.execute(delete(labelled).where(old))
    return digests


def waiting(connection: Connection, model: str) -> Waiting | None:
    """The outcomes of a model that no prediction was found for yet, or None."""
    row = connection.execute(select(waits).where(waits.c.model == model)).first()
    return None if row is None else Waiting(**row._mapping)  # noqa: SLF001 - its public name


def put_waiting(connection: Connection, found: Waiting | None, model: str) -> str:
    """Keep the outcomes that wait in place of those that did; the digest of these, or an empty string."""
    before = connection.scalar(select(waits.c.digest).where(waits.c.model == model).with_for_update())
    connection.execute(delete(waits).where(waits.c.model == model))
    if found is not None:
        connection.execute(insert(waits), msgspec.structs.asdict(found))
    return str(before or "")


def performances(
    connection: Connection,
    model: str,
    version: int | None = None,
    metric: str = "",
    *,
    slices: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Performance]:
    """Performance by day, oldest first.

    Args:
        version: of this one, or of all.
        metric: this one, or all.
        slices: those of slices as well; not by columns that are marked in the data of the model, for a
            slice names a value.
        since, until: of the days, None for no bound; `until` is not in it.
    """
    wanted = [performance.c.model == model]
    if version is not None:
        wanted.append(performance.c.version == version)
    if metric:
        wanted.append(performance.c.metric == metric)
    if not slices:
        wanted.append(performance.c.slice == "")
    if since is not None:
        wanted.append(performance.c.day >= since)
    if until is not None:
        wanted.append(performance.c.day < until)
    order = (performance.c.day, performance.c.version, performance.c.metric, performance.c.slice)
    rows = connection.execute(select(performance).where(*wanted).order_by(*order))
    found = [_performance(row) for row in rows]
    marked = marks_of_model(connection, model) if slices else {}
    return [each for each in found if each.slice.partition("=")[0] not in marked]


def put_performance(
    connection: Connection,
    day: tuple[str, int, datetime],
    found: Sequence[Performance],
    *,
    estimated: bool = False,
) -> None:
    """Keep a day's performance in place of what was there.

    Args:
        day: model, version and the day's beginning.
        estimated: whether these are the day's estimates, or what was measured.
    """
    kind = ESTIMATED if estimated else MEASURED
    model, version, begins = day
    this = (performance.c.model == model) & (performance.c.version == version)
    this &= (performance.c.day == begins) & (performance.c.kind == kind)
    connection.execute(delete(performance).where(this))
    rows = [{n: v for n, v in msgspec.structs.asdict(p).items() if n != "estimated"} for p in found]
    if rows:
        connection.execute(insert(performance), [row | {"kind": kind} for row in rows])


def open_findings(connection: Connection, model: str) -> list[Finding]:
    """The findings of a model that are not over, the gravest first."""
    return sorted(
        _findings(connection, (findings.c.model == model) & findings.c.active.is_not(None)),
        key=lambda f: (-f.level.rank, f.noticed_at, f.id),
    )


def findings_of(
    connection: Connection, models: Iterable[str] | None = None, *, limit: int = 1000
) -> list[Finding]:
    """Findings of these models (None: of all), the newest first."""
    query = select(findings).order_by(findings.c.id.desc()).limit(limit)
    if models is not None:
        query = query.where(findings.c.model.in_(list(models)))
    return [record(row) for row in connection.execute(query)]


def troubled(
    connection: Connection, model: str, version: int, since: datetime
) -> list[tuple[datetime, datetime | None]]:
    """When findings of a version began and ended (None: not yet), of those above low that nobody has
    acknowledged and that were open after a time.
    """
    wanted = (findings.c.model == model) & (findings.c.version == version)
    wanted &= (findings.c.level != Level.LOW.value) & (findings.c.acknowledged_by == "")
    wanted &= findings.c.closed_at.is_(None) | (findings.c.closed_at > since)
    query = select(findings.c.noticed_at, findings.c.closed_at).where(wanted)
    return [(row.noticed_at, row.closed_at) for row in connection.execute(query)]


def finding(connection: Connection, number: int) -> Finding | None:
    """One finding, or None."""
    return next(iter(_findings(connection, findings.c.id == number)), None)


def notice(connection: Connection, found: Finding) -> Finding:
    """Keep a finding: as a new one, or as what an open one of the same subject has become.

    Of an open one stay its number, when it was noticed and who acknowledged it, unless it has become graver.
    """
    active = f"{found.model}/{found.version}:{found.subject}"
    row = connection.execute(select(findings).where(findings.c.active == active).with_for_update()).first()
    if row is not None:
        before = record(row)
        seen = before.acknowledged_by if found.level.rank <= before.level.rank else ""
        found = msgspec.structs.replace(
            found, id=before.id, noticed_at=before.noticed_at, acknowledged_by=seen
        )
        connection.execute(update(findings).where(findings.c.id == found.id).values(_values(found)))
        return found
    values = _values(found) | {"active": active}
    number = connection.execute(insert(findings).returning(findings.c.id), values).scalar_one()
    return msgspec.structs.replace(found, id=int(number))


def close_others(
    connection: Connection, model: str, version: int, subjects: Iterable[str], at: datetime
) -> int:
    """End the open findings of a model that are not of these subjects of this version; how many."""
    still = [f"{model}/{version}:{subject}" for subject in subjects]
    over = (findings.c.model == model) & findings.c.active.is_not(None) & findings.c.active.not_in(still)
    return connection.execute(update(findings).where(over).values(active=None, closed_at=at)).rowcount


def acknowledge(connection: Connection, number: int, by: str) -> None:
    """Write down that a person has seen a finding."""
    connection.execute(update(findings).where(findings.c.id == number).values(acknowledged_by=by))


def _values(found: Finding) -> dict[str, object]:
    return {
        "model": found.model,
        "version": found.version,
        "subject": found.subject,
        "level": found.level.value,
        "noticed_at": found.noticed_at,
        "seen_at": found.seen_at,
        "acknowledged_by": found.acknowledged_by,
        "finding": msgspec.json.encode(found).decode(),
    }


def _findings(connection: Connection, where: ColumnElement[bool]) -> list[Finding]:
    query = select(findings).where(where).order_by(findings.c.id)
    return [record(row) for row in connection.execute(query)]


def record(row: Row[tuple[object, ...]]) -> Finding:
    """A row of `findings` as the record it is."""
    kept = _finding.decode(row.finding)
    return msgspec.structs.replace(
        kept, id=row.id, level=Level(row.level), closed_at=row.closed_at, acknowledged_by=row.acknowledged_by
    )


def _performance(row: Row[tuple[object, ...]]) -> Performance:
    known = {f: row._mapping[f] for f in Performance.__struct_fields__ if f != "estimated"}  # noqa: SLF001
    return Performance(**known, estimated=row.kind == ESTIMATED)
