"""Jobs: the queue, how each went, its log and what it measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from modelyard.records.audit import YARD
from modelyard.records.jobs import Input, Job, JobState, Point, Usage
from modelyard.records.projects import Parameter
from modelyard.store.database import insert_missing
from modelyard.store.schema import aliases, approved_hosts, departments, job_logs, job_metrics, jobs

_READ: dict[str, msgspec.json.Decoder[Any]] = {
    "parameters": msgspec.json.Decoder(dict[str, Parameter]),
    "hosts": msgspec.json.Decoder(tuple[str, ...]),
    "data": msgspec.json.Decoder(tuple[Input, ...]),
    "usage": msgspec.json.Decoder(Usage),
    "metrics": msgspec.json.Decoder(dict[str, float]),
}
_GOES_ON = tuple(state for state in JobState if state.goes_on)
_NO_HOSTS = "[]"


def add(connection: Connection, job: Job, *, sets_policy: bool) -> int:
    """Queue a job (its id is not read); the number it gets."""
    row = _row(job) | {"department": job.department, "sets_policy": sets_policy}
    return int(connection.execute(insert(jobs).returning(jobs.c.id), row).scalar_one())


def change(connection: Connection, job: Job) -> None:
    """Keep a job as it is now, but for who cancels it, which `ask_to_end` alone writes."""
    row = _row(job)
    del row["cancelled_by"]
    connection.execute(update(jobs).where(jobs.c.id == job.id).values(row))


def ask_to_end(connection: Connection, job: int, by: str) -> None:
    """Note who wants a job to end."""
    connection.execute(update(jobs).where(jobs.c.id == job).values(cancelled_by=by))


def get(connection: Connection, job: int, *, lock: bool = False) -> Job | None:
    """One job, or None; locked until the transaction ends if it is to be changed."""
    query = select(jobs).where(jobs.c.id == job)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _record(row)


def sets_policy(connection: Connection, job: int) -> bool:
    """Whether the tables of the project's `yard.toml` become the model's policy when it succeeds."""
    return bool(connection.scalar(select(jobs.c.sets_policy).where(jobs.c.id == job)))


def latest(connection: Connection, model: str) -> Job | None:
    """The last job of a model, or None."""
    query = select(jobs).where(jobs.c.model == model).order_by(jobs.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def sender(connection: Connection, job: Job) -> str:
    """Whose work a job is: of one that the yard began, who sent its project last."""
    if job.by != YARD:
        return job.by
    mine = (jobs.c.model == job.model) & (jobs.c.project == job.project) & (jobs.c.by != YARD)
    query = select(jobs.c.by).where(mine, jobs.c.id < job.id).order_by(jobs.c.id.desc()).limit(1)
    return connection.scalar(query) or job.by


def of_version(connection: Connection, model: str, version: int) -> Job | None:
    """The job that published a version (the last, where several made the same), or None."""
    query = select(jobs).where(jobs.c.model == model, jobs.c.version == version).order_by(jobs.c.id.desc())
    row = connection.execute(query.limit(1)).first()
    return None if row is None else _record(row)


def find(
    connection: Connection,
    of_departments: Iterable[str] | None,
    *,
    model: str | None = None,
    states: Sequence[JobState] | None = None,
    below: int | None = None,
    most: int = 100,
) -> list[Job]:
    """Jobs, newest first.

    Args:
        of_departments: None: of all.
        model: None: of all.
        states: None: in all.
        below: those under this number alone.
        most: at most so many.
    """
    query = select(jobs).order_by(jobs.c.id.desc()).limit(most)
    if of_departments is not None:
        query = query.where(jobs.c.department.in_(list(of_departments)))
    if model is not None:
        query = query.where(jobs.c.model == model)
    if states is not None:
        query = query.where(jobs.c.state.in_(list(states)))
    if below is not None:
        query = query.where(jobs.c.id < below)
    return [_record(row) for row in connection.execute(query)]


def lock_queue(connection: Connection, department: str) -> None:
    """Let nobody else queue or start a job of this department before the transaction ends."""
    query = select(departments.c.name).where(departments.c.name == department)
    connection.execute(query.with_for_update())


def count(connection: Connection, department: str, state: JobState) -> int:
    """How many jobs of a department are in a state."""
    where = (jobs.c.department == department) & (jobs.c.state == state)
    return connection.scalar(select(func.count()).select_from(jobs).where(where)) or 0


def queued(connection: Connection) -> tuple[int, datetime | None]:
    """How many jobs wait in all departments, and since when the first of them does."""
    since = func.min(jobs.c.created_at, type_=jobs.c.created_at.type)
    query = select(func.count(), since).where(jobs.c.state == JobState.QUEUED)
    count, first = connection.execute(query).one()
    return int(count), first


def first_queued(connection: Connection, department: str) -> int | None:
    """The job of a department that waits for longest, but for those whose hosts nobody has approved."""
    where = (jobs.c.department == department) & (jobs.c.state == JobState.QUEUED)
    approved = select(approved_hosts.c.hosts).where(approved_hosts.c.model == jobs.c.model)
    may_go = (jobs.c.hosts == _NO_HOSTS) | (jobs.c.hosts == approved.scalar_subquery())
    found: int | None = connection.scalar(select(func.min(jobs.c.id)).where(where, may_go))
    return found


def with_hosts(connection: Connection, model: str) -> list[Job]:
    """The jobs of a model that go on and name hosts outside, oldest first."""
    query = select(jobs).where(jobs.c.model == model, jobs.c.state.in_(_GOES_ON), jobs.c.hosts != _NO_HOSTS)
    return [_record(row) for row in connection.execute(query.order_by(jobs.c.id))]


def goes_on(connection: Connection, model: str) -> bool:
    """Whether a job of this model waits or runs."""
    where = (jobs.c.model == model) & jobs.c.state.in_(_GOES_ON)
    return connection.execute(select(jobs.c.id).where(where).limit(1)).first() is not None


# What a job says


def log_end(connection: Connection, job: int) -> int:
    """How many characters its log has had so far."""
    last = select(job_logs.c.start, job_logs.c.text).where(job_logs.c.job == job)
    row = connection.execute(last.order_by(job_logs.c.start.desc()).limit(1)).first()
    return 0 if row is None else row.start + len(row.text)


def add_log(connection: Connection, job: int, text: str, keep: int) -> None:
    """Add to a job's log; of more than `keep` characters the oldest parts go."""
    start = log_end(connection, job)
    connection.execute(insert(job_logs), {"job": job, "start": start, "text": text})
    old = (job_logs.c.job == job) & (job_logs.c.start < start + len(text) - keep) & (job_logs.c.start < start)
    connection.execute(delete(job_logs).where(old))


def log(connection: Connection, job: int, since: int, most: int) -> tuple[str, int]:
    """A job's log from a character on, at most about so many characters; and what to ask for next."""
    # The part that `since` falls into begins before it.
    within = select(func.max(job_logs.c.start)).where(job_logs.c.job == job, job_logs.c.start <= since)
    first = connection.scalar(within)
    query = select(job_logs.c.start, job_logs.c.text).where(job_logs.c.job == job).order_by(job_logs.c.start)
    if first is not None:
        query = query.where(job_logs.c.start >= first)
    text, at = "", since
    for row in connection.execute(query):
        if len(text) >= most:
            break
        text += row.text[max(0, at - row.start) :]
        at = max(at, row.start + len(row.text))
    return text, at


def add_points(connection: Connection, job: int, points: Iterable[Point]) -> None:
    """Keep what a job measured; a point that is kept already is not changed."""
    for point in points:
        row = {"job": job, "line": point.line, "name": point.name, "at": point.at, "value": point.value}
        insert_missing(connection, job_metrics, row)


def points(connection: Connection, job: int) -> list[Point]:
    """What a job measured, in order."""
    query = select(job_metrics).where(job_metrics.c.job == job)
    rows = connection.execute(query.order_by(job_metrics.c.line, job_metrics.c.name))
    return [Point(row.line, row.at, row.name, row.value) for row in rows]


def forget_points(connection: Connection, job: int) -> None:
    """Let go of what an attempt that failed had measured: the next one measures anew."""
    connection.execute(delete(job_metrics).where(job_metrics.c.job == job))


def outlived(connection: Connection, department: str, before: datetime, most: int) -> list[int]:
    """Jobs that ended before a time and have their log; not those of a version that an alias points to."""
    in_use = select(aliases.c.version).where(
        aliases.c.model == jobs.c.model, aliases.c.version == jobs.c.version
    )
    where = (jobs.c.department == department) & (jobs.c.ended_at < before) & jobs.c.forgotten_at.is_(None)
    query = select(jobs.c.id).where(where, ~in_use.exists()).order_by(jobs.c.id).limit(most)
    return list(connection.scalars(query))


def forget(connection: Connection, numbers: Sequence[int], at: datetime) -> None:
    """Let go of the logs and the curves of jobs; the last value of each metric stays with the job."""
    for table in (job_logs, job_metrics):
        connection.execute(delete(table).where(table.c.job.in_(numbers)))
    connection.execute(update(jobs).where(jobs.c.id.in_(numbers)).values(forgotten_at=at))


def _row(job: Job) -> dict[str, Any]:
    row = {name: getattr(job, name) for name in job.__struct_fields__ if name != "id"}
    return row | {name: msgspec.json.encode(row[name]).decode() for name in _READ}


def _record(row: Row[tuple[object, ...]]) -> Job:
    known: dict[str, Any] = {name: row._mapping[name] for name in Job.__struct_fields__}  # noqa: SLF001
    known |= {name: _READ[name].decode(known[name]) for name in _READ}
    return Job(**known | {"state": JobState(row.state)})
