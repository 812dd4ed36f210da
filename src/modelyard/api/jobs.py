"""Projects come in and become jobs; jobs are listed, followed and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import msgspec
from anyio import CapacityLimiter, to_thread
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct, field

from modelyard.api.aliases import Reason, Words
from modelyard.api.auth import wait_for
from modelyard.api.incoming import PROJECT, incoming
from modelyard.api.models import MODEL, SEE
from modelyard.api.publish import TAKES, kind_of
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.errors import InvalidError
from modelyard.records.jobs import Job, JobState, LogPart, Point
from modelyard.records.people import Grant, Need
from modelyard.records.projects import Parameter

JOBS = MODEL + "/jobs"
_JOB = JOBS + "/{job:str}"
_LIMIT = 1024**3  # bytes of a project's archive
_MAX_WAIT = 60.0  # seconds
_MOST = 1_000


class Again(Struct, frozen=True, forbid_unknown_fields=True):
    """A job with the project of the model's last one; parameters go before those of its `yard.toml`."""

    why: Words = ""
    parameters: Annotated[dict[str, Parameter], Meta(examples=[{"trees": 80}])] = field(default_factory=dict)


@get("/api/v1/jobs", opt={"need": Need.SIGNED_IN}, tags=["jobs"], summary="Jobs that you may see")
async def list_jobs(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    of_model: Annotated[str | None, QueryParameter(name="model", description="of this model alone")] = None,
    job: Annotated[int | None, QueryParameter(ge=1, description="this one alone")] = None,
    stands: Annotated[
        JobState | None, QueryParameter(name="state", description="in this state alone")
    ] = None,
    below: Annotated[int | None, QueryParameter(ge=1, description="with lower numbers alone")] = None,
    most: Annotated[int, QueryParameter(ge=1, le=_MOST)] = 100,
) -> list[Job]:
    """Newest first."""
    find = partial(services.jobs.jobs, grant.seen, model=of_model, states=(stands,) if stands else None)
    if job is not None:
        found = await asyncio.to_thread(partial(find, below=job + 1, most=1))
        return [each for each in found if each.id == job]
    return await asyncio.to_thread(partial(find, below=below, most=most))


@post(
    JOBS,
    opt={"need": Need.PUBLISH, "takes": TAKES},
    request_max_body_size=None,
    tags=["jobs"],
    summary="Send a project and train its model",
)
async def train(  # noqa: PLR0913 - what can be said of a job
    *,
    model: NamedDependency[str],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    publishing: NamedDependency[CapacityLimiter],
    why: Annotated[str, QueryParameter(max_length=2_000)] = "",
    code: Annotated[str, QueryParameter(max_length=200, description="the commit, as `git 4f1c2e`")] = "",
    parameters: Annotated[str, QueryParameter(max_length=16_000, description="JSON, name to value")] = "{}",
) -> Response[Job]:
    """The body is the project's folder as a tar or .tar.gz, `yard.toml` at its top. 422 names the file, line
    and key that is wrong. 503 if the department has as many jobs waiting as it may.
    """
    submit = partial(
        services.jobs.submit,
        model,
        incoming(request, publishing, _LIMIT, PROJECT),
        kind_of(request),
        reason=why,
        code=code,
        parameters=_parameters(parameters),
        may_create_department=grant.allows(Need.ADMINISTER),
        **rights(grant, model),
    )
    return _made(await to_thread.run_sync(submit, limiter=publishing))


@post(JOBS + "/again", opt={"need": Need.PUBLISH}, tags=["jobs"], summary="Train with the last project")
async def train_again(
    model: NamedDependency[str],
    data: JSONBody[Again],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Job]:
    """404 if no project has trained the model yet."""
    submit = partial(services.jobs.submit, model, None, reason=data.why, parameters=data.parameters)
    return _made(await asyncio.to_thread(partial(submit, **rights(grant, model))))


@get(_JOB, opt=SEE, tags=["jobs"], summary="One job; `wait` for its next step")
async def show_job(
    model: NamedDependency[str],
    job: FromPath[str],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    wait: Annotated[float, QueryParameter(ge=0, le=_MAX_WAIT, description="seconds")] = 0,
) -> Job:
    """With `wait` the answer comes when `state` or `progress` changes from what it was at the call, or after
    so many seconds; of a job that has ended at once.
    """

    def is_over(first: Job, now: Job) -> bool:
        return not now.state.goes_on or (now.state, now.progress) != (first.state, first.progress)

    return await wait_for(request, partial(_job, services, model, job), is_over, wait)


@get(_JOB + "/log", opt=SEE, tags=["jobs"], summary="A job's log, as it comes")
async def job_log(
    model: NamedDependency[str],
    job: FromPath[str],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    since: Annotated[int, QueryParameter(ge=0, description="`next` of the part before")] = 0,
    wait: Annotated[float, QueryParameter(ge=0, le=_MAX_WAIT, description="seconds")] = 0,
) -> LogPart:
    """Ask again with `next` for what comes after. With `wait` the answer comes when there is something new,
    or the job has ended. All is read once `state` is an end and `text` is empty.
    """
    found = await _job(services, model, job)
    look = partial(asyncio.to_thread, services.jobs.log, found.id, since)
    return await wait_for(request, look, lambda _, part: bool(part.text) or not part.state.goes_on, wait)


@get(_JOB + "/metrics", opt=SEE, tags=["jobs"], summary="What a job measured on its way")
async def job_metrics(
    model: NamedDependency[str], job: FromPath[str], services: NamedDependency[Services]
) -> list[Point]:
    """In the order in which the script logged them."""
    found = await _job(services, model, job)
    return await asyncio.to_thread(services.jobs.points, found.id)


@post(_JOB + "/cancel", opt={"need": Need.PUBLISH}, status_code=200, tags=["jobs"], summary="End a job")
async def cancel_job(
    model: NamedDependency[str],
    job: FromPath[str],
    data: JSONBody[Reason],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Job:
    """At once if it waits, within seconds if it runs. 409 if it has ended."""
    found = await _job(services, model, job)
    return await asyncio.to_thread(partial(services.jobs.cancel, found.id, by=grant.principal, why=data.why))


def rights(grant: Grant, model: str) -> dict[str, Any]:
    """What a person may have a job do."""
    may_read = partial(grant.allows_dataset, Need.READ_DATA)
    sets_policy = grant.allows(Need.PROMOTE, model.partition("/")[0])
    told = {"by": grant.principal, "sets_policy": sets_policy}
    return {**told, "may_read": may_read, "may_see": grant.sees_model}


def _parameters(text: str) -> Mapping[str, object]:
    try:
        found: dict[str, object] = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(
            f"The parameters are no JSON object: {error}.", 'Write {"trees": 80}.', field="parameters"
        ) from error
    return found


async def _job(services: Services, model: str, text: str) -> Job:
    return await asyncio.to_thread(services.jobs.job_of, model, number_of(text, "job"))


def _made(job: Job) -> Response[Job]:
    return Response(job, status_code=201, headers={"Location": f"/api/v1/models/{job.model}/jobs/{job.id}"})


HANDLERS = (list_jobs, train, train_again, show_job, job_log, job_metrics, cancel_job)
