"""Nodes on both databases: heartbeats, deaths, clocks that are wrong, copies of a yard, and leases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelyard.catalog import leases as leases_module
from modelyard.catalog.leases import Leases
from modelyard.catalog.nodes import Nodes
from modelyard.loop.beat import Beat, refuse_twin
from modelyard.loop.tick import Tick
from modelyard.records.errors import ConflictError, NotFoundError, UnavailableError
from modelyard.records.nodes import DEAD_AFTER, NodeState, Pulse
from modelyard.store import audit, duties
from modelyard.store import nodes as rows
from modelyard.store.database import Database, clock
from modelyard.store.duties import Duty
from modelyard.store.schema import nodes as table
from tests.journeys.running import until

ONE, TWO = "http://10.0.0.1:8080", "http://10.0.0.2:8080"
DAY = timedelta(days=1)
LEASE = timedelta(minutes=1)


class Hands:
    """Clocks that a test moves: the machine's two, and what the others answer."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.off = timedelta()
        self.pulses: dict[str, Pulse] = {}
        self.asked: list[str] = []

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.off

    def ask(self, address: str) -> Pulse | None:
        self.asked.append(address)
        return self.pulses.get(address)


@pytest.fixture
def hands() -> Hands:
    return Hands()


def nodes_of(database: Database, name: str, folder: Path) -> Nodes:
    return Nodes(database, name, folder / f"{name}.pulse")


def beat_of(nodes: Nodes, address: str, hands: Hands, release: str = "1.0") -> Beat:
    return Beat(nodes, address, release, hands.ask, hands.monotonic, hands.wall)


def fall_silent(database: Database, name: str, ago: timedelta = DEAD_AFTER) -> None:
    """As if it had beaten so long ago for the last time."""
    with database.write(unaudited="a test") as connection:
        moment = clock(connection) - ago - timedelta(seconds=1)
        connection.execute(table.update().where(table.c.id == name).values(seen_at=moment))


def steady(beat: Beat, hands: Hands) -> None:
    """It has beaten for so long that others would have been heard."""
    beat.once()
    hands.seconds += DEAD_AFTER.total_seconds() + 1
    beat.once()


def lease(database: Database, by: str) -> Duty:
    """A duty that an engine holds."""
    with database.write(unaudited="a test") as connection:
        now = clock(connection)
        duties.ensure(connection, "train", "7", now)
        duty = duties.claim(connection, ["train"], by, now, LEASE)
    assert duty is not None
    return duty


def holder(database: Database) -> str:
    with database.read() as connection:
        duty = duties.get(connection, "train", "7")
    assert duty is not None
    return duty.leased_by


def test_a_node_that_beats_is_listed_with_its_address_and_release(
    database: Database, tmp_path: Path, hands: Hands
) -> None:
    nodes = nodes_of(database, "one", tmp_path)
    beat = beat_of(nodes, ONE, hands)
    beat.once()
    beat.once()
    (node,) = nodes.listed()
    assert (node.id, node.address, node.release, node.state) == ("one", ONE, "1.0", NodeState.UP)
    assert (node.here, node.words) == (True, "")
    assert abs(node.clock_off) < 5
    assert nodes.pulse() == Pulse("one", 2)
    beat.stop()
    (node,) = nodes.listed()
    assert (node.state, node.words) == (NodeState.STOPPED, "")


def test_a_dead_node_is_told_of_and_what_it_held_goes_on_elsewhere(
    database: Database, tmp_path: Path, hands: Hands
) -> None:
    beat_of(nodes_of(database, "one", tmp_path), ONE, hands).once()
    old = lease(database, "one")
    other = nodes_of(database, "two", tmp_path)
    beat = beat_of(other, TWO, hands)
    steady(beat, hands)
    assert holder(database) == "one"  # it lives
    fall_silent(database, "one")
    beat.once()
    assert holder(database) == ""
    dead, alive = other.listed()
    assert (dead.state, alive.state) == (NodeState.DEAD, NodeState.UP)
    assert dead.words.startswith("It was not heard of for 2")
    assert "yard nodes forget one" in dead.hint
    with database.write(unaudited="a test") as connection:
        claimed = duties.claim(connection, ["train"], "two", clock(connection), LEASE)
        assert claimed is not None
        assert claimed.fence > old.fence + 1  # what the dead one still writes is refused
    beat.once()
    assert holder(database) == "two"


def test_after_an_outage_of_the_database_nobody_is_taken_for_dead_at_once(
    database: Database, tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat_of(nodes_of(database, "one", tmp_path), ONE, hands).once()
    lease(database, "one")
    two = nodes_of(database, "two", tmp_path)
    beat = beat_of(two, TWO, hands)
    steady(beat, hands)
    with monkeypatch.context() as patch:
        patch.setattr(two, "time", away)
        hands.seconds += 600
        beat.once()
    fall_silent(database, "one", timedelta(minutes=10))  # it could not beat either
    beat.once()
    assert holder(database) == "one"
    hands.seconds += DEAD_AFTER.total_seconds() + 1
    beat.once()
    assert holder(database) == ""


def away() -> datetime:
    raise UnavailableError("The database does not answer.")


@pytest.mark.parametrize("off", [DAY, -DAY])
def test_a_clock_that_is_a_day_off_takes_nobodys_lease_and_is_told_of(
    database: Database, tmp_path: Path, hands: Hands, off: timedelta
) -> None:
    lease(database, "one")
    hands.off = off
    two = nodes_of(database, "two", tmp_path)
    beat = beat_of(two, TWO, hands)
    beat.once()
    done: list[str] = []
    tick = Tick(database, "two", {"train": lambda duty: done.append(duty.subject)}, beat.now)
    assert tick.run_due() == 0
    with database.write(unaudited="a test") as connection:
        duties.release(connection, None, "one", clock(connection))
    hands.seconds += 5
    assert tick.run_due() == 1
    (node,) = two.listed()
    assert node.words.startswith(f"Its clock is 1 d {'ahead of' if off > timedelta() else 'behind'}")
    assert abs(node.clock_off - off.total_seconds()) < 5


def test_nodes_of_two_releases_are_told_of(database: Database, tmp_path: Path, hands: Hands) -> None:
    beat_of(nodes_of(database, "one", tmp_path), ONE, hands, "1.0").once()
    two = nodes_of(database, "two", tmp_path)
    beat_of(two, TWO, hands, "1.1").once()
    old, new = two.listed()
    assert new.words == ""
    assert old.words == f"It runs 1.0, and {TWO} runs 1.1."


def copied(database: Database, tmp_path: Path, hands: Hands) -> tuple[Nodes, Beat]:
    """The original's engine, which has beaten on since its records were copied into `database`."""
    nodes = nodes_of(database, "one", tmp_path)
    beat = beat_of(nodes, ONE, hands)
    beat.once()
    fall_silent(database, "one", timedelta(minutes=1))
    hands.pulses[ONE] = Pulse("one", 9)
    return nodes, beat


def test_a_restored_backup_does_not_start_beside_the_original(
    database: Database, tmp_path: Path, hands: Hands
) -> None:
    nodes, _ = copied(database, tmp_path, hands)
    with pytest.raises(ConflictError, match=f"answers at {ONE}: this is a copy") as raised:
        refuse_twin(nodes, TWO, hands.ask)  # the restored data folder has the same node's id
    assert "YARD_APART" in raised.value.hint
    with pytest.raises(ConflictError, match="this is a copy"):
        refuse_twin(nodes_of(database, "two", tmp_path), TWO, hands.ask)  # it was given a new one


def test_a_copy_that_shall_live_apart_starts(database: Database, tmp_path: Path, hands: Hands) -> None:
    nodes, _ = copied(database, tmp_path, hands)
    nodes.part()
    refuse_twin(nodes, TWO, hands.ask)
    with database.read() as connection:
        assert audit.following(connection, 0, 10)[-1].action == "yard.part"


@pytest.mark.parametrize(
    "pulse",
    [None, Pulse("another", 99), Pulse("one", 0)],
    ids=["nobody", "another yard", "one of ours, without the database"],
)
def test_others_at_the_address_are_no_twins(
    database: Database, tmp_path: Path, hands: Hands, pulse: Pulse | None
) -> None:
    copied(database, tmp_path, hands)
    hands.pulses = {ONE: pulse} if pulse else {}
    refuse_twin(nodes_of(database, "two", tmp_path), TWO, hands.ask)
    assert hands.asked == [ONE]


def test_nodes_that_beat_here_are_not_asked(database: Database, tmp_path: Path, hands: Hands) -> None:
    beat_of(nodes_of(database, "one", tmp_path), ONE, hands).once()
    refuse_twin(nodes_of(database, "two", tmp_path), TWO, hands.ask)
    assert hands.asked == []


def test_a_copied_data_folder_is_refused(database: Database, tmp_path: Path, hands: Hands) -> None:
    nodes = nodes_of(database, "one", tmp_path)
    beat_of(nodes, ONE, hands).once()
    hands.pulses[ONE] = nodes.pulse()
    with pytest.raises(ConflictError, match="has the same id") as raised:
        refuse_twin(nodes, TWO, hands.ask)
    assert "data folder of its own" in raised.value.hint


def test_a_copy_that_runs_already_stops_acting_while_the_original_answers(
    database: Database, tmp_path: Path, hands: Hands
) -> None:
    nodes, _ = copied(database, tmp_path, hands)
    hands.pulses.clear()  # the original is down
    beat = beat_of(nodes, TWO, hands)
    beat.once()
    assert beat.may_act()
    hands.pulses[ONE] = Pulse("one", 9)  # and comes back
    hands.seconds += 61
    beat.once()
    assert not beat.may_act()
    (node,) = nodes.listed()
    assert ONE in node.words
    done: list[str] = []
    with database.write(unaudited="a test") as connection:
        duties.ensure(connection, "train", "7", clock(connection))
    tick = Tick(database, "one", {"train": lambda d: done.append(d.subject)}, beat.now, may_act=beat.may_act)
    assert tick._next() is None
    hands.pulses.clear()
    hands.seconds += 61
    beat.once()
    assert beat.may_act()
    assert tick._next() is not None


def test_of_two_engines_under_one_id_the_older_stops_acting(
    database: Database, tmp_path: Path, hands: Hands
) -> None:
    nodes = nodes_of(database, "one", tmp_path)
    old, new = beat_of(nodes, ONE, hands), beat_of(nodes, ONE, hands)
    old.once()
    new.once()
    old.once()
    assert not old.may_act()
    assert new.may_act()
    fall_silent(database, "one")  # the newer one dies
    old.once()
    old.once()
    assert old.may_act()


def test_a_node_is_forgotten(database: Database, tmp_path: Path, hands: Hands) -> None:
    beat_of(nodes_of(database, "one", tmp_path), ONE, hands).once()
    lease(database, "one")
    two = nodes_of(database, "two", tmp_path)
    beat = beat_of(two, TWO, hands)
    beat.once()
    two.forget("one", by="root")
    assert [node.id for node in two.listed()] == ["two"]
    assert holder(database) == ""
    with pytest.raises(NotFoundError):
        two.forget("one", by="root")
    fall_silent(database, "two", timedelta(days=8))
    with database.write(unaudited="a test") as connection:
        assert rows.beat(connection, "two", "another", 0.0) is None
    three = nodes_of(database, "three", tmp_path)
    steady(beat_of(three, ONE, hands), hands)
    assert [node.id for node in three.listed()] == ["three"]  # a week is enough


def test_work_under_a_lease_is_one_nodes(database: Database) -> None:
    def now() -> datetime:
        with database.read() as connection:
            return clock(connection)

    one, two = Leases(database, "one", now), Leases(database, "two", now)
    with one.hold("check", "ops.a.1") as mine, two.hold("check", "ops.a.1") as theirs:
        assert (mine, theirs) == (True, False)
        with two.hold("check", "ops.b.1") as another, one.hold("check", "ops.a.1") as again:
            assert another
            assert again  # a node's earlier life does not keep it waiting
    with two.hold("check", "ops.a.1") as theirs:
        assert theirs
    with database.read() as connection:
        assert duties.get(connection, "check", "ops.a.1") is None


def test_a_lease_is_kept_while_the_work_goes_on_and_lost_with_its_node(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "_EXTEND_EVERY", 0.01)
    began = datetime.now(UTC)
    now = [began]
    one, two = (Leases(database, name, lambda: now[0]) for name in ("one", "two"))
    with one.hold("check", "ops.a.1"):
        now[0] = began + timedelta(seconds=50)

        def extended() -> bool:
            with database.read() as connection:
                duty = duties.get(connection, "check", "ops.a.1")
            return duty is not None and (duty.leased_until or began) > began + timedelta(seconds=100)

        until(extended)
        now[0] = began + timedelta(seconds=80)
        with two.hold("check", "ops.a.1") as theirs:
            assert not theirs
        with database.write(unaudited="a test") as connection:
            duties.release(connection, None, "one", now[0])
        with two.hold("check", "ops.a.1") as theirs:
            assert theirs
