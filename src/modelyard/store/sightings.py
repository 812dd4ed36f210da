"""What pages ask of the watch: findings of many models, a page at a time; the first days of a version."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, true

from modelyard.records.findings import Asked, FindingState
from modelyard.records.policies import Level
from modelyard.records.predictions import Finding, Performance
from modelyard.store.schema import findings, performance
from modelyard.store.watch import performances, record


def find(connection: Connection, asked: Asked) -> list[Finding]:
    """Open ones the gravest first, others the newest first."""
    query = select(findings).where(*_wanted(asked), *_state(asked.state))
    rank = case({level.value: -level.rank for level in Level}, value=findings.c.level)
    by = (rank, findings.c.id.desc()) if asked.state is FindingState.OPEN else (findings.c.id.desc(),)
    page = query.order_by(*by).offset(asked.start).limit(asked.most)
    return [record(row) for row in connection.execute(page)]


def count(connection: Connection, asked: Asked) -> dict[FindingState, int]:
    """How many there are in each state, whatever state is asked for."""
    counts = [func.count().filter(and_(true(), *_state(state))) for state in FindingState]
    row = connection.execute(select(*counts).select_from(findings).where(*_wanted(asked))).one()
    return dict(zip(FindingState, map(int, row), strict=True))


def first_days(
    connection: Connection, model: str, version: int, metric: str, span: timedelta
) -> list[Performance]:
    """A version's performance by this metric in the first days it has any, without slices, oldest first."""
    own = (performance.c.model == model) & (performance.c.version == version)
    begins: datetime | None = connection.scalar(select(func.min(performance.c.day)).where(own))
    if begins is None:
        return []
    until = begins + span
    return performances(connection, model, version, metric, until=until)


def _wanted(asked: Asked) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if asked.departments is not None:
        theirs = [findings.c.model.startswith(f"{name}/") for name in sorted(asked.departments)]
        wanted.append(or_(*theirs, findings.c.model.in_(sorted(asked.also))))
    if asked.department:
        wanted.append(findings.c.model.startswith(f"{asked.department}/", autoescape=True))
    if asked.model:
        wanted.append(findings.c.model == asked.model)
    if asked.level is not Level.LOW:
        wanted.append(
            findings.c.level.in_([level.value for level in Level if level.rank >= asked.level.rank])
        )
    return wanted


def _state(state: FindingState) -> list[ColumnElement[bool]]:
    goes_on = findings.c.active.is_not(None)
    match state:
        case FindingState.OPEN:
            return [and_(goes_on, findings.c.acknowledged_by == "")]
        case FindingState.SEEN:
            return [and_(goes_on, findings.c.acknowledged_by != "")]
        case FindingState.OVER:
            return [findings.c.active.is_(None)]
        case _:
            return []
