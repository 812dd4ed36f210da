"""What watching costs and finds: shipping, windows of ten million predictions, drift on the flights of 2013.

python -m bench.watching            # all of it, about two minutes; rows/s are of one process on this machine
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from modelyard.catalog import summaries
from modelyard.catalog.history import History
from modelyard.catalog.summaries import Summary, binned_on_itself, summarise
from modelyard.demo.flights import data_folder, flown, read_tables
from modelyard.loop.drift import noticed, since_good, usual_changes, with_good
from modelyard.loop.ship import Shipper
from modelyard.records.signatures import ColumnType
from modelyard.serving.tap import Asked, Tap
from modelyard.store import segments
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.spool import SpoolWriter
from modelyard.workers.wire import ColumnData, block_of, from_values

MODEL = "operations/arrival-delay"
DAY = datetime(2026, 3, 1, tzinfo=UTC)
_COLUMNS = ("month", "day", "hour", "dep_delay", "distance", "air_time", "arr_delay")
_WINDOW = 5_000
_REFERENCE = 20_000  # rows, none of which is in a window
_CASES = ((_REFERENCE, _WINDOW), (2_000, 2_000), (2_000, 300))  # rows of the reference, and of a window


def shipping(folder: Path, rows_a_frame: int, frames: int) -> float:
    """Rows a second from the spool to segments and summaries: 17 doubles, 3 texts, one output."""
    database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
    database.upgrade()
    (folder / "scratch").mkdir()
    writer = SpoolWriter(folder / "spool", "front-0")
    chance = np.random.default_rng(1)
    numbers = [
        ColumnData(f"x{i}", ColumnType.FLOAT64, chance.normal(size=rows_a_frame).tobytes()) for i in range(17)
    ]
    texts = [
        from_values(f"c{i}", ColumnType.STRING, [f"value-{n % 40}" for n in range(rows_a_frame)])
        for i in range(3)
    ]
    inputs, outputs = block_of([*numbers, *texts]), block_of([numbers[0]])
    tap = Tap(writer.append)
    for number in range(frames):
        asked = [Asked(f"5f1c0a9b3d2e-{number:x}", "anna", "champion", rows_a_frame, time.monotonic(), None)]
        tap.record(MODEL, 1, asked, inputs, outputs)
    writer.close()
    blobs = Blobs(str(folder / "blobs"))
    shipper = Shipper(database, blobs, folder / "spool", folder / "scratch", 1.0, lambda: datetime.now(UTC))
    began = time.process_time()
    shipped = shipper.ship()
    took = time.process_time() - began
    assert shipped == rows_a_frame * frames
    database.close()
    return shipped / took


def window(folder: Path) -> tuple[int, float]:
    """Predictions of thirty days and the median milliseconds of a window of them: 20 columns."""
    database = Database(f"sqlite:///{folder / 'window.sqlite'}")
    database.upgrade()
    chance = np.random.default_rng(1)
    numbers = {f"in:x{i}": chance.normal(size=340_000) for i in range(17)}
    texts = {f"in:c{i}": chance.choice([f"v{n}" for n in range(40)], 340_000) for i in range(2)}
    day = pl.DataFrame({**numbers, **texts, "out:prediction": chance.normal(size=340_000)})
    packed = summaries.pack(binned_on_itself(summarise(day)))
    with database.write() as connection:
        for n in range(30):
            key = (MODEL, 1, segments.DAY, DAY + timedelta(days=n))
            segments.merge_summary(connection, key, day.height, lambda _: packed)
    history = History(database, Blobs(str(folder / "blobs")), folder / "spool")
    took, rows = [], 0
    for _ in range(9):
        began = time.perf_counter()
        rows = history.window(MODEL, 1, DAY, DAY + timedelta(days=30)).rows
        took.append(time.perf_counter() - began)
    database.close()
    return rows, 1000 * float(np.median(took))


def flights() -> pl.DataFrame:
    """The flights of 2013 as rows of predictions: 20 columns, some of them made of others."""
    table = flown(read_tables(data_folder()), 12)
    numbers = [name for name, kind in table.schema.items() if kind.is_numeric()][:12]
    texts = [name for name, kind in table.schema.items() if kind == pl.String][:5]
    made = [
        (pl.col(numbers[i]).cast(pl.Float64) * pl.col(numbers[i + 1]).cast(pl.Float64)).alias(f"in:m{i}")
        for i in range(20 - len(numbers) - len(texts))
    ]
    own = [pl.col(name).cast(pl.Float64).alias(f"in:{name}") for name in numbers]
    return table.select(*own, *(pl.col(name).alias(f"in:{name}") for name in texts), *made).fill_null(0.0)


def apart(rows: pl.DataFrame, count: int) -> tuple[Summary, pl.DataFrame]:
    """So many rows as a reference, and all others: what a window has that was never seen is among these."""
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=1)
    return binned_on_itself(summarise(shuffled.head(count))), shuffled.slice(count)


def alarms(rows: pl.DataFrame, reference: Summary, count: int, size: int) -> float:
    """The share of windows of shuffled months in which something is noticed, though nothing moved: against
    the reference, or against the last of eight good days.
    """
    edges = {name: n.edges for name, n in reference.numbers.items()}
    raised = 0
    days = [summarise(rows.sample(size, seed=10_000 + n), edges) for n in range(8)]
    for seed in range(count):
        window = summarise(rows.sample(size, seed=seed + 1), edges)
        since = since_good(days[-1], window, usual_changes(days), "the last good day")
        found = with_good(noticed(reference, window), since)
        days = [*days[1:], window]
        raised += bool(found)
    return raised / count


def planted(rows: pl.DataFrame, reference: Summary, count: int) -> float:
    """The share of windows in which a shift by 0.2 standard deviations of one column is found."""
    names = [name for name, n in reference.numbers.items() if n.deviation > 0]
    edges = {name: n.edges for name, n in reference.numbers.items()}
    found = 0
    for seed in range(count):
        name = names[seed % len(names)]
        moved = pl.col(name) + 0.2 * reference.numbers[name].deviation
        part = summarise(rows.sample(_WINDOW, seed=1000 + seed).with_columns(moved), edges)
        found += any(f.column == name.removeprefix("in:") for f in noticed(reference, part))
    return found / count


def main() -> None:
    """Measure all, print JSON."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, part) for part in ("many", "single", "window")]
        for folder in folders:
            folder.mkdir()
        rows, milliseconds = window(folders[2])
        print(msgspec.json.encode({"window_rows": rows, "window_ms": round(milliseconds, 1)}).decode())
        speeds = {
            "ship_rows_a_second_frames_of_1000": round(shipping(folders[0], 1_000, 1_000)),
            "ship_rows_a_second_frames_of_1": round(shipping(folders[1], 1, 100_000)),
        }
        print(msgspec.json.encode(speeds).decode())
    every = flights()
    told = {}
    for known, size in _CASES:
        reference, others = apart(every, known)
        told[f"reference {known}, windows of {size}"] = alarms(others, reference, 300, size)
    reference, others = apart(every, _REFERENCE)
    shares = {
        "columns": every.width,
        "false_alarms": told,
        "planted_found": planted(others, reference, 100),
    }
    print(msgspec.json.encode(shares).decode())


if __name__ == "__main__":
    main()
