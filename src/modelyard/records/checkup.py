"""What is looked at to tell whether a yard is well, and what is to be thought of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from modelyard.records.backups import BackupState
from modelyard.records.conditions import Condition, machine
from modelyard.records.diagnosis import Code, Finding
from modelyard.records.nodes import Node, NodeState
from modelyard.records.spans import size, span

LITTLE_DISK = 2 * 1024**3  # bytes
CLOCK_OFF = 5.0  # seconds
_OLD_BACKUP = timedelta(days=8)
_SHIPPED_LATE = timedelta(minutes=15)
_SPOOL_FULL = 0.8  # of what may wait
_DUTY_LATE = timedelta(minutes=10)
_FAILS_OFTEN = 3  # in a row
_JOB_WAITS = timedelta(hours=2)
_SHOWN = 5
_WALLS = "apt-get install bubblewrap util-linux"
_QUIET: frozenset[Code] = frozenset(
    {"node-trouble", "uncontained"}
)  # an upgrade, and what somebody has chosen


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
            recorded, `spool_most` how many may wait (0: an older release does not say).
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
    spool_most: int = 0


def of_checkup(checkup: Checkup, own_clock: datetime) -> Iterator[Finding]:
    """What is to be thought of a node.

    Args:
        own_clock: what time it is where this is asked.
    """
    yield from of_clock((own_clock - checkup.at).total_seconds())
    yield _of_schema(checkup)
    yield of_disk("disk of the node", checkup.disk_free)
    waits = Waiting(checkup.spool_bytes, checkup.spool_since, checkup.spool_most)
    yield from of_spool("recorded predictions", checkup.at, waits)
    yield from of_duties(checkup.late, checkup.at)
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


def of_disk(what: str, free: int, calm: float = 1.0) -> Finding:
    """What is to be thought of so many bytes that are free.

    Args:
        calm: how many times as much room is enough: more than 1 where it was too little before.
    """
    if free >= LITTLE_DISK * calm:
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


class Waiting(NamedTuple):
    """Bytes that are not shipped yet, when the first were recorded, and how many may wait (0: unknown)."""

    bytes: int
    since: datetime | None
    most: int


def of_spool(what: str, at: datetime, waiting: Waiting, calm: float = 1.0) -> Iterator[Finding]:
    """What is to be thought of what waits to be shipped.

    Args:
        at: when it was looked at.
        calm: how many times as much room is enough, as for `of_disk`.
    """
    waits = at - waiting.since if waiting.since else timedelta()
    words, command = f"{size(waiting.bytes)} wait to be shipped", "curl -s $YARD_URL/health/ready"
    is_full = waiting.most and waiting.bytes * calm >= _SPOOL_FULL * waiting.most
    is_late = waits * calm > _SHIPPED_LATE
    if is_full:
        limit = f"{words}, of {size(waiting.most)} that may (YARD_MAX_SPOOL); then predictions are refused"
        hint = "See why they are not shipped: the database or the place for files does not take them."
        yield Finding("problem", what, limit, hint, "spool-full", command)
    if is_late:
        words += f", the first for {span(waits.total_seconds())}"
        hint = (
            "The database or the place for files does not take them; nothing is lost while the disk has room."
        )
        yield Finding("problem", what, words, hint, "spool-waiting", command)
    if not is_full and not is_late:
        yield Finding("ok", what, words)


def of_duties(due: Sequence[LateDuty], at: datetime) -> Iterator[Finding]:
    """What is to be thought of work that is overdue or fails.

    Args:
        at: when it was looked at.
    """
    failing = [duty for duty in due if duty.failures >= _FAILS_OFTEN]
    late = [
        duty
        for duty in due
        if duty not in failing and duty.since is not None and at - duty.since > _DUTY_LATE
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
        since = span((at - duty.since).total_seconds()) if duty.since else ""
        hint = "No engine takes it up: one is overloaded, or of a release that does not know this work."
        yield Finding("problem", _name(duty), f"due for {since}", hint, "duty-late", "yard nodes")


def of_all_duties(due: Sequence[LateDuty], at: datetime) -> Iterator[Finding]:
    """The same together, one finding a code: which of many duties fail changes from look to look."""
    by_code: dict[str, list[Finding]] = {}
    for finding in of_duties(due, at):
        by_code.setdefault(finding.code, []).append(finding)
    for first, *others in by_code.values():
        more = "; others, too" if others else ""
        yield replace(first, what="work of the loop", words=f"{first.what}: {first.words.rstrip('.')}{more}")


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
    """What is to be thought of the yard's nodes; their words come with them.

    The disk and the spool of the one that answers are told of by `of_checkup`.
    """
    for node in nodes:
        yield _of_node(node)
        if node.condition is not None:
            yield from _of_condition(node.address, node.condition, is_known=node.here)


def troubles(nodes: Iterable[Node], calm: float = 1.0) -> Iterator[Finding]:
    """The problems of the nodes that somebody should be told of who does not ask.

    Args:
        calm: as for `of_disk`.
    """
    for node in nodes:
        found = [_of_node(node)]
        if node.condition is not None:
            found += _of_condition(node.address, node.condition, calm)
        yield from (f for f in found if f.state == "problem" and f.code not in _QUIET)


def _of_node(node: Node) -> Finding:
    what = f"node {node.address}"
    if not node.words:
        told = f"; {machine(node.condition)}. {node.room}" if node.condition else ""
        return Finding("ok", what, f"{node.state}, {node.release}{told}")
    if node.state is NodeState.DEAD:
        return Finding("problem", what, node.words, node.hint, "node-dead", "yard nodes")
    if abs(node.clock_off) > CLOCK_OFF:
        return Finding("problem", what, node.words, node.hint, "clock-off", "timedatectl set-ntp true")
    return Finding("problem", what, node.words, node.hint, "node-trouble", "yard nodes")


def _of_condition(
    address: str, told: Condition, calm: float = 1.0, *, is_known: bool = False
) -> Iterator[Finding]:
    """What is wrong with a node's machine.

    Args:
        is_known: of its disk and spool; those are left out.
    """
    waits = Waiting(told.spool_bytes, told.spool_since, told.spool_most)
    looked = [
        of_disk("disk", told.disk_free, calm),
        *of_spool("recorded predictions", told.at, waits, calm),
    ]
    found = (*(() if is_known else looked), *told.problems)
    yield from (replace(f, what=f"{f.what} of {address}") for f in found if f.state == "problem")


def of_walls(why: str, *, allowed: bool) -> Finding:
    """Whether models' code is contained.

    Args:
        why: it cannot be; empty if it can.
        allowed: whether code runs all the same.
    """
    what = "walls of workers"
    if not why:
        return Finding("ok", what, "models run contained: no network, no other files, limits (bubblewrap)")
    if allowed:
        words = f"MODELS RUN UNCONTAINED, as YARD_ALLOW_UNCONTAINED says: {why}"
        hint = "Install bubblewrap and util-linux, and unset it."
        return Finding("problem", what, words, hint, "uncontained", _WALLS)
    hint = "Install bubblewrap and util-linux. Until then, portable models alone are served."
    words = f"models with code of their own are refused: {why}"
    return Finding("problem", what, words, hint, "walls-missing", _WALLS)


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
