"""Jobs: the queue, one with its log as it comes, what runs took and measured, side by side."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from modelyard.api.jobs import rights
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.errors import InvalidError, NotFoundError, YardError
from modelyard.records.jobs import Job, JobState
from modelyard.records.people import Grant, Need
from modelyard.web import runs
from modelyard.web.look import go, page
from modelyard.web.models import ROOT, SEE
from modelyard.web.requests import FORM, PageRequest, chosen

JOB = ROOT + "/jobs/{job:str}"
_ON_A_PAGE = 60
_LOG_SHOWN = 100_000  # characters; `yard job ID --log` has all
_POINTS_SHOWN = 20_000
_FORM = {"need": Need.PUBLISH, "takes": (FORM,)}
_MANAGE = {"need": Need.MANAGE, "takes": (FORM,)}


class Filters(Struct, frozen=True):
    """What the list of jobs is narrowed to; empty for all."""

    model: str = ""
    state: str = ""


@get("/jobs", opt={"need": Need.SIGNED_IN})
async def list_jobs(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """The queue and what has run, newest first."""
    asked = request.query_params
    chosen_by = Filters(asked.get("model", "").strip(), asked.get("state", ""))
    states = (JobState(chosen_by.state),) if chosen_by.state in list(JobState) else None
    before = asked.get("before", "")
    below = int(before) if before.isdecimal() and len(before) < 10 else None  # noqa: PLR2004
    find = partial(services.jobs.jobs, grant.seen, model=chosen_by.model or None, states=states)
    found = await asyncio.to_thread(partial(find, below=below, most=_ON_A_PAGE + 1))
    return page(
        request,
        "jobs.html",
        jobs=found[:_ON_A_PAGE],
        more=found[_ON_A_PAGE - 1].id if len(found) > _ON_A_PAGE else None,
        filters=chosen_by,
        states=list(JobState),
        may_train=_may_train(grant, chosen_by.model),
        most=runs.MOST,
    )


def _may_train(grant: Grant, model: str) -> bool:
    return bool(model) and grant.allows(Need.PUBLISH, model.partition("/")[0])


@get("/jobs/compare", opt={"need": Need.SIGNED_IN})
async def compare_jobs(
    request: PageRequest, services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> Response[bytes]:
    """Runs side by side: metrics as curves, and all that differs."""
    asked = dict.fromkeys(number_of(text, "job") for text in request.query_params.getall("of", []))
    if not 1 < len(asked) <= runs.MOST:
        raise InvalidError(f"{len(asked)} jobs are chosen.", f"Tick 2 to {runs.MOST} of the list.")
    find = partial(services.jobs.jobs, grant.seen, most=1)
    found = []
    for number in sorted(asked):
        job = next(iter(await asyncio.to_thread(partial(find, below=number + 1))), None)
        if job is None or job.id != number:
            raise NotFoundError(f"There is no job {number}.", "See what there is: Jobs.")
        found.append(job)
    points = {job.id: (await asyncio.to_thread(services.jobs.points, job.id)) for job in found}
    rows = runs.rows(found)
    return page(
        request,
        "jobs_compare.html",
        jobs=found,
        drawings=runs.drawings({job: each[:_POINTS_SHOWN] for job, each in points.items()}),
        dots=runs.by_parameters(found),
        rows=[row for row in rows if row.differs],
        same=[row.what for row in rows if not row.differs],
    )


@get(JOB, opt=SEE)
async def show_job(
    model: NamedDependency[str],
    job: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
) -> Response[bytes]:
    """What led to it, what it takes, what it measures, how it ended; and its log as it comes."""
    return await _shown(request, services, await _job(services, model, job))


@get(JOB + "/news", opt=SEE)
async def job_news(
    model: NamedDependency[str],
    job: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
) -> Response[bytes]:
    """What came since: a part for the open page, not a page of its own."""
    since = request.query_params.get("since", "0")
    if not since.isdecimal() or len(since) > 15:  # noqa: PLR2004
        raise InvalidError("`since` is a whole number.")
    found = await _job(services, model, job)
    part = await asyncio.to_thread(services.jobs.log, found.id, int(since))
    return page(request, "parts/job_news.html", **await _told(services, found), log=part)


@post(JOB + "/cancel", opt=_FORM, status_code=200)
async def cancel_job(
    model: NamedDependency[str],
    job: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """End it."""
    found = await _job(services, model, job)
    why = chosen(await request.fields(), "why")
    try:
        await asyncio.to_thread(partial(services.jobs.cancel, found.id, by=grant.principal, why=why))
    except YardError as error:
        return await _shown(request, services, await _job(services, model, job), error)
    return go(request, f"/models/{model}/jobs/{found.id}")


@post(JOB + "/hosts", opt=_MANAGE, status_code=200)
async def approve_hosts(
    model: NamedDependency[str],
    job: FromPath[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Approve the hosts that the page has shown; not those that a job may name since."""
    found = await _job(services, model, job)
    fields = await request.all_fields()
    hosts = [value for name, value in fields if name == "host"]
    approve = partial(services.approvals.approve, found.model, hosts, by=grant.principal)
    await asyncio.to_thread(partial(approve, why=chosen(dict(fields), "why")))
    return go(request, f"/models/{model}/jobs/{found.id}")


@post(ROOT + "/jobs", opt=_FORM, status_code=200)
async def train_again(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """Train with the model's last project."""
    why = chosen(await request.fields(), "why")
    submit = partial(services.jobs.submit, model, None, reason=why, **rights(grant, model))
    made = await asyncio.to_thread(submit)
    return go(request, f"/models/{model}/jobs/{made.id}")


async def _shown(
    request: PageRequest, services: Services, job: Job, error: YardError | None = None
) -> Response[bytes]:
    log = await asyncio.to_thread(services.jobs.tail, job.id, _LOG_SHOWN)
    told = await _told(services, job) | {"asks": False}
    if job.hosts and job.state.goes_on:
        approved = (await asyncio.to_thread(services.approvals.hosts, job.model)).approved
        told |= {"asks": approved != job.hosts, "approved": approved}
    return page(request, "job.html", status=200 if error is None else 409, **told, log=log, error=error)


async def _told(services: Services, job: Job) -> dict[str, Any]:
    points = (await asyncio.to_thread(services.jobs.points, job.id))[:_POINTS_SHOWN]
    return {"job": job, "drawings": runs.drawings({job.id: points})}


async def _job(services: Services, model: str, text: str) -> Job:
    return await asyncio.to_thread(services.jobs.job_of, model, number_of(text, "job"))


HANDLERS = (list_jobs, compare_jobs, show_job, job_news, cancel_job, approve_hosts, train_again)
