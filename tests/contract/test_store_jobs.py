"""Jobs in the catalog, the same on SQLite and PostgreSQL: queued, run, ended; logs, metrics and secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelyard.catalog.hosts import Approvals
from modelyard.catalog.jobs import Jobs, Queue
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.catalog.training import Begun, Ending, News, Training
from modelyard.loop.forget import ForgetStep
from modelyard.records.audit import Query
from modelyard.records.errors import BusyError, ConflictError, ForbiddenError, InvalidError, NotFoundError
from modelyard.records.jobs import MOST_ATTEMPTS, Job, JobState, Point, Usage
from modelyard.records.people import Kind, Need, Role, Share
from modelyard.records.retention import read_retention
from modelyard.store import audit, duties, shares
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty, LostLeaseError
from tests.bundles import SIGNATURE, TAR, bundle_tar, tar_of

MODEL = "finance/fuel-cost"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)  # all that is queued today is due then
LEASE = timedelta(minutes=1)
YARD = """\
model = "finance/fuel-cost"
language = "python"
[train]
run = "python train.py"
[parameters]
trees = 40
"""


class House:
    """A catalog on a database, with what a job needs."""

    def __init__(self, url: str, folder: Path) -> None:
        self.database = Database(url)
        blobs = Blobs(str(folder / "blobs"))
        self.jobs = Jobs(self.database, blobs, folder / "scratch")
        self.training = Training(self.database, Queue())
        self.registry = Registry(self.database, blobs, folder / "scratch")
        self.approvals = Approvals(self.database)

    def submit(self, text: str = YARD, **told: object) -> Job:
        project = tar_of({"yard.toml": text.encode(), "train.py": b"print(1)"})
        return self.jobs.submit(MODEL, [project], TAR, by="ann", may_create_department=True, **told)  # type: ignore[arg-type]

    def claim(self, at: datetime = NOW, by: str = "one") -> Duty:
        with self.database.write() as connection:
            duty = duties.claim(connection, ["train"], by, at, LEASE)
        assert duty is not None
        return duty

    def begin(self, at: datetime = NOW) -> tuple[Duty, Begun]:
        duty = self.claim(at)
        begun = self.training.begin(duty, at)
        assert isinstance(begun, Begun)
        return duty, begun

    def publish(self, duty: Duty, job: Job) -> int:
        def also(connection: object, version: object, *, is_new: bool) -> None:
            self.training.succeed(connection, duty, version, Usage(2.0, 1.5, 9, 0.1), is_new=is_new)  # type: ignore[arg-type]

        version, _ = self.registry.publish(
            MODEL, [bundle_tar()], TAR, by=job.by, lineage=job.lineage, also=also
        )
        return version.version


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    made = House(database_url, tmp_path)
    yield made
    made.database.close()


def test_a_job_goes_from_the_queue_to_a_version_and_a_gate(house: House) -> None:
    job = house.submit(code="git 4f1c2e", parameters={"trees": 80}, reason="more trees")
    assert (job.id, job.state, job.parameters, job.reason) == (
        1,
        JobState.QUEUED,
        {"trees": 80},
        "more trees",
    )
    duty, begun = house.begin(LATER)
    assert (begun.job.state, begun.job.attempt) == (JobState.RUNNING, 1)
    assert house.publish(duty, begun.job) == 1
    ended = house.jobs.job(1)
    assert (ended.state, ended.version, ended.exit_code) == (JobState.SUCCEEDED, 1, 0)
    assert ended.usage == Usage(2.0, 1.5, 9, 0.1)
    lineage = house.registry.version(MODEL, 1).bundle.lineage
    assert (lineage["job"], lineage["code"], lineage["project"]) == ("1", "git 4f1c2e", job.project)
    with house.database.read() as connection:
        assert duties.get(connection, "gate", f"{MODEL}/1") is not None


def test_the_same_model_again_is_no_new_version_and_no_new_gate(house: House) -> None:
    for _ in range(2):
        house.submit()
        duty, begun = house.begin(LATER)
        house.publish(duty, begun.job)
        with house.database.write() as connection:
            duties.finish(connection, duty, None)
    ended = house.jobs.job(2)
    assert (ended.state, ended.version, ended.words) == (
        JobState.SUCCEEDED,
        1,
        f"It made the same model as {MODEL}/1.",
    )


def test_policy_of_the_file_holds_once_the_job_has_succeeded_and_its_sender_may(house: House) -> None:
    house.submit(YARD + '[promote]\napproval = "owner"\n', sets_policy=True)
    duty, begun = house.begin(LATER)
    assert begun.promote.approval == "owner"
    house.publish(duty, begun.job)
    policy = house.registry.policies.policy(MODEL)
    assert (policy.promote.approval, policy.source, policy.changed_by) == ("owner", "job 1", "ann")
    with house.database.write() as connection:
        duties.finish(connection, duty, None)
    house.submit(YARD + '[promote]\napproval = "auto"\n')
    duty, begun = house.begin(LATER)
    assert begun.promote.approval == "owner", "who may not set a policy trains under the one that holds"
    house.publish(duty, begun.job)
    assert house.registry.policies.policy(MODEL).promote.approval == "owner"


def test_a_policy_with_an_unknown_metric_is_refused_before_anything_is_trained(house: House) -> None:
    text = YARD + '[promote]\nmetric = "over"\n'
    with pytest.raises(InvalidError, match="'over', and the model has no such metric") as caught:
        house.submit(text, sets_policy=True)
    assert caught.value.fields["key"] == "promote.metric"
    assert house.jobs.jobs() == []
    house.submit(text)  # the policy that holds is another, and stays
    assert [job.id for job in house.jobs.jobs()] == [1]


def test_a_department_has_its_turn_and_a_full_queue_says_so(house: House) -> None:
    house.jobs.queue = Queue(waiting=1, running=1)
    house.submit()
    first, _ = house.begin(LATER)
    house.submit()
    with pytest.raises(BusyError, match="1 jobs waiting"):
        house.submit()
    second = house.claim(LATER)
    assert house.training.begin(second, LATER) == LATER + timedelta(seconds=30)
    assert "runs 1 at a time" in house.jobs.job(2).progress
    with house.database.write() as connection:
        duties.finish(connection, second, LATER + timedelta(seconds=30))
    house.training.end(first, Ending(JobState.FAILED, "It failed."), LATER)
    with house.database.read() as connection:  # its end calls the next one at once
        duty = duties.get(connection, "train", "2")
    assert duty is not None
    assert duty.due_at == LATER


WITH_HOSTS = YARD.replace("[parameters]", 'hosts = ["b.example:443", "A.example:443"]\n[parameters]')
BOTH = ("a.example:443", "b.example:443")


def test_a_job_with_hosts_waits_for_exactly_these_to_be_approved_and_holds_nobody_up(house: House) -> None:
    assert house.submit(WITH_HOSTS).hosts == BOTH
    first = house.claim(LATER)
    assert house.training.begin(first, LATER) is None
    waits = house.jobs.job(1)
    assert waits.state is JobState.QUEUED
    assert waits.progress.endswith(f"approve its hosts: yard hosts approve {MODEL} {' '.join(BOTH)}")
    with house.database.write() as connection:
        duties.finish(connection, first, None)
    house.submit()
    second, begun = house.begin(LATER)
    assert begun.job.id == 2, "another one goes first"
    house.submit()
    third = house.claim(LATER)
    assert house.training.begin(third, LATER) == LATER + timedelta(seconds=30)
    with house.database.write() as connection:
        duties.finish(connection, third, LATER + timedelta(seconds=30))
    house.training.end(second, Ending(JobState.FAILED, "so"), LATER)
    with house.database.read() as connection:
        asleep, woken = (duties.get(connection, "train", number) for number in "13")
    assert asleep is not None
    assert woken is not None
    assert (asleep.due_at, woken.due_at) == (None, LATER), "whose turn it is are told, not those who wait"
    house.approvals.approve(MODEL, ["a.example:443"], by="olga")
    assert house.training.begin(first, LATER) is None, "a part of them is not these"
    asked = house.approvals.hosts(MODEL)
    assert [(each.job, each.hosts) for each in asked.asked] == [(1, BOTH)]
    house.approvals.approve(MODEL, BOTH, by="olga", why="the price list")
    approved = house.approvals.hosts(MODEL)
    assert (approved.approved, approved.by, approved.why) == (BOTH, "olga", "the price list")
    duty, begun = house.begin(LATER)
    assert (begun.job.id, begun.job.hosts) == (1, BOTH)
    assert house.training.why_end(1) == ""
    house.approvals.approve(MODEL, [], by="olga")
    assert "was taken back" in house.training.why_end(1)
    assert "was taken back" in house.training.tell(duty, 1, News("here\n"))


def test_an_approval_is_in_the_audit_with_what_was_before(house: House) -> None:
    with pytest.raises(NotFoundError, match="no model"):
        house.approvals.approve(MODEL, BOTH, by="olga")
    house.submit(WITH_HOSTS)
    for hosts in (BOTH[:1], BOTH, BOTH, ()):
        house.approvals.approve(MODEL, hosts, by="olga", why="so")
    with house.database.read() as connection:
        entries = audit.found(connection, Query(action="hosts.approve"), None, 10)
    told = [
        (e.by, e.subject, json.loads(e.before or ""), json.loads(e.after or "")) for e in reversed(entries)
    ]
    assert told == [
        ("olga", MODEL, {"hosts": []}, {"hosts": [BOTH[0]], "why": "so"}),
        ("olga", MODEL, {"hosts": [BOTH[0]]}, {"hosts": list(BOTH), "why": "so"}),
        ("olga", MODEL, {"hosts": list(BOTH)}, {"hosts": [], "why": "so"}),
    ]
    with pytest.raises(InvalidError, match="a name and a port"):
        house.approvals.approve(MODEL, ["10.0.0.1:443"], by="olga")


def test_an_engine_that_died_is_a_machine_fault_three_times_at_most(house: House) -> None:
    house.submit()
    house.begin(LATER)
    moment = LATER
    for attempt in range(2, MOST_ATTEMPTS + 1):
        moment += 2 * LEASE
        duty, begun = house.begin(moment)  # by the lease that ran out
        assert begun.job.attempt == attempt
    assert house.training.begin(house.claim(moment + 2 * LEASE), moment) is None
    job = house.jobs.job(1)
    assert job.state is JobState.FAILED
    assert "Machines failed under it 3 times" in job.words
    assert "its engine died" in house.jobs.log(1).text
    with pytest.raises(LostLeaseError):
        house.training.tell(duty, 1, News("too late"))


def test_a_fault_is_tried_again_later_and_a_planned_stop_costs_no_attempt(house: House) -> None:
    house.submit()
    duty, _ = house.begin(LATER)
    house.training.tell(duty, 1, News(points=[Point(1, NOW, "mae", 2.0)]))
    again = house.training.fault(duty, "the disk is full", Usage(1.0), LATER)
    assert again == LATER + timedelta(seconds=5)
    with house.database.write() as connection:
        duties.finish(connection, duty, again)
    duty, begun = house.begin(again)
    assert (begun.job.attempt, begun.job.usage.seconds, begun.job.metrics) == (2, 1.0, {})
    assert house.jobs.points(1) == []
    house.training.tell(duty, 1, News(usage=Usage(5.0)))
    assert house.training.give_back(duty, None, LATER) == LATER
    assert house.jobs.job(1).usage == Usage(5.0), "what is told on the way outlives the attempt"
    assert (house.jobs.job(1).state, house.jobs.job(1).attempt) == (JobState.QUEUED, 1)


def test_a_waiting_job_is_cancelled_at_once_a_running_one_is_asked_to_end(house: House) -> None:
    house.submit()
    assert house.jobs.cancel(1, by="bo", why="wrong data").state is JobState.CANCELLED
    assert house.training.begin(house.claim(LATER), LATER) is None
    with pytest.raises(ConflictError, match="cancelled already"):
        house.jobs.cancel(1, by="bo")
    house.submit()
    duty, _ = house.begin(LATER)
    house.jobs.cancel(2, by="bo")
    assert house.training.why_end(2) == "Cancelled by bo."
    assert house.training.tell(duty, 2, News("on it\n")) == "Cancelled by bo."
    house.training.say(duty, 2, "still here")
    assert house.training.why_end(2) == "Cancelled by bo."


def test_jobs_of_a_department_that_loses_its_trust_end(house: House) -> None:
    house.submit()
    house.submit()
    duty, _ = house.begin(LATER)
    assert house.training.tell(duty, 1, News("on it\n")) == ""
    People(house.database).trust_department("finance", trusted=False, by="root")
    assert "not trusted with code" in house.training.tell(duty, 1, News("still\n"))
    assert "not trusted with code" in house.training.why_end(1)
    with pytest.raises(ForbiddenError):
        house.submit()
    house.training.end(duty, Ending(JobState.CANCELLED, house.training.why_end(1)), LATER)
    assert house.training.begin(house.claim(LATER), LATER) is None
    assert [(j.state, "not trusted" in j.words) for j in house.jobs.jobs()] == 2 * [
        (JobState.CANCELLED, True)
    ]


def test_data_that_may_not_be_read_any_more_is_read_by_no_job_not_even_by_the_yards_own(house: House) -> None:
    people = People(house.database)
    people.add_department("hr", by="root")
    people.add_person("ann", by="root")
    people.set_role("ann", Role.BUILDER, "hr", by="root")
    house.submit(YARD.replace("[parameters]", 'data = { pay = "hr/pay" }\n[parameters]'))
    duty, _ = house.begin(LATER)
    assert house.training.tell(duty, 1, News("on it\n")) == house.training.why_end(1) == ""
    people.set_role("ann", None, "hr", by="root")
    why = "Neither finance nor ann may read the dataset hr/pay any more."
    assert house.training.tell(duty, 1, News("still\n")).startswith(why)
    assert house.training.why_end(1).startswith(why)
    house.training.end(duty, Ending(JobState.CANCELLED, why), LATER)
    again = house.jobs.submit(MODEL, None, by="yard", trigger="schedule")
    assert house.training.begin(house.claim(LATER), LATER) is None
    failed = house.jobs.job(again.id)
    assert (failed.state, failed.words.startswith(why)) == (JobState.FAILED, True)
    share = Share(0, Kind.DATASET, "hr/pay", Need.READ_DATA, "finance", None, NOW, "root")
    with house.database.write(unaudited="a test") as connection:
        shares.add(connection, share)
    granted = house.jobs.submit(MODEL, None, by="yard", trigger="schedule")
    _, begun = house.begin(LATER)
    assert (begun.job.id, begun.job.state) == (granted.id, JobState.RUNNING), "a grant to the department is"


def test_logs_are_read_in_parts_and_hold_no_secrets(house: House) -> None:
    house.submit()
    duty, _ = house.begin(LATER)
    begun = house.jobs.log(1)
    house.training.tell(duty, 1, News("token yard_0123456789abcdefghijABCDEFGHIJ of the yard\n"))
    house.training.tell(duty, 1, News("a NUL \0 and half a pair \ud800\n"))
    rest = house.jobs.log(1, begun.next)
    assert rest.text == "token *** of the yard\na NUL \ufffd and half a pair ?\n"
    assert house.jobs.log(1, rest.next).text == ""
    assert house.jobs.log(1, begun.next + 6).text == rest.text[6:]


def test_metrics_are_kept_in_order_with_the_last_of_each(house: House) -> None:
    house.submit()
    duty, _ = house.begin(LATER)
    points = [Point(1, NOW, "mae", 3.0), Point(2, NOW, "mae", 2.0), Point(2, NOW, "epoch", 2.0)]
    house.training.tell(duty, 1, News(points=points))
    house.training.tell(duty, 1, News(points=points[2:]))
    assert house.jobs.points(1) == [points[0], points[2], points[1]]
    assert house.jobs.job(1).metrics == {"mae": 2.0, "epoch": 2.0}


def test_a_project_that_is_wrong_is_refused_with_its_line(house: House) -> None:
    with pytest.raises(InvalidError) as caught:
        house.submit(YARD.replace("trees = 40", "trees = [1]"))
    assert (caught.value.fields["line"], caught.value.fields["key"]) == (6, "parameters.trees")
    with pytest.raises(InvalidError, match="is of the model"):
        house.submit(YARD.replace("fuel-cost", "other"))
    with pytest.raises(NotFoundError, match="There is no dataset"):
        house.submit(
            YARD.replace("[parameters]", 'data = {x = "hr/pay"}\n[parameters]'),
            may_read=lambda dataset: dataset != "hr/pay",
        )
    with pytest.raises(InvalidError, match=r"no yard\.toml"):
        house.jobs.submit(MODEL, [tar_of({"train.py": b""})], TAR, by="ann", may_create_department=True)
    assert house.jobs.jobs() == []


def test_the_last_project_is_trained_again_by_the_loop(house: House) -> None:
    with pytest.raises(NotFoundError, match="No project has trained"):
        house.jobs.submit(MODEL, None, by="yard", reason="1,000 new rows", trigger="new_rows")
    first = house.submit(code="git 4f1c2e")
    again = house.jobs.submit(MODEL, None, by="yard", reason="1,000 new rows", trigger="new_rows")
    assert (again.id, again.project, again.trigger, again.code) == (
        2,
        first.project,
        "new_rows",
        "git 4f1c2e",
    )
    assert [job.id for job in house.jobs.jobs(frozenset({"finance"}), model=MODEL)] == [2, 1]
    assert house.jobs.jobs(frozenset({"operations"})) == []


def test_a_project_is_laid_out_as_it_was_sent(house: House, tmp_path: Path) -> None:
    job = house.submit()
    house.jobs.lay_out(job.project, tmp_path / "out")
    assert (tmp_path / "out" / "train.py").read_bytes() == b"print(1)"
    assert house.jobs.project(job.project).parameters == {"trees": 40}


def test_logs_go_after_their_days_but_those_of_models_in_use_and_jobs_stay(house: House) -> None:
    house.submit()
    duty, begun = house.begin(LATER)
    house.training.tell(duty, 1, News("learned\n", [Point(1, NOW, "mae", 2.0)]))
    house.publish(duty, begun.job)
    house.registry.checks.start(MODEL, 1)
    house.registry.checks.passed(MODEL, 1, SIGNATURE)
    house.registry.set_alias(MODEL, "steady", 1, by="ann")
    with house.database.write() as connection:
        duties.finish(connection, duty, None)
    for number in (2, 3):
        house.submit()
        duty, begun = house.begin(LATER)
        house.training.tell(duty, number, News("tried\n", [Point(1, NOW, "mae", 3.0)]))
        if number == 2:
            house.training.end(duty, Ending(JobState.FAILED, "so"), begun.job.created_at)

    def forget(days: str, after: timedelta) -> list[bool]:
        step = ForgetStep(house.database, read_retention(days), lambda: begun.job.created_at + after)
        assert step(duty) == begun.job.created_at + after + timedelta(hours=6)
        return [bool(house.jobs.log(n).text) for n in (1, 2, 3)]

    assert forget("30", timedelta(days=29)) == [True, True, True]
    assert forget("30, finance=90", timedelta(days=31)) == [True, True, True]
    assert forget("0", timedelta(days=9_000)) == [True, True, True]
    assert forget("30", timedelta(days=31)) == [True, False, True], "one is in use, one runs"
    gone = house.jobs.job(2)
    assert gone.forgotten_at == begun.job.created_at + timedelta(days=31)
    assert (gone.metrics, gone.words, house.jobs.points(2)) == ({"mae": 3.0}, "so", [])
    with house.database.read() as connection:
        entries = audit.found(connection, Query(action="jobs.forget"), None, 10)
    assert [(e.by, e.subject) for e in entries] == [("yard", "finance")], (
        "once, and not when nothing is to be done"
    )
