"""Projects and their jobs as people meet them: sent, cancelled, listed, followed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from modelyard.catalog import bundles, clock, words
from modelyard.catalog.bundles import Limits, Received
from modelyard.catalog.policies import check_metric
from modelyard.records.errors import BusyError, ConflictError, InvalidError, NotFoundError, UnavailableError
from modelyard.records.hosts import check_hosts
from modelyard.records.jobs import Job, JobState, LogPart, Point
from modelyard.records.projects import (
    PROJECT_FILE,
    Parameter,
    Project,
    check_parameters,
    dataset_of,
    read_project,
)
from modelyard.records.references import Reference
from modelyard.store import audit, departments, duties, jobs, projects
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.projects import Kept

DUTY = "train"
PERSON = "person"  # the trigger of a job that a person asked for

_LOG_AT_ONCE = 512 * 1024  # characters


class Queue(Struct, frozen=True):
    """How many jobs a department may have.

    Attributes:
        waiting: in the queue; further ones are refused.
        running: at the same time; further ones wait.
    """

    waiting: int = 100
    running: int = 1


def _anything(_: str) -> bool:
    return True


class Jobs:
    """Jobs by number. Every method is one transaction.

    Args:
        scratch: a folder for projects on their way in.
        limits: of a project's archive.

    Methods raise NotFoundError for an unknown job or model.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        scratch: Path,
        queue: Queue | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._scratch = scratch
        self.queue = queue or Queue()
        self._limits = limits or Limits(total=1024**3, noun="project")

    def submit(  # noqa: PLR0913  # what is sent, and what is said of it
        self,
        model: str,
        archive: Iterable[bytes] | None,
        content_type: str = "application/x-tar",
        *,
        by: str,
        reason: str = "",
        trigger: str = PERSON,
        code: str = "",
        parameters: Mapping[str, object] | None = None,
        may_read: Callable[[str], bool] = _anything,
        may_see: Callable[[str], bool] = _anything,
        may_create_department: bool = False,
        sets_policy: bool = False,
    ) -> Job:
        """Queue a job.

        Args:
            archive: the project's files as a tar; None for the project of the model's last job.
            content_type: of the archive: `application/x-tar` or `application/gzip`.
            code: the commit that the files are of.
            parameters: instead of those of the same names in `yard.toml`.
            may_read: whether a dataset (`department/name`) may be read by who asks.
            may_see: whether a model may be known to them.
            sets_policy: whether `[retrain]` and `[promote]` become the model's policy once it has succeeded.

        Raises:
            InvalidError: the project or something said of it is wrong; `file`, `line` and `key` say where.
            BusyError: the department has as many jobs waiting as it may.
        """
        said = words.reason(reason), trigger, words.commit(code) if archive is not None else None
        asked = check_parameters(parameters or {})
        if archive is None:
            with self._database.write() as connection:
                kept = _last_project(connection, model)
                _check_rights(read_project(kept.description), may_read, may_see)
                return enqueue(connection, kept, self.queue, said, asked, by=by, sets_policy=sets_policy)
        with self._database.read() as connection:  # before the bytes come in, not after
            _check_department(connection, model, may_create_department)
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="publish-") as own:
            folder = Path(own) / "project"
            received = bundles.receive(archive, content_type, folder, self._limits)
            kept = _kept(model, folder, received, by)
            _check_rights(read_project(kept.description), may_read, may_see)
            for file in received.files:
                if self._blobs.put_file(folder / file.path) != (file.digest, file.size):
                    raise UnavailableError(f"{file.path} changed on the server.", "Send the project again.")
        with self._database.write() as connection:
            if may_create_department:
                departments.add(connection, model.partition("/")[0], by=by, at=kept.created_at)
            projects.add(connection, kept, received.files)
            return enqueue(connection, kept, self.queue, said, asked, by=by, sets_policy=sets_policy)

    def cancel(self, job: int, *, by: str, why: str = "") -> Job:
        """End a job: at once if it waits, within seconds if it runs.

        Raises:
            ConflictError: it has ended.
        """
        line = words.reason(why)
        with self._database.write() as connection:
            found = _found(connection, job, lock=True)
            if not found.state.goes_on:
                raise ConflictError(f"Job {job} has {found.state} already.", f"See how: yard job {job}.")
            said = f"Cancelled by {by}. {line}".strip()
            jobs.ask_to_end(connection, job, by)
            told = {"why": line}
            audit.append(
                connection, by=by, action="job.cancel", subject=subject(found.model, job), after=told
            )
            if found.state is JobState.QUEUED:
                done = msgspec.structs.replace(
                    found, state=JobState.CANCELLED, words=said, progress="", ended_at=clock.now()
                )
                jobs.change(connection, done)
            else:
                jobs.change(connection, msgspec.structs.replace(found, words=said))
                duties.ensure(connection, DUTY, str(job), clock.now())
            return _found(connection, job)

    def jobs(
        self,
        of_departments: frozenset[str] | None = None,
        *,
        model: str | None = None,
        states: Sequence[JobState] | None = None,
        below: int | None = None,
        most: int = 100,
    ) -> list[Job]:
        """Jobs of these departments (None: of all), newest first; see `store.jobs.find`."""
        with self._database.read() as connection:
            return jobs.find(connection, of_departments, model=model, states=states, below=below, most=most)

    def job(self, job: int) -> Job:
        """One job."""
        with self._database.read() as connection:
            return _found(connection, job)

    def job_of(self, model: str, job: int) -> Job:
        """One job of a model; those of others look as if they were not there."""
        with self._database.read() as connection:
            found = jobs.get(connection, job)
        if found is None or found.model != model:
            raise NotFoundError(f"{model} has no job {job}.", f"See what there is: yard jobs {model}.")
        return found

    def log(self, job: int, since: int = 0) -> LogPart:
        """A part of a job's log, from a character on."""
        with self._database.read() as connection:
            found = _found(connection, job)
            text, after = jobs.log(connection, job, since, _LOG_AT_ONCE)
            return LogPart(text, after, found.state)

    def tail(self, job: int, most: int) -> LogPart:
        """The end of a job's log: so many characters, and a little more."""
        with self._database.read() as connection:
            found = _found(connection, job)
            start = max(0, jobs.log_end(connection, job) - most)
            text, after = jobs.log(connection, job, start, 2 * most)
            return LogPart(text, after, found.state)

    def points(self, job: int) -> list[Point]:
        """What a job measured, in order."""
        with self._database.read() as connection:
            _found(connection, job)
            return jobs.points(connection, job)

    def project(self, digest: str) -> Project:
        """A project as its `yard.toml` describes it."""
        with self._database.read() as connection:
            return read_project(_known(connection, digest).description)

    def lay_out(self, digest: str, folder: Path) -> None:
        """Write a project's files into a folder; see `bundles.lay_out`."""
        with self._database.read() as connection:
            files = projects.files(connection, _known(connection, digest).digest)
        bundles.lay_out(files, self._blobs, folder)


def again(connection: Connection, model: str, queue: Queue, *, by: str, reason: str, trigger: str) -> Job:
    """Queue a job with the project of the model's last one, in the caller's transaction."""
    kept = _last_project(connection, model)
    return enqueue(connection, kept, queue, (words.reason(reason), trigger, None), {}, by=by)


def enqueue(
    connection: Connection,
    kept: Kept,
    queue: Queue,
    said: tuple[str, str, str | None],
    parameters: Mapping[str, Parameter],
    *,
    by: str,
    sets_policy: bool = False,
) -> Job:
    """Queue a job of a project that is kept, in the caller's transaction.

    Args:
        said: the reason, the trigger, and the commit (None: that of the model's last job).

    Raises:
        InvalidError: its policy names a metric that the model does not have.
        BusyError: the department has as many jobs waiting as it may.
    """
    reason, trigger, code = said
    project, now = read_project(kept.description), clock.now()
    if sets_policy and project.promote is not None:
        check_metric(connection, project.model, project.promote)
    department = project.model.partition("/")[0]
    departments.need_trust(connection, department)
    jobs.lock_queue(connection, department)
    if jobs.count(connection, department, JobState.QUEUED) >= queue.waiting:
        message = f"{department} has {queue.waiting} jobs waiting already, which is the limit."
        raise BusyError(message, "Cancel some: yard jobs.", retry_after=60)
    if code is None:
        last = jobs.latest(connection, project.model)
        code = last.code if last and last.project == kept.digest else ""
    job = Job(
        id=0,
        model=project.model,
        language=project.language,
        project=kept.digest,
        state=JobState.QUEUED,
        trigger=trigger,
        reason=reason,
        by=by,
        code=code,
        target=project.train.target,
        created_at=now,
        hosts=check_hosts(project.train.hosts),
        progress="waits for its turn",
        parameters={**project.parameters, **parameters},
    )
    number = jobs.add(connection, job, sets_policy=sets_policy)
    duties.ensure(connection, DUTY, str(number), now)
    told: dict[str, object] = {"project": kept.digest, "trigger": trigger, "reason": reason, "code": code}
    told |= {"parameters": job.parameters, "hosts": job.hosts, "sets_policy": sets_policy}
    audit.append(connection, by=by, action="job.submit", subject=subject(job.model, number), after=told)
    return msgspec.structs.replace(job, id=number)


def subject(model: str, number: int) -> str:
    """A job as the audit names it."""
    return f"{model}/jobs/{number}"


def _kept(model: str, folder: Path, received: Received, by: str) -> Kept:
    path = folder / PROJECT_FILE
    if not path.is_file():
        hint = "Write one; docs/training.md shows how."
        raise InvalidError(f"The project has no {PROJECT_FILE}.", hint, file=PROJECT_FILE)
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InvalidError(
            f"{PROJECT_FILE} is not UTF-8: {error}.", "Save it as UTF-8.", file=PROJECT_FILE
        ) from error
    project = read_project(text)
    if project.model != model:
        raise InvalidError(
            f"{PROJECT_FILE} is of the model {project.model}, and was sent to {model}.",
            "Send it to the model that it names.",
            file=PROJECT_FILE,
        )
    return Kept(received.digest, model, text, received.size, clock.now(), by)


def _check_rights(project: Project, may_read: Callable[[str], bool], may_see: Callable[[str], bool]) -> None:
    """Unknown and forbidden datasets and models look alike."""
    for text in project.train.data.values():
        dataset, _ = dataset_of(text)
        if not may_read(dataset):
            raise NotFoundError(f"There is no dataset {dataset}.", "See what there is: yard data list.")
    for model in project.retrain.upstream if project.retrain else ():
        if not may_see(model):
            message = f"There is no model {model}, which [retrain] upstream names."
            raise NotFoundError(message, "See what there is: yard models.")


def _check_department(connection: Connection, model: str, may_create: bool) -> None:
    department = Reference.parse(model).department
    if not may_create and not departments.exists(connection, department):
        raise NotFoundError(f"There is no department {department}.", "An administrator makes departments.")


def _last_project(connection: Connection, model: str) -> Kept:
    last = jobs.latest(connection, Reference.parse(model).model)
    if last is None:
        message = f"No project has trained {model} yet, so there is nothing to train it with."
        raise NotFoundError(message, "Send its project once: yard train DIR.")
    return _known(connection, last.project)


def _known(connection: Connection, digest: str) -> Kept:
    kept = projects.get(connection, digest)
    if kept is None:
        raise NotFoundError(f"There is no project {digest}.", "Send it: yard train DIR.")
    return kept


def _found(connection: Connection, job: int, *, lock: bool = False) -> Job:
    found = jobs.get(connection, job, lock=lock)
    if found is None:
        raise NotFoundError(f"There is no job {job}.", "See what there is: yard jobs.")
    return found
