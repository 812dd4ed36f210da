"""Datasets on each kind of database: the same content is the same version, and marks keep columns back."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import select

from modelyard.catalog.datasets import Datasets
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.datasets import DataType, Mark
from modelyard.records.errors import InvalidError, NotFoundError, UnavailableError
from modelyard.records.people import Role
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.schema import audit
from tests.bundles import TAR, bundle_files, bundle_tar, tar_of

FLIGHTS = "operations/flights"
CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
ROWS = b"""day,carrier,delay,passengers,on_time,pilot,code
2013-01-01,UA,3.5,120,true,Ann,007
2013-01-02,"B6, Blue",,98,false,,012
2013-01-03,UA,-1,NA,true,"",100
"""


@pytest.fixture
def datasets(database: Database, tmp_path: Path) -> Datasets:
    return Datasets(database, Blobs(str(tmp_path / "blobs")), tmp_path / "scratch")


def push(datasets: Datasets, body: bytes = ROWS, content_type: str = CSV, **more: object) -> tuple[int, bool]:
    more = {"by": "anna", "may_create_department": True, **more}
    version, is_new = datasets.push(FLIGHTS, [body[:40], body[40:]], content_type, **more)  # type: ignore[arg-type]
    return version.version, is_new


def parquet(table: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    table.write_parquet(file, compression="uncompressed")
    return file.getvalue()


def test_a_csv_becomes_a_version_with_types_and_a_profile(datasets: Datasets) -> None:
    assert push(datasets, why="January") == (1, True)
    version = datasets.version(FLIGHTS)
    assert [(c.name, c.type) for c in version.columns] == [
        ("day", DataType.DATE),
        ("carrier", DataType.STRING),
        ("delay", DataType.FLOAT64),
        ("passengers", DataType.INT64),
        ("on_time", DataType.BOOL),
        ("pilot", DataType.STRING),
        ("code", DataType.STRING),
    ]
    profiles = {c.name: c.profile for c in version.columns}
    assert all(profiles.values())
    day, delay, carrier, on_time = (profiles[n] for n in ("day", "delay", "carrier", "on_time"))
    assert day is not None
    assert (day.low, day.high) == ("2013-01-01", "2013-01-03")
    assert delay is not None
    assert (delay.missing, delay.low, delay.high, delay.mean, sum(delay.counts)) == (1, -1.0, 3.5, 1.25, 2)
    assert carrier is not None
    assert [(c.value, c.count) for c in carrier.top] == [("UA", 2), ("B6, Blue", 1)]
    assert on_time is not None
    assert on_time.mean == pytest.approx(2 / 3)
    known = datasets.dataset(FLIGHTS)
    assert (known.latest, known.rows, known.columns, version.why) == (1, 3, 7, "January")
    assert [d.dataset for d in datasets.datasets(frozenset({"operations"}))] == [FLIGHTS]
    assert datasets.datasets(frozenset({"finance"})) == []


def test_the_same_content_is_the_same_version_whichever_way_it_comes(
    datasets: Datasets, tmp_path: Path
) -> None:
    push(datasets)
    assert push(datasets) == (1, False)
    datasets.lay_out(FLIGHTS, 1, tmp_path / "out.parquet")
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert push(datasets, parquet(table), PARQUET) == (1, False)
    as_csv = table.write_csv().encode()
    assert push(datasets, as_csv) == (1, False), "types stay those of the version before"
    assert push(datasets, parquet(table.with_columns(pl.col("delay") + 1)), PARQUET) == (2, True)


def test_a_whole_delivery_of_a_measured_column_stays_a_measured_column(datasets: Datasets) -> None:
    push(datasets, b"x,code\n1.5,a1\n")
    push(datasets, b"x,code\n2,17\n")
    assert [c.type for c in datasets.version(FLIGHTS).columns] == ["float64", "string"]


def test_laid_out_it_is_what_came_without_secrets_and_in_the_rows_asked_for(
    datasets: Datasets, tmp_path: Path
) -> None:
    push(datasets, marks={"pilot": Mark.PERSONAL, "code": Mark.SECRET})
    made = datasets.lay_out(FLIGHTS, None, tmp_path / "flights.csv", "csv")
    assert made.version == 1
    assert (tmp_path / "flights.csv").read_text().splitlines() == [
        "day,carrier,delay,passengers,on_time,pilot",
        "2013-01-01,UA,3.5,120,true,Ann",
        '2013-01-02,"B6, Blue",,98,false,',
        "2013-01-03,UA,-1.0,,true,",
    ]
    datasets.lay_out(FLIGHTS, 1, tmp_path / "some.csv", "csv", cleared=frozenset(), rows=(1, 3))
    assert (tmp_path / "some.csv").read_text().splitlines()[1:] == [
        '2013-01-02,"B6, Blue",,98,false',
        "2013-01-03,UA,-1.0,,true",
    ]
    with pytest.raises(InvalidError, match="xlsx"):
        datasets.lay_out(FLIGHTS, 1, tmp_path / "no", "xlsx")
    assert not list((tmp_path / "scratch").iterdir())


def test_formulas_are_escaped_for_people_alone(datasets: Datasets, tmp_path: Path) -> None:
    push(datasets, b'name,n\n=HYPERLINK("x"),-1\n+1,2\n@a,3\nplain,4\n')
    datasets.lay_out(FLIGHTS, 1, tmp_path / "people.csv", "csv", is_for_people=True)
    lines = (tmp_path / "people.csv").read_text().splitlines()
    assert lines == ["name,n", '"\'=HYPERLINK(""x"")",-1', "'+1,2", "'@a,3", "plain,4"]
    datasets.lay_out(FLIGHTS, 1, tmp_path / "programs.csv", "csv")
    assert "\n+1,2\n" in (tmp_path / "programs.csv").read_text()


def test_a_preview_has_no_marked_column_unless_cleared(datasets: Datasets) -> None:
    push(datasets)
    datasets.set_marks(FLIGHTS, {"pilot": Mark.PERSONAL, "code": Mark.SECRET}, by="olga")
    seen = datasets.preview(FLIGHTS, 1, cleared=frozenset(), count=1)
    assert seen.columns == ("day", "carrier", "delay", "passengers", "on_time")
    assert seen.values == (("2013-01-01", "UA", 3.5, 120, True),)
    assert seen.hidden == ("pilot", "code")
    datasets.clear(FLIGHTS, "ben", Mark.PERSONAL, by="olga", until=datetime.now(UTC) + timedelta(hours=1))
    cleared = datasets.cleared(FLIGHTS, "ben")
    assert cleared == {Mark.PERSONAL}
    assert "pilot" in datasets.preview(FLIGHTS, 1, cleared=cleared).columns
    shown = datasets.version(FLIGHTS, 1).shown_to(reads=True, cleared=cleared)
    assert {c.name for c in shown.columns if c.profile is None} == {"code"}
    assert all(c.profile is None for c in shown.shown_to(reads=False, cleared=cleared).columns)
    datasets.revoke(FLIGHTS, "ben", Mark.PERSONAL, by="olga")
    assert datasets.cleared(FLIGHTS, "ben") == frozenset()
    with pytest.raises(NotFoundError):
        datasets.revoke(FLIGHTS, "ben", Mark.PERSONAL, by="olga")


def test_a_clearance_ends_by_itself(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    push(datasets)
    soon = datetime.now(UTC) + timedelta(hours=1)
    datasets.clear(FLIGHTS, "ben", Mark.SECRET, by="olga", until=soon)
    assert datasets.cleared(FLIGHTS, "ben") == {Mark.SECRET}
    monkeypatch.setattr("modelyard.catalog.clock.now", lambda: soon + timedelta(seconds=1))
    assert datasets.cleared(FLIGHTS, "ben") == frozenset()
    with pytest.raises(InvalidError, match="before it begins"):
        datasets.clear(FLIGHTS, "ben", Mark.SECRET, by="olga", until=soon)


def test_a_secret_stays_one_when_a_push_says_less(datasets: Datasets) -> None:
    push(datasets, marks={"code": Mark.SECRET})
    push(datasets, ROWS + b"2013-01-04,UA,1,1,true,Eva,9\n", marks={"code": Mark.PERSONAL})
    assert datasets.dataset(FLIGHTS).marks == {"code": Mark.SECRET}
    datasets.set_marks(FLIGHTS, {"code": None}, by="olga")
    assert datasets.dataset(FLIGHTS).marks == {}
    with pytest.raises(InvalidError, match="no column 'kode'"):
        datasets.set_marks(FLIGHTS, {"kode": Mark.SECRET}, by="olga")


def test_what_changed_by_key_and_by_row(datasets: Datasets) -> None:
    push(datasets, b"id,x,city,old\n1,1.0,Rome,a\n2,2.0,Oslo,b\n3,3.0,Oslo,c\n")
    push(datasets, b"id,x,city,new\n2,2.5,Oslo,b\n3,3.0,Oslo,c\n4,9.0,Paris,d\n")
    found = datasets.changes(FLIGHTS, 1, 2, key=("id",))
    assert (found.added, found.removed, found.changed, found.same) == (1, 1, 1, 1)
    columns = {c.name: c for c in found.columns}
    assert {n: c.what for n, c in columns.items()} == {
        "id": "moved", "x": "moved", "city": "moved", "old": "removed", "new": "added",
    }  # fmt: skip
    assert (columns["x"].changed, columns["city"].changed) == (1, 0)
    assert columns["city"].effect == pytest.approx(1 / 3)
    assert columns["x"].mean_after == pytest.approx(14.5 / 3)
    whole = datasets.changes(FLIGHTS, 1, 2)
    assert (whole.added, whole.removed, whole.same) == (2, 2, 1)
    same = datasets.changes(FLIGHTS, 1, 1)
    assert (same.same, same.added, {c.what for c in same.columns}) == (3, 0, {"same"})


def test_what_changed_keeps_marked_columns_back(datasets: Datasets) -> None:
    push(datasets, b"id,x\n1,1\n2,2\n")
    push(datasets, b"id,x\n1,1\n2,3\n", marks={"x": Mark.PERSONAL})
    found = datasets.changes(FLIGHTS, 1, 2)
    assert (found.hidden, [c.name for c in found.columns], found.same) == (("x",), ["id"], 2)
    with pytest.raises(InvalidError, match="key column 'x'"):
        datasets.changes(FLIGHTS, 1, 2, key=("x",))
    assert datasets.changes(FLIGHTS, 1, 2, cleared=frozenset(Mark)).same == 1


def test_models_are_found_by_what_they_were_trained_on(
    datasets: Datasets, registry: Registry, database: Database
) -> None:
    from modelyard.store import datasets as store  # noqa: PLC0415

    push(datasets, marks={"pilot": Mark.PERSONAL})
    for model in ("operations/delay", "finance/cost"):
        registry.publish(model, [bundle_tar(b"m")], TAR, by="anna", may_create_department=True)
        with database.write() as connection:
            store.add_lineage(connection, model, 1, {f"dataset:{FLIGHTS}": "1", "code": "4f"})
    assert [t.model for t in datasets.trained(FLIGHTS)] == ["finance/cost", "operations/delay"]
    assert [(t.version, t.dataset_version) for t in datasets.trained(FLIGHTS, 1)] == [(1, 1), (1, 1)]
    assert datasets.trained(FLIGHTS, 2) == []
    assert datasets.marks_of_model("finance/cost") == {"pilot": Mark.PERSONAL}
    assert datasets.marks_of_model("finance/other") == {}


def test_a_bundle_that_names_data_its_publisher_may_not_read_is_shown_nothing_of_it(
    datasets: Datasets, registry: Registry, people: People
) -> None:
    """Else anybody could name another's columns as inputs, and look at the reference of the drift."""
    push(datasets, marks={"pilot": Mark.PERSONAL})

    def publish(model: str, content: bytes) -> None:
        files = bundle_files(content)
        files["yardbundle.toml"] += b'\n[lineage]\n"dataset:operations/flights" = "1"\n'
        registry.publish(model, [tar_of(files)], TAR, by="ben", may_create_department=True)

    publish("finance/cost", b"one")
    publish("operations/delay", b"one")
    assert [t.model for t in datasets.trained(FLIGHTS)] == ["operations/delay"]
    assert datasets.marks_of_model("finance/cost") == {}
    assert f"dataset:{FLIGHTS}" in registry.version("finance/cost", 1).bundle.lineage, "it stays what it says"
    people.add_person("ben", by="test")
    people.set_role("ben", Role.BUILDER, "operations", by="test")
    publish("finance/cost", b"two")
    assert [(t.model, t.version) for t in datasets.trained(FLIGHTS)][:1] == [("finance/cost", 2)]


def test_what_is_not_there_is_said(datasets: Datasets, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no dataset operations/flights"):
        push(datasets, may_create_department=False)
    push(datasets)
    with pytest.raises(NotFoundError, match="no version 2"):
        datasets.version(FLIGHTS, 2)
    with pytest.raises(InvalidError, match="not a dataset name"):
        datasets.dataset("operations/Flights")
    blob = datasets.version(FLIGHTS).blob
    (tmp_path / "blobs" / blob[:2] / blob).write_bytes(b"other")
    with pytest.raises(UnavailableError, match="damaged"):
        datasets.lay_out(FLIGHTS, 1, tmp_path / "out")


def test_each_change_is_in_the_audit(datasets: Datasets, database: Database) -> None:
    push(datasets, why="January", marks={"pilot": Mark.PERSONAL})
    push(datasets)  # the same again changes nothing
    datasets.set_marks(FLIGHTS, {"pilot": None}, by="olga")
    datasets.clear(FLIGHTS, "ben", Mark.SECRET, by="olga")
    datasets.revoke(FLIGHTS, "ben", Mark.SECRET, by="olga")
    datasets.note_download(datasets.version(FLIGHTS), {Mark.SECRET}, "csv", by="ben")
    with database.read() as connection:
        told = connection.execute(
            select(audit.c.by, audit.c.action, audit.c.subject).order_by(audit.c.number)
        )
        assert [tuple(row) for row in told if row.action.startswith(("dataset", "clearance"))] == [
            ("anna", "dataset.push", f"{FLIGHTS}/1"),
            ("anna", "dataset.mark", FLIGHTS),
            ("olga", "dataset.mark", FLIGHTS),
            ("olga", "clearance.give", FLIGHTS),
            ("olga", "clearance.revoke", FLIGHTS),
            ("ben", "dataset.download", f"{FLIGHTS}/1"),
        ]
