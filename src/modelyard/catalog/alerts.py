"""Alerts by department: opened from what has happened, sent to channels, acknowledged by people."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import time

import msgspec
from msgspec import Struct, structs
from sqlalchemy import Connection

from modelyard.catalog import words
from modelyard.catalog.people import need_department
from modelyard.records import alerts as records
from modelyard.records.alerts import (
    MAX_EVERY,
    Alert,
    Channel,
    ChannelKind,
    ChannelWanted,
    NewChannel,
    quiet_minutes,
)
from modelyard.records.audit import YARD
from modelyard.records.errors import InvalidError, NotFoundError, YardError
from modelyard.records.policies import Level
from modelyard.records.references import check_name, shown
from modelyard.store import alerts as store
from modelyard.store import audit, departments, watch
from modelyard.store.database import Database
from modelyard.store.secrets import Secrets
from modelyard.workers import outbound, sending

_LOOK_BACK = timedelta(days=7)
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=1)
_DOUBLINGS = 10
_AT_ONCE = 100  # alerts in a message
_SECRET = 32  # bytes
_MAX_NOTE = 300

Clock = Callable[[], datetime]


class _Sealed(Struct, frozen=True):
    address: str
    secret: str


_sealed = msgspec.json.Decoder(_Sealed)


class Alerts:
    """Alerts and channels.

    Args:
        secrets: seals addresses, which may hold secrets, and the keys that sign.
        allowed: networks beside the public ones that may be sent to.
        smtp: the operator's mail server, or empty; see `sending.mail`.

    Methods raise NotFoundError for an unknown department, channel or alert.
    """

    def __init__(
        self,
        database: Database,
        secrets: Secrets,
        allowed: Sequence[outbound.Network] = (),
        smtp: str = "",
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._allowed = tuple(allowed)
        self._smtp = smtp
        self._clock = clock

    # Seen and acknowledged

    def alerts(self, departments: frozenset[str] | None = None, *, only_open: bool = True) -> list[Alert]:
        """Alerts of these departments (None: of all), newest first; those that nobody has seen, or all."""
        with self._database.read() as connection:
            return store.of_departments(connection, departments, only_open=only_open)

    def acknowledge(self, department: str, number: int, *, by: str) -> Alert:
        """Say that somebody looks at it: it is sent nowhere any more. The first stays who did."""
        with self._database.write() as connection:
            found = store.get(connection, department, number)
            if found is None:
                raise NotFoundError(f"{department} has no alert {number}.", "See them: yard alerts list.")
            if found.acknowledged_by:
                return found
            now = self._clock()
            store.acknowledge(connection, number, by, now)
            kind, _, about = found.key.partition(":")
            if kind == "finding":
                watch.acknowledge(connection, int(about), by)
            audit.append(connection, by=by, action="alert.acknowledge", subject=f"{department}/{found.key}")
            return structs.replace(found, acknowledged_by=by, acknowledged_at=now)

    # Channels

    def channels(self, department: str) -> list[Channel]:
        """The channels of a department, without what is secret of their addresses."""
        with self._database.read() as connection:
            return store.channels_of(connection, [department])

    def put_channel(self, department: str, name: str, wanted: ChannelWanted, *, by: str) -> NewChannel:
        """Keep a channel, in place of the one with its name; a webhook gets a new secret.

        Raises:
            InvalidError: an address that nothing is sent to, or wrong hours.
        """
        check_name(department, "department")
        target = self._target(wanted)
        if wanted.quiet:
            quiet_minutes(wanted.quiet)
        if not 0 <= wanted.every <= MAX_EVERY:
            message = f"{wanted.every} minutes between two messages is beyond a day, or none."
            raise InvalidError(message, f"Choose 0 to {MAX_EVERY}.", field="every")
        channel = Channel(
            department=department,
            name=check_name(name, "name of a channel"),
            kind=wanted.kind,
            target=target,
            level=wanted.level,
            every=wanted.every,
            quiet=wanted.quiet,
            owner=words.label(wanted.owner or by, "owner"),
            created_at=self._clock(),
            created_by=by,
        )
        secret = os.urandom(_SECRET).hex() if wanted.kind is ChannelKind.WEBHOOK else ""
        told = msgspec.json.encode(_Sealed(wanted.address, secret))
        with self._database.write() as connection:
            if department == YARD:  # made when somebody first wants to be told of the yard itself
                departments.add(connection, YARD, by=by, at=channel.created_at)
            need_department(connection, department)
            before = _named(connection, department, name)
            store.put_channel(connection, channel, self._secrets.seal(told, _context(channel)))
            place = f"{department}/{name}"
            audit.append(connection, by=by, action="channel.put", subject=place, before=before, after=channel)
        return NewChannel(channel, secret)

    def _target(self, wanted: ChannelWanted) -> str:
        """What may be shown of an address; nothing is connected to yet."""
        if wanted.kind is ChannelKind.EMAIL:
            return sending.check_mail(wanted.address)
        _, host, _, _ = sending.check_web(wanted.address)
        return host

    def drop_channel(self, department: str, name: str, *, by: str) -> None:
        """Forget a channel."""
        with self._database.write() as connection:
            before = _named(connection, department, name)
            if not store.drop_channel(connection, department, name):
                raise _unknown(department, name)
            place = f"{department}/{name}"
            audit.append(connection, by=by, action="channel.drop", subject=place, before=before)

    def test(self, department: str, name: str, *, by: str) -> Channel:
        """Send a message that says that it is a test.

        Raises:
            InvalidError, UnavailableError: it was not taken.
        """
        channel = next((c for c in self.channels(department) if c.name == name), None)
        if channel is None:
            raise _unknown(department, name)
        said = f"A test by {by}: this channel works."
        now = self._clock()
        alert = Alert(0, "test", department, f"{department}/test", Level.LOW, said, now)
        with self._database.write() as connection:
            audit.append(connection, by=by, action="channel.test", subject=f"{department}/{name}")
        self._send(channel, [alert])
        return channel

    # What the loop does

    def note(self) -> int:
        """Open alerts for what has happened, and close those of what is over; how many are new.

        Mostly nothing is new: then it is only read.
        """
        now = self._clock()
        with self._database.read() as connection:
            found = store.happenings(connection, now - _LOOK_BACK)
            known = store.told(connection, [happening.key for happening in found])
            news = [happening for happening in found if happening.is_news(known.get(happening.key))]
            if not news and not store.is_unsettled(connection):
                return 0
        with self._database.write(unaudited="alerts: told of what stands elsewhere") as connection:
            store.settle_rollouts(connection, now)
            return sum(store.note(connection, happening, now) for happening in news)

    def deliver(self) -> int:
        """Send what is due to each channel, one message a channel; how many went out.

        A message that was sent but not written down (the engine died in between) goes again with the same id.
        """
        now = self._clock()
        with self._database.read() as connection:
            due = [channel for channel in store.channels_of(connection) if channel.is_due(now)]
        return sum(self._deliver(channel, now) for channel in due)

    def _deliver(self, channel: Channel, now: datetime) -> int:
        with self._database.read() as connection:
            waiting = store.unsent(connection, channel)[:_AT_ONCE]
        if not waiting:
            return 0
        try:
            self._send(channel, waiting)
        except YardError as error:
            wait = min(_FIRST_WAIT * 2 ** min(channel.failures, _DOUBLINGS), _LONGEST_WAIT)
            with self._database.write(unaudited="alerts: a try to send") as connection:
                store.mark_failed(connection, channel, now + wait, words.output(error.message, _MAX_NOTE))
            return 0
        with self._database.write(unaudited="alerts: what was sent") as connection:
            store.mark_sent(connection, channel, waiting, now)
        return 1

    def _send(self, channel: Channel, alerts: Sequence[Alert]) -> None:
        with self._database.read() as connection:
            sealed = store.sealed(connection, channel)
        told = _sealed.decode(self._secrets.open(sealed, _context(channel)))
        if channel.kind is ChannelKind.EMAIL:
            text, subject = records.text(channel, alerts), records.subject(channel, alerts)
            sending.mail(self._smtp, told.address, subject, text)
        elif channel.kind is ChannelKind.CHAT:
            body = msgspec.json.encode({"text": records.text(channel, alerts)})
            sending.post(told.address, body, {"Content-Type": "application/json"}, self._allowed)
        else:
            self._send_signed(channel, alerts, told)

    def _send_signed(self, channel: Channel, alerts: Sequence[Alert], told: _Sealed) -> None:
        told_of = (alert.key if alert.closed_at is None else f"{alert.key} over" for alert in alerts)
        keys = " ".join([channel.department, channel.name, *told_of])
        identity = "msg_" + hashlib.sha256(keys.encode()).hexdigest()[:32]
        body = records.event(channel, alerts, identity, self._clock())
        moment = int(time())
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "webhook-id": identity,
            "webhook-timestamp": str(moment),
            "webhook-signature": sending.signature(bytes.fromhex(told.secret), identity, moment, body),
        }
        sending.post(told.address, body, headers, self._allowed)


def _named(connection: Connection, department: str, name: str) -> Channel | None:
    return next((c for c in store.channels_of(connection, [department]) if c.name == name), None)


def _context(channel: Channel) -> str:
    return f"channel {channel.department}/{channel.name}"


def _unknown(department: str, name: str) -> NotFoundError:
    return NotFoundError(f"{department} has no channel {shown(name)}.", "See them: yard alerts channels.")
