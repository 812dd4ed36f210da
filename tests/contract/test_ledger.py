"""The ledger on both databases: counted once, priced, warned of, valued only where outcomes came."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import insert

from modelyard.catalog.ledger import Ledgers
from modelyard.catalog.registry import Registry
from modelyard.engine.metering import Meter, of_fronts
from modelyard.loop.ledger import KIND, SUBJECT, LedgerStep, Rhythm
from modelyard.records.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from modelyard.records.ledger import BudgetWanted, Quantities, RatesWanted
from modelyard.records.meters import Batch, Counts
from modelyard.records.models import Version
from modelyard.records.months import Month
from modelyard.records.policies import Level
from modelyard.records.predictions import Labelled
from modelyard.records.worth import Valued, Worth, WorthKind
from modelyard.store import alerts, duties, ledger, watch
from modelyard.store.database import Database
from modelyard.store.ledger import Kept
from modelyard.store.schema import audit
from tests.contract.recording import MODEL
from tests.contract.test_outcomes import CLASSES, DAY, HOUR, NUMBERS, Yard

MARCH, FEBRUARY = Month(2026, 3), Month(2026, 2)
EUR = RatesWanted("EUR", "0.05", "0.02", "2026-01")
ERROR = Worth(WorthKind.ERROR, "EUR", "mean", over="-1", under="-1")


class Books:
    """A yard whose ledger is kept by hand.

    Attributes:
        now: what time it is.
    """

    def __init__(self, database: Database, registry: Registry, folder: Path, signature: Any) -> None:
        self.yard = Yard(database, registry, folder, signature)
        self.database, self.yard.now = database, DAY + 12 * HOUR
        self.ledgers = Ledgers(database, lambda: self.yard.now)
        self.step = LedgerStep(
            database,
            self.yard.blobs,
            registry,
            folder / "scratch",
            Rhythm(15.0, rest=0.0),
            lambda: self.yard.now,
            self.again,
        )

    def again(self, version: Version, rows: pl.DataFrame) -> tuple[pl.DataFrame | None, str]:
        """No worker is here; tests/journeys has a real one."""
        return None, f"version {version.version} does not start: there is no engine for {rows.height} rows"

    def look(self) -> None:
        """The duty, as the tick does it."""
        with self.database.write() as connection:
            duties.ensure(connection, KIND, SUBJECT, self.yard.now)
            duty = duties.claim(connection, [KIND], "test", self.yard.now, HOUR)
        assert duty is not None
        due = self.step(duty)
        assert due > self.yard.now
        with self.database.write() as connection:
            duties.finish(connection, duty, due)

    def take(self, name: str, **counts: Counts) -> bool:
        """A batch of the node `n`: `d1=…` is what was counted on the first of March."""
        told = {f"{MODEL}/1@2026-03-{int(day[1:]):02}": each for day, each in counts.items()}
        with self.database.write() as connection:
            return ledger.take(connection, "n", Batch(name, told), self.yard.now)

    def value(self, month: Month = MARCH) -> Valued:
        return self.ledgers.value(MODEL, month)


@pytest.fixture
def books(database: Database, registry: Registry, tmp_path: Path) -> Iterator[Books]:
    made = Books(database, registry, tmp_path, NUMBERS)
    yield made
    made.yard.outcomes.close()


def test_a_batch_counts_once_and_nodes_add_up(books: Books, database: Database) -> None:
    assert books.take("a", d1=Counts(2, 0, 1, 5, 100), d2=Counts(1, 0, 0, 1, 7))
    assert not books.take("a", d1=Counts(2, 0, 1, 5, 100))
    assert books.take("b", d1=Counts(1, 3, 0, 1, 50))
    with database.write() as connection:
        assert ledger.take(connection, "other", Batch("a", {f"{MODEL}/2@2026-03-01": Counts(rows=4)}), DAY)
    with database.read() as connection:
        found = ledger.counted(connection, MARCH)
        assert found == {MODEL: Quantities(answered=4, refused=3, failed=1, rows=11, cpu=157)}
        assert ledger.counted(connection, FEBRUARY) == {}
        assert ledger.daily(connection, MARCH, [MODEL]) == {MODEL: {DAY: 10, DAY + 24 * HOUR: 1}}
        assert ledger.daily(connection, MARCH, []) == {}
        assert ledger.counted(connection, MARCH, ["fin", "finance-two"]) == {}
        assert ledger.counted(connection, MARCH, ["finance"]) == found


def test_a_meter_survives_engines_and_an_absent_database(
    books: Books, database: Database, tmp_path: Path
) -> None:
    """What a front counted is charged once, whoever dies; it waits on the disk while the database is away."""
    samples: dict[str, float] = {}
    name = "front-0:1:1"  # process 1 did not start at the first tick: it has ended

    def count(answered: int, failed: int) -> None:
        labels = f'model="{MODEL}",version="1"'
        samples[f'modelyard_predict_requests_total{{{labels},outcome="answered"}}'] = float(answered)
        samples[f'modelyard_predict_requests_total{{{labels},outcome="busy"}}'] = float(failed)
        samples[f"modelyard_predict_rows_total{{{labels}}}"] = float(answered * 10)

    def engine(source: Any, to: Database = database) -> Meter:
        return Meter(to, "n", tmp_path / "meters.json", [of_fronts(source)], 1.0, lambda: books.yard.now)

    def counted() -> Quantities:
        with database.read() as connection:
            return ledger.counted(connection, MARCH)[MODEL]

    here = {name: samples}
    count(3, 1)
    first = engine(lambda: here)
    first.look()
    assert first.hand_over()
    assert not first.hand_over()
    count(7, 1)
    nowhere = Database(f"sqlite:///{tmp_path}/no/such/folder/x.sqlite")
    second = engine(lambda: here, nowhere)  # the first was killed; the database is away
    second.look()
    with pytest.raises(UnavailableError):
        second.hand_over()
    assert counted().answered == 3
    third = engine(dict)  # the front has ended, too
    third.look()
    assert third.hand_over()
    assert counted() == Quantities(answered=7, failed=1, rows=70)
    third.look()
    assert not third.hand_over()
    assert '"readings":{}' in (tmp_path / "meters.json").read_text()


def test_storage_is_bytes_times_days_and_a_file_counts_once(books: Books, database: Database) -> None:
    books.yard.answer(1.0)
    books.yard.shipper.ship()
    books.look()
    with database.read() as connection:
        first = ledger.stored(connection, MARCH)
    assert {kind for kind, _ in first} == {Kept.VERSIONS, Kept.PREDICTIONS}
    books.yard.now += timedelta(hours=1)
    books.look()
    with database.read() as connection:
        assert ledger.stored(connection, MARCH) == first, "a day counts once"
    books.yard.now += timedelta(days=2)
    books.look()
    with database.read() as connection:
        later = ledger.stored(connection, MARCH)
        whole = ledger.kept(connection)
    assert later[Kept.VERSIONS, MODEL] == first[Kept.VERSIONS, MODEL] + whole[Kept.VERSIONS, MODEL]
    size = len(b"distance\n1400\n")  # both versions have this file, and their description
    assert whole[Kept.VERSIONS, MODEL] < 2 * (first[Kept.VERSIONS, MODEL] - size)


def test_money_adds_up_from_models_to_the_yard(books: Books) -> None:
    books.ledgers.set_rates(RatesWanted("EUR", "0.05", "2000", "2026-01"), by="olga")
    books.take("a", d1=Counts(9, 0, 1, 90, 3_600_000_000))
    books.look()
    whole = books.ledgers.month(None, MARCH)
    assert whole.cost is not None
    assert whole.cost.predictions == Decimal("0.05")
    assert whole.cost.storage > 0
    assert whole.cost.total == sum(a.cost.total for s in whole.departments for a in s.accounts if a.cost)
    assert (whole.used, whole.availability) == (1, 0.9)
    assert [c.words for c in whole.changes if c.at.month == 3] == []
    assert books.ledgers.month(None, MARCH.next).cost_before == whole.cost.total
    assert books.ledgers.month(None, Month(2025, 12)).cost is None
    assert books.ledgers.month(frozenset({"finance"}), MARCH).cost == whole.cost
    assert books.ledgers.month(frozenset(), MARCH).took == Quantities()
    with pytest.raises(NotFoundError):
        books.ledgers.month(frozenset({"nowhere"}), MARCH)


def test_months_before_keep_their_rates(books: Books) -> None:
    books.ledgers.set_rates(EUR, by="olga")
    books.take("a", d1=Counts(cpu=3_600_000_000))
    dearer = RatesWanted("EUR", "1", "0.02")  # from this month on
    for _ in range(2):
        assert books.ledgers.set_rates(dearer, by="olga").since == "2026-03"
    assert [r.since for r in books.ledgers.rates()] == ["2026-01", "2026-03"]
    march, february = (books.ledgers.month(None, m) for m in (MARCH, FEBRUARY))
    assert march.cost is not None
    assert march.cost.predictions == 1
    assert february.rates is not None
    assert february.rates.cpu_hour == Decimal("0.05")


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (RatesWanted("EUR", "-0.05", "0"), "not negative"),
        (RatesWanted("EUR", "NaN", "0"), "no amount"),
        (RatesWanted("ECU", "1", "1"), "no currency"),
        (RatesWanted("EUR", "1", "1", "soon"), "no month"),
    ],
)
def test_rates_that_are_none_are_refused(books: Books, wanted: RatesWanted, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        books.ledgers.set_rates(wanted, by="olga")
    assert books.ledgers.rates() == []


def test_budgets_open_alerts_and_close_them(books: Books, database: Database) -> None:
    with pytest.raises(ConflictError, match="No rates"):
        books.ledgers.set_budget("finance", BudgetWanted("1"), by="olga")
    books.ledgers.set_rates(EUR, by="olga")
    for place in ("finance", MODEL):
        books.ledgers.set_budget(place, BudgetWanted("0.10"), by="olga")
    books.take("a", d1=Counts(cpu=3_600_000_000))

    def open_alerts() -> list[tuple[str, str, Level]]:
        books.look()
        with database.read() as connection:
            found = alerts.of_departments(connection, ["finance"])
        return sorted((a.department, a.model, a.level) for a in found if a.key.startswith("budget:"))

    assert open_alerts() == []
    books.take("b", d2=Counts(cpu=2_400_000_000))
    assert open_alerts() == [("finance", "finance", Level.MEDIUM), ("finance", MODEL, Level.MEDIUM)]
    books.take("c", d2=Counts(cpu=3_600_000_000))
    assert open_alerts() == [("finance", "finance", Level.HIGH), ("finance", MODEL, Level.HIGH)]
    books.ledgers.drop_budget(MODEL, by="olga")
    books.ledgers.set_budget("finance", BudgetWanted("10"), by="olga")
    assert open_alerts() == []
    with pytest.raises(NotFoundError):
        books.ledgers.drop_budget(MODEL, by="olga")
    with pytest.raises(NotFoundError):
        books.ledgers.set_budget("finance/none", BudgetWanted("1"), by="olga")
    with pytest.raises(InvalidError):
        books.ledgers.set_budget("finance", BudgetWanted("-1"), by="olga")


def test_a_value_comes_with_outcomes_and_never_without(books: Books) -> None:
    assert "Nobody has stated" in books.value().why
    books.ledgers.state(MODEL, ERROR, by="anna")
    assert "No outcomes have come" in books.value().why
    books.look()
    assert "No outcomes have come" in books.value().why
    asked = [books.yard.answer(float(n), at=DAY + n * HOUR) for n in range(40)]
    books.yard.say(*({"request_id": r, "row": 0, "actual": n + 1.0} for n, r in enumerate(asked)))
    books.yard.look()
    assert "not computed yet" in books.value().why
    books.look()
    found = books.value()
    assert found.measured is not None
    assert found.value is not None
    assert found.measured.labelled == 40
    assert [found.value.model, found.value.baseline, found.value.value] == [-40, -400, 360]
    assert found.value.low is not None
    assert found.value.low < 360 < (found.value.high or 0)
    assert (found.rows, found.failed) == (0, 0), "counts come from the meters, not from outcomes"
    assert books.value(FEBRUARY).value is None
    books.yard.say({"request_id": asked[0], "row": 0, "actual": 11.0})  # corrected
    books.yard.look()
    books.yard.now += timedelta(minutes=1)
    books.look()
    corrected = books.value().value
    assert corrected is not None
    assert corrected.model == -50


def test_a_look_reads_labelled_days_only_where_they_changed(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[datetime] = []
    real = watch.labelled_days

    def noted(*which: Any, **span: Any) -> list[Labelled]:
        if "since" in span:  # the ledger asks for a month; the watch, when outcomes come, for all
            read.append(span["since"])
        return real(*which, **span)

    books.ledgers.state(MODEL, ERROR, by="anna")
    for month in (DAY - timedelta(days=9), DAY):
        asked = [books.yard.answer(float(n), at=month) for n in range(40)]
        books.yard.say(*({"request_id": r, "row": 0, "actual": n + 1.0} for n, r in enumerate(asked)))
    books.yard.look()
    monkeypatch.setattr(watch, "labelled_days", noted)
    books.look()
    assert read == [FEBRUARY.begins, MARCH.begins]
    books.yard.now += HOUR
    books.look()
    read.clear()
    books.look()
    assert read == [], "nothing has changed"
    books.yard.say({"request_id": asked[0], "row": 0, "actual": 11.0})
    books.yard.look()
    books.look()
    assert read == [MARCH.begins]
    assert [found.value.model for found in (books.value(FEBRUARY), books.value()) if found.value] == [
        -40,
        -50,
    ]


def test_a_new_statement_is_measured_anew_and_a_withdrawn_one_forgotten(
    books: Books, database: Database
) -> None:
    asked = [books.yard.answer(float(n)) for n in range(40)]
    books.yard.say(*({"request_id": r, "row": 0, "actual": n + 1.0} for n, r in enumerate(asked)))
    books.yard.look()
    books.ledgers.state(MODEL, ERROR, by="anna")
    books.look()
    constant = Worth(WorthKind.ERROR, "EUR", "constant:0", under="-2")
    books.ledgers.state(MODEL, constant, by="anna")
    assert books.value().value is None, "what was measured for another statement is not shown"
    books.look()
    found = books.value().value
    assert found is not None
    assert [found.model, found.baseline] == [-80, -1640]
    books.ledgers.withdraw(MODEL, by="anna")
    books.look()
    assert "Nobody has stated" in books.value().why
    with pytest.raises(NotFoundError):
        books.ledgers.withdraw(MODEL, by="anna")
    with database.read() as connection:
        actions = list(connection.scalars(audit.select().with_only_columns(audit.c.action)))
    assert actions.count("worth.state") == 2
    assert "worth.withdraw" in actions


def test_a_baseline_that_is_not_there_is_refused(books: Books) -> None:
    for baseline, kind, error in (
        ("version:9", WorthKind.ERROR, NotFoundError),
        ("majority", WorthKind.ERROR, InvalidError),
        ("majority", WorthKind.CLASSES, InvalidError),
    ):
        with pytest.raises(error):
            books.ledgers.state(MODEL, Worth(kind, "EUR", baseline), by="anna")
    with pytest.raises(NotFoundError):
        books.ledgers.state("finance/none", ERROR, by="anna")
    assert books.value().stated is None


def test_an_older_version_is_the_baseline_where_both_answered(
    database: Database, registry: Registry, tmp_path: Path
) -> None:
    books = Books(database, registry, tmp_path, CLASSES)
    worth = Worth(WorthKind.CLASSES, "EUR", "version:1", right="1", wrong="-4")
    books.ledgers.state(MODEL, worth, by="anna")
    rows = []
    for n in range(40):
        chances: dict[str, Any] = {"probability:no": [0.5], "probability:yes": [0.5]}
        request = books.yard.front.answer({"x": [1.0]}, {"label": ["yes"]} | chances, version=2, at=DAY)
        wrong = "no" if n % 4 == 0 else "yes"
        books.yard.front.answer(
            {"x": [1.0]}, {"label": [wrong]} | chances, at=DAY, route="shadow", request=request
        )
        rows.append({"request_id": request, "row": 0, "actual": "yes"})
    books.yard.say(*rows)
    books.yard.look()
    books.look()
    found = books.value()
    assert found.measured is not None
    assert found.value is not None
    assert [found.value.model, found.value.baseline, found.value.value] == [40, -10, 50]
    assert "version 1" in found.measured.against
    books.yard.outcomes.close()


def test_what_jobs_took_stays_when_they_are_let_go(books: Books, database: Database) -> None:
    from modelyard.store.schema import jobs, projects  # noqa: PLC0415 - rows of another noun, made by hand

    empty = dict.fromkeys(("reason", "by", "code", "target", "progress", "words", "cancelled_by"), "")
    texts = {"parameters": "{}", "data": "[]", "metrics": "{}", "trigger": "person", "language": "python"}
    times = {"created_at": DAY, "started_at": DAY, "ended_at": DAY + HOUR}
    with database.write(unaudited="a test") as connection:
        project = {"digest": "d", "model": MODEL, "description": "", "size": 1, "created_at": DAY}
        connection.execute(insert(projects), project | {"created_by": "ann"})
        row = {"model": MODEL, "department": "finance", "project": "d", "state": "failed", "attempt": 1}
        usage = '{"seconds":9.0,"cpu_seconds":1.5,"peak_memory":7,"cost":0.0}'
        own = {"sets_policy": False, "usage": usage, "exit_code": 1, "version": None}
        connection.execute(insert(jobs), row | empty | texts | times | own)
    for _ in range(2):
        books.look()
    with database.write(unaudited="a test") as connection:
        connection.execute(jobs.delete())
    with database.read() as connection:
        assert ledger.of_jobs(connection, MARCH) == {
            MODEL: Quantities(jobs=1, job_cpu=1_500_000, job_memory=7)
        }
    changed = books.ledgers.month(None, Month.of(datetime.now(UTC))).changes
    assert [c.words for c in changed] == ["a new model; version 1 is in use"]
