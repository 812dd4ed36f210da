"""Duties and the tick: leases, fences and repeated steps, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from modelyard.loop import tick as tick_module
from modelyard.loop.tick import Tick, backoff
from modelyard.records.errors import InvalidError, UnavailableError
from modelyard.store import duties
from modelyard.store.database import Database
from modelyard.store.duties import Duty, LostLeaseError
from tests.contract.postgresql import Server

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def claim(database: Database, by: str = "one", at: datetime = NOW) -> Duty | None:
    with database.write() as connection:
        return duties.claim(connection, ["watch"], by, at, MINUTE)


def ensure(database: Database, subject: str = "finance/fuel-cost", at: datetime = NOW) -> None:
    with database.write() as connection:
        duties.ensure(connection, "watch", subject, at)


def held(database: Database, subject: str = "finance/fuel-cost") -> Duty:
    with database.read() as connection:
        found = duties.get(connection, "watch", subject)
    assert found is not None
    return found


def test_a_duty_is_claimed_once_when_it_is_due(database: Database) -> None:
    ensure(database, at=NOW + MINUTE)
    assert claim(database) is None
    duty = claim(database, at=NOW + MINUTE)
    assert duty is not None
    assert (duty.subject, duty.fence, duty.leased_by) == ("finance/fuel-cost", 1, "one")
    assert claim(database, "two", NOW + MINUTE) is None


def test_the_one_due_for_longest_is_claimed_first(database: Database) -> None:
    ensure(database, "finance/a", NOW)
    ensure(database, "finance/b", NOW - HOUR)
    first = claim(database)
    assert first is not None
    assert first.subject == "finance/b"


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_fenced_out(database: Database) -> None:
    ensure(database)
    old = claim(database)
    new = claim(database, "two", NOW + MINUTE)
    assert old is not None
    assert new is not None
    assert new.fence == old.fence + 1
    for write in (_finish, _extend, _hold):
        with pytest.raises(LostLeaseError):
            write(database, old)
    _finish(database, new)
    assert held(database).due_at == NOW + HOUR


def _finish(database: Database, duty: Duty) -> None:
    with database.write() as connection:
        duties.finish(connection, duty, NOW + HOUR)


def _extend(database: Database, duty: Duty) -> None:
    with database.write() as connection:
        duties.extend(connection, duty, NOW + HOUR)


def _hold(database: Database, duty: Duty) -> None:
    with database.write() as connection:
        duties.hold(connection, duty)


def test_a_heartbeat_keeps_a_lease(database: Database) -> None:
    ensure(database)
    duty = claim(database)
    assert duty is not None
    _extend(database, duty)
    assert claim(database, "two", NOW + MINUTE) is None
    with database.read() as connection:
        assert duties.next_due(connection, ["watch"]) == NOW + HOUR


def test_what_is_asked_for_while_it_is_done_is_done_again(database: Database) -> None:
    ensure(database)
    duty = claim(database)
    assert duty is not None
    ensure(database, at=NOW + MINUTE)
    _finish(database, duty)
    assert held(database).due_at == NOW + MINUTE


def test_a_duty_sleeps_until_it_is_asked_for(database: Database) -> None:
    ensure(database)
    duty = claim(database)
    assert duty is not None
    with database.write() as connection:
        duties.finish(connection, duty, None)
    with database.read() as connection:
        assert duties.next_due(connection, ["watch"]) is None
    ensure(database, at=NOW + HOUR)
    ensure(database, at=NOW + 2 * HOUR)  # later than asked already
    assert held(database).due_at == NOW + HOUR


def test_a_restart_gives_back_what_its_former_life_held(database: Database) -> None:
    ensure(database)
    old = claim(database)
    assert old is not None
    with database.write() as connection:
        assert duties.release(connection, ["watch"], "one", NOW) == 1
    with pytest.raises(LostLeaseError):
        _hold(database, old)
    assert claim(database) is not None


def test_a_step_runs_and_says_when_it_is_due_next(database: Database) -> None:
    ensure(database)
    seen: list[Duty] = []
    clock = Hands()

    def step(duty: Duty) -> datetime:
        seen.append(duty)
        return clock.now + HOUR

    tick = Tick(database, "one", {"watch": step}, clock)
    assert tick.run_due() == 1
    assert tick.run_due() == 0
    clock.now += HOUR
    assert tick.run_due() == 1
    assert [duty.fence for duty in seen] == [1, 2]


def test_a_step_that_fails_backs_off_and_keeps_what_it_said(database: Database) -> None:
    ensure(database)
    clock = Hands()
    errors: list[Exception] = [InvalidError("The window is empty."), KeyError("x")]

    def step(_: Duty) -> datetime:
        if errors:
            raise errors.pop(0)
        return clock.now + HOUR

    tick = Tick(database, "one", {"watch": step}, clock)
    for failures, note in ((1, "The window is empty."), (2, "'x'")):
        tick.run_due()
        duty = held(database)
        assert (duty.failures, duty.note, duty.due_at) == (failures, note, clock.now + backoff(failures))
        with database.read() as connection:
            assert [d.subject for d in duties.failing(connection)] == ["finance/fuel-cost"]
        clock.now += backoff(failures)
    tick.run_due()
    duty = held(database)
    assert (duty.failures, duty.note, duty.due_at) == (0, "", clock.now + HOUR)


def test_a_step_that_lost_its_lease_writes_nothing(database: Database) -> None:
    ensure(database)
    clock = Hands()
    other: list[Duty | None] = []

    def slow(_: Duty) -> datetime:
        clock.now += HOUR
        other.append(claim(database, "two", clock.now))
        return clock.now + HOUR

    Tick(database, "one", {"watch": slow}, clock).run_due()
    assert other[0] is not None
    assert held(database).leased_by == "two"


def test_kinds_of_others_are_left_alone(database: Database) -> None:
    ensure(database)
    assert Tick(database, "one", {"rollout": lambda _: None}, Hands()).run_due() == 0


def test_a_started_tick_does_what_comes_and_stops(database: Database) -> None:
    done = threading.Event()

    def step(_: Duty) -> None:
        done.set()

    tick = Tick(database, "one", {"watch": step})
    tick.start()
    ensure(database)
    tick.wake()
    assert done.wait(180)
    tick.stop()
    assert held(database).due_at is None


def test_a_standing_duty_is_there_without_anybodys_asking(database: Database) -> None:
    done = threading.Event()

    def step(_: Duty) -> None:
        done.set()

    tick = Tick(database, "one", {"watch": step}, standing={"watch": "finance/fuel"})
    tick.start()
    assert done.wait(180)
    tick.stop()


@pytest.mark.postgresql
def test_a_row_that_another_engine_claims_is_skipped(postgresql: Server, postgresql_template: str) -> None:
    url = postgresql.url(postgresql.create(postgresql_template))
    one, two = Database(url), Database(url)
    ensure(one, "finance/a", NOW - HOUR)
    ensure(one, "finance/b", NOW)
    with one.write() as connection:
        first = duties.claim(connection, ["watch"], "one", NOW, MINUTE)
        second = claim(two, "two")  # would wait for ever if it did not skip
    assert first is not None
    assert second is not None
    assert (first.subject, second.subject) == ("finance/a", "finance/b")
    one.close()
    two.close()


def test_many_engines_do_each_duty_once(database: Database) -> None:
    subjects = [f"finance/m{number}" for number in range(12)]
    for subject in subjects:
        ensure(database, subject)
    done: list[str] = []

    def step(duty: Duty) -> None:
        done.append(duty.subject)

    def run(name: str) -> Callable[[], int]:
        return Tick(database, name, {"watch": step}, Hands()).run_due

    threads = [threading.Thread(target=run(f"engine-{n}")) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert sorted(done) == sorted(subjects)


def test_a_step_that_outlives_its_lease_is_not_begun_again_by_its_own_engine(database: Database) -> None:
    """The database was away for longer than a lease: what runs goes on."""
    ensure(database)
    clock = Hands()
    begun: list[int] = []

    def slow(duty: Duty) -> datetime:
        begun.append(duty.fence)
        clock.now += HOUR
        assert tick._claim() is None
        return clock.now + HOUR

    tick = Tick(database, "one", {"watch": slow}, clock)
    assert tick.run_due() == 1
    assert begun == [1]
    assert held(database).failures == 0


def test_after_an_outage_leases_that_ran_out_are_left_to_their_holders_for_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure(database)
    assert claim(database) is not None
    ensure(database, "finance/free")
    clock = Hands()
    clock.now += HOUR
    done: list[str] = []

    def step(duty: Duty) -> None:
        done.append(duty.subject)

    two = Tick(database, "two", {"watch": step}, clock)
    with monkeypatch.context() as patch:
        patch.setattr(database, "read", away)
        assert two._next() is None
    two.run_due()
    assert done == ["finance/free"], "what nobody holds is done at once"
    monkeypatch.setattr(tick_module, "_BACK", 0.0)
    two.run_due()
    assert done == ["finance/free", "finance/fuel-cost"]


def away() -> None:
    raise UnavailableError("The database does not answer.")
