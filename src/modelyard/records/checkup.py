"""What is looked at to tell whether a yard is well, and what is to be thought of it. Pure.

Each thing that can be found has a code. `docs/operator.md` has a paragraph for each, by that code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Literal, get_args

from msgspec import Struct

from modelyard.records.backups import BackupState
from modelyard.records.nodes import Node
from modelyard.records.spans import size, span

Code = Literal[
    "backup-failed",
    "backup-none",
    "backup-old",
    "certificate",
    "clock-off",
    "data-open",
    "data-readonly",
    "database-away",
    "disk-low",
    "duty-failing",
    "duty-late",
    "engine-away",
    "jobs-waiting",
    "language-missing",
    "node-trouble",
    "schema-newer",
    "server-missing",
    "spool-waiting",
    "sqlite-old",
    "uncontained",
    "walls-missing",
    "worker-dying",
    "yard-not-ready",
    "yard-unknown",
    "yard-unreachable",
]
CODES: tuple[Code, ...] = get_args(Code)
LITTLE_DISK = 2 * 1024**3  # bytes
CLOCK_OFF = 5.0  # seconds
_OLD_BACKUP = timedelta(days=8)
_SHIPPED_LATE = timedelta(minutes=15)
_DUTY_LATE = timedelta(minutes=10)
_FAILS_OFTEN = 3  # in a row
_JOB_WAITS = timedelta(hours=2)
_SHOWN = 5


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        state: `ok`; `note`, which one may want to know; or `problem`, which keeps something from working.
        what: what was looked at.
        words: what was found.
        hint: what to do.
        code: which paragraph of the operator's handbook is about it; empty where all is well.
        command: the one command that mends it, or shows what to decide.
    """

    state: Literal["ok", "note", "problem"]
    what: str
    words: str
    hint: str = ""
    code: Code | Literal[""] = ""
    command: str = ""


class LateDuty(Struct, frozen=True):
    """Work of the loop that is overdue, or fails again and again.

    Attributes:
        since: when it was due; None where it waits for its next try.
        failures: how many in a row.
        words: what the last failure said.
    """

    kind: str
    subject: str
    since: datetime | None
    failures: int
    words: str


class Checkup(Struct, frozen=True, kw_only=True):
    """What a node knows of itself and of the queues of its yard.

    Attributes:
        at: when this was looked at, by the node's clock.
        schema: of the database; `known` is the newest that this release knows.
        disk_free: bytes where the node's data folder is.
        spool_bytes: recorded and not shipped yet, on this node; `spool_since` is when the first of it was
            recorded.
        late: duties that are overdue or fail, the oldest first, at most 20.
        jobs_queued: trainings that wait; `jobs_since` is when the first of them was asked for.
    """

    at: datetime
    schema: str
    known: str
    disk_free: int
    spool_bytes: int
    spool_since: datetime | None
    late: tuple[LateDuty, ...]
    jobs_queued: int
    jobs_since: datetime | None


def of_checkup(checkup: Checkup, own_clock: datetime) -> Iterator[Finding]:
    """What is to be thought of a node.

    Args:
        own_clock: what time it is where this is asked.
    """
    yield from of_clock((own_clock - checkup.at).total_seconds())
    yield _of_schema(checkup)
    yield of_disk("disk of the node", checkup.disk_free)
    yield _of_spool(checkup)
    yield from _of_duties(checkup)
    yield _of_jobs(checkup)


def of_clock(ahead: float) -> Iterator[Finding]:
    """What is to be thought of a clock so many seconds ahead of the node's; nothing if it is right."""
    if abs(ahead) > CLOCK_OFF:
        side = "ahead of" if ahead > 0 else "behind"
        yield Finding(
            "problem",
            "clock of this machine",
            f"{span(abs(ahead))} {side} the node's",
            "Have both machines keep their time.",
            "clock-off",
            "timedatectl set-ntp true",
        )


def of_disk(what: str, free: int) -> Finding:
    """What is to be thought of so many bytes that are free."""
    if free >= LITTLE_DISK:
        return Finding("ok", what, f"{size(free)} free")
    hint = "Make room: once it is full predictions are refused, for none is answered unrecorded."
    return Finding("problem", what, f"{size(free)} free", hint, "disk-low", "du -xh -d 2 DATA | sort -h")


def _of_schema(checkup: Checkup) -> Finding:
    what = "schema of the database"
    if checkup.schema <= checkup.known:
        return Finding("ok", what, checkup.schema)
    words = f"{checkup.schema}, of a newer release than this node's (which knows {checkup.known})"
    hint = "The node goes on with it. Finish the upgrade: install the newer release here, too."
    return Finding("note", what, words, hint, "schema-newer", "pip install --upgrade 'modelyard[server]'")


def _of_spool(checkup: Checkup) -> Finding:
    what = "recorded predictions"
    waits = checkup.at - checkup.spool_since if checkup.spool_since else timedelta()
    if waits <= _SHIPPED_LATE:
        return Finding("ok", what, f"{size(checkup.spool_bytes)} wait to be shipped")
    words = f"{size(checkup.spool_bytes)} wait to be shipped, the first for {span(waits.total_seconds())}"
    hint = "The database or the place for files does not take them; nothing is lost while the disk has room."
    return Finding("problem", what, words, hint, "spool-waiting", "curl -s $YARD_URL/health/ready")


def _of_duties(checkup: Checkup) -> Iterator[Finding]:
    failing = [duty for duty in checkup.late if duty.failures >= _FAILS_OFTEN]
    late = [
        duty
        for duty in checkup.late
        if duty not in failing and duty.since is not None and checkup.at - duty.since > _DUTY_LATE
    ]
    if not failing and not late:
        yield Finding("ok", "work of the loop", "nothing is late")
    for duty in failing[:_SHOWN]:
        words = f"failed {duty.failures} times in a row: {duty.words}"
        hint = "It is tried again by itself, each time later; mend what the words say."
        yield Finding(
            "problem", _name(duty), words, hint, "duty-failing", f"yard audit --subject {duty.subject}"
        )
    for duty in late[:_SHOWN]:
        since = span((checkup.at - duty.since).total_seconds()) if duty.since else ""
        hint = "No engine takes it up: one is overloaded, or of a release that does not know this work."
        yield Finding("problem", _name(duty), f"due for {since}", hint, "duty-late", "yard nodes")


def _name(duty: LateDuty) -> str:
    return f"{duty.kind} of {duty.subject}"


def _of_jobs(checkup: Checkup) -> Finding:
    waits = checkup.at - checkup.jobs_since if checkup.jobs_since else timedelta()
    words = f"{checkup.jobs_queued:,} trainings wait"
    if waits <= _JOB_WAITS:
        return Finding("ok", "jobs", words)
    hint = "Their departments run as many as they may, or all nodes are busy: raise YARD_DEPARTMENT_JOBS."
    words += f", the first for {span(waits.total_seconds())}"
    return Finding("note", "jobs", words, hint, "jobs-waiting", "yard jobs")


def of_backups(state: BackupState, now: datetime) -> Iterator[Finding]:
    """What is to be thought of how the yard stands with backups."""
    what = "backups"
    command = "yard backup DIR --drill"
    if state.failure is not None:
        hint = "Mend the cause; it is tried again by itself."
        yield Finding("problem", what, state.failure.words, hint, "backup-failed", command)
    if state.backup is None:
        hint = "Now: yard backup DIR, on another disk. By itself: YARD_BACKUP=DIR yard up."
        yield Finding("note", what, "the yard was never backed up", hint, "backup-none", command)
        return
    age = now - state.backup.at
    drilled = f"; restored to look on {state.drill.at:%d %B}" if state.drill else "; never restored to look"
    words = f"the newest is {age.days} days old{drilled}" if age.days else f"the newest is of today{drilled}"
    if age > max(_OLD_BACKUP, timedelta(hours=2 * state.every_hours)):
        yield Finding("problem", what, words, "Make one.", "backup-old", command)
    else:
        yield Finding("ok", what, words)


def of_nodes(nodes: Iterable[Node]) -> Iterator[Finding]:
    """What is to be thought of the yard's nodes; their words come with them."""
    for node in nodes:
        what = f"node {node.address}"
        if node.words:
            yield Finding("problem", what, node.words, node.hint, "node-trouble", "yard nodes")
        else:
            yield Finding("ok", what, f"{node.state}, {node.release}")


def of_workers(workers: Iterable[tuple[str, str, str, int, int]]) -> Iterator[Finding]:
    """What is to be thought of workers: version, language, state, bytes of memory, times replaced."""
    for version, language, state, memory, restarts in workers:
        what, words = f"worker of {version}", f"{language}, {state}, {size(memory)}"
        if not restarts:
            yield Finding("ok", what, words)
            continue
        hint = "Its model ends its own worker; the log says why. Roll back if it goes on."
        words += f", replaced {restarts} times"
        command = f"tail DATA/logs/workers/{version}-0.log"
        yield Finding("note", what, words, hint, "worker-dying", command)
