"""What the loop writes of a job: that it starts, what it says, how it ends. Always under its duty's fence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from modelyard.catalog import clock, words
from modelyard.catalog.capacities import set_capacity
from modelyard.catalog.hosts import are_approved, command
from modelyard.catalog.jobs import DUTY, Queue, subject
from modelyard.catalog.policies import policy_of, set_policy
from modelyard.records.audit import YARD
from modelyard.records.errors import ForbiddenError
from modelyard.records.jobs import MOST_ATTEMPTS, Input, Job, JobState, Point, Usage
from modelyard.records.models import Version
from modelyard.records.policies import Promote
from modelyard.records.projects import Project, dataset_of, read_project
from modelyard.store import audit, departments, duties, jobs, models, projects
from modelyard.store.database import Database
from modelyard.store.duties import Duty
from modelyard.store.rights import may_read

GATE = "gate"
_KEPT_LOG = 8_000_000  # characters: of a longer log the beginning goes
_MOST_WORDS = 4_000
_LOOK_AGAIN = timedelta(seconds=30)  # for a turn; the end of another job of the department comes first
_RETRY_AFTER = timedelta(seconds=5)


class Begun(Struct, frozen=True):
    """A job that is to be run now.

    Attributes:
        promote: what its candidate must show; how many rows are held out is in it.
    """

    job: Job
    project: Project
    promote: Promote


class News(Struct, frozen=True):
    """What a running job has said since the last time, and what it has taken so far (None: as before)."""

    text: str = ""
    points: Sequence[Point] = ()
    usage: Usage | None = None


class Ending(Struct, frozen=True):
    """How an attempt ended: the job's state, why in words, what the job took in all, and the exit code."""

    state: JobState
    words: str
    usage: Usage | None = None
    exit_code: int | None = None


class Training:
    """Jobs as the loop drives them. Every method is one transaction.

    Methods raise LostLeaseError where another engine has taken the duty over: then nothing is written.
    """

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue

    def begin(self, duty: Duty, now: datetime) -> Begun | datetime | None:
        """Start a job's next attempt.

        Returns:
            The job; or when to ask again, if it is not its turn; or None if nothing is to be done.

        A job that runs already ran under an engine that has died: that was a machine fault.
        """
        with self._database.write() as connection:
            job = _held(connection, duty)
            if job is None or not job.state.goes_on:
                return None
            jobs.lock_queue(connection, job.department)
            if job.state is JobState.RUNNING:
                job = _failed_under(connection, job, None, "its engine died", now)
                if not job.state.goes_on:
                    return None
            if ending := _unbegun(connection, job):
                _end(connection, job, ending, now)
                return None
            if not are_approved(connection, job):
                told = f"waits for an owner of {job.department} to approve its hosts: {command(job)}"
                jobs.change(connection, msgspec.structs.replace(job, progress=told))
                return None  # the approval asks for it
            if jobs.count(connection, job.department, JobState.RUNNING) >= self._queue.running:
                told = f"waits for its turn: {job.department} runs {self._queue.running} at a time"
                jobs.change(connection, msgspec.structs.replace(job, progress=told))
                return now + _LOOK_AGAIN
            return _begun(connection, job, now)

    def tell(self, duty: Duty, job: int, news: News) -> str:
        """Keep what a running job says; why it is to end, in words, or ""."""
        with self._database.write(unaudited="its own words") as connection:
            duties.hold(connection, duty)
            if news.text:
                text = words.output(words.masked(news.text), len(news.text))
                jobs.add_log(connection, job, text, _KEPT_LOG)
            jobs.add_points(connection, job, news.points)
            found = jobs.get(connection, job, lock=True)
            if found is None:
                return ""
            if news.points or news.usage:
                metrics = found.metrics | {p.name: p.value for p in news.points}
                usage = news.usage or found.usage
                jobs.change(connection, msgspec.structs.replace(found, metrics=metrics, usage=usage))
            return _why_end(connection, found) or _closed(connection, found)

    def why_end(self, job: int) -> str:
        """Why a running job is to end, in words, or ""."""
        with self._database.read() as connection:
            found = jobs.get(connection, job)
            return _why_end(connection, found) or _closed(connection, found) if found else ""

    def say(self, duty: Duty, job: int, progress: str, data: Sequence[Input] | None = None) -> None:
        """Say what happens now; and, once they are laid out, which data the job gets."""
        with self._database.write(unaudited="its own words") as connection:
            found = _held(connection, duty)
            if found is not None:
                line = words.masked(progress)[:_MOST_WORDS]
                told = {"progress": line} | ({} if data is None else {"data": tuple(data)})
                jobs.change(connection, msgspec.structs.replace(found, **told))
                jobs.add_log(connection, job, f"yard: {line}\n", _KEPT_LOG)

    def end(self, duty: Duty, ending: Ending, now: datetime) -> None:
        """Write down that a job has failed or was cancelled."""
        with self._database.write() as connection:
            if (job := _held(connection, duty)) is not None:
                _end(connection, job, ending, now)

    def fault(self, duty: Duty, what: str, usage: Usage | None, now: datetime) -> datetime | None:
        """Write down that a machine failed under a job: when it is tried again, None if it is not."""
        with self._database.write() as connection:
            job = _held(connection, duty)
            if job is None:
                return None
            job = _failed_under(connection, job, usage, what, now)
            return now + _RETRY_AFTER * 2 ** max(0, job.attempt - 1) if job.state.goes_on else None

    def give_back(self, duty: Duty, usage: Usage | None, now: datetime) -> datetime | None:
        """Put a job back into the queue because the yard goes down; that is no fault and costs no attempt."""
        with self._database.write(unaudited="it goes on where the yard is up again") as connection:
            job = _held(connection, duty)
            if job is None:
                return None
            jobs.forget_points(connection, job.id)
            jobs.change(
                connection,
                msgspec.structs.replace(
                    job,
                    state=JobState.QUEUED,
                    attempt=job.attempt - 1,
                    usage=usage or job.usage,
                    metrics={},
                    progress="waits for the yard to be up again",
                ),
            )
            return now

    def succeed(
        self, connection: Connection, duty: Duty, version: Version, usage: Usage, *, is_new: bool
    ) -> None:
        """In the transaction that publishes its version: the job has succeeded, its policy holds, and the
        gate is to judge the version, if it is a new one.
        """
        job = _held(connection, duty)
        if job is None:
            return
        now = datetime.now(UTC)
        if jobs.sets_policy(connection, job.id):
            _set_policy(connection, job)
        name = f"{version.model}/{version.version}"
        said = f"It published {name}." if is_new else f"It made the same model as {name}."
        ending = Ending(JobState.SUCCEEDED, said, usage, 0)
        _end(connection, msgspec.structs.replace(job, version=version.version), ending, now)
        if is_new:
            duties.ensure(connection, GATE, name, now)


def _unbegun(connection: Connection, job: Job) -> Ending | None:
    """How a job ends that must not begin; None if it may."""
    if why := _why_end(connection, job):
        return Ending(JobState.CANCELLED, why)
    closed = _closed(connection, job)  # a failure, so that somebody is told: the yard may have begun it
    return Ending(JobState.FAILED, closed) if closed else None


def _why_end(connection: Connection, job: Job) -> str:
    """A person said so, or the department may not bring code any more, or not these hosts."""
    if job.cancelled_by:
        return job.words or f"Cancelled by {job.cancelled_by}."
    try:
        departments.need_trust(connection, job.department)
    except ForbiddenError as error:
        return str(error)
    if job.state is JobState.RUNNING and not are_approved(connection, job):
        return f"The approval of its hosts was taken back. Anew: {command(job)}"
    return ""


def _closed(connection: Connection, job: Job) -> str:
    """Which dataset of others it may not read any more, in words, or ""."""
    person, now = jobs.sender(connection, job), clock.now()
    for text in _project(connection, job).train.data.values():
        dataset, _ = dataset_of(text)
        if not may_read(connection, dataset, job.department, person, now):
            return (
                f"Neither {job.department} nor {person} may read the dataset {dataset} any more. Its owners "
                f"grant it: yard grant give {dataset} --dataset --right read-data --to {job.department}."
            )
    return ""


def _project(connection: Connection, job: Job) -> Project:
    kept = projects.get(connection, job.project)
    assert kept is not None  # noqa: S101 - a job's project is kept as long as the job
    return read_project(kept.description)


def _held(connection: Connection, duty: Duty) -> Job | None:
    duties.hold(connection, duty)
    return jobs.get(connection, int(duty.subject), lock=True)


def _begun(connection: Connection, job: Job, now: datetime) -> Begun:
    project = _project(connection, job)
    job = msgspec.structs.replace(
        job,
        state=JobState.RUNNING,
        attempt=job.attempt + 1,
        started_at=now,
        metrics={},
        words="",
        progress="is being prepared",
    )
    jobs.forget_points(connection, job.id)
    jobs.change(connection, job)
    tries = f", attempt {job.attempt} of {MOST_ATTEMPTS}" if job.attempt > 1 else ""
    jobs.add_log(connection, job.id, f"yard: job {job.id} of {job.model} begins{tries}\n", _KEPT_LOG)
    promote = project.promote if jobs.sets_policy(connection, job.id) else None
    if promote is None:
        known = models.get(connection, job.model) is not None
        promote = policy_of(connection, job.model).promote if known else project.promote
    return Begun(job, project, promote or Promote())


def _failed_under(connection: Connection, job: Job, usage: Usage | None, what: str, now: datetime) -> Job:
    """A job after a machine failed under it: queued again, or failed if that happened too often."""
    what = words.masked(what)[:_MOST_WORDS]
    jobs.add_log(connection, job.id, f"yard: a machine fault: {what}\n", _KEPT_LOG)
    if job.attempt >= MOST_ATTEMPTS:
        said = f"Machines failed under it {job.attempt} times; the last time {what}. Start it anew."
        ending = Ending(JobState.FAILED, said, usage)
        return _end(connection, job, ending, now)
    after = msgspec.structs.replace(
        job,
        state=JobState.QUEUED,
        words=job.words if job.cancelled_by else f"A machine failed under it ({what}); it is tried again.",
        progress="waits for its next attempt",
        usage=usage or job.usage,
    )
    jobs.change(connection, after)
    return after


def _end(connection: Connection, job: Job, ending: Ending, now: datetime) -> Job:
    after = msgspec.structs.replace(
        job,
        state=ending.state,
        words=words.output(words.masked(ending.words)[:_MOST_WORDS]),
        exit_code=ending.exit_code,
        usage=ending.usage or job.usage,
        progress="",
        ended_at=now,
    )
    jobs.change(connection, after)
    jobs.add_log(connection, job.id, f"yard: {ending.state}: {after.words}\n", _KEPT_LOG)
    told = {"state": after.state, "words": after.words, "version": after.version}
    audit.append(connection, by=YARD, action="job.end", subject=subject(job.model, job.id), after=told)
    if (waiting := jobs.first_queued(connection, job.department)) is not None:
        duties.ensure(connection, DUTY, str(waiting), now)
    return after


def _set_policy(connection: Connection, job: Job) -> None:
    """What `yard.toml` says becomes the model's policy; a table that it does not have stays as it was."""
    project, before = _project(connection, job), policy_of(connection, job.model)
    retrain, promote = project.retrain or before.retrain, project.promote or before.promote
    set_policy(connection, job.model, retrain, promote, by=job.by, source=f"job {job.id}")
    if project.serve is not None:
        set_capacity(connection, job.model, project.serve, by=job.by, source=f"job {job.id}")
