"""Exported predictions: what the tap wrote into a spool comes back, row for row."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import BOOL, FLOAT64, INT64, NAMES, STRING, columns, rows_of

from modelyard.catalog import predictions
from modelyard.catalog.frames import Piles
from modelyard.catalog.history import Found, History
from modelyard.catalog.predictions import OWN, export
from modelyard.records.errors import NotFoundError
from modelyard.records.signatures import Column, ColumnType
from modelyard.serving.tap import Asked, Tap
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.spool import SpoolWriter
from modelyard.workers.wire import Value, block_of, from_values

FUEL = "finance/fuel-cost"
Table = Sequence[tuple[Column, Sequence[Value]]]
NUMBERS = count()
X = (Column("x", FLOAT64),)
Y = (Column("prediction", FLOAT64),)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def write(
    folder: Path,
    inputs: Table,
    outputs: Table,
    *,
    keys: Sequence[str | None] | None = None,
    model: str = FUEL,
    version: int = 1,
    front: str = "front-0",
) -> Path:
    """One batch, as a front writes it."""
    writer = SpoolWriter(folder, front)
    given, answered = (
        block_of([from_values(c.name, c.type, values) for c, values in side]) for side in (inputs, outputs)
    )
    rows = len(outputs[0][1])
    asked = [Asked(f"id-{next(NUMBERS)}", "anna", "champion", rows, time.monotonic(), keys)]
    Tap(writer.append).record(model, version, asked, given, answered)
    path = writer.path
    assert path is not None
    writer.close()
    return path


@cache
def no_segments() -> Database:
    """A database in which nothing is shipped yet, for all of these tests."""
    database = Database(f"sqlite:///{tempfile.mkdtemp(prefix='export-')}/yard.sqlite")
    database.upgrade()
    return database


def history(folder: Path) -> History:
    return History(no_segments(), Blobs(str(folder.parent / "blobs")), folder)


def number(folder: Path, value: float, **more: Any) -> Path:
    return write(folder, [(X[0], [value])], [(Y[0], [value * 2])], **more)


def exported(folder: Path, since: datetime | None = None, model: str = FUEL) -> pl.DataFrame:
    path = folder.parent / f"{next(NUMBERS)}.parquet"
    rows = export(history(folder), model, since, path)
    table = pl.read_parquet(path)
    assert table.height == rows
    return table


def test_a_prediction_in_full(folder: Path) -> None:
    before = datetime.now(UTC)
    number(folder, 1.5, keys=['{"flight":"AA1"}'], version=7)
    (row,) = exported(folder).to_dicts()
    assert row.pop("request").startswith("id-")
    assert before - timedelta(seconds=1) <= row.pop("at") <= datetime.now(UTC)
    assert 0 <= row.pop("seconds") < 60
    assert row == {
        "row": 0,
        "version": 7,
        "route": "champion",
        "caller": "anna",
        "keys": '{"flight":"AA1"}',
        "x": 1.5,
        "prediction": 3.0,
    }


@given(
    data=st.data(),
    inputs=st.lists(columns(), min_size=1, max_size=4, unique_by=lambda c: c.name),
    names=st.lists(NAMES | st.sampled_from(OWN), min_size=1, max_size=3, unique=True),
)
def test_row_for_row(scratch: Path, data: st.DataObject, inputs: list[Column], names: list[str]) -> None:
    """Whatever the columns are called, also like each other or like the export's own."""
    folder = scratch / str(next(NUMBERS)) / "spool"
    outputs = [Column(name, data.draw(st.sampled_from(ColumnType)), missing=True) for name in names]
    every = [*inputs, *outputs]
    expected: list[list[Value]] = [[] for _ in every]
    for rows in data.draw(st.lists(rows_of(every).filter(bool), min_size=1, max_size=3)):
        batch = list(zip(every, zip(*rows, strict=True), strict=True))
        write(folder, batch[: len(inputs)], batch[len(inputs) :])
        for so_far, (_, values) in zip(expected, batch, strict=True):
            so_far.extend(values)
    table = exported(folder)
    assert len(table.columns) == len(OWN) - 1 + len(every)  # no keys were sent
    found = [_plain(table[name]) for name in table.columns[-len(every) :]]
    assert found == expected


def _plain(series: pl.Series) -> list[Value]:
    """NaN, which equals nothing, as None."""
    return (series.fill_nan(None) if series.dtype.is_float() else series).to_list()


def test_clashing_names_are_told_apart(folder: Path) -> None:
    inputs = [Column(n, FLOAT64) for n in ("prediction", "in:prediction", "row", "out:x", "x")]
    outputs = [Column(n, FLOAT64) for n in ("prediction", "version", "in:x")]
    write(folder, [(c, [float(i)]) for i, c in enumerate(inputs)], [(c, [9.0]) for c in outputs])
    table = exported(folder)
    assert [c for c in table.columns if c not in OWN] == [
        "in:prediction",
        "in:in:prediction",
        "in:row",
        "in:out:x",
        "x",
        "prediction",
        "out:version",
        "out:in:x",
    ]
    assert table["in:in:prediction"].to_list() == [1.0]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((FLOAT64, FLOAT64), [1.0, 1.0]),
        ((INT64, FLOAT64), [1.0, 1.0]),
        ((STRING, INT64), ["1", "1"]),
        ((BOOL, STRING), ["true", "1"]),
    ],
    ids=str,
)
def test_versions_with_different_columns(
    folder: Path, kinds: tuple[ColumnType, ColumnType], expected: list[Value]
) -> None:
    ones: dict[ColumnType, Value] = {FLOAT64: 1.0, INT64: 1, BOOL: True, STRING: "1"}
    for version, kind in enumerate(kinds, 1):
        inputs: Table = [(Column("shared", kind), [ones[kind]]), (Column(f"only{version}", FLOAT64), [1.0])]
        write(folder, inputs, [(Y[0], [2.0])], version=version)
    table = exported(folder)
    assert table["version"].to_list() == [1, 2]
    assert table["shared"].to_list() == expected
    assert table["only1"].to_list() == [1.0, None]
    assert table["only2"].to_list() == [None, 1.0]


def test_missing_values_and_keys_stay_missing(folder: Path) -> None:
    kinds = [Column(k.value, k, missing=True) for k in ColumnType]
    values: list[list[Value]] = [[1.0, None], [1, None], [True, None], ["a", None]]
    write(folder, tuple(zip(kinds, values, strict=True)), [(Y[0], [1.0, 2.0])], keys=['{"k":1}', None])
    number(folder, 1.0)
    table = exported(folder)
    assert table["keys"].to_list() == ['{"k":1}', None, None]
    for kind, column in zip(kinds, values, strict=True):
        assert _plain(table[kind.name]) == [*column, None]


def test_other_models_are_left_out(folder: Path) -> None:
    """HARDENING 42: also one whose name has this one's in it, or whose rows spell it out."""
    number(folder, 1.0)
    for other in ("finance/fuel-cost-2", "finance/fuel", "xfinance/fuel-cost"):
        number(folder, 9.0, model=other)
    trap = (Column("s\nmodel\tfinance/fuel-cost\n", STRING), [f"\nmodel\t{FUEL}\n"])
    write(folder, [trap], [(Y[0], [9.0])], model="operations/trap")
    assert exported(folder)["x"].to_list() == [1.0]
    with pytest.raises(NotFoundError, match="No prediction of operations/none"):
        exported(folder, model="operations/none")


def test_a_torn_tail_costs_only_itself(folder: Path) -> None:
    number(folder, 1.0)
    torn = number(folder, 2.0)
    os.truncate(torn, torn.stat().st_size - 1)
    number(folder, 3.0)
    assert exported(folder)["x"].to_list() == [1.0, 3.0]


def test_the_fronts_are_merged_in_the_order_of_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk of one front ends before the next begins, so sorting within chunks is not enough."""
    monkeypatch.setattr(predictions, "_FRAMES_A_CHUNK", 3)
    writers = [SpoolWriter(folder, f"front-{i}") for i in range(2)]
    for i in range(20):
        asked = [Asked(f"id-{i}", "anna", "champion", 1, time.monotonic())]
        block = block_of([from_values("x", FLOAT64, [float(i)])])
        Tap(writers[i % 2].append).record(FUEL, 1, asked, block, block)
    table = exported(folder)
    assert table["in:x"].to_list() == [float(i) for i in range(20)]
    assert table["at"].is_sorted()


def test_a_chunk_is_bounded_by_its_rows_as_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_ROWS_A_CHUNK", 4)
    sizes: list[int] = []
    in_chunks = predictions._in_chunks

    def counted(found: Iterator[Found]) -> Iterator[Piles]:
        for chunk in in_chunks(found):
            sizes.append(chunk.frames)
            yield chunk

    monkeypatch.setattr(predictions, "_in_chunks", counted)
    for i in range(5):
        write(folder, [(X[0], [float(i)] * 2)], [(Y[0], [0.0] * 2)])
    assert exported(folder)["x"].to_list() == [float(i // 2) for i in range(10)]
    assert sizes == [2, 2, 1]


def test_since(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for hour in range(3):
        at = began + timedelta(hours=hour)
        monkeypatch.setattr(time, "time_ns", lambda at=at: int(at.timestamp() * 1e9))
        number(folder, float(hour))
    one = began + timedelta(hours=1)
    assert exported(folder, one)["x"].to_list() == [1.0, 2.0]
    assert exported(folder, one + timedelta(microseconds=1))["x"].to_list() == [2.0]
    with pytest.raises(NotFoundError, match="since then"):
        exported(folder, began + timedelta(hours=3))


def test_since_without_a_zone_is_utc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number(folder, 1.0)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # fourteen hours ahead
    time.tzset()
    try:
        soon = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)
        with pytest.raises(NotFoundError):
            exported(folder, soon)
        assert exported(folder, soon - timedelta(hours=2)).height == 1
    finally:
        monkeypatch.undo()
        time.tzset()


def test_nothing_is_left_behind(folder: Path) -> None:
    number(folder, 1.0)
    exported(folder)
    with pytest.raises(NotFoundError):
        exported(folder, model="finance/none")
    assert sorted(p.suffix for p in folder.parent.iterdir()) == ["", ".parquet"]


def test_what_is_marked_in_the_data_is_left_out_of_inputs_and_keys(folder: Path) -> None:
    inputs = [Column(name, FLOAT64) for name in ("age", "prediction", "km")]
    written = [(c, [1.0]) for c in inputs]
    write(folder, written, [(Y[0], [2.0])], keys=['{"flight":"AA1","pilot":"Ann"}'])
    to = folder.parent / "hidden.parquet"
    export(history(folder), FUEL, None, to, frozenset({"age", "pilot", "row"}))
    (row,) = pl.read_parquet(to).to_dicts()
    assert (row["keys"], row["km"], row["row"]) == ('{"flight":"AA1"}', 1.0, 0)
    assert "age" not in row
    assert {"in:prediction", "prediction"} <= set(row)
