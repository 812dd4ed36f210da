"""Verdicts: asked for and written down; where one passes, its rollout begins in the same transaction."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from modelyard.catalog import clock, looked_up, words
from modelyard.catalog.policies import own_metric, policy_of
from modelyard.catalog.rollouts import begin
from modelyard.records.audit import YARD
from modelyard.records.errors import ConflictError, NotFoundError
from modelyard.records.jobs import Job
from modelyard.records.metrics import OwnMetric
from modelyard.records.models import Version, VersionState
from modelyard.records.policies import Promote
from modelyard.records.references import CHAMPION
from modelyard.records.rollouts import Rules
from modelyard.records.verdicts import HeldOut, Numbers, Verdict, VerdictState
from modelyard.store import aliases, audit, duties, jobs, models, rollouts, verdicts, versions
from modelyard.store.database import Database
from modelyard.store.duties import Duty

DUTY = "gate"
_BEGINS = "It is judged in a moment."
_IS_CHECKED = "It is judged once its check has ended."
_GOES_ON = "It is judged once the rollout of version {} has ended."


class Judged(Struct, frozen=True):
    """What the gate decided, and how the candidate is rolled out if it passed."""

    state: VerdictState
    words: str
    faults: tuple[str, ...]
    numbers: Numbers | None
    rules: Rules


class Case(Struct, frozen=True):
    """A version that waits to be judged.

    Attributes:
        champion: None where the candidate is champion itself, as the first checked version of a model is.
        promote: what its policy says that a candidate must show.
        own: the metric of the model's own that this names, alone, or none.
        waits_for: what must end before, in words; empty if it can be judged now.
    """

    verdict: Verdict
    candidate: Version
    champion: Version | None
    promote: Promote
    waits_for: str
    own: tuple[OwnMetric, ...] = ()


class Gates:
    """Verdicts by model. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(  # which version, on which rows, who wants it, why and what then
        self, model: str, candidate: int, held_out: HeldOut, *, by: str, why: str = "", rolls_out: bool = True
    ) -> Verdict:
        """Have a checked version judged; the loop does it.

        Raises:
            NotFoundError: there is no such version.
            ConflictError: it is not checked, is champion, or waits to be judged already.
        """
        line = words.reason(why)
        with self._database.write() as connection:
            if not models.lock(connection, model):
                raise looked_up.unknown(model)
            _check(connection, model, candidate)
            return _asked(connection, model, candidate, held_out, by=by, why=line, rolls_out=rolls_out)

    def of_model(self, model: str) -> list[Verdict]:
        """All verdicts of a model, newest first.

        Raises:
            NotFoundError: there is no such model.
        """
        with self._database.read() as connection:
            looked_up.known(connection, model)
            return verdicts.of_model(connection, model)

    def verdict(self, model: str, number: int) -> Verdict:
        """One verdict of a model.

        Raises:
            NotFoundError: it has no such.
        """
        with self._database.read() as connection:
            found = verdicts.get(connection, number)
        if found is None or found.model != model:
            raise NotFoundError(f"{model} has no verdict {number}.", f"See them: yard verdicts {model}.")
        return found

    def open(self, duty: Duty) -> None:
        """Where a job has published the version and nobody has judged it yet, have that wait, too.

        Raises:
            LostLeaseError: another engine has taken the duty over.
        """
        model, _, number = duty.subject.rpartition("/")
        with self._database.write() as connection:
            models.lock(connection, model)
            duties.hold(connection, duty)
            job = jobs.of_version(connection, model, int(number))
            if job is None or verdicts.of_version(connection, model, int(number)):
                return
            why = f"Job {job.id} made it. {job.reason}".strip()
            _asked(connection, model, int(number), held_out_of(job), by=YARD, why=why, rolls_out=True)

    def case(self, subject: str) -> Case | None:
        """What is to be judged of a version (`department/name/7`), or None if nothing waits."""
        model, _, number = subject.rpartition("/")
        with self._database.read() as connection:
            verdict = verdicts.waiting(connection, model, int(number))
            if verdict is None:
                return None
            other = rollouts.active(connection, model) if verdict.rolls_out else None
            candidate = looked_up.found(connection, model, int(number))
            checks = candidate.state in (VersionState.UNCHECKED, VersionState.CHECKING)
            promote = policy_of(connection, model).promote
            return Case(
                verdict=verdict,
                candidate=candidate,
                champion=_other(connection, model, int(number)),
                promote=promote,
                waits_for=_IS_CHECKED if checks else _GOES_ON.format(other.candidate) if other else "",
                own=tuple(own_metric(connection, model, promote)),
            )

    def wait(self, duty: Duty, verdict: Verdict, told: str) -> None:
        """Keep what a verdict waits for.

        Raises:
            LostLeaseError: another engine has taken the duty over.
        """
        if told == verdict.words:
            return
        with self._database.write(unaudited="passing words") as connection:
            models.lock(connection, verdict.model)
            duties.hold(connection, duty)
            if _waits(connection, verdict):
                verdicts.change(connection, msgspec.structs.replace(verdict, words=told))

    def settle(self, duty: Duty, case: Case, judged: Judged, now: datetime) -> bool:
        """Write a verdict down and, where it passed, begin its rollout; whether the routes changed.

        Where the champion is not the one it was compared with any more, nothing is written: the next look
        compares with the new one.

        Raises:
            LostLeaseError: another engine has taken the duty over.
        """
        verdict, champion = case.verdict, case.champion.version if case.champion else None
        with self._database.write() as connection:
            models.lock(connection, verdict.model)
            duties.hold(connection, duty)
            if not _waits(connection, verdict):
                return False
            if aliases.of_model(connection, verdict.model).get(CHAMPION) != (champion or verdict.candidate):
                return False
            after = msgspec.structs.replace(
                verdict,
                champion=champion,
                state=judged.state,
                words=judged.words,
                faults=judged.faults,
                numbers=judged.numbers,
                judged_at=now,
            )
            goes_on = judged.state is VerdictState.PASSED and verdict.rolls_out and case.champion is not None
            if goes_on:
                after = _rolled_out(connection, after, judged.rules)
            verdicts.change(connection, after)
            _tell_audit(connection, after, "judge", YARD)
            return goes_on


def _asked(  # which version, on which rows, who wants it, why and what then
    connection: Connection,
    model: str,
    candidate: int,
    held_out: HeldOut,
    *,
    by: str,
    why: str,
    rolls_out: bool,
) -> Verdict:
    """Keep a verdict that waits, of a locked model, and see that the loop judges it."""
    now = clock.now()
    verdict = Verdict(
        id=0,
        model=model,
        candidate=candidate,
        champion=None,
        state=VerdictState.WAITING,
        words=_BEGINS,
        held_out=held_out,
        asked_at=now,
        asked_by=by,
        why=why,
        rolls_out=rolls_out,
    )
    number = verdicts.add(connection, verdict)
    duties.ensure(connection, DUTY, f"{model}/{candidate}", now)
    _tell_audit(connection, verdict, "ask", by)
    return msgspec.structs.replace(verdict, id=number)


def _tell_audit(connection: Connection, verdict: Verdict, verb: str, by: str) -> None:
    audit.append(
        connection,
        by=by,
        action=f"verdict.{verb}",
        subject=f"{verdict.model}/{verdict.candidate}",
        after={
            "state": verdict.state,
            "words": verdict.words,
            "held_out": verdict.held_out,
            "why": verdict.why,
        },
    )


def held_out_of(job: Job) -> HeldOut:
    """The rows that were kept away from a job; of no dataset where none were."""
    kept = next((each for each in job.data if each.held_out), None)
    if kept is None:
        return HeldOut(target=job.target)
    return HeldOut(target=job.target, dataset=kept.dataset, number=kept.version, rows=kept.held_out)


def _rolled_out(connection: Connection, verdict: Verdict, rules: Rules) -> Verdict:
    """Begin the rollout of a candidate that passed."""
    try:
        rollout = begin(connection, verdict.model, verdict.candidate, rules, by=YARD, why=verdict.words)
    except ConflictError as error:
        return msgspec.structs.replace(verdict, words=f"{verdict.words} It is not rolled out: {error}")
    return msgspec.structs.replace(verdict, rollout=rollout.id)


def _check(connection: Connection, model: str, candidate: int) -> None:
    name = f"{model}/{candidate}"
    looked_up.found(connection, model, candidate)
    if not versions.is_checked(connection, model, candidate):
        message = f"{name} is not checked, so it cannot be judged."
        raise ConflictError(message, f"See where its check stands: yard show {name}.")
    if aliases.of_model(connection, model).get(CHAMPION) == candidate:
        raise ConflictError(f"{name} is champion already.", "Have another version judged.")
    if verdicts.waiting(connection, model, candidate):
        raise ConflictError(f"{name} waits to be judged already.", f"See: yard verdicts {model}.")


def _other(connection: Connection, model: str, candidate: int) -> Version | None:
    champion = aliases.of_model(connection, model).get(CHAMPION)
    return None if champion in (None, candidate) else looked_up.found(connection, model, champion)


def _waits(connection: Connection, verdict: Verdict) -> bool:
    found = verdicts.get(connection, verdict.id)
    return found is not None and found.state is VerdictState.WAITING
