"""Jobs: one run of a project, from the queue to a version."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field

from modelyard.records.projects import Parameter

MOST_ATTEMPTS = 3  # of a job that machines fail under; what the script does is tried once


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def goes_on(self) -> bool:
        """Whether it waits or runs."""
        return self in (JobState.QUEUED, JobState.RUNNING)


class Input(Struct, frozen=True):
    """A dataset as a job got it.

    Attributes:
        name: of the file in `$YARD_DATA`, without its ending.
        dataset: `department/name`.
        rows: in the dataset's version.
        held_out: so many of them, the newest, were kept away from the job: a candidate is judged on them.
    """

    name: str
    dataset: str
    version: int
    rows: int
    held_out: int = 0


class Usage(Struct, frozen=True):
    """What a job took, all its attempts together.

    Attributes:
        seconds: of its command, by the clock.
        cpu_seconds: of all its processes.
        peak_memory: bytes, of all its processes together.
        cost: in the currency of `YARD_CPU_HOUR_COST`.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Both, one after the other."""
        return Usage(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_memory, other.peak_memory),
            self.cost + other.cost,
        )


class Job(Struct, frozen=True):
    """One run of a project.

    Attributes:
        id: its number in the yard.
        project: the digest of the project's files.
        trigger: what led to it: `person`, or the cause that a policy names.
        reason: why, in words.
        code: the commit the project was sent from, as `git 4f1c2e (with changes)`; empty outside git.
        parameters: what the script reads by `yard.parameter()`.
        target: the column that is learned, or "".
        hosts: outside the yard that its project names; it goes once an owner has approved exactly these.
        data: the datasets as the last attempt got them.
        attempt: 1, 2 …; more than one where a machine failed.
        progress: what happens now, in words.
        words: how it ended, and what to do where it went wrong.
        exit_code: of the command; negative for a signal, None where it was not run to its end.
        version: of the model, that it published.
        metrics: the last value of each that the script logged.
        cancelled_by: who wants it to end.
        forgotten_at: when its log and its curves were let go, as the yard keeps them for some time alone.
    """

    id: int
    model: str
    language: str
    project: str
    state: JobState
    trigger: str
    reason: str
    by: str
    code: str
    target: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempt: int = 0
    progress: str = ""
    words: str = ""
    exit_code: int | None = None
    version: int | None = None
    cancelled_by: str = ""
    forgotten_at: datetime | None = None
    parameters: dict[str, Parameter] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    data: tuple[Input, ...] = ()
    usage: Usage = Usage()
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def department(self) -> str:
        """Whose it is."""
        return self.model.partition("/")[0]

    @property
    def lineage(self) -> dict[str, str]:
        """Where its version comes from, as a bundle says it."""
        found = {"job": str(self.id), "project": self.project}
        if self.code:
            found["code"] = self.code
        return found | {f"dataset:{each.dataset}": str(each.version) for each in self.data}


class LogPart(Struct, frozen=True):
    """A part of a job's log.

    Attributes:
        text: of the log, from `since` on; earlier lines may be gone where it is very long.
        next: what to ask for next.
        state: of the job.
    """

    text: str
    next: int
    state: JobState


class Point(Struct, frozen=True):
    """A metric that a script logged: its name, its value, when, and the how manieth line it was in."""

    line: int
    at: datetime
    name: str
    value: float
