"""The story of a refit: what was noticed, tried, compared and decided, and what happens next."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from modelyard.records.jobs import Job, JobState
from modelyard.records.rollouts import Rollout, RolloutState
from modelyard.records.spans import span
from modelyard.records.triggers import Outlook
from modelyard.records.verdicts import Verdict, VerdictState


class Refit(Struct, frozen=True):
    """One training of a model and what became of it; or a version that came by hand and was judged or tried.

    Attributes:
        version: that it published, or None.
        at: when it began.
        noticed: what led to it.
        tried: the job, and how it went.
        compared: the gate's verdict.
        decided: what the rollout came to.
        next: what happens next and when; empty where it is over.
        job, verdict, rollout: their numbers, or None.
    """

    version: int | None
    at: datetime
    noticed: str
    tried: str
    compared: str
    decided: str
    next: str
    job: int | None = None
    verdict: int | None = None
    rollout: int | None = None


class Story(Struct, frozen=True):
    """All refits of a model, newest first, and what was decided last about the next one."""

    outlook: Outlook | None
    refits: list[Refit]


def refits_of(jobs: Iterable[Job], verdicts: Iterable[Verdict], rollouts: Iterable[Rollout]) -> list[Refit]:
    """The refits of a model, newest first.

    Args:
        jobs, verdicts, rollouts: all of the model, newest first.
    """
    judged: dict[int, Verdict] = {}
    tried: dict[int, Rollout] = {}
    for verdict in verdicts:
        judged.setdefault(verdict.candidate, verdict)
    for rollout in rollouts:
        tried.setdefault(rollout.candidate, rollout)
    made: dict[int, Job] = {}
    alone = []
    for job in jobs:
        if job.version is not None and job.version not in made:
            made[job.version] = job
        elif job.version is None:
            alone.append(refit_of(None, job, None, None))
    found = [
        refit_of(version, made.get(version), judged.get(version), tried.get(version))
        for version in made.keys() | judged.keys() | tried.keys()
    ]
    return sorted(found + alone, key=lambda refit: refit.at, reverse=True)


def refit_of(version: int | None, job: Job | None, verdict: Verdict | None, rollout: Rollout | None) -> Refit:
    """One refit out of what there is of it: one of the three at least."""
    begins = [
        *([job.created_at] if job else []),
        *([verdict.asked_at] if verdict else []),
        *([rollout.began_at] if rollout else []),
    ]
    return Refit(
        version=version,
        at=min(begins),
        noticed=_noticed(job, verdict, rollout),
        tried=_tried(job),
        compared="" if verdict is None else verdict.words,
        decided="" if rollout is None else f"{_STATES[rollout.state]}: {rollout.words}",
        next=_next(job, verdict, rollout),
        job=job.id if job else None,
        verdict=verdict.id if verdict else None,
        rollout=rollout.id if rollout else None,
    )


_STATES = {
    RolloutState.RUNNING: "Being rolled out",
    RolloutState.WAITING: "Waits for an owner",
    RolloutState.PROMOTED: "Champion",
    RolloutState.ROLLED_BACK: "Rolled back",
    RolloutState.STOPPED: "Stopped",
}


def _noticed(job: Job | None, verdict: Verdict | None, rollout: Rollout | None) -> str:
    if job is not None:
        return job.reason if job.trigger != "person" else _by_hand("started it", job.by, job.reason)
    if verdict is not None:
        return _by_hand("had it judged", verdict.asked_by, verdict.why)
    return _by_hand("rolled it out", rollout.began_by, rollout.why) if rollout else ""


def _by_hand(did: str, by: str, why: str) -> str:
    return f"{by} {did}: {why}" if why else f"{by} {did}."


def _tried(job: Job | None) -> str:
    if job is None:
        return "Published by hand."
    said = job.words or job.progress
    took = f" It took {span(job.usage.cpu_seconds)} of CPU time." if job.usage.cpu_seconds else ""
    return f"Job {job.id} {job.state}: {said}{took}" if said else f"Job {job.id} {job.state}.{took}"


def _next(job: Job | None, verdict: Verdict | None, rollout: Rollout | None) -> str:
    if rollout is not None and (verdict is None or verdict.rollout in (None, rollout.id)):
        return _after_stage(rollout) if rollout.state.goes_on else ""
    if verdict is not None:
        return verdict.words if verdict.state is VerdictState.WAITING else ""
    if job is None:
        return ""
    if job.state.goes_on:
        return "When the job has ended well, the gate judges what it made."
    return "It is checked, then the gate judges it." if job.state is JobState.SUCCEEDED else ""


def _after_stage(rollout: Rollout) -> str:
    """What comes after the stage a rollout is in.

    A stage takes longer where few requests come.
    """
    if rollout.state is RolloutState.WAITING:
        return f"An owner lets it become champion: yard rollout approve {rollout.model}."
    stage, later = rollout.now, rollout.rules.stages[rollout.stage + 1 :]
    if stage is None:
        return "It becomes champion in a moment."
    until = rollout.stage_began_at + timedelta(seconds=stage.seconds)
    ends = "an owner's approval" if rollout.rules.needs_approval else "champion"
    then = ", then ".join([*(each.words for each in later), ends])
    return f"{stage.words.capitalize()}, until {until:%Y-%m-%d %H:%M} UTC at the earliest; then {then}."
