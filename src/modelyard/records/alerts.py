"""Alerts: what somebody should look at, where it is sent, and who has seen it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from modelyard.records.errors import InvalidError
from modelyard.records.policies import Level
from modelyard.records.references import shown

_QUIET = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_DAY = 24 * 60
MAX_EVERY = _DAY  # minutes between two messages


class ChannelKind(StrEnum):
    """How alerts are sent."""

    WEBHOOK = "webhook"  # CloudEvents 1.0 as JSON, signed as Standard Webhooks has it
    CHAT = "chat"  # {"text": …}, as chat systems take it
    EMAIL = "email"


class Channel(Struct, frozen=True):
    """Where a department's alerts are sent.

    Attributes:
        target: the address as it may be shown: a web address's host, or a mail address.
        level: from which level on.
        every: minutes between two messages at least; what comes meanwhile goes into the next.
        quiet: `22:00-07:00` in UTC, when nothing is sent; or empty.
        owner: who looks after it.
        failures: sendings that failed in a row; `note` says why the last did.
    """

    department: str
    name: str
    kind: ChannelKind
    target: str
    level: Level
    every: int
    quiet: str
    owner: str
    created_at: datetime
    created_by: str
    sent_at: datetime | None = None
    next_at: datetime | None = None
    failures: int = 0
    note: str = ""

    def is_quiet(self, now: datetime) -> bool:
        """Whether nothing is sent at this time (UTC)."""
        if not self.quiet:
            return False
        begin, end = quiet_minutes(self.quiet)
        minute = now.hour * 60 + now.minute
        return begin <= minute < end if begin < end else minute >= begin or minute < end

    def takes(self, alert: Alert) -> bool:
        """Whether an alert is sent here: grave enough, open, unseen, and not older than the channel."""
        if alert.closed_at is not None or alert.acknowledged_by:
            return False
        return alert.level.rank >= self.level.rank and alert.opened_at >= self.created_at

    def is_due(self, now: datetime) -> bool:
        """Whether a message may be sent now."""
        if self.is_quiet(now) or (self.next_at is not None and self.next_at > now):
            return False
        return self.sent_at is None or self.sent_at + timedelta(minutes=self.every) <= now


class ChannelWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """What a channel is to be.

    Attributes:
        address: `https://…` or a mail address.
        level: from which level on.
        every: minutes between two messages at least.
        quiet: `22:00-07:00` in UTC, or empty.
        owner: who looks after it; by default who makes it.
    """

    kind: ChannelKind
    address: Annotated[str, Meta(max_length=2_000, examples=["https://hooks.example.org/yard"])]
    level: Level = Level.MEDIUM
    every: Annotated[int, Meta(ge=0, le=MAX_EVERY)] = 15
    quiet: Annotated[str, Meta(max_length=20, examples=["22:00-07:00"])] = ""
    owner: Annotated[str, Meta(max_length=200)] = ""


class NewChannel(Struct, frozen=True):
    """A channel just kept, and the secret that signs a webhook: the only time it is shown."""

    channel: Channel
    secret: str = ""


class Alert(Struct, frozen=True):
    """Something that somebody should look at. It opens once, and stays until it is over.

    Attributes:
        key: what it is about, unique: `finding:7`, `job:12`, `rollout:3:waiting`; `yard:…` is a problem of
            the yard itself, which is told of once more when it is over.
        model: or the department that it is about, or `yard`.
        words: for a person.
        closed_at: when it was over by itself; None while it is not, or for what does not end by itself.
    """

    id: int
    key: str
    department: str
    model: str
    level: Level
    words: str
    opened_at: datetime
    closed_at: datetime | None = None
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None


class Happening(Struct, frozen=True):
    """What makes an alert, as the yard's own rows say it; `is_over` closes it again."""

    key: str
    model: str
    level: Level
    words: str
    at: datetime
    is_over: bool = False

    def is_news(self, known: Told | None) -> bool:
        """Whether its alert, or that there is none, says something else."""
        if self.is_over:
            return known is not None and known.is_open
        return known is None or known.words != self.words


class Told(NamedTuple):
    """What an alert says by now."""

    words: str
    is_open: bool


def quiet_minutes(text: str) -> tuple[int, int]:
    """Begin and end of quiet hours, in minutes of the day.

    Raises:
        InvalidError: it is not written as 22:00-07:00.

    >>> quiet_minutes("22:00-07:30")
    (1320, 450)
    """
    found = _QUIET.fullmatch(text)
    if found is None or found[1] + found[2] == found[3] + found[4]:
        hint = "Write the time in UTC, as 22:00-07:00."
        raise InvalidError(f"{shown(text)} are no quiet hours.", hint, field="quiet")
    return int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])


def event(channel: Channel, alerts: Sequence[Alert], identity: str, at: datetime) -> bytes:
    """One message as a CloudEvent (specification 1.0, structured JSON)."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": identity,
            "source": f"/modelyard/departments/{channel.department}",
            "type": "modelyard.alerts",
            "time": at,
            "datacontenttype": "application/json",
            "data": {"department": channel.department, "channel": channel.name, "alerts": list(alerts)},
        }
    )


def text(channel: Channel, alerts: Sequence[Alert]) -> str:
    """One message in words, a line an alert: the gravest first, what is over last."""
    ordered = sorted(alerts, key=lambda a: (a.closed_at is not None, -a.level.rank, a.opened_at))
    lines = [f"[{a.level if a.closed_at is None else 'over'}] {a.model}: {a.words}" for a in ordered]
    return "\n".join([subject(channel, alerts), "", *lines])


def subject(channel: Channel, alerts: Sequence[Alert]) -> str:
    """What a message is about, in a line.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> place = Channel("ops", "mail", ChannelKind.EMAIL, "", Level.LOW, 5, "", "anna", at, "anna")
    >>> subject(place, [Alert(1, "job:1", "ops", "ops/delay", Level.HIGH, "failed", at)])
    'Modelyard, ops: 1 alert (high), ops/delay'
    >>> subject(place, [Alert(1, "yard:1", "ops", "yard", Level.HIGH, "silent", at, at)])
    'Modelyard, ops: 1 alert over, yard'
    """
    fresh = [alert for alert in alerts if alert.closed_at is None]
    over = len(alerts) - len(fresh)
    said = []
    if fresh:
        most = max(fresh, key=lambda alert: alert.level.rank).level
        said.append(f"{_counted(len(fresh))} ({most})")
    if over:
        said.append(f"{over} over" if fresh else f"{_counted(over)} over")
    models = sorted({alert.model for alert in alerts})
    named = models[0] if len(models) == 1 else f"{len(models)} models"
    return f"Modelyard, {channel.department}: {', '.join(said)}, {named}"


def _counted(count: int) -> str:
    return f"{count} alert" + ("s" if count > 1 else "")
