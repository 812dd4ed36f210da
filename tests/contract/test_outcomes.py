"""Outcomes meet predictions, on both databases: by id or keys, late, out of order, repeated, corrected."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from modelyard.catalog.facts import facts_of
from modelyard.catalog.history import History
from modelyard.catalog.registry import Registry
from modelyard.catalog.summaries import Summary, unpack
from modelyard.catalog.watch import Watching
from modelyard.loop.estimates import Estimator, estimator
from modelyard.loop.reference import training_rows
from modelyard.loop.ship import Shipper
from modelyard.loop.watch import Losses, WatchStep
from modelyard.records.datasets import Mark
from modelyard.records.errors import InvalidError, MalformedError, TooLargeError
from modelyard.records.estimates import Judgement
from modelyard.records.policies import Level, Promote, Retrain, read_stages
from modelyard.records.predictions import Finding, Keeping, Performance, day_of
from modelyard.records.rollouts import Rules
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.serving import outcomes
from modelyard.store import duties, segments, watch
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import LostLeaseError
from modelyard.store.spool import SpoolWriter
from tests.bundles import TAR, bundle_tar
from tests.contract.recording import MODEL, Front

DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NUMBERS = Signature((Column("x", ColumnType.FLOAT64),), (Column("prediction", ColumnType.FLOAT64),))
CLASSES = Signature(
    (Column("x", ColumnType.FLOAT64),),
    (
        Column("label", ColumnType.STRING),
        Column("probability:no", ColumnType.FLOAT64),
        Column("probability:yes", ColumnType.FLOAT64),
    ),
)


class Yard:
    """A model whose predictions and outcomes are recorded, shipped and looked at."""

    def __init__(self, database: Database, registry: Registry, folder: Path, signature: Signature) -> None:
        self.database, self.registry, self.signature = database, registry, signature
        self.blobs, self.now = Blobs(str(folder / "blobs")), DAY
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        for content in (b"one", b"two"):
            version, _ = registry.publish(
                MODEL, [bundle_tar(content)], TAR, by="test", may_create_department=True
            )
            registry.checks.start(MODEL, version.version)
            registry.checks.passed(MODEL, version.version, signature)
        self.front = Front(folder / "spool")
        self.outcomes = SpoolWriter(folder / "spool", "front-1")
        self.shipper = Shipper(database, self.blobs, folder / "spool", scratch, 1.0, lambda: self.now)
        self.step = WatchStep(database, self.blobs, registry, folder / "spool", scratch, lambda: self.now)
        self.losses = Losses(database, self.blobs, registry, scratch)

    def say(self, *rows: dict[str, Any], csv: bool = False) -> None:
        """Send outcomes as a caller would."""
        if csv:
            read = outcomes.from_csv(pl.DataFrame(rows).write_csv().encode(), self.signature)
        else:
            read = outcomes.from_json(pl.DataFrame(rows).write_json().encode(), self.signature)
        self.outcomes.append_many(outcomes.frames(MODEL, read, self.signature))

    def look(self) -> None:
        """Ship, and do the duty until nothing is left."""
        self.shipper.ship()
        while True:
            with self.database.write() as connection:
                duty = duties.claim(connection, ["watch"], "test", self.now, HOUR)
            if duty is None:
                return
            due = self.step(duty)
            with self.database.write() as connection:
                duties.finish(connection, duty, due)

    def labelled(self, version: int = 1) -> list[tuple[Any, ...]]:
        found = []
        with self.database.read() as connection:
            days = watch.labelled_days(connection, MODEL, version)
        for day in days:
            table = pl.read_parquet(b"".join(self.blobs.open(day.digest)))
            assert table.height == day.rows
            found += table.select("request", "row", "actual").rows()
        return found

    def metric(self, name: str, slice: str = "") -> list[Performance]:  # noqa: A002
        with self.database.read() as connection:
            found = watch.performances(connection, MODEL, 1, name, slices=True)
        return [p for p in found if p.slice == slice]

    def labels(self) -> int:
        with self.database.read() as connection:
            return watch.labelled_since(connection, MODEL, DAY - HOUR)

    def waiting(self) -> int:
        with self.database.read() as connection:
            found = watch.waiting(connection, MODEL)
        return found.rows if found else 0

    def answer(self, *values: float, **more: Any) -> str:
        more.setdefault("at", DAY)
        return self.front.answer({"x": list(values)}, {"prediction": list(values)}, **more)


@pytest.fixture
def yard(database: Database, registry: Registry, tmp_path: Path) -> Iterator[Yard]:
    made = Yard(database, registry, tmp_path, NUMBERS)
    yield made
    made.outcomes.close()


def test_by_id_and_row(yard: Yard) -> None:
    one, two = yard.answer(1.0, 2.0), yard.answer(3.0, at=DAY + 30 * HOUR)
    yard.say({"request_id": one, "row": 1, "actual": 5.0}, {"request_id": two, "row": None, "actual": 4})
    yard.look()
    assert yard.labelled() == [(one, 1, 5.0), (two, 0, 4.0)]
    assert [(p.day, p.value, p.labels) for p in yard.metric("mae")] == [
        (DAY, 3.0, 1),
        (DAY + 24 * HOUR, 1.0, 1),
    ]
    assert (yard.labels(), yard.waiting()) == (2, 0)


def test_before_its_prediction_late_repeated_and_corrected(yard: Yard) -> None:
    yard.say({"request_id": "b0-fff", "actual": 1.0}, {"request_id": "b0-ffe", "actual": 9.0})
    yard.look()
    assert (yard.labels(), yard.waiting()) == (0, 2)
    yard.answer(2.0, request="b0-fff")
    yard.look()
    assert yard.labelled() == [("b0-fff", 0, 1.0)]
    assert yard.waiting() == 1
    for _ in range(2):
        yard.say({"request_id": "b0-fff", "actual": 7.0})
        yard.look()
        assert yard.labelled() == [("b0-fff", 0, 7.0)]
    assert [p.value for p in yard.metric("mae")] == [5.0]
    assert (yard.labels(), yard.waiting()) == (1, 1)


@pytest.mark.parametrize("csv", [True, False])
def test_by_key_columns(yard: Yard, *, csv: bool) -> None:
    """Also a column of the model is a key; and all rows with these values have that outcome."""
    keys = ['{"flight":12,"day":"mon"}', '{"flight":13}', '{"flight":"12","day":"tue"}', None]
    one = yard.answer(1.0, 2.0, 3.0, 12.0, keys=keys)
    yard.say({"flight": 12, "actual": 5.0}, csv=csv)
    yard.look()
    assert yard.labelled() == [(one, 0, 5.0), (one, 2, 5.0)]
    yard.say({"flight": 12, "day": "tue", "actual": 6.0}, {"flight": 99, "day": "x", "actual": 1.0}, csv=csv)
    yard.say({"x": 2.0, "actual": 8.0}, csv=csv)
    yard.look()
    assert yard.labelled() == [(one, 0, 5.0), (one, 1, 8.0), (one, 2, 6.0)]
    assert (yard.labels(), yard.waiting()) == (3, 1)


def test_by_a_key_that_is_hashed(yard: Yard) -> None:
    with yard.database.write() as connection:
        segments.put_rule(connection, MODEL, Keeping(hash=("customer",)), salt=b"s" * 32, by="test", at=DAY)
    one = yard.answer(1.0, keys=['{"customer":"c1"}'])
    yard.say({"customer": "c1", "actual": 5.0})
    yard.look()
    assert yard.labelled() == [(one, 0, 5.0)]


def test_many_rounds_where_there_are_too_many_for_one(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.loop.outcomes._ROWS_AT_ONCE", 3)
    ids = [yard.answer(float(i)) for i in range(6)]
    for one in ids:
        yard.say({"request_id": one, "actual": 1.0})
        yard.shipper.ship()
    yard.look()
    assert yard.labels() == len(yard.labelled()) == 6


def test_an_engine_that_lost_its_lease_writes_nothing(yard: Yard) -> None:
    one = yard.answer(1.0)
    yard.say({"request_id": one, "actual": 5.0})
    yard.shipper.ship()
    with yard.database.write() as connection:
        duty = duties.claim(connection, ["watch"], "one", yard.now, HOUR)
        assert duty is not None
    with yard.database.write() as connection:
        assert duties.claim(connection, ["watch"], "two", yard.now + 2 * HOUR, HOUR)
    with pytest.raises(LostLeaseError):
        yard.step(duty)
    assert yard.labelled() == []
    assert yard.labels() == 0


def test_metrics_of_a_classifier(database: Database, registry: Registry, tmp_path: Path) -> None:
    yard = Yard(database, registry, tmp_path, CLASSES)
    chances = [0.1, 0.4, 0.8, 0.9, 0.7, 0.2]
    one = yard.front.answer(
        {"x": chances},
        {
            "label": ["yes" if p > 0.5 else "no" for p in chances],
            "probability:no": [1 - p for p in chances],
            "probability:yes": chances,
        },
        at=DAY,
    )
    came = ["no", "yes", "yes", "yes", "no", "no"]
    yard.say(*({"request_id": one, "row": i, "actual": c} for i, c in enumerate(came)))
    yard.look()
    given = [p if c == "yes" else 1 - p for p, c in zip(chances, came, strict=True)]
    assert yard.metric("logloss")[0].value == pytest.approx(sum(-math.log(p) for p in given) / 6)
    assert yard.metric("brier")[0].value == pytest.approx(sum(2 * (1 - p) ** 2 for p in given) / 6)
    assert yard.metric("auc")[0].value == pytest.approx(8 / 9)
    for name in ("accuracy", "precision", "recall"):
        found = yard.metric(name)[0]
        assert found.value == pytest.approx(4 / 6 if name == "accuracy" else 2 / 3)
        assert 0 <= found.low < found.value < found.high <= 1
    yard.outcomes.close()


def test_slices_of_the_policy(yard: Yard) -> None:
    yard.registry.policies.put(MODEL, Retrain(), Promote(slices=("x",)), by="test")
    one = yard.answer(*([1.0] * 40 + [2.0] * 5))
    yard.say(*({"request_id": one, "row": i, "actual": 0.0} for i in range(45)))
    yard.look()
    assert [(p.value, p.labels) for p in yard.metric("mae", "x=1.0")] == [(1.0, 40)]
    assert yard.metric("mae", "x=2.0") == []  # too few to say
    assert [p.labels for p in yard.metric("mae")] == [45]


def test_losses_of_a_rollout(yard: Yard) -> None:
    """The candidate is worse by 1 of a range of 4, on rows that both answered, in the order they came."""
    rollout = yard.registry.rollouts.start(MODEL, 2, Rules(read_stages(("shadow 10m",))), by="test")
    yard.now = rollout.began_at + HOUR
    assert yard.losses(rollout) == ()
    ids = []
    for _ in range(60):
        one = yard.answer(1.0, at=yard.now)
        yard.front.answer(
            {"x": [1.0]}, {"prediction": [2.0]}, version=2, route="shadow", request=one, at=yard.now
        )
        ids.append(one)
    yard.answer(1.0, at=yard.now)
    yard.say(*({"request_id": one, "actual": 0.0} for one in ids))
    yard.look()
    assert yard.losses(rollout) == (0.25,) * 10
    assert yard.losses(rollout) == (0.25,) * 10


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[", "not JSON"),
        (b"3", "neither an array"),
        (b"[3]", "not an object"),
        (b'[{"request_id":"a"}]', "no `actual`"),
        (b'[{"actual":1}]', "does not say of which prediction"),
        (b'[{"request_id":7,"actual":1}]', "the request_id"),
        (b'[{"request_id":"a","row":-1,"actual":1}]', "`row` is"),
        (b'[{"request_id":"a","row":true,"actual":1}]', "`row` is"),
        (b'[{"request_id":"a","row":99999999999999,"actual":1}]', "`row` is"),
        (b'[{"request_id":"a","actual":"late"}]', "answers numbers"),
        (b'[{"request_id":"a","actual":true}]', "answers numbers"),
        (b'[{"request_id":"a","actual":"nan"}]', "answers numbers"),
        (b'[{"request_id":"a","actual":1e999}]', "."),
        (b'[{"k":[1],"actual":1}]', "a key is neither"),
        (b'[{"k":"a\\u0000","actual":1}]', "a key is neither"),
    ],
)
def test_bad_outcomes(body: bytes, words: str) -> None:
    with pytest.raises((InvalidError, MalformedError), match=words):
        outcomes.from_json(body, NUMBERS)


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (outcomes.from_json, b"[" + b"{}," * 10_000_000),
        (outcomes.from_json, b"[" * 10_000_000),
        (outcomes.from_csv, b"flight,actual\n" + b"a,1\n" * 10_000_000),
    ],
    ids=["objects", "arrays", "lines"],
)
def test_ten_million_at_once_are_refused_before_they_are_read(read: Any, body: bytes) -> None:
    with pytest.raises(TooLargeError, match="more than 1,000,000 outcomes") as caught:
        read(body, NUMBERS)
    assert "in parts" in caught.value.hint


@pytest.mark.parametrize(("came", "label"), [("yes", "yes"), ("YES", "yes"), ("maybe", None), ("", None)])
def test_labels_are_of_the_classes(came: str, label: str | None) -> None:
    body = f"request_id,actual\na,{came}\n".encode()
    if label is None:
        with pytest.raises(InvalidError):
            outcomes.from_csv(body, CLASSES)
    else:
        assert outcomes.from_csv(body, CLASSES) == [("a", 0, None, label)]


def test_drift_is_noticed_stays_and_is_over(yard: Yard) -> None:
    """The first predictions are the reference; one caller moves, comes back, and the finding ends."""
    chance = np.random.default_rng(1)
    yard.now = datetime.now(UTC).replace(minute=30) + HOUR

    def hour(mean: float) -> list[Finding]:
        for caller, shift in (("anna", 0.0), ("ben", mean)):
            x = chance.normal(shift, 1.0, 1500)
            yard.front.answer({"x": x}, {"prediction": x * 2}, at=yard.now, caller=caller)
        yard.look()
        yard.now += HOUR
        with yard.database.read() as connection:
            return watch.open_findings(connection, MODEL)

    assert hour(0.0) == []  # the reference
    assert hour(0.0) == []
    found = {f.subject: f for f in hour(2.0)}
    assert set(found) >= {"drift:x", "outputs:prediction"}
    drift = found["drift:x"]
    assert drift.level is Level.HIGH
    assert (drift.caller, drift.callers, drift.rows) == ("ben", 0.5, 3000)
    assert "standard deviations" in drift.words
    assert drift.until <= yard.now
    again = {f.subject: f for f in hour(2.0)}
    assert again["drift:x"].id == drift.id
    assert again["drift:x"].noticed_at == drift.noticed_at < again["drift:x"].seen_at
    assert hour(0.0) == []


def test_callers_who_fall_silent_are_noticed_when_the_hour_is_over(yard: Yard) -> None:
    """Nothing is shipped then: the duty comes by itself. Of hours long ago their rows are known, no more."""
    yard.registry.policies.put(MODEL, Retrain(drift=Level.LOW), Promote(), by="anna")
    first = day_of(datetime.now(UTC)) + timedelta(days=1)
    for number in range(9):
        yard.now = first + timedelta(days=number, hours=10, minutes=30)
        x = np.random.default_rng(number).normal(0, 1.0, 400)
        yard.front.answer({"x": x}, {"prediction": x}, at=yard.now)
        yard.look()
        yard.shipper.tidy()
    with yard.database.read() as connection:
        hours = segments.summary_rows(connection, MODEL, 1, segments.HOUR, first, yard.now)
        duty = duties.get(connection, "watch", MODEL)
        assert watch.open_findings(connection, MODEL) == []
    assert [rows for _, rows, _ in hours] == [400] * 9
    assert [unpack(data).rows for _, _, data in hours] == [0] * 6 + [400] * 3
    assert duty is not None
    assert duty.due_at == first + timedelta(days=8, hours=11, minutes=5)
    yard.now = first + timedelta(days=9, hours=11, minutes=5)
    yard.look()
    with yard.database.read() as connection:
        (found,) = watch.open_findings(connection, MODEL)
        facts = facts_of(connection, MODEL, yard.now)
    assert (found.kind, found.level) == ("volume", Level.HIGH)
    assert found.words == "0 predictions were asked for in an hour; 400 are usual for it."
    assert facts.findings == (), "there is nothing to learn from it"


def test_a_clock_that_jumped_disturbs_no_look(yard: Yard) -> None:
    """Rows of 1970 and of 2090 are kept in their days; what is looked at are those of now."""
    chance = np.random.default_rng(1)
    yard.now = datetime.now(UTC).replace(minute=30) + HOUR
    found: list[list[str]] = []
    for mean, at in ((0.0, None), (0.0, 1970), (0.0, 2090), (2.0, None)):
        x = chance.normal(mean, 1.0, 3000)
        yard.front.answer({"x": x}, {"prediction": x * 2}, at=yard.now)
        if at is not None:
            one = yard.answer(*[99.0] * 50, at=datetime(at, 1, 2, tzinfo=UTC))
            yard.say(*({"request_id": one, "row": row, "actual": 0} for row in range(50)))
        yard.look()
        yard.now += HOUR
        with yard.database.read() as connection:
            found.append(sorted({f.column for f in watch.open_findings(connection, MODEL)}))
    assert found == [[], [], [], ["prediction", "x"]]
    assert sorted(p.day.year for p in yard.metric("mae")) == [1970, 2090]


def test_no_finding_tells_values_of_a_marked_column(yard: Yard) -> None:
    """Findings go to all who see the model, and out with alerts: of the column itself, and as a slice."""
    yard.registry.datasets.push(
        "ops/people",
        [b"x\n1.0\n"],
        "text/csv",
        by="ann",
        marks={"x": Mark.PERSONAL},
        may_create_department=True,
    )
    yard.registry.publish(MODEL, [bundle_tar(b"three")], TAR, by="ann", lineage={"dataset:ops/people": "1"})
    yard.now = datetime.now(UTC).replace(minute=30) + HOUR
    for mean in (0.0, 0.0, 77.0):
        x = np.random.default_rng(1).normal(mean, 10.0, 3000)
        yard.front.answer({"x": x}, {"prediction": x * 0}, at=yard.now)
        yard.look()
        yard.now += HOUR
    with yard.database.read() as connection:
        found = {f.kind: f for f in watch.open_findings(connection, MODEL) if f.column == "x"}
    assert found["drift"].level is Level.HIGH
    for each in found.values():
        assert each.words.startswith("x is not as it was")
        assert "77" not in each.words
        assert "marked in the data" in each.words
    day = (MODEL, 1, day_of(yard.now))
    with yard.database.write(unaudited="a test") as connection:
        slices = [Performance(*day, "mae", name, 1.0, 1.0, 1.0, 9) for name in ("", "x=77.0", "y=1")]
        watch.put_performance(connection, day, slices)
        told = watch.performances(connection, *day[:2], slices=True)
    assert {each.slice for each in told} == {"", "y=1"}


def test_what_is_new_since_the_last_good_day_until_somebody_has_seen_it(yard: Yard) -> None:
    """A jump is told against the reference and against the last good day; once it is acknowledged, days are
    good again, and what is left is that the model was made on others. With labels it says what it costs.
    """
    chance = np.random.default_rng(1)
    first = day_of(datetime.now(UTC)) + timedelta(days=1)

    def day(number: int, mean: float, *, labels: bool = False) -> dict[str, Finding]:
        yard.now = first + timedelta(days=number, hours=23)
        x = chance.normal(mean, 1.0, 2500)
        one = yard.front.answer({"x": x}, {"prediction": x}, at=yard.now)
        if labels:
            errors = chance.normal(0, 1 + np.abs(x))
            yard.say(
                *({"request_id": one, "row": i, "actual": v} for i, v in enumerate((x + errors).tolist()))
            )
        yard.look()
        with yard.database.read() as connection:
            return {f.subject: f for f in watch.open_findings(connection, MODEL)}

    assert [day(n, 0.0, labels=True) for n in range(4)] == [{}] * 4
    found = day(4, 1.5)["drift:x"]
    assert found.level is Level.HIGH
    assert found.good_effect == pytest.approx(1.5, abs=0.15)
    assert f"new since the last good day, {first + timedelta(days=3):%Y-%m-%d}" in found.words
    assert found.metric == "mae"
    assert found.cost is not None
    assert found.cost > 0.2
    assert "makes the mae worse by" in found.words
    assert len(found.examples) == 5
    assert found.against == "its first 2,500 predictions"
    assert day(5, 1.5)["drift:x"].good_effect is not None, "nobody has seen it"
    with yard.database.read() as connection:
        numbers = [f.id for f in watch.open_findings(connection, MODEL)]
    for number in numbers:
        Watching(yard.database).acknowledge(MODEL, number, by="anna")
    day(6, 1.5)
    still = day(7, 1.5)["drift:x"]
    assert (still.id, still.acknowledged_by, still.good_effect) == (found.id, "anna", None)
    assert Watching(yard.database).watched(MODEL, yard.now).last_good == first + timedelta(days=6)


def test_who_is_behind_what_only_the_last_good_day_shows(yard: Yard) -> None:
    """One caller moved, which was acknowledged, and is back: beside the reference nothing is to be seen."""
    chance = np.random.default_rng(1)
    first = day_of(datetime.now(UTC)) + timedelta(days=1)

    def day(number: int, bens: float) -> dict[str, Finding]:
        yard.now = first + timedelta(days=number, hours=23)
        for caller, mean in (("anna", 0.0), ("ben", bens)):
            x = chance.normal(mean, 1.0, 1500)
            yard.front.answer({"x": x}, {"prediction": x * 0}, at=yard.now, caller=caller)
        yard.look()
        with yard.database.read() as connection:
            return {f.subject: f for f in watch.open_findings(connection, MODEL)}

    for number in range(3):
        assert day(number, 0.0) == {}
    for finding in day(3, 2.0).values():
        Watching(yard.database).acknowledge(MODEL, finding.id, by="anna")
    for number in range(4, 20):  # until the jump is no longer among the changes of the last good days
        day(number, 2.0)
    found = day(20, 0.0)["drift:x"]
    assert found.against.startswith("the last good day")
    assert found.callers == 1.0, "all are apart from what they were together on that day"


def test_a_look_reads_no_good_day_again_but_the_last(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(1)
    first = day_of(datetime.now(UTC)) + timedelta(days=1)
    read: list[datetime] = []
    real = History.window

    def noted(of: History, model: str, version: int | None, since: datetime, until: datetime) -> Summary:
        if since == day_of(since) and until - since == timedelta(days=1):
            read.append(since)
        return real(of, model, version, since, until)

    def look(number: int, hour: int) -> list[datetime]:
        yard.now = first + timedelta(days=number, hours=hour)
        x = chance.normal(0, 1.0, 2500)
        yard.front.answer({"x": x}, {"prediction": x}, at=yard.now)
        read.clear()
        yard.look()
        return list(read)

    monkeypatch.setattr(History, "window", noted)
    for number in range(4):
        look(number, 12)
    days = [first + timedelta(days=number) for number in range(4)]
    assert sorted(look(4, 12)) == [*days[:3], days[2]], "the last good day is one that was over a day ago"
    assert look(4, 13) == [days[2]]
    assert look(4, 22) == [days[2]]
    assert sorted(look(5, 1)) == [*days, days[3]]


def test_that_it_has_become_worse_is_noticed_once_outcomes_come(yard: Yard) -> None:
    """Inputs stay as they are; the errors of the last week are half as large again as in the first days."""
    chance = np.random.default_rng(1)
    first = day_of(datetime.now(UTC)) + timedelta(days=1)
    found: list[Finding] = []
    for number, size in ((0, 1.0), (1, 1.0), (9, 1.0), (10, 1.5), (11, 1.5)):
        yard.now = first + timedelta(days=number, hours=23)
        x = chance.normal(0, 1.0, 2500)
        one = yard.front.answer({"x": x}, {"prediction": x}, at=yard.now)
        came = (x + chance.normal(0, size, 2500)).tolist()
        yard.say(*({"request_id": one, "row": i, "actual": v} for i, v in enumerate(came)))
        yard.look()
        with yard.database.read() as connection:
            found = watch.open_findings(connection, MODEL)
        assert [f.kind for f in found] == (["performance"] if number > 9 else [])
    assert found[0].level is Level.HIGH
    assert "The mae of the last seven days is 1.0" in found[0].words
    assert (found[0].column, found[0].against, found[0].rows) == ("", "its first month", 7500)


def test_the_inputs_of_a_training_set_are_the_reference(yard: Yard) -> None:
    table = pl.DataFrame({"x": range(500), "late": [1.0] * 500})
    found = training_rows(table, yard.registry.version(MODEL, 1))
    assert (found.columns, found.height) == (["in:x"], 500)


@pytest.mark.parametrize("names", [("no", "yes"), ("air", "rail", "road")], ids=["two", "three"])
def test_a_day_without_outcomes_is_estimated(
    database: Database, registry: Registry, tmp_path: Path, names: tuple[str, ...]
) -> None:
    chances = tuple(Column(f"probability:{name}", ColumnType.FLOAT64) for name in names)
    yard = Yard(database, registry, tmp_path, Signature(CLASSES.inputs, (CLASSES.outputs[0], *chances)))
    chance = np.random.default_rng(1)

    def day(number: int, count: int) -> tuple[str, np.ndarray]:
        p = chance.dirichlet([2.0] * len(names), count)
        outputs: dict[str, Any] = {"label": [names[k] for k in p.argmax(axis=1)]}
        outputs |= {f"probability:{name}": p[:, k] for k, name in enumerate(names)}
        yard.now = DAY + timedelta(days=number)
        return yard.front.answer({"x": p[:, 0]}, outputs, at=yard.now), p

    one, p = day(0, 3000)
    came = (chance.random((3000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    yard.say(*({"request_id": one, "row": i, "actual": names[c]} for i, c in enumerate(came)))
    yard.look()
    _, later = day(1, 4000)
    yard.look()
    (found,) = [m for m in yard.metric("logloss") if m.estimated]
    expected = float((-later * np.log(later)).sum(axis=1).mean())
    assert (found.day, found.labels) == (DAY + timedelta(days=1), 4000)
    assert found.value == pytest.approx(expected, rel=0.05)
    assert [m.day for m in yard.metric("logloss") if not m.estimated] == [DAY]
    yard.outcomes.close()


def test_an_estimator_is_learned_anew_with_a_tenth_more_outcomes(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []

    def noted(labelled: pl.DataFrame, signature: Signature) -> Estimator | None:
        learned.append(labelled.height)
        return estimator(labelled, signature)

    def outcomes_of(begin: int, end: int) -> None:
        yard.say(*({"request_id": one, "row": row, "actual": x[row] + row % 3} for row in range(begin, end)))

    def later(**passed: int) -> None:
        yard.now += timedelta(**passed)
        yard.answer(1.0, 2.0, at=yard.now)
        yard.look()

    monkeypatch.setattr("modelyard.loop.estimating.estimator", noted)
    x = np.random.default_rng(1).normal(0, 1.0, 1000).tolist()
    one = yard.answer(*x, at=yard.now)
    outcomes_of(0, 600)
    yard.look()
    later(days=1)
    outcomes_of(600, 610)
    later(minutes=11)
    assert learned == [600]
    outcomes_of(610, 700)
    later(minutes=11)
    assert learned == [600, 700]


def test_days_of_numbers_are_estimated_and_judged_when_outcomes_come(yard: Yard) -> None:
    """Errors are as large as x: the estimate follows x from day to day, and `as before` does not."""
    chance = np.random.default_rng(1)
    asked: list[tuple[str, np.ndarray]] = []

    def outcomes_of(number: int) -> None:
        one, x = asked[number]
        actual = x + chance.normal(0, 1, len(x)) * x
        yard.say(*({"request_id": one, "row": i, "actual": v} for i, v in enumerate(actual.tolist())))
        yard.look()

    for number, size in enumerate((3.0, 1.0, 4.0, 2.0, 5.0)):
        yard.now = DAY + timedelta(days=number)
        x = chance.uniform(0.5, 2 * size, 1500)
        asked.append((yard.front.answer({"x": x}, {"prediction": x}, at=yard.now), x))
        yard.look()
        outcomes_of(number)
    estimated = {m.day: m for m in yard.metric("mae") if m.estimated}
    assert sorted(estimated) == [DAY + timedelta(days=n) for n in range(1, 5)]
    watched = Watching(yard.database).watched(MODEL, yard.now)
    past = {e.metric: e for e in watched.estimates}
    assert set(past) == {"mae", "rmse"}
    assert past["mae"].judgement is Judgement.TRUSTED
    assert past["mae"].error is not None
    assert past["mae"].naive is not None
    assert past["mae"].error < past["mae"].naive
    assert [d.day for d in past["mae"].days] == sorted(estimated)
