"""What is wrong with the yard itself is told to people: once, and once more when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from modelyard.catalog.alerts import Alerts
from modelyard.catalog.backups import Backups
from modelyard.catalog.conditions import Conditions, Seldom
from modelyard.catalog.nodes import Nodes
from modelyard.catalog.troubles import Troubles
from modelyard.loop.alert import AlertStep
from modelyard.loop.rounds import Rounds
from modelyard.records.alerts import ChannelKind, ChannelWanted
from modelyard.records.conditions import Condition
from modelyard.records.diagnosis import Finding
from modelyard.records.policies import Level
from modelyard.store import duties
from modelyard.store.database import Database, clock
from modelyard.store.duties import Duty
from modelyard.store.schema import nodes as table
from modelyard.store.secrets import Keyring, Secrets
from modelyard.workers import outbound
from tests.contract.test_alerts import Got, listening

ONE, TWO = "http://10.0.0.1:8080", "http://10.0.0.2:8080"
GIB = 1024**3
WELL = Condition(
    at=datetime.now(UTC),
    cores=8,
    load=0.5,
    memory=32 * GIB,
    memory_free=20 * GIB,
    workers=2,
    worker_memory=GIB,
    disk_free=50 * GIB,
    spool_bytes=10,
    spool_since=None,
    spool_most=20 * GIB,
)


class Yard:
    """A yard of two nodes with a webhook for its own alerts; its clock goes when it is told."""

    def __init__(self, database: Database, folder: Path, address: str, got: Got) -> None:
        self.database, self.got = database, got
        self.nodes = [Nodes(database, name, folder / name) for name in ("one", "two")]
        self.now = datetime.now(UTC) + timedelta(seconds=1)
        self.steady = True
        networks = outbound.networks("127.0.0.0/8")
        self.alerts = Alerts(database, Secrets(Keyring(folder / "keys")), networks, clock=lambda: self.now)
        self.troubles = Troubles(database, self.nodes[1], 24.0, lambda: self.now)
        for node, where in zip(self.nodes, (ONE, TWO), strict=True):
            node.enter("boot", where, "1.0")
            node.say(WELL)
        wanted = ChannelWanted(ChannelKind.WEBHOOK, address, every=0)
        self.alerts.put_channel("yard", "hook", wanted, by="anna")
        self.step = AlertStep(self.alerts, lambda: self.now, self.troubles.note, lambda: self.steady)

    def look(self, minutes: float = 1) -> None:
        """As the loop does it, some time later."""
        self.now += timedelta(minutes=minutes)
        self.step(Duty("alert", "yard", None, "", None, 0, 0, ""))

    def fall_silent(self, name: str = "one", seconds: float = 60) -> None:
        with self.database.write(unaudited="a test") as connection:
            moment = clock(connection) - timedelta(seconds=seconds)
            connection.execute(table.update().where(table.c.id == name).values(seen_at=moment))

    def told(self) -> list[list[dict[str, Any]]]:
        """The alerts of each message so far."""
        return [json.loads(body)["data"]["alerts"] for _, _, body in self.got]


@pytest.fixture
def yard(database: Database, tmp_path: Path) -> Iterator[Yard]:
    with listening() as (address, got):
        yield Yard(database, tmp_path, address, got)


def test_a_nodes_death_is_told_once_and_that_it_is_back(yard: Yard) -> None:
    yard.look()
    assert yard.told() == []
    yard.fall_silent()
    for _ in range(5):
        yard.look()
    ((death,),) = yard.told()
    assert (death["model"], death["level"], death["closed_at"]) == ("yard", "high", None)
    assert f"node {ONE}: It was not heard of for 1 min" in death["words"]
    assert "Start it again." in death["words"]
    assert "node-dead" in death["words"]
    yard.nodes[0].beat("boot", 0.0)
    for _ in range(5):
        yard.look()
    ((_,), (back,)) = yard.told()
    assert (back["id"], back["closed_at"] is not None) == (death["id"], True)
    ids = {headers["webhook-id"] for _, headers, _ in yard.got}
    assert len(ids) == 2  # who passes over what comes twice does not pass over this
    yard.fall_silent()
    yard.look()
    assert yard.told()[2][0]["id"] != death["id"]  # one a death


def test_a_node_that_was_stopped_as_it_should_be_is_no_alert(yard: Yard) -> None:
    yard.nodes[0].leave("boot")
    yard.fall_silent()
    yard.look()
    assert yard.told() == []


def test_after_an_outage_nobody_is_called_dead_before_all_could_beat(yard: Yard) -> None:
    yard.fall_silent()
    yard.steady = False
    yard.look()
    assert yard.told() == []
    yard.nodes[0].beat("boot", 0.0)
    yard.steady = True
    yard.look()
    assert yard.told() == []


def test_what_somebody_looks_at_or_ended_unsaid_is_not_told_again(yard: Yard) -> None:
    yard.fall_silent()
    yard.look()
    yard.alerts.acknowledge("yard", yard.told()[0][0]["id"], by="ben")
    yard.nodes[0].beat("boot", 0.0)
    yard.look()
    assert len(yard.told()) == 1
    quiet = f"{yard.now:%H}:00-{yard.now + timedelta(hours=1):%H}:59"
    wanted = ChannelWanted(ChannelKind.EMAIL, "a@example.org", quiet=quiet)
    yard.alerts.drop_channel("yard", "hook", by="anna")
    yard.alerts.put_channel("yard", "mail", wanted, by="anna")
    yard.fall_silent()
    yard.look()
    yard.nodes[0].beat("boot", 0.0)
    yard.look()
    yard.look(minutes=180)  # the quiet hours are over, and so is this
    (channel,) = yard.alerts.channels("yard")
    assert (channel.sent_at, channel.failures) == (None, 0)


def test_what_hovers_about_a_limit_is_one_message(yard: Yard) -> None:
    for gib in (1.9, 2.1, 1.9, 2.5, 1.9, 2.1):
        yard.nodes[0].say(replace(WELL, disk_free=int(gib * GIB)))
        yard.look()
    ((low,),) = yard.told()
    assert low["words"].startswith(f"disk of {ONE}: 1.9 GiB free. Make room")
    yard.nodes[0].say(WELL)
    yard.look()
    assert yard.told()[1][0]["closed_at"]


def test_all_that_somebody_must_look_at_is_told(yard: Yard) -> None:
    Backups(yard.database).record("drill", yard.now, "The disk is full.", ok=False)
    with yard.database.write(unaudited="a test") as connection:
        duties.ensure(connection, "watch", "ops/twice", yard.now)
        duty = duties.claim(connection, ["watch"], "two", yard.now, timedelta(minutes=1))
        assert duty is not None
        duties.finish(connection, duty, yard.now + timedelta(hours=1), failures=4, note="no R")
    away = Finding("problem", "cluster main", "Nothing answers.", "Start it.", "ray-away", "ray status")
    chosen = replace(away, what="walls", code="uncontained")
    since = WELL.at - timedelta(hours=1)
    yard.nodes[0].say(replace(WELL, spool_bytes=19 * GIB, problems=(away, chosen)))
    yard.nodes[1].say(replace(WELL, spool_since=since))
    yard.nodes[1].beat("boot", 7.5)
    yard.look()
    (message,) = yard.told()
    codes = sorted(a["key"].split(":")[1] for a in message)
    assert codes == [
        *("backup-failed", "clock-off", "duty-failing", "ray-away", "spool-full", "spool-waiting")
    ]
    assert all(a["words"].endswith(f"(yard doctor: {a['key'].split(':')[1]})") for a in message)


def test_much_work_that_fails_in_turns_is_one_alert(yard: Yard) -> None:
    for round_ in range(4):
        with yard.database.write(unaudited="a test") as connection:
            for number in range(8):
                duties.ensure(connection, "watch", f"ops/m{number}", yard.now)
            for number in range(8):
                duty = duties.claim(connection, ["watch"], "two", yard.now, timedelta(minutes=1))
                assert duty is not None
                again = yard.now + timedelta(minutes=5 + (number + 3 * round_) % 8)
                duties.finish(connection, duty, again, failures=4, note="S3 is away.")
        yard.look(minutes=15)
    ((failing,),) = yard.told()
    assert failing["words"].startswith("work of the loop: watch of ops/m")
    assert "S3 is away; others, too." in failing["words"]


def test_nodes_of_two_releases_are_an_upgrade_and_no_alert(yard: Yard) -> None:
    yard.nodes[1].enter("boot", TWO, "1.1")
    yard.look()
    assert yard.nodes[1].listed()[0].words == f"It runs 1.0, and {TWO} runs 1.1."
    assert yard.told() == []


def test_an_alert_of_the_yard_stays_among_its_own(yard: Yard) -> None:
    yard.fall_silent()
    yard.look()
    assert [a.model for a in yard.alerts.alerts(frozenset({"finance"}))] == []
    assert [(a.department, a.level) for a in yard.alerts.alerts()] == [("yard", Level.HIGH)]


# What each node says of itself


def test_a_node_says_how_its_machine_is_and_all_know(database: Database, tmp_path: Path) -> None:
    nodes = Nodes(database, "one", tmp_path / "pulse")
    nodes.enter("boot", ONE, "1.0")
    (node,) = nodes.listed()
    assert (node.condition, node.room) == (None, "")
    well = Finding("ok", "cluster main", "10.0.0.4:6379 answers")
    ill = Finding("problem", "walls of workers", "no bwrap", "Install it.", "walls-missing", "apt-get")
    look = Conditions(database, tmp_path, GIB, lambda: [5, 7], lambda: (well, ill), lambda: WELL.at).look
    acting = [True]
    rounds = Rounds(look, nodes.say, lambda: acting[0])
    rounds.once()
    (node,) = nodes.listed()
    told = node.condition
    assert told is not None
    assert (told.workers, told.worker_memory, told.problems) == (2, 12, (ill,))
    assert told.cores >= 1
    assert told.memory > told.memory_free > 0
    assert (told.spool_bytes, told.spool_most) == (0, GIB)
    assert node.room.startswith(("Room for some ", "Its "))
    acting[0] = False
    Rounds(lambda: replace(WELL, cores=99), nodes.say, lambda: acting[0]).once()
    assert nodes.listed()[0].condition == told
    nodes.leave("boot")
    assert nodes.listed()[0].condition is None


def test_certificates_are_looked_at_once_an_hour() -> None:
    seconds, looked = [100.0], []

    def look() -> tuple[Finding, ...]:
        looked.append(seconds[0])
        return (Finding("ok", "certificate", "trusted"),)

    seldom = Seldom(look, lambda: seconds[0])
    for moment in (100.0, 130.0, 3_699.0, 3_700.0, 3_730.0):
        seconds[0] = moment
        assert seldom() == (Finding("ok", "certificate", "trusted"),)
    assert looked == [100.0, 3_700.0]


def test_what_a_newer_release_says_is_passed_over(database: Database, tmp_path: Path) -> None:
    nodes = Nodes(database, "one", tmp_path / "pulse")
    nodes.enter("boot", ONE, "1.0")
    with database.write(unaudited="a test") as connection:
        connection.execute(table.update().values(condition='{"cores": "many"}'))
    assert nodes.listed()[0].condition is None
