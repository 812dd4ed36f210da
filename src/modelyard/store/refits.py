"""Trainings that were asked for, and what was decided last about each model."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from modelyard.records.triggers import Cause, Outlook, Request
from modelyard.store.schema import duties, outlooks, refit_requests


def ask(connection: Connection, model: str, request: Request, at: datetime) -> None:
    """Keep that a training is wanted, until one begins."""
    row = {"model": model, "cause": request.cause, "by": request.by, "why": request.why, "at": at}
    connection.execute(insert(refit_requests), row)


def requests(connection: Connection, model: str) -> tuple[Request, ...]:
    """The trainings of a model that were asked for and have not begun, oldest first."""
    waits = (refit_requests.c.model == model) & refit_requests.c.job.is_(None)
    rows = connection.execute(select(refit_requests).where(waits).order_by(refit_requests.c.id))
    return tuple(Request(Cause(row.cause), row.by, row.why) for row in rows)


def follow(connection: Connection, model: str, job: int) -> None:
    """This job follows all that was asked for of the model."""
    waits = (refit_requests.c.model == model) & refit_requests.c.job.is_(None)
    connection.execute(update(refit_requests).where(waits).values(job=job))


def outlook(connection: Connection, model: str) -> Outlook | None:
    """What was decided last about a model and when it is looked at again; None before the first look."""
    row = connection.execute(select(outlooks).where(outlooks.c.model == model)).first()
    if row is None:
        return None
    this = (duties.c.kind == "trigger") & (duties.c.subject == model)
    next_at = connection.execute(select(duties.c.due_at).where(this)).scalar()
    return Outlook(row.words, row.at, next_at)


def decide(connection: Connection, model: str, words: str, at: datetime) -> None:
    """Keep what was decided about a model in place of what was before."""
    connection.execute(delete(outlooks).where(outlooks.c.model == model))
    connection.execute(insert(outlooks), {"model": model, "words": words, "at": at})
