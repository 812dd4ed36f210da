"""A job's command, and who runs it: this machine, or one of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import msgspec
from msgspec import Struct

from modelyard.records.capacity import Demand
from modelyard.records.jobs import Usage
from modelyard.records.projects import Parameter
from modelyard.workers.commands import Limits, Place, Running
from modelyard.workers.plans import Progress
from modelyard.workers.recipes import Recipes


class Task(Struct, frozen=True):
    """What a job runs.

    Attributes:
        department: whose it is.
        words: the command, as `yard.toml` has it.
        told: further variables.
        demand: what is reserved for it where there is somebody to reserve it.
    """

    department: str
    language: str
    words: list[str]
    limits: Limits
    told: dict[str, str]
    parameters: dict[str, Parameter]
    demand: Demand = Demand()


class Run(Protocol):
    """A command that runs; see `commands.Running`, which is one.

    Where its machine is lost, `wait` and `end` raise UnavailableError.
    """

    code: int | None

    @property
    def usage(self) -> Usage:
        """What it has taken so far."""

    @property
    def ran_out(self) -> bool:
        """Whether it was ended for want of memory within its limit."""

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so many seconds."""

    def look(self) -> str:
        """Which limit it is over, in words; "" if none."""

    def output(self) -> str:
        """What it has printed since the last time."""

    def ask_to_end(self) -> None:
        """Ask it to end, politely."""

    def end(self) -> int:
        """End it; its exit code, negative for a signal. What it has left is in its place's output then."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Grounds(Protocol):
    """Where jobs run."""

    def begin(self, task: Task, place: Place, progress: Progress) -> Run:
        """Run a task whose project and data are laid out in `place`. Use what it gives as a context manager.

        Raises:
            EnvironmentBuildError: it cannot be run there.
            InvalidError: a line of its requirements is no exact pin.
            UnavailableError: there is no room, or nobody to ask.
        """


class LocalGrounds(Struct, frozen=True):
    """Runs jobs on this machine.

    Attributes:
        hidden: a folder that jobs see nothing of: the data folder.
    """

    recipes: Recipes
    hidden: Path

    def begin(self, task: Task, place: Place, progress: Progress) -> Run:
        """See `Grounds.begin`. The thread that begins must live as long as the job."""
        command = self.recipes.command(
            task.language, task.words, place, task.limits, task.told, task.parameters, progress
        )
        command = msgspec.structs.replace(command, gpus=task.demand.gpus)
        return Running(command, place, (str(self.hidden),))
