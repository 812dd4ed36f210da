"""Hosts outside that jobs may reach: what projects name, and what owners have approved."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from modelyard.catalog import clock, looked_up, words
from modelyard.catalog.jobs import DUTY
from modelyard.records.hosts import Asked, Hosts, check_hosts
from modelyard.records.jobs import Job, JobState
from modelyard.store import audit, duties, hosts, jobs, models
from modelyard.store.database import Database


class Approvals:
    """Approved hosts by model. Every method is one transaction.

    Methods raise NotFoundError for a model that is neither there nor being trained.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def hosts(self, model: str) -> Hosts:
        """What is approved for a model's jobs, and what they ask for."""
        with self._database.read() as connection:
            return _known(connection, model)

    def approve(self, model: str, given: Sequence[str], *, by: str, why: str = "") -> Hosts:
        """Approve exactly these in place of those before; none takes the approval back.

        Jobs that wait for them go on; one that runs with others is ended within seconds.

        Raises:
            InvalidError: one of them is no host.
        """
        wanted, line = check_hosts(given), words.reason(why)
        now = clock.now()
        with self._database.write() as connection:
            before = _known(connection, model)
            if before.approved == wanted:
                return before
            hosts.put(connection, model, wanted, by=by, at=now, why=line)
            told = {"hosts": wanted, "why": line}
            was = {"hosts": before.approved}
            audit.append(connection, by=by, action="hosts.approve", subject=model, before=was, after=told)
            for job in jobs.with_hosts(connection, model):
                if job.state is JobState.QUEUED and job.hosts == wanted:
                    waits = msgspec.structs.replace(job, progress="waits for its turn")
                    jobs.change(connection, waits)
                    duties.ensure(connection, DUTY, str(job.id), now)
            return _known(connection, model)


def are_approved(connection: Connection, job: Job) -> bool:
    """Whether an owner has approved exactly the hosts that a job's project names, if it names any."""
    return not job.hosts or hosts.get(connection, job.model).approved == job.hosts


def command(job: Job) -> str:
    """What an owner types to approve a job's hosts."""
    return f"yard hosts approve {job.model} {' '.join(job.hosts)}"


def _known(connection: Connection, model: str) -> Hosts:
    if models.get(connection, model) is None and jobs.latest(connection, model) is None:
        raise looked_up.unknown(model)
    asked = (Asked(job.id, job.hosts) for job in jobs.with_hosts(connection, model))
    return msgspec.structs.replace(hosts.get(connection, model), asked=tuple(asked))
