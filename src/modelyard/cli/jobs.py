"""`yard train`, `yard jobs`, `yard job`, `yard compare` and `yard cancel`."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import modelyard
from modelyard.cli import output
from modelyard.cli.job_calls import JobCalls
from modelyard.cli.models import Why
from modelyard.cli.sdk import open_yard
from modelyard.cli.stories import print_refit, story_of, told_outlook
from modelyard.records import spans
from modelyard.records.errors import InvalidError, NotFoundError
from modelyard.records.jobs import Job, JobState, Point
from modelyard.records.models import VersionState
from modelyard.records.projects import Parameter
from modelyard.records.references import Reference
from modelyard.records.refits import Story
from modelyard.records.spans import span

if TYPE_CHECKING:
    from modelyard.client.connection import Connection  # brings httpx: `yard --help` does without

Number = Annotated[int, typer.Argument(metavar="ID", min=1, help="A job's number.", show_default=False)]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Print its log until it ends.")]
_POINTS_SHOWN = 12


def train(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder.")] = Path(),
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="A parameter, as trees=80, instead of yard.toml's; again for more."),
    ] = None,
    again: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Send nothing: the last project of this model.")
    ] = None,
    why: Why = "",
    follow: Annotated[bool, typer.Option(help="Print its log until it ends.")] = True,
    as_json: output.Json = False,
) -> None:
    """Send a project to the yard, which runs it, and publishes the model that it saves.

    What .gitignore names is not sent. Ctrl-C ends the following, not the job.

    Example: yard train . --set trees=80 --why "more trees"
    """
    calls = JobCalls(open_yard().connection)
    parameters = dict(map(_parameter, set_ or ()))
    if again is not None:
        job = calls.again(again, why, parameters)
        sent = "its last project"
    else:
        job, packed = calls.send(folder, why, parameters)
        files = "1 file" if packed.files == 1 else f"{packed.files} files"
        sent = f"{files}, {spans.size(packed.size)}" + (f", {packed.code}" if packed.code else "")
    if not as_json:
        output.note(f"job {job.id} of {job.model}: {sent}")
    if follow:
        _follow(calls, job, quiet=as_json)
        job = calls.job(job.id)
    _end(calls, job, as_json=as_json)


def jobs(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Of this model alone.")] = None,
    state: Annotated[JobState | None, typer.Option(help="In this state alone.")] = None,
    most: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 30,
    as_json: output.Json = False,
) -> None:
    """List jobs, newest first; of one model with what is to come next, and when.

    Example: yard jobs finance/fuel-cost --state failed
    """
    told: dict[str, str | int] = {"most": most}
    if model is not None:
        told["model"] = Reference.parse(model).model
    if state is not None:
        told["state"] = state.value
    connection = open_yard().connection
    found = JobCalls(connection).jobs(**told)
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("job", "model", "state", "trigger", "by", "queued", "took", "cpu", "memory", "version", "what"),
        [_row(job) for job in found],
    )
    if not found:
        output.note("There is no such job. `yard train DIR` makes one.")
    elif model is not None and (outlook := _story(connection, model).outlook):
        output.print_facts([("\nnext refit", told_outlook(outlook))])


def job(
    number: Number,
    log: Annotated[bool, typer.Option("--log", help="Print its log, and nothing else.")] = False,
    follow: Follow = False,
    as_json: output.Json = False,
) -> None:
    """Show a job: what led to it, what it took and measured, how it ended, and what became of its version.

    Example: yard job 17 --follow
    """
    connection = open_yard().connection
    calls = JobCalls(connection)
    found = calls.job(number)
    if log or follow:
        _follow(calls, found, quiet=False, follow=follow)
        if follow:
            _end(calls, calls.job(number), as_json=as_json)
        return
    if as_json:
        output.print_json(found)
        return
    _print_job(found)
    if points := calls.points(found):
        _print_points(points)
    for refit in _story(connection, found.model).refits:
        if refit.job == found.id:
            print_refit(refit)


def _story(connection: Connection, model: str) -> Story:
    """The model's refits; none as long as there is no version of it."""
    try:
        return story_of(connection, model)
    except NotFoundError:
        return Story(None, [])


def compare(
    numbers: Annotated[list[int], typer.Argument(metavar="ID…", min=1, help="Jobs' numbers.")],
    as_json: output.Json = False,
) -> None:
    """Compare jobs: their parameters, metrics and what they took, side by side.

    Example: yard compare 17 18 19
    """
    calls = JobCalls(open_yard().connection)
    found = [calls.job(number) for number in dict.fromkeys(numbers)]
    if as_json:
        output.print_json(found)
        return
    rows: list[tuple[object, ...]] = [
        ("state", *(j.state for j in found)),
        ("version", *(j.version for j in found)),
        ("took", *(span(j.usage.seconds) for j in found)),
        ("cpu", *(span(j.usage.cpu_seconds) for j in found)),
    ]
    names = sorted({name for j in found for name in j.parameters})
    rows += [(name, *(j.parameters.get(name) for j in found)) for name in names]
    names = sorted({name for j in found for name in j.metrics})
    rows += [(name, *(_short(j.metrics.get(name)) for j in found)) for name in names]
    output.print_table(("", *(f"job {j.id}" for j in found)), rows)


def cancel(number: Number, why: Why = "", as_json: output.Json = False) -> None:
    """End a job: at once if it waits, within seconds if it runs.

    Example: yard cancel 17 --why "the wrong data"
    """
    calls = JobCalls(open_yard().connection)
    ended = calls.cancel(calls.job(number), why)
    if as_json:
        output.print_json(ended)
    else:
        output.note(
            f"Job {number} is {ended.state}." if not ended.state.goes_on else f"Job {number} is being ended."
        )


def _follow(calls: JobCalls, job: Job, *, quiet: bool, follow: bool = True) -> None:
    """Print a job's log as it comes; quietly, only wait for its end."""
    for text in calls.log(job, follow=follow):
        if not quiet:
            sys.stdout.write(output.clean(text))
            sys.stdout.flush()


def _end(calls: JobCalls, job: Job, *, as_json: bool) -> None:
    """Print what became of a job, and of its version's check; the command fails where one of them did."""
    if as_json:
        output.print_json(job)
    elif job.state is JobState.SUCCEEDED:
        version = calls.checked(job)
        name = f"{version.model}/{version.version}"
        if version.state is VersionState.FAILED:
            raise modelyard.CheckError(version)
        output.note(f"{name} is {version.state}. Next: yard show {name}")
    elif job.state.goes_on:
        output.note(f"It {job.progress}. Follow it: yard job {job.id} --follow")
    if job.state in (JobState.FAILED, JobState.CANCELLED):
        raise typer.Exit(1)


def _parameter(text: str) -> tuple[str, Parameter]:
    """`trees=80` as a name and a number; true and false are such, all else is text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidError(f"--set {text!r} is not a name and a value.", "Write --set trees=80.")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        return name, number if math.isfinite(number) else value
    return name, value


def _row(job: Job) -> tuple[object, ...]:
    usage = job.usage
    return (
        job.id,
        job.model,
        job.state,
        job.trigger,
        job.by,
        output.when(job.created_at),
        span(usage.seconds) if usage.seconds else None,
        span(usage.cpu_seconds) if usage.seconds else None,
        spans.size(usage.peak_memory) if usage.peak_memory else None,
        job.version,
        (job.progress or job.words or job.reason)[:100],
    )


def _print_job(job: Job) -> None:
    usage, attempts = job.usage, f"{job.attempt} attempts" if job.attempt > 1 else ""
    took = (
        f"{span(usage.seconds)}, {span(usage.cpu_seconds)} of CPU, {spans.size(usage.peak_memory)} of memory"
    )
    output.print_facts(
        [
            ("job", f"{job.id} of {job.model}"),
            ("state", f"{job.state}{', ' if attempts else ''}{attempts}"),
            ("now", job.progress),
            ("how it ended", job.words),
            ("version", f"{job.model}/{job.version}" if job.version else ""),
            ("trigger", job.trigger),
            ("why", job.reason),
            ("queued", f"{output.when(job.created_at)} by {job.by}"),
            ("started", output.when(job.started_at)),
            ("ended", output.when(job.ended_at)),
            (
                "log",
                f"let go {output.when(job.forgotten_at)}, as YARD_JOB_DAYS says" if job.forgotten_at else "",
            ),
            ("took", took if usage.seconds else ""),
            ("cost", f"{usage.cost:.6f}" if usage.cost else ""),
            ("code", job.code),
            ("project", job.project[:16]),
            ("parameters", ", ".join(f"{k} = {v}" for k, v in sorted(job.parameters.items()))),
            ("hosts", ", ".join(job.hosts)),
            ("data", ", ".join(_data(job))),
            ("metrics", ", ".join(f"{k} = {_short(v)}" for k, v in sorted(job.metrics.items()))),
        ]
    )


def _data(job: Job) -> Iterable[str]:
    for each in job.data:
        held_out = f", the newest {each.held_out:,} held out" if each.held_out else ""
        yield f"{each.dataset}/{each.version} as {each.name} ({each.rows:,} rows{held_out})"


def _print_points(points: list[Point]) -> None:
    names = sorted({p.name for p in points})
    lines: dict[int, dict[str, float]] = {}
    for point in points:
        lines.setdefault(point.line, {})[point.name] = point.value
    shown = list(lines.items())[-_POINTS_SHOWN:]
    title = "\nlogged" if len(shown) == len(lines) else f"\nlogged, the last {_POINTS_SHOWN} of {len(lines)}"
    rows = [(line, *(_short(values.get(name)) for name in names)) for line, values in shown]
    output.print_table(("", *names), rows, title=title)


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"
