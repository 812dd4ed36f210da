"""Alerts on each kind of database: opened once, grouped, kept quiet, sent signed; nothing goes inwards."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MailHandler
from sqlalchemy import Connection

from modelyard.catalog.alerts import Alerts
from modelyard.loop.alert import AlertStep
from modelyard.records.alerts import ChannelKind, ChannelWanted
from modelyard.records.errors import InvalidError, NotFoundError, UnavailableError
from modelyard.records.policies import Level
from modelyard.records.predictions import Finding
from modelyard.store import departments, watch
from modelyard.store.database import Database
from modelyard.store.duties import Duty
from modelyard.store.schema import audit, channels
from modelyard.store.secrets import Keyring, Secrets
from modelyard.workers import outbound, sending
from tests.conftest import find_free_port
from tests.journeys.running import PATIENCE

OPS, MODEL = "operations", "operations/delay"
Got = list[tuple[str, dict[str, str], bytes]]  # path, headers, body
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Hooks(BaseHTTPRequestHandler):
    """Takes webhooks; `status` is what it answers."""

    got: Got
    status = 204
    location = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((self.path, dict(self.headers), body))
        self.send_response(self.status)
        if self.location:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def listening(
    status: int = 204, location: str = ""
) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    got: list[tuple[str, dict[str, str], bytes]] = []
    kind = type("Own", (Hooks,), {"got": got, "status": status, "location": location})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
        server.shutdown()
        thread.join()


class Clock:
    """A clock that goes when it is told."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alerts(database: Database, tmp_path: Path, clock: Clock) -> Alerts:
    with database.write() as connection:
        departments.add(connection, OPS, by="anna", at=NOON)
    allowed = outbound.networks("127.0.0.0/8")
    return Alerts(database, Secrets(Keyring(tmp_path / "keys")), allowed, clock=clock)


def found(database: Database, column: str, at: datetime, level: Level = Level.HIGH) -> Finding:
    words = f"{column} has moved"
    finding = Finding(MODEL, 1, "drift", level, words, at, at, at, at, column=column)
    with database.write() as connection:
        return watch.notice(connection, finding)


def hook(alerts: Alerts, address: str, **more: object) -> str:
    wanted = ChannelWanted(ChannelKind.WEBHOOK, address, **more)  # type: ignore[arg-type]
    return alerts.put_channel(OPS, "hook", wanted, by="olga").secret


def test_a_finding_is_one_alert_sent_once_and_signed(
    alerts: Alerts, database: Database, clock: Clock
) -> None:
    with listening() as (address, got):
        secret = hook(alerts, address)
        clock.now += timedelta(minutes=1)
        found(database, "distance", clock.now)
        found(database, "carrier", clock.now, Level.LOW)
        step = AlertStep(alerts, clock)
        duty = Duty("alert", "yard", None, "", None, 0, 0, "")
        assert step(duty) > clock.now
        step(duty)
        assert len(got) == 1, "both looks, one message"
    path, headers, body = got[0]
    assert (path, headers["Content-Type"]) == ("/hook", "application/cloudevents+json; charset=utf-8")
    told = json.loads(body)
    assert (told["specversion"], told["type"], told["source"]) == (
        "1.0", "modelyard.alerts", "/modelyard/departments/operations",
    )  # fmt: skip
    assert [a["words"] for a in told["data"]["alerts"]] == ["distance has moved"], "low is below the level"
    assert told["id"] == headers["webhook-id"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = base64.b64encode(hmac.new(bytes.fromhex(secret), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{right}"
    assert {a.level for a in alerts.alerts()} == {Level.HIGH, Level.LOW}


def test_where_nothing_is_new_nothing_is_written(
    alerts: Alerts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    write = Database.write

    def noted(of: Database, *, unaudited: str = "") -> AbstractContextManager[Connection]:
        begun.append(unaudited)
        return write(of, unaudited=unaudited)

    def writes() -> int:
        begun.clear()
        alerts.note()
        return len(begun)

    found(database, "x", NOON)
    other = found(database, "y", NOON)
    monkeypatch.setattr(Database, "write", noted)
    assert [writes(), writes()] == [1, 0]
    found(database, "x", NOON, Level.LOW)
    assert writes() == 0, "its words are the same"
    with write(database) as connection:
        watch.close_others(connection, MODEL, 1, ["drift:y"], NOON)
    assert [writes(), writes()] == [1, 0]
    assert [alert.key for alert in alerts.alerts()] == [f"finding:{other.id}"]


def test_what_comes_meanwhile_goes_into_the_next_message_and_nothing_at_night(
    alerts: Alerts, database: Database, clock: Clock
) -> None:
    with listening() as (address, got):
        hook(alerts, address, every=30, quiet="22:00-07:00")
        for minutes, column in ((1, "a"), (5, "b"), (10, "c")):
            clock.now = NOON + timedelta(minutes=minutes)
            found(database, column, clock.now)
            alerts.note()
            alerts.deliver()
        assert len(got) == 1
        clock.now = NOON + timedelta(minutes=40)
        alerts.deliver()
        assert [len(json.loads(body)["data"]["alerts"]) for _, _, body in got] == [1, 2]
        clock.now = NOON.replace(hour=23)
        found(database, "d", clock.now)
        alerts.note()
        assert alerts.deliver() == 0, "quiet hours"
        clock.now = NOON.replace(hour=7) + timedelta(days=1)
        assert alerts.deliver() == 1


def test_what_somebody_looks_at_or_is_over_is_not_sent(
    alerts: Alerts, database: Database, clock: Clock
) -> None:
    with listening(status=500) as (address, got):
        hook(alerts, address, every=0)
        clock.now += timedelta(minutes=1)
        kept = found(database, "a", clock.now)
        found(database, "b", clock.now)
        alerts.note()
        assert alerts.deliver() == 0
        (channel,) = alerts.channels(OPS)
        assert (channel.failures, channel.note) == (1, "The message was not taken (status 500).")
        assert alerts.deliver() == 0
        assert len(got) == 1, "not before a minute"
        seen = alerts.alerts()[-1]
        assert alerts.acknowledge(OPS, seen.id, by="ben").acknowledged_by == "ben"
        assert alerts.acknowledge(OPS, seen.id, by="eva").acknowledged_by == "ben"
        with database.read() as connection:
            again = watch.finding(connection, kept.id)
            assert again is not None
            assert again.acknowledged_by == "ben"
        with database.write() as connection:
            watch.close_others(connection, MODEL, 1, set(), clock.now)
        clock.now += timedelta(minutes=2)
        alerts.note()
        assert alerts.alerts() == []
        assert alerts.deliver() == 0
        assert len(got) == 1
    with pytest.raises(NotFoundError):
        alerts.acknowledge("finance", seen.id, by="mallory")


def test_chat_and_mail_say_it_in_words(database: Database, alerts: Alerts, clock: Clock) -> None:
    mails: list[str] = []

    class Keep(MailHandler):
        def handle_message(self, message: object) -> None:
            mails.append(str(message))

    port = find_free_port()
    controller = Controller(Keep(), hostname="127.0.0.1", port=port, ready_timeout=PATIENCE)
    controller.start()
    alerts._smtp = f"smtp://127.0.0.1:{port}?from=yard@example.org"
    with listening() as (address, got):
        alerts.put_channel(OPS, "chat", ChannelWanted(ChannelKind.CHAT, address), by="olga")
        alerts.put_channel(OPS, "mail", ChannelWanted(ChannelKind.EMAIL, "anna@example.org"), by="olga")
        clock.now += timedelta(minutes=1)
        found(database, "distance", clock.now)
        alerts.note()
        assert alerts.deliver() == 2
    controller.stop()
    said = json.loads(got[0][2])["text"]
    assert said.splitlines()[0] == "Modelyard, operations: 1 alert (high), operations/delay"
    assert "[high] operations/delay: distance has moved" in said
    assert "Subject: Modelyard, operations: 1 alert (high), operations/delay" in mails[0]
    assert "To: anna@example.org" in mails[0]
    assert "distance has moved" in mails[0]


def test_secrets_of_addresses_are_sealed_and_never_told(alerts: Alerts, database: Database) -> None:
    secret = hook(alerts, "https://hooks.example.org/T0/s3cret")
    shown = repr(alerts.channels(OPS))
    assert "hooks.example.org" in shown
    with database.read() as connection:
        kept = "".join(repr(connection.execute(t.select()).all()) for t in (channels, audit))
    for text in ("s3cret", secret):
        assert text not in shown
        assert text not in kept


def test_56_a_redirect_is_not_followed(alerts: Alerts) -> None:
    with listening() as (inner, reached), listening(302, inner) as (address, got):
        hook(alerts, address)
        with pytest.raises(UnavailableError, match="status 302"):
            alerts.test(OPS, "hook", by="olga")
    assert (len(got), reached) == (1, [])


def test_55_59_addresses_within_are_refused_alike_whether_anything_is_there(alerts: Alerts) -> None:
    alerts._allowed = ()
    said = set()
    with listening() as (address, got):
        port = address.rpartition(":")[2].partition("/")[0]
        for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"):
            for there in (port, "1"):
                hook(alerts, f"http://{host}:{there}/hook")
                with pytest.raises((InvalidError, UnavailableError)) as refused:
                    alerts.test(OPS, "hook", by="mallory")
                said.add(str(refused.value).replace(host.strip("[]"), "HOST"))
        assert got == []
    assert len(said) == 1, said


def test_58_a_place_that_hangs_or_answers_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = outbound.networks("127.0.0.0/8")

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(10 * 2**30))
            self.end_headers()
            try:
                for _ in range(2**10):
                    self.wfile.write(b"x" * 2**20)
            except OSError:
                ended.set()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Hanging(Endless):
        def do_POST(self) -> None:
            for _ in range(100):  # a header that drips
                try:
                    self.wfile.write(b"X" if ended.wait(0.05) else b"H")
                except OSError:
                    return

    for kind, seconds in ((Endless, 60.0), (Hanging, 0.5)):
        monkeypatch.setattr(sending, "SECONDS", seconds)
        ended = threading.Event()
        with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            address = f"http://127.0.0.1:{server.server_address[1]}/"
            if kind is Endless:
                sending.post(address, b"{}", {}, allowed)  # its status is enough
                assert ended.wait(PATIENCE)
            else:
                with pytest.raises(UnavailableError):
                    sending.post(address, b"{}", {}, allowed)
                ended.set()
            server.shutdown()
            thread.join()


REFUSED = {
    ChannelKind.WEBHOOK: ("", "ftp://x/", "https://u:p@x/", "https://x/ y", "https://x/\r\nA: b"),
    ChannelKind.CHAT: ("https://", "https://x:99999999/", "https://x/#f", "x" * 3_000),
    ChannelKind.EMAIL: ("anna", "a@b", "a@b.c\r\nBcc: x@y.z", "a b@c.de", "a,b@c.de"),
}


def test_addresses_that_nothing_is_sent_to_are_refused(alerts: Alerts) -> None:
    for kind, addresses in REFUSED.items():
        for address in addresses:
            with pytest.raises(InvalidError) as refused:
                alerts.put_channel(OPS, "x", ChannelWanted(kind, address), by="olga")
            assert "u:p" not in str(refused.value)
    for quiet in ("22-7", "25:00-01:00", "10:00-10:00"):
        wanted = ChannelWanted(ChannelKind.EMAIL, "a@b.org", quiet=quiet)
        with pytest.raises(InvalidError, match="quiet"):
            alerts.put_channel(OPS, "x", wanted, by="olga")


def test_public_addresses_are_sent_to_encrypted_alone() -> None:
    for address in ("http://93.184.215.14/", "https://93.184.215.14:22/"):
        with pytest.raises(InvalidError, match="encrypted alone"):
            sending.post(address, b"{}", {})
