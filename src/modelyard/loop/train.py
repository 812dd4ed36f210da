"""The step that runs a job: its files laid out, its command run and followed, its model published.

One step is one attempt, which takes as long as it takes: this step has a tick of its own, as wide as the node
runs jobs. An engine that dies lets its lease run out; the next one finds the job running and tries again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from modelyard.catalog.datasets import NOTHING_MARKED, OF_JOBS, Datasets
from modelyard.catalog.jobs import Jobs
from modelyard.catalog.registry import Registry
from modelyard.catalog.training import Begun, Ending, News, Training
from modelyard.loop.follow import Follower, Spending, Stop
from modelyard.loop.output import MetricsReader, find_bundle, pack
from modelyard.records.capacity import Demand
from modelyard.records.errors import InvalidError, UnavailableError, WorkerStartError, YardError
from modelyard.records.jobs import Input, Job, JobState, Usage
from modelyard.records.models import Version
from modelyard.records.projects import dataset_of
from modelyard.records.references import shown
from modelyard.store.duties import Duty, LostLeaseError
from modelyard.workers import commands
from modelyard.workers.commands import Limits, Place
from modelyard.workers.processes import how_it_ended
from modelyard.workers.tasks import Grounds, Run, Task

TAR = "application/x-tar"
_PUBLISH_TRIES = 25
_PUBLISH_PAUSE = 5.0
_KILLED = -9
_PROXYS = "yard: network: "  # how the lines of a job's proxy begin
_TOO_LARGE = -25  # SIGXFSZ


class Outcome(NamedTuple):
    """What became of an attempt: a state it ends in, or None for a machine fault; and why, in words."""

    state: JobState | None
    words: str


def outcome(code: int, stop: Stop | None, *, ran_out: bool, tail: str) -> Outcome:
    """What an attempt's end means. Pure.

    Args:
        code: the command's exit code, negative for a signal.
        stop: why the yard ended it, if it did.
        ran_out: whether the kernel ended a process of it at its memory limit.
        tail: the end of its output.

    >>> outcome(1, None, ran_out=False, tail="ValueError: no such column")
    Outcome(state=<JobState.FAILED: 'failed'>, words='exit code 1: ValueError: no such column')
    """
    if stop is not None and stop.cause == "cancel":
        return Outcome(JobState.CANCELLED, stop.words)
    if stop is not None:
        hint = "Make it need less, or allow more in yard.toml."
        return Outcome(JobState.FAILED, f"It was ended, for {stop.words}. {hint}")
    if code == 0:
        return Outcome(JobState.SUCCEEDED, "")
    if ran_out:
        hint = "Make it need less, or raise memory in [train]."
        return Outcome(JobState.FAILED, f"It used more memory than it may (train.memory). {hint}")
    if code == _KILLED:
        return Outcome(None, how_it_ended(code))
    its_own = (line.strip() for line in reversed(tail.splitlines()) if not line.startswith(_PROXYS))
    last = next(filter(None, its_own), "")
    said = f"{how_it_ended(code)}: {last[:500]}" if last else how_it_ended(code)
    return Outcome(JobState.FAILED, " ".join([said, *_advice(code, tail)]))


_NETWORK = (
    "name resolution",
    "Name or service not known",
    "Could not resolve",
    "cannot resolve",
    "Network is unreachable",
    "getaddrinfo",
    "nodename nor servname",
)
_MEMORY = ("MemoryError", "cannot allocate", "OutOfMemory", "std::bad_alloc", "Cannot allocate memory")
_DISK = ("File too large", "No space left on device", "Disk quota exceeded")


def _advice(code: int, tail: str) -> Iterator[str]:
    """What to do, where the end of the output shows which wall it met."""
    if any(mark in tail for mark in _NETWORK):
        yield (
            "(Jobs have no network: push the data as a dataset, put the file into the project, or name the "
            "host in hosts of [train].)"
        )
    if any(mark in tail for mark in _MEMORY):
        yield "(It may use so much memory as memory in [train] says.)"
    if code == _TOO_LARGE or any(mark in tail for mark in _DISK):
        yield "(It may write so much as disk in [train] says, and 512 MB to its temporary folder.)"


class Holdings(NamedTuple):
    """The catalog as jobs need it."""

    jobs: Jobs
    training: Training
    registry: Registry
    datasets: Datasets


class TrainStep:
    """Runs jobs of this node.

    Args:
        grounds: who runs commands: this machine, or a cluster.
        folder: where jobs have their folders, on this node.
        cpu_hour_cost: what an hour of one core costs.
        clock: what time it is.
    """

    def __init__(
        self,
        holdings: Holdings,
        grounds: Grounds,
        folder: Path,
        cpu_hour_cost: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._jobs, self._training, self._registry, self._datasets = holdings
        self._grounds = grounds
        self._folder = folder
        self._cpu_hour_cost = cpu_hour_cost
        self._clock = clock
        self._closing = threading.Event()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.iterdir():  # of an engine that died here
            commands.clear(left)

    def close(self) -> None:
        """End what runs: it goes back into the queue."""
        self._closing.set()

    def __call__(self, duty: Duty) -> datetime | None:
        """Run the job's next attempt, if it is its turn."""
        if self._closing.is_set():
            return self._clock()
        begun = self._training.begin(duty, self._clock())
        if not isinstance(begun, Begun):
            return begun
        place = Place(self._folder / str(begun.job.id))
        commands.clear(place.home)
        try:
            return self._attempt(duty, begun, place)
        except (UnavailableError, OSError) as error:
            return self._training.fault(duty, str(error), None, self._clock())
        finally:
            commands.remove(place.home)

    def _attempt(self, duty: Duty, begun: Begun, place: Place) -> datetime | None:
        try:
            job = self._prepare(duty, begun, place)
            running = self._begin(duty, begun, place)
        except UnavailableError:
            raise
        except YardError as error:
            if isinstance(error, WorkerStartError) and error.log:
                self._training.tell(duty, begun.job.id, News(error.log.rstrip() + "\n"))
            self._training.end(duty, Ending(JobState.FAILED, str(error)), self._clock())
            return None
        with running:
            self._training.say(duty, job.id, f"runs {begun.project.train.run}")
            spent = Spending(job.usage, self._cpu_hour_cost)
            follower = Follower(self._training, duty, job.id, running, MetricsReader(place.output), spent)
            stop = follower.follow(self._closing)
            found = outcome(running.end(), stop, ran_out=running.ran_out, tail=follower.finish())
            usage = spent.with_attempt(running.usage)
            ending = Ending(found.state or JobState.FAILED, found.words, usage, running.code)
        if stop is not None and stop.cause == "closing":
            return self._training.give_back(duty, usage, self._clock())
        if found.state is None:
            return self._training.fault(duty, found.words, usage, self._clock())
        if found.state is JobState.SUCCEEDED:
            self._publish(duty, job, place, ending)
        else:
            self._training.end(duty, ending, self._clock())
        return None

    def _prepare(self, duty: Duty, begun: Begun, place: Place) -> Job:
        """Lay out the project and its data; the job with the data it gets."""
        job, project = begun.job, begun.project
        place.home.mkdir(mode=0o700)
        self._jobs.lay_out(job.project, place.work)
        place.data.mkdir()
        place.output.mkdir()
        if not project.train.data:
            return job
        self._training.say(duty, job.id, "lays out its data")
        data = tuple(self._lay_out(begun, place))
        if job.target and not any(each.held_out for each in data):
            self._training.tell(duty, job.id, News("yard: no rows are held out: there are too few\n"))
        self._training.say(duty, job.id, "has its data", data)
        return msgspec.structs.replace(job, data=data)

    def _lay_out(self, begun: Begun, place: Place) -> Iterator[Input]:
        """Write the datasets; that with the target without its newest rows, for the gate.

        Personal columns are for jobs that nothing leaves: one that names hosts does not get them.
        """
        train = begun.project.train
        cleared = NOTHING_MARKED if begun.job.hosts else OF_JOBS
        found = {name: self._datasets.version(*dataset_of(text)) for name, text in train.data.items()}
        main = next((name for name, v in found.items() if train.target in v.readable(cleared)), None)
        if train.target and main is None:
            raise InvalidError(
                f"None of its datasets has a column {shown(train.target)} that it may read ([train] target).",
                f"See what they have: yard data show {next(iter(train.data.values()))}.",
                key="train.target",
            )
        for name, version in found.items():
            held_out = begun.promote.held_out(version.rows) if name == main else 0
            path, rows = place.data / f"{name}.{train.form}", (0, version.rows - held_out)
            self._datasets.lay_out(
                version.dataset,
                version.version,
                path,
                train.form,
                cleared=cleared,
                rows=rows if held_out else None,
            )
            yield Input(name, version.dataset, version.version, version.rows, held_out)

    def _begin(self, duty: Duty, begun: Begun, place: Place) -> Run:
        job, train = begun.job, begun.project.train
        limits = Limits(train.seconds, train.memory_bytes, train.disk_bytes, job.hosts)
        told = {"YARD_JOB": str(job.id), "YARD_MODEL": job.model}

        def progress(text: str) -> None:
            self._training.say(duty, job.id, text)

        demand = Demand(cpus=train.cpus, gpus=train.gpus, memory=train.memory)
        task = Task(job.department, job.language, train.command, limits, told, job.parameters, demand)
        return self._grounds.begin(task, place, progress)

    def _publish(self, duty: Duty, job: Job, place: Place, ending: Ending) -> None:
        """Publish the model that it has left and end the job, in one transaction; else the job has failed."""
        try:
            bundle = find_bundle(place.output, job.language)
            self._training.say(duty, job.id, "publishes its model")
            self._publish_once_there(duty, job, bundle, place.home / "bundle.tar", ending.usage or job.usage)
        except (UnavailableError, LostLeaseError):
            raise
        except YardError as error:
            failed = msgspec.structs.replace(ending, state=JobState.FAILED, words=str(error))
            self._training.end(duty, failed, self._clock())

    def _publish_once_there(self, duty: Duty, job: Job, bundle: Path, tar: Path, usage: Usage) -> None:
        """Publish; again for a while if something is away, for a training is dear."""

        def also(connection: Connection, version: Version, *, is_new: bool) -> None:
            self._training.succeed(connection, duty, version, usage, is_new=is_new)

        lineage = job.lineage
        for left in reversed(range(_PUBLISH_TRIES)):
            try:
                stream = pack(bundle, tar)
                self._registry.publish(job.model, stream, TAR, by=job.by, lineage=lineage, also=also)
            except UnavailableError:
                if not left or self._closing.wait(_PUBLISH_PAUSE):
                    raise
            else:
                return
