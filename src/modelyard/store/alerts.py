"""Alerts and their channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import structs
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, or_, select, update

from modelyard.records.alerts import Alert, Channel, ChannelKind, Happening, Told
from modelyard.records.policies import Level
from modelyard.records.rollouts import RolloutState
from modelyard.records.troubles import PREFIX
from modelyard.store.database import insert_missing
from modelyard.store.schema import alerts, alerts_sent, channels, findings, jobs, rollouts
from modelyard.store.watch import record

_FAILED = "failed"  # records.jobs.JobState.FAILED
_AT_ONCE = 500  # keys of a query


def happenings(connection: Connection, since: datetime) -> list[Happening]:
    """What has happened since a time that somebody should look at: findings, rollouts, jobs that failed."""
    return [*_findings(connection, since), *_rollouts(connection, since), *_jobs(connection, since)]


def _findings(connection: Connection, since: datetime) -> Iterable[Happening]:
    late = or_(findings.c.closed_at.is_(None), findings.c.closed_at > since)
    for row in connection.execute(select(findings).where(late)):
        found = record(row)
        over = found.closed_at is not None
        yield Happening(f"finding:{found.id}", found.model, found.level, found.words, found.noticed_at, over)


def _rollouts(connection: Connection, since: datetime) -> Iterable[Happening]:
    waits = rollouts.c.state == RolloutState.WAITING
    back = and_(rollouts.c.state == RolloutState.ROLLED_BACK, rollouts.c.ended_at > since)
    for row in connection.execute(select(rollouts).where(or_(waits, back))):
        what = f"{row.model}/{row.candidate}"
        if row.state == RolloutState.WAITING:
            words, level = f"{what} waits for an owner's approval.", Level.MEDIUM
        else:
            words, level = f"{what} was taken back: {row.words}", Level.HIGH
        at = row.ended_at or row.stage_began_at
        yield Happening(f"rollout:{row.id}:{row.state}", row.model, level, words, at)


def _jobs(connection: Connection, since: datetime) -> Iterable[Happening]:
    failed = and_(jobs.c.state == _FAILED, jobs.c.ended_at > since)
    for row in connection.execute(select(jobs).where(failed)):
        words = f"Job {row.id} failed: {row.words}"
        yield Happening(f"job:{row.id}", row.model, Level.MEDIUM, words, row.ended_at)


def told(connection: Connection, keys: Sequence[str]) -> dict[str, Told]:
    """What the alerts of these keys say, of those that are there."""
    found: dict[str, Told] = {}
    for begin in range(0, len(keys), _AT_ONCE):
        some = alerts.c.key.in_(keys[begin : begin + _AT_ONCE])
        query = select(alerts.c.key, alerts.c.words, alerts.c.closed_at).where(some)
        found |= {row.key: Told(row.words, row.closed_at is None) for row in connection.execute(query)}
    return found


def is_unsettled(connection: Connection) -> bool:
    """Whether there are alerts that `settle_rollouts` closes."""
    return connection.execute(select(alerts.c.id).where(_settled(connection)).limit(1)).first() is not None


def settle_rollouts(connection: Connection, now: datetime) -> None:
    """Close the alerts of rollouts that no longer wait for approval."""
    connection.execute(update(alerts).where(_settled(connection)).values(closed_at=now))


def _settled(connection: Connection) -> ColumnElement[bool]:
    waiting = select(rollouts.c.id).where(rollouts.c.state == RolloutState.WAITING)
    keys = [f"rollout:{number}:{RolloutState.WAITING}" for number in connection.scalars(waiting)]
    return and_(
        alerts.c.key.like("rollout:%:waiting"), alerts.c.closed_at.is_(None), alerts.c.key.not_in(keys)
    )


def open_troubles(connection: Connection) -> dict[str, str]:
    """The alerts of the yard's own problems that are not over: the problem's key to the alert's."""
    query = select(alerts.c.key).where(alerts.c.key.startswith(PREFIX), alerts.c.closed_at.is_(None))
    return {key.rpartition("@")[0]: key for key in connection.scalars(query)}


def settle_troubles(
    connection: Connection, new: Iterable[Happening], over: Sequence[str], now: datetime
) -> None:
    """Open alerts for problems of the yard itself, which may come again, and close others by their keys."""
    connection.execute(update(alerts).where(alerts.c.key.in_(over)).values(closed_at=now))
    for happening in new:
        note(connection, replace(happening, key=f"{happening.key}@{now:%Y-%m-%dT%H:%M:%S.%f}"), now)


def note(connection: Connection, happening: Happening, now: datetime) -> bool:
    """Open the alert of what has happened, or close it; whether it is new."""
    if happening.is_over:
        mine = and_(alerts.c.key == happening.key, alerts.c.closed_at.is_(None))
        connection.execute(update(alerts).where(mine).values(closed_at=now))
        return False
    row = {
        "key": happening.key,
        "department": happening.model.partition("/")[0],
        "model": happening.model,
        "level": happening.level,
        "words": happening.words,
        "opened_at": happening.at,
        "closed_at": None,
        "acknowledged_by": "",
        "acknowledged_at": None,
    }
    if insert_missing(connection, alerts, row):
        return True
    graver = and_(alerts.c.key == happening.key, alerts.c.words != happening.words)
    connection.execute(update(alerts).where(graver).values(level=happening.level, words=happening.words))
    return False


def of_departments(
    connection: Connection, departments: Iterable[str] | None, *, only_open: bool = True, most: int = 500
) -> list[Alert]:
    """Alerts of these departments (None: of all), newest first."""
    query = select(alerts).order_by(alerts.c.opened_at.desc(), alerts.c.id.desc()).limit(most)
    if departments is not None:
        query = query.where(alerts.c.department.in_(sorted(departments)))
    if only_open:
        query = query.where(alerts.c.closed_at.is_(None), alerts.c.acknowledged_by == "")
    return [_alert(row) for row in connection.execute(query)]


def get(connection: Connection, department: str, number: int) -> Alert | None:
    """One alert of a department, or None."""
    query = select(alerts).where(alerts.c.id == number, alerts.c.department == department)
    row = connection.execute(query.with_for_update()).first()
    return None if row is None else _alert(row)


def acknowledge(connection: Connection, number: int, by: str, at: datetime) -> None:
    """Write down who has seen an alert."""
    values = {"acknowledged_by": by, "acknowledged_at": at}
    connection.execute(update(alerts).where(alerts.c.id == number).values(values))


# Channels


def put_channel(connection: Connection, channel: Channel, sealed: bytes) -> None:
    """Keep a channel, in place of the one with its name."""
    drop_channel(connection, channel.department, channel.name)
    connection.execute(insert(channels), {**structs.asdict(channel), "sealed": sealed})


def drop_channel(connection: Connection, department: str, name: str) -> bool:
    """Forget a channel, and what was sent there; whether there was one."""
    sent = and_(alerts_sent.c.department == department, alerts_sent.c.channel == name)
    connection.execute(delete(alerts_sent).where(sent))
    return connection.execute(delete(channels).where(_is(department, name))).rowcount > 0


def channels_of(connection: Connection, departments: Iterable[str] | None = None) -> list[Channel]:
    """The channels of these departments (None: of all), by name."""
    query = select(channels)
    if departments is not None:
        query = query.where(channels.c.department.in_(sorted(departments)))
    found = [_channel(row) for row in connection.execute(query)]
    return sorted(found, key=lambda c: (c.department, c.name))


def sealed(connection: Connection, channel: Channel) -> bytes:
    """A channel's sealed address."""
    query = select(channels.c.sealed).where(_is(channel.department, channel.name))
    return bytes(connection.scalars(query).one())


def unsent(connection: Connection, channel: Channel) -> list[Alert]:
    """The alerts that a channel takes and has not been sent, oldest first; then those to be called over."""
    sent = select(alerts_sent.c.alert).where(
        alerts_sent.c.department == channel.department, alerts_sent.c.channel == channel.name
    )
    query = select(alerts).where(
        alerts.c.department == channel.department,
        alerts.c.opened_at >= channel.created_at,
        alerts.c.id.not_in(sent),
    )
    found = [_alert(row) for row in connection.execute(query.order_by(alerts.c.id))]
    return [alert for alert in found if channel.takes(alert)] + _over(connection, channel)


def _over(connection: Connection, channel: Channel) -> list[Alert]:
    """Of the yard's own problems those that a channel was told of, and that are over since."""
    told = and_(
        alerts_sent.c.alert == alerts.c.id,
        alerts_sent.c.department == channel.department,
        alerts_sent.c.channel == channel.name,
    )
    query = (
        select(alerts)
        .join(alerts_sent, told)
        .where(
            alerts.c.key.startswith(PREFIX),
            alerts.c.closed_at > alerts_sent.c.sent_at,
            alerts.c.acknowledged_by == "",
        )
    )
    return [_alert(row) for row in connection.execute(query.order_by(alerts.c.id))]


def mark_sent(connection: Connection, channel: Channel, sent: Iterable[Alert], at: datetime) -> None:
    """Write down that a message went out."""
    place = {"department": channel.department, "channel": channel.name}
    rows = [{"alert": alert.id, **place, "sent_at": at} for alert in sent]
    again = alerts_sent.c.alert.in_([row["alert"] for row in rows])  # now it is told that they are over
    to_here = and_(alerts_sent.c.department == channel.department, alerts_sent.c.channel == channel.name)
    connection.execute(delete(alerts_sent).where(to_here, again))
    connection.execute(insert(alerts_sent), rows)
    values = {"sent_at": at, "next_at": None, "failures": 0, "note": ""}
    connection.execute(update(channels).where(_is(channel.department, channel.name)).values(values))


def mark_failed(connection: Connection, channel: Channel, next_at: datetime, note: str) -> None:
    """Write down that sending failed, and when it is tried again."""
    values = {"next_at": next_at, "failures": channels.c.failures + 1, "note": note}
    connection.execute(update(channels).where(_is(channel.department, channel.name)).values(values))


def _is(department: str, name: str) -> ColumnElement[bool]:
    return and_(channels.c.department == department, channels.c.name == name)


def _alert(row: Row[tuple[object, ...]]) -> Alert:
    told = dict(row._mapping)  # noqa: SLF001 - its public name
    return Alert(**{**told, "level": Level(row.level)})


def _channel(row: Row[tuple[object, ...]]) -> Channel:
    told = {name: value for name, value in row._mapping.items() if name != "sealed"}  # noqa: SLF001
    return Channel(**{**told, "kind": ChannelKind(row.kind), "level": Level(row.level)})
