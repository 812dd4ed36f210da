"""From spool to history, on both databases: each row once, whatever dies when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from modelyard.catalog.history import History, node_of
from modelyard.catalog.predictions import export
from modelyard.loop.ship import Shipper
from modelyard.records.errors import ConflictError, NotFoundError
from modelyard.records.predictions import Keeping, Kind
from modelyard.store import segments, spool
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.spool import spool_files
from tests.contract.recording import MODEL, Front

DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Node:
    """One node: its spool, what ships it, and what is known afterwards."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder, self.spool = database, folder, folder / "spool"
        self.blobs = Blobs(str(folder / "blobs"))
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.history = History(database, self.blobs, self.spool)
        self.now = DAY
        self.shipper = self.new_shipper()

    def new_shipper(self) -> Shipper:
        return Shipper(self.database, self.blobs, self.spool, self.scratch, 1.0, lambda: self.now)

    def exported(self, model: str = MODEL, since: datetime | None = None) -> pl.DataFrame:
        path = self.folder / "export.parquet"
        try:
            export(self.history, model, since, path)
        except NotFoundError:
            return pl.DataFrame({"request": [], "row": [], "x": []})
        return pl.read_parquet(path)

    def xs(self) -> list[float]:
        return sorted(self.exported()["x"].to_list())

    def segments(self, model: str = MODEL) -> list[Any]:
        with self.database.read() as connection:
            return segments.of_model(connection, model, Kind.PREDICTIONS)


@pytest.fixture
def node(database: Database, tmp_path: Path) -> Iterator[Node]:
    made = Node(database, tmp_path)
    yield made
    made.database.close()


def test_rows_are_the_same_before_and_after(node: Node) -> None:
    fronts = [Front(node.spool, f"front-{i}", f"b{i}") for i in range(2)]
    for i in range(6):
        fronts[i % 2].answer(
            {"x": [float(i), None], "carrier": ["UA", None]},
            {"prediction": [i * 2.0, 1.0]},
            at=DAY + i * HOUR,
            version=1 + i % 2,
            keys=[f'{{"flight":{i}}}', None] if i % 3 else None,
        )
    fronts[0].answer({"x": [99.0]}, {"prediction": [1.0]}, model="operations/other", at=DAY)
    before = node.exported()
    assert node.shipper.ship() == 13
    after = node.exported()
    assert after.equals(before.select(after.columns))
    assert after["at"].is_sorted()
    fronts[1].answer({"x": [7.0]}, {"prediction": [1.0]}, at=DAY + 9 * HOUR)
    assert node.exported().height == 13
    assert node.exported(since=DAY + 9 * HOUR)["x"].to_list() == [7.0]
    assert node.shipper.ship() == 1
    assert node.shipper.ship() == 0
    assert node.exported().height == 13


def test_segments_are_by_version_and_day(node: Node) -> None:
    front = Front(node.spool)
    for hours in (23, 24, 25):
        front.answer({"x": [1.0]}, {"prediction": [1.0]}, at=DAY + hours * HOUR)
    front.answer({"x": [1.0]}, {"prediction": [1.0]}, at=DAY + 25 * HOUR, version=2)
    node.shipper.ship()
    found = {(s.version, s.day, s.rows) for s in node.segments()}
    tomorrow = DAY + timedelta(days=1)
    assert found == {(1, DAY, 1), (1, tomorrow, 2), (2, tomorrow, 1)}


def test_a_window_is_a_merge(node: Node) -> None:
    front = Front(node.spool)
    for hours in range(0, 60, 3):
        front.answer(
            {"x": [float(hours), None], "c": ["a", f"v{hours}"]},
            {"prediction": [1.0, 2.0]},
            at=DAY + hours * HOUR,
        )
        node.shipper.ship()
    window = node.history.window(MODEL, 1, DAY + 3 * HOUR, DAY + 54 * HOUR)
    x, c = window.numbers["in:x"], window.texts["in:c"]
    assert (window.rows, window.requests) == (34, 17)
    assert (x.count, x.missing, x.low, x.high) == (17, 17, 3.0, 51.0)
    assert x.mean == pytest.approx(27.0)
    assert x.deviation == pytest.approx(pl.Series(range(3, 54, 3)).std())
    assert x.quantiles([0.5]) == [27.0]
    assert c.counts["a"] == 17
    assert window.callers.counts == {"anna": 34}
    assert window.numbers["seconds"].count == 34
    assert node.history.window(MODEL, 2, DAY, DAY + 54 * HOUR).rows == 0


def test_a_file_goes_once_it_is_shipped_and_its_writer_ended(node: Node) -> None:
    front = Front(node.spool)
    front.answer({"x": [1.0]}, {"prediction": [1.0]}, at=DAY)
    node.shipper.ship()
    assert len(spool_files(node.spool)) == 1  # still written to
    front.answer({"x": [2.0]}, {"prediction": [1.0]}, at=DAY)
    front.writer.close()
    node.shipper.ship()
    assert spool_files(node.spool) == []
    front.answer({"x": [3.0]}, {"prediction": [1.0]}, at=DAY)
    assert node.xs() == [1.0, 2.0, 3.0]
    assert node.shipper.pending() > 0


def test_a_torn_end_is_kept_aside(node: Node) -> None:
    front = Front(node.spool)
    front.answer({"x": [1.0]}, {"prediction": [1.0]}, at=DAY)
    front.answer({"x": [2.0]}, {"prediction": [1.0]}, at=DAY)
    assert front.writer.path is not None
    os.truncate(front.writer.path, front.writer.path.stat().st_size - 1)
    front.writer.close()
    node.shipper.ship()
    assert node.xs() == [1.0]
    assert spool_files(node.spool) == []
    assert len(list((node.spool / spool.TORN).iterdir())) == 1


def test_a_front_that_begins_while_its_empty_file_is_removed_takes_another(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = spool._claimed
    removed: list[int | None] = []

    def slow(file: int) -> int | None:
        if not removed:
            (path,) = spool_files(node.spool)
            removed.append(spool.remove_ended(path, 0))
        return claimed(file)

    monkeypatch.setattr(spool, "_claimed", slow)
    Front(node.spool).answer({"x": [1.0]}, {"prediction": [1.0]}, at=DAY)
    assert removed == [0]
    assert node.xs() == [1.0]


def test_two_that_ship_one_spool_do_not_double_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    front = Front(node.spool)
    front.answer({"x": [1.0]}, {"prediction": [1.0]}, at=DAY)
    other = node.new_shipper()
    keep = other._keep

    def late(*given: Any) -> None:
        node.shipper.ship()
        keep(*given)

    monkeypatch.setattr(other, "_keep", late)
    with pytest.raises(ConflictError, match="another process"):
        other.ship()
    assert node.xs() == [1.0]
    assert node.exported().height == 1


def test_an_export_that_is_overtaken_by_shipping_has_each_row_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = Front(node.spool)
    front.answer({"x": [1.0]}, {"prediction": [1.0]}, at=DAY)
    front.writer.close()
    opened = node.history.open

    def overtaken(*given: Any) -> Any:
        found = opened(*given)
        node.shipper.ship()  # the file is gone now, but was opened before
        return found

    monkeypatch.setattr(node.history, "open", overtaken)
    assert node.xs() == [1.0]
    assert node.xs() == [1.0]


def test_personal_columns_are_dropped_or_hashed(node: Node) -> None:
    with node.database.write() as connection:
        rule = Keeping(drop=("name", "phone"), hash=("customer",))
        segments.put_rule(connection, MODEL, rule, salt=b"s" * 32, by="test", at=DAY)
    front = Front(node.spool)
    keys = ['{"phone":"1","customer":"c1","shop":"s"}', '{"phone":"2"}']
    front.answer(
        {"x": [1.0, 2.0], "name": ["Ada", "Bo"], "customer": ["c1", "c2"]},
        {"prediction": [1.0, 2.0]},
        keys=keys,
        at=DAY,
    )
    before = node.exported()
    node.shipper.ship()
    after = node.exported()
    assert after.equals(before.select(after.columns))
    assert "name" not in after.columns
    text = after.write_json()
    assert not {"Ada", "Bo", "c1", "phone"} & set(text.replace('"', " ").replace("\\", " ").split())
    assert after["keys"].to_list()[1] is None
    assert f'"customer":"{after["customer"][0]}"' in after["keys"][0]
    window = node.history.window(MODEL, 1, DAY, DAY + HOUR)
    assert set(window.texts) == set()
    assert set(window.numbers) == {"in:x", "out:prediction", "seconds"}


def test_old_rows_go_by_their_models_rule_and_summaries_stay(node: Node) -> None:
    with node.database.write() as connection:
        segments.put_rule(connection, MODEL, Keeping(days=2), salt=b"", by="test", at=DAY)
    front = Front(node.spool)
    for days in range(5):
        for model in (MODEL, "operations/other"):
            front.answer({"x": [float(days)]}, {"prediction": [0.0]}, at=DAY + days * 24 * HOUR, model=model)
    node.now = DAY + timedelta(days=4, hours=7)
    node.shipper.ship()
    node.shipper.tidy()
    assert node.xs() == [2.0, 3.0, 4.0]
    assert node.exported("operations/other").height == 5
    assert len(list(node.blobs.digests())) == 10  # somebody may read them yet
    node.now += timedelta(hours=2)
    node.shipper.tidy()
    assert len(list(node.blobs.digests())) == 8
    assert node.history.window(MODEL, 1, DAY, DAY + timedelta(days=5)).rows == 5


def test_small_segments_of_a_day_that_is_over_become_one(node: Node) -> None:
    front = Front(node.spool)
    for hours in (1, 2, 3, 4, 25):
        front.answer({"x": [float(hours)]}, {"prediction": [0.0]}, at=DAY + hours * HOUR)
        node.shipper.ship()
    before = node.exported()
    node.now = DAY + timedelta(days=1, hours=2)
    node.shipper.tidy()
    assert len(node.segments()) == 5  # the watch has not seen them
    with node.database.write() as connection:
        segments.see(connection, [s.id for s in node.segments()])
    node.shipper.tidy()
    assert [(s.rows, s.first_at) for s in node.segments()] == [(4, DAY + HOUR), (1, DAY + 25 * HOUR)]
    assert node.exported().equals(before)
    node.now += timedelta(hours=2)
    node.shipper.tidy()
    assert len(list(node.blobs.digests())) == 2


POINTS = (
    (segments, "advance"),
    (segments, "add"),
    (segments, "merge_summary"),
    (Blobs, "put_file"),
    (Blobs, "delete"),
    (Database, "write"),
    (Path, "unlink"),
    (Path, "replace"),
    (os, "fsync"),
)


class Killed(BaseException):
    """The process ends here; what it had open is rolled back or lies about, as after kill -9."""


def dying_at(count: int, end: Callable[[], object]) -> Iterator[tuple[Any, str, Any]]:
    """The fail points, each twice (before the call and after it), of which the so-manieth is the end."""
    left = [count]

    def step() -> None:
        if left[0] == 0:
            end()
        left[0] -= 1

    def point(function: Any) -> Any:
        def called(*given: Any, **named: Any) -> Any:
            step()
            answer = function(*given, **named)
            step()
            return answer

        return called

    for place, name in POINTS:
        yield place, name, point(getattr(place, name))


def die() -> None:
    raise Killed


def start_and_ship(url: str, folder: Path) -> None:
    blobs, files = Blobs(str(folder / "blobs")), folder / "spool"
    with closing(Database(url)) as database:
        shipper = Shipper(database, blobs, files, folder / "scratch", 1.0, lambda: DAY)
        shipper.recover()
        shipper.ship()


def test_at_whatever_point_it_dies_no_row_is_lost_and_none_twice(
    node: Node, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each fail point in turn, a row more before each; then the next start goes on."""
    written: list[float] = []
    front = Front(node.spool)
    count, died = 0, True
    while died:
        assert count < 200
        for model in (MODEL, "operations/other"):
            front.answer({"x": [float(count)]}, {"prediction": [0.0]}, at=DAY, model=model)
        written.append(float(count))
        if count % 8 == 0:
            front.writer.close()
        with monkeypatch.context() as patched:
            for place, name, point in [*dying_at(count, die)]:
                patched.setattr(place, name, point)
            try:
                start_and_ship(database_url, node.folder)
                died = False
            except Killed:
                died = True
        assert node.xs() == written
        count += 1
    assert count > 20
    node.new_shipper().recover()
    with node.database.read() as connection:
        mine = segments.of_model(connection, MODEL, Kind.PREDICTIONS)
        others = segments.of_model(connection, "operations/other", Kind.PREDICTIONS)
    assert set(node.blobs.digests()) == {s.digest for s in mine + others}  # nothing of the killed is left
    window = node.history.window(MODEL, None, DAY, DAY + timedelta(days=10))
    assert window.rows == len(written)


def test_a_node_has_a_name_of_its_own_that_stays(tmp_path: Path) -> None:
    one = node_of(tmp_path / "spool")
    assert node_of(tmp_path / "spool") == one
    assert node_of(tmp_path / "other") != one
    assert list(tmp_path.glob("spool/.node*")) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.contract.test_shipping import dying_at, start_and_ship

for place, name, point in [*dying_at(int(sys.argv[1]), lambda: os.kill(os.getpid(), signal.SIGKILL))]:
    setattr(place, name, point)
start_and_ship(sys.argv[2], Path(sys.argv[3]))
"""


@pytest.mark.parametrize("count", [5, 12, 17, 23])
def test_killed_by_a_real_signal(count: int, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'yard.sqlite'}"
    database = Database(url)
    database.upgrade()
    node = Node(database, tmp_path)
    front = Front(node.spool)
    for i in range(3):
        front.answer({"x": [float(i)]}, {"prediction": [0.0]}, at=DAY + i * HOUR)
    front.writer.close()
    command = [sys.executable, "-c", KILLED, str(count), url, str(tmp_path)]
    assert subprocess.run(command, check=False, timeout=180).returncode == -signal.SIGKILL
    assert node.xs() == [0.0, 1.0, 2.0]
    start_and_ship(url, tmp_path)
    assert node.xs() == [0.0, 1.0, 2.0]
    assert spool_files(node.spool) == []
    assert len(list(node.blobs.digests())) == 1
    database.close()
