"""The trigger on both databases: each cause out of real rows, one training at a time, the story of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import update

from modelyard.catalog.facts import measured
from modelyard.catalog.gates import Judged
from modelyard.catalog.jobs import Jobs
from modelyard.catalog.people import People
from modelyard.catalog.refits import Refits
from modelyard.catalog.registry import Registry
from modelyard.catalog.training import Begun, Training
from modelyard.loop.tick import Tick
from modelyard.loop.trigger import TriggerStep
from modelyard.records.errors import ConflictError, NotFoundError
from modelyard.records.jobs import Input, Job, JobState, Usage
from modelyard.records.metrics import Metric
from modelyard.records.policies import Level, Promote, Retrain
from modelyard.records.predictions import Performance
from modelyard.records.references import CHAMPION
from modelyard.records.verdicts import VerdictState
from modelyard.store import duties, jobs, watch
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import LostLeaseError
from modelyard.store.schema import jobs as jobs_table
from tests.bundles import SIGNATURE, TAR, bundle_tar, tar_of
from tests.contract.test_store_watch import finding

MODEL = "finance/fuel-cost"
OTHER = "finance/fleet"
YARD = '[train]\nrun = "python train.py"\ntarget = "cost"\ndata = { flights = "finance/flights" }\n'
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class House:
    """A yard with a model that a job has trained; its loop is moved by `look`, at any time."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        blobs = Blobs(str(folder / "blobs"))
        self.jobs = Jobs(database, blobs, folder / "scratch")
        self.registry = Registry(database, blobs, folder / "scratch")
        self.training = Training(database, self.jobs.queue)
        self.refits = Refits(database)
        self.now = datetime.now(UTC)

    def submit(self, model: str = MODEL) -> Job:
        files = {"yard.toml": f'model = "{model}"\nlanguage = "python"\n{YARD}'.encode(), "train.py": b"1"}
        return self.jobs.submit(model, [tar_of(files)], TAR, by="ann", may_create_department=True)

    def train(self, content: str, *, held_out: int = 0, cpu_seconds: float = 60.0) -> int:
        """Run the job that waits, whatever it would do, and publish what it made; the version."""
        with self.database.write() as connection:
            duty = duties.claim(connection, ["train"], "one", datetime(2100, 1, 1, tzinfo=UTC), HOUR)
        assert duty is not None
        begun = self.training.begin(duty, datetime.now(UTC))
        assert isinstance(begun, Begun)
        data = (Input("flights", "finance/flights", 1, 1000, held_out),)
        self.training.say(duty, begun.job.id, "runs", data)

        def also(connection: object, version: object, *, is_new: bool) -> None:
            usage = Usage(cpu_seconds, cpu_seconds)
            self.training.succeed(connection, duty, version, usage, is_new=is_new)  # type: ignore[arg-type]

        version, _ = self.registry.publish(
            MODEL, [bundle_tar(content.encode())], TAR, by="yard", lineage=begun.job.lineage, also=also
        )
        return version.version

    def check(self, version: int) -> None:
        self.registry.checks.start(MODEL, version)
        self.registry.checks.passed(MODEL, version, SIGNATURE)

    def policy(self, retrain: Retrain, promote: Promote | None = None) -> None:
        self.registry.policies.put(MODEL, retrain, promote or Promote(), by="ann")

    def look(self, later: timedelta = timedelta()) -> list[Job]:
        """Let the trigger look at the model at this time; its jobs that wait or run."""
        with self.database.write() as connection:
            duties.ensure(connection, "trigger", MODEL, self.now)
        moment = datetime.now(UTC) + later
        step = TriggerStep(self.refits, lambda: moment)
        tick = Tick(self.database, "one", {"trigger": step}, lambda: moment)
        tick.run_due()
        with self.database.read() as connection:
            return [job for job in jobs.find(connection, None, model=MODEL) if job.state.goes_on]

    def words(self) -> str:
        outlook = self.refits.story(MODEL).outlook
        assert outlook is not None
        return outlook.words

    def settled(self) -> None:
        """Nobody judges the version that the job made."""
        with self.database.write() as connection:
            duty = duties.claim(connection, ["gate"], "one", datetime(2100, 1, 1, tzinfo=UTC), HOUR)
            if duty is not None:
                duties.finish(connection, duty, None)


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    made = House(database, tmp_path)
    made.submit()
    made.check(made.train("one"))
    made.settled()
    return made


def test_a_policy_without_conditions_trains_nothing_and_sleeps(house: House) -> None:
    house.policy(Retrain())
    assert house.look(timedelta(days=400)) == []
    assert house.words() == "Nothing leads to a training."
    with house.database.read() as connection:
        duty = duties.get(connection, "trigger", MODEL)
    assert duty is not None
    assert duty.due_at is None


def test_a_missed_schedule_runs_once(house: House) -> None:
    house.policy(Retrain(schedule="0 * * * *"))
    (job,) = house.look(timedelta(days=3))
    assert (job.by, job.trigger, job.state) == ("yard", "schedule", JobState.QUEUED)
    assert "The schedule `0 * * * *` was due" in job.reason
    assert f"Job {job.id} trains it." in house.words()
    assert len(house.look(timedelta(days=3))) == 1
    assert "one training or rollout of the model is going on" in house.words()


def test_a_department_without_trust_is_told_why_nothing_is_trained(house: House) -> None:
    house.policy(Retrain(schedule="0 * * * *"))
    People(house.database).trust_department("finance", trusted=False, by="root")
    assert house.look(timedelta(days=3)) == []
    assert "It cannot begin: The department finance is not trusted with code" in house.words()


def test_labelled_rows_count_from_the_last_training(house: House) -> None:
    house.policy(Retrain(new_rows=100))
    with house.database.write() as connection:
        watch.count_labels(connection, MODEL, house.now - DAY, 500)
        watch.count_labels(connection, MODEL, datetime.now(UTC) + HOUR, 60)
    assert house.look() == []
    with house.database.write() as connection:
        watch.count_labels(connection, MODEL, datetime.now(UTC) + HOUR, 60)
    (job,) = house.look()
    assert job.reason == "120 labelled rows came since the last training; 100 are enough."


def test_a_finding_counts_when_it_is_new_or_has_stayed_for_a_day(house: House) -> None:
    house.policy(Retrain(drift=Level.MEDIUM))
    with house.database.write() as connection:
        watch.notice(connection, finding(Level.HIGH, house.now - DAY))
    assert house.look() == []
    (job,) = house.look(timedelta(hours=25))
    assert (job.trigger, job.reason) == ("drift", "A finding of level high: It moved.")


def test_a_finding_since_the_training_counts_at_once(house: House) -> None:
    house.policy(Retrain(drift=Level.MEDIUM))
    with house.database.write() as connection:
        watch.notice(connection, finding(Level.LOW, datetime.now(UTC), "y"))
        watch.notice(connection, finding(Level.MEDIUM, datetime.now(UTC)))
    (job,) = house.look()
    assert job.reason.startswith("A finding of level medium")


def test_worse_performance_is_told_with_its_numbers(house: House) -> None:
    house.policy(Retrain(worse_by="5%"))
    later = house.now + timedelta(days=60)
    with house.database.write() as connection:
        for day in range(60):
            at = house.now + timedelta(days=day)
            value = 10.0 if day < 30 else 12.0
            found = Performance(MODEL, 1, at, "mae", "", value, value - 1, value + 1, 50)
            watch.put_performance(connection, (MODEL, 1, at), [found])
    assert house.look() == []
    (job,) = house.look(later - datetime.now(UTC))
    assert job.trigger == "performance"
    assert "rows) is 12, 20.0% worse than 10" in job.reason


@pytest.mark.parametrize(("said", "starts"), [(12.1, True), (30.0, False)])
def test_an_estimate_starts_a_training_unless_it_is_doubtful(
    house: House, said: float, *, starts: bool
) -> None:
    """The last days have no outcomes; estimates of days that have were right, or far off."""
    house.policy(Retrain(worse_by="5%"))
    with house.database.write() as connection:
        for day in range(60):
            at = house.now + timedelta(days=day)
            key = (MODEL, 1, at)
            if day < 50:
                value = 10.0 if day < 30 else 12.0
                came = Performance(MODEL, 1, at, "mae", "", value, value - 1, value + 1, 50)
                watch.put_performance(connection, key, [came])
            guess = 10.0 if day < 30 else said
            estimate = Performance(MODEL, 1, at, "mae", "", guess, guess - 1, guess + 1, 50, estimated=True)
            watch.put_performance(connection, key, [estimate], estimated=True)
    found = house.look(house.now + timedelta(days=60) - datetime.now(UTC))
    assert [job.trigger for job in found] == (["performance"] if starts else [])
    assert all("is estimated" in job.reason or "estimated" in job.reason for job in found)


def test_performance_needs_rows_and_a_change_beyond_chance() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def days(now: float, spread: float, labels: int = 50) -> list[Performance]:
        return [
            Performance(MODEL, 1, start + n * DAY, "rmse", "", v, v - spread, v + spread, labels)
            for n, v in enumerate([3.0] * 30 + [now] * 30)
        ]

    found = measured(days(4.0, 0.5), Metric.RMSE, start + 60 * DAY)
    assert found is not None
    assert (found.first, found.now, found.labels) == (3.0, 4.0, 350)
    assert found.low == pytest.approx(4.0 - 0.5 / 7**0.5)
    assert measured(days(4.0, 0.5, labels=10), Metric.RMSE, start + 60 * DAY) is None
    assert measured([], Metric.RMSE, start) is None


def test_a_new_champion_upstream_leads_to_a_training(house: House) -> None:
    house.policy(Retrain(upstream=(OTHER, "finance/none")))
    assert house.look() == []
    for content in ("one", "two"):
        version, _ = house.registry.publish(OTHER, [bundle_tar(content.encode())], TAR, by="ann")
        house.registry.checks.start(OTHER, version.version)
        house.registry.checks.passed(OTHER, version.version, SIGNATURE)
    house.registry.set_alias(OTHER, CHAMPION, 2, by="ann")
    (job,) = house.look()
    assert job.reason == f"{OTHER}, which it builds on, has the new champion 2."


def test_a_webhook_passes_the_cooldown_and_is_followed_once(house: House) -> None:
    asked = house.refits.ask(MODEL, by="etl", why="the month is complete")
    assert asked.words == "etl asked for a training."
    (job,) = house.look()
    assert (job.trigger, job.reason) == ("webhook", "etl asked for it: the month is complete.")
    house.train("two")
    house.settled()
    assert house.look() == []


def test_a_webhook_without_a_project_is_refused(house: House) -> None:
    house.registry.publish(OTHER, [bundle_tar()], TAR, by="ann")
    with pytest.raises(ConflictError, match="yard train DIR"):
        house.refits.ask(OTHER, by="etl")
    with pytest.raises(NotFoundError):
        house.refits.ask("finance/none", by="etl")


def test_the_cooldown_counts_from_the_yards_own_last_training(house: House) -> None:
    house.policy(Retrain(schedule="* * * * *", cooldown="1h"))
    assert len(house.look(2 * HOUR)) == 1
    house.train("two")
    house.settled()
    assert house.look(timedelta(minutes=30)) == []
    assert "the cooldown of 1h lasts" in house.words()
    assert len(house.look(2 * HOUR)) == 1


def test_the_budget_of_a_day_holds(house: House) -> None:
    house.policy(Retrain(schedule="* * * * *", cooldown="1m", budget="1 cpu-hours / day"))
    house.submit()
    house.train("two", cpu_seconds=4000)
    house.settled()
    assert house.look(HOUR) == []
    assert "the budget is used up (1 h 7 min of CPU time in 24 hours" in house.words()
    assert len(house.look(timedelta(hours=26))) == 1


def test_a_pause_holds_until_it_ends(house: House) -> None:
    house.policy(Retrain(max_age="1d"))
    house.registry.policies.pause(MODEL, paused=True, by="ann")
    assert house.look(2 * DAY) == []
    assert "the policy is paused" in house.words()
    house.registry.policies.pause(MODEL, paused=False, by="ann")
    assert len(house.look(2 * DAY)) == 1


def test_a_candidate_that_waits_for_the_gate_holds_the_next_training_up(house: House) -> None:
    house.policy(Retrain(schedule="* * * * *", cooldown="1m"))
    assert len(house.look(HOUR)) == 1
    house.train("two")
    assert house.look(2 * HOUR) == []
    assert "going on" in house.words()


def test_an_engine_that_lost_its_lease_begins_no_training(house: House) -> None:
    house.policy(Retrain(max_age="1d"))
    later = datetime.now(UTC) + 2 * DAY
    with house.database.write() as connection:
        old = duties.claim(connection, ["trigger"], "one", later, HOUR)
        duties.claim(connection, ["trigger"], "two", later + 2 * HOUR, HOUR)
    assert old is not None
    with pytest.raises(LostLeaseError):
        TriggerStep(house.refits, lambda: later)(old)
    with house.database.read() as connection:
        assert not jobs.goes_on(connection, MODEL)


def test_a_project_that_is_gone_is_said(house: House) -> None:
    house.policy(Retrain(max_age="1d"))
    with house.database.write() as connection:
        connection.execute(update(jobs_table).values(model="finance/elsewhere"))
    assert house.look(2 * DAY) == []
    assert "It cannot begin: No project has trained finance/fuel-cost yet" in house.words()


def test_the_story_tells_what_was_noticed_tried_compared_and_decided(house: House) -> None:
    house.policy(Retrain(max_age="1d"), Promote(rollout=("shadow 10m", "canary 10% 10m")))
    house.look(2 * DAY)
    running = house.refits.story(MODEL).refits[0]
    assert (running.version, running.next) == (
        None,
        "When the job has ended well, the gate judges what it made.",
    )
    version = house.train("two", held_out=200)
    waits = house.refits.story(MODEL).refits[0]
    assert (waits.version, waits.next) == (version, "It is checked, then the gate judges it.")
    house.check(version)
    with house.database.write() as connection:
        duty = duties.claim(connection, ["gate"], "one", datetime(2100, 1, 1, tzinfo=UTC), HOUR)
    assert duty is not None
    house.registry.gates.open(duty)
    case = house.registry.gates.case(duty.subject)
    assert case is not None
    held_out = case.verdict.held_out
    assert (held_out.target, held_out.dataset, held_out.number, held_out.rows) == (
        "cost",
        "finance/flights",
        1,
        200,
    )
    rules = msgspec.structs.replace(case.promote.rules(), needs_approval=True)
    judged = Judged(VerdictState.PASSED, "Better by far.", (), None, rules)
    assert house.registry.gates.settle(duty, case, judged, datetime.now(UTC))
    told = house.refits.story(MODEL).refits[0]
    assert told.noticed.startswith("The last training is 2 d")
    assert told.tried.startswith("Job 2 succeeded: It published finance/fuel-cost/2. It took 1 min")
    assert told.compared == "Better by far."
    assert told.decided == "Being rolled out: Begins: shadow for 10 min."
    assert told.next.startswith("Shadow for 10 min, until ")
    assert told.next.endswith("then canary with 10 % for 10 min, then an owner's approval.")
    first = house.refits.story(MODEL).refits[1]
    assert (first.noticed, first.job, first.next) == (
        "ann started it.",
        1,
        "It is checked, then the gate judges it.",
    )
