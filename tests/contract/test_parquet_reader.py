"""Parquet is read in a process of its own: whatever it meets, the front lives, and the next file is read."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records.errors import InvalidError, MalformedError, TooLargeError, YardError
from modelyard.records.signatures import Column, Signature
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.parquet import ParquetReader
from modelyard.workers import sandbox
from modelyard.workers.processes import tree
from tests.rows import BOOL, FLOAT64, INT64, STRING, frame_of, rows_of, signatures, values_of

COLUMNS = tuple(
    Column(name, kind, missing=True)
    for name, kind in zip("xnbs", (FLOAT64, INT64, BOOL, STRING), strict=True)
)
PLAN = InputPlan(Signature(COLUMNS), 10)


def written(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out, compression="uncompressed")
    return out.getvalue()


WHOLE = written(
    pl.DataFrame({"x": [1.0, None], "n": [1, 2], "b": [True, None], "s": ["a", None], "k": ["q", "r"]})
)


class Reading:
    """A reader and an event loop for it."""

    def __init__(self, runner: asyncio.Runner, seconds: float = 180.0) -> None:
        self.runner = runner
        self.reader = ParquetReader(seconds)

    def read(self, body: bytes, plan: InputPlan = PLAN) -> Inputs:
        return self.runner.run(self.reader.read(plan, body))

    def pid(self) -> int:
        """Of the process that reads: walls stand before it."""
        assert self.reader._process is not None
        return tree(self.reader._process.pid)[-1]


@pytest.fixture(scope="module")
def reading() -> Iterator[Reading]:
    with asyncio.Runner() as runner:
        made = Reading(runner)
        yield made
        runner.run(made.reader.close())


def test_the_reader_sees_neither_the_network_nor_a_file_of_the_server(reading: Reading) -> None:
    if sandbox.missing():
        pytest.skip(sandbox.missing())
    check_it_lives(reading)
    inside = Path(f"/proc/{reading.pid()}")
    assert (inside / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    assert not (inside / "root" / Path(__file__).relative_to("/")).exists()
    assert len((inside / "net/dev").read_text().splitlines()) == 3  # two of headings, and the loop
    assert "CapEff:\t0000000000000000" in (inside / "status").read_text()


def check_it_lives(reading: Reading) -> None:
    inputs = reading.read(WHOLE)
    assert values_of(PLAN.columns_of([inputs])) == [[1.0, None], [1, 2], [True, None], ["a", None]]
    assert inputs.keys == ['{"k":"q"}', '{"k":"r"}']


@given(data=st.data(), signature=signatures())
def test_rows_come_through_as_they_are(reading: Reading, data: st.DataObject, signature: Signature) -> None:
    rows = data.draw(rows_of(signature.inputs))
    plan = InputPlan(signature, 10)
    inputs = reading.read(written(frame_of(signature.inputs, rows)), plan)
    expected = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in signature.inputs]
    assert (inputs.count, values_of(plan.columns_of([inputs]))) == (len(rows), expected)


def test_errors_come_through_whole(reading: Reading) -> None:
    with pytest.raises(InvalidError, match="'n' must be int64") as caught:
        reading.read(written(pl.DataFrame({"n": [1.0, 1.5]})))
    assert caught.value.fields == {"column": "n", "row": 1}
    plan = InputPlan(Signature((Column("x", FLOAT64),)), 10)
    with pytest.raises(InvalidError) as caught:
        reading.read(written(pl.DataFrame({"y": [1.0]})), plan)
    assert "published with an example" in caught.value.hint
    with pytest.raises(TooLargeError, match="11 rows"):
        reading.read(written(pl.DataFrame({"x": [1.0] * 11})))
    with pytest.raises(MalformedError, match="not a Parquet file"):
        reading.read(b"PAR1")


def test_a_damaged_file_ends_at_most_its_reader(reading: Reading) -> None:
    """Some of these bytes say how many values a page has: Polars 2.1 aborts on them."""
    for at in range(200):
        damaged = WHOLE[:at] + b"\x1b" + WHOLE[at + 1 :]
        try:
            inputs = reading.read(damaged)
        except YardError:
            continue
        assert inputs.count <= 10
    check_it_lives(reading)


@given(data=st.data())
def test_however_damaged_only_errors_of_ours_leave(reading: Reading, data: st.DataObject) -> None:
    body = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(body), data.draw(st.integers(0, len(body)))]))
    try:
        inputs = reading.read(bytes(body[:cut]))
    except YardError:
        return
    assert inputs.count <= 10


def test_a_reader_that_is_killed_is_replaced(reading: Reading) -> None:
    check_it_lives(reading)
    first = reading.pid()
    os.kill(first, signal.SIGSTOP)

    async def killed() -> None:
        asking = asyncio.create_task(reading.reader.read(PLAN, WHOLE))
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(MalformedError, match="did not survive"):
            await asking

    reading.runner.run(killed())
    check_it_lives(reading)
    assert reading.pid() != first


def test_a_reader_that_hangs_is_replaced(reading: Reading) -> None:
    check_it_lives(reading)
    first = reading.pid()
    os.kill(first, signal.SIGSTOP)
    reading.reader._seconds = 0.05
    with pytest.raises(MalformedError, match="did not survive"):
        reading.read(WHOLE)
    reading.reader._seconds = 180.0
    check_it_lives(reading)
    assert reading.pid() != first


def test_a_caller_who_goes_away_does_not_leave_his_answer_to_the_next(reading: Reading) -> None:
    async def gone() -> None:
        asking = asyncio.create_task(reading.reader.read(PLAN, written(pl.DataFrame({"x": [9.0]}))))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    reading.runner.run(gone())
    check_it_lives(reading)


def test_files_are_read_one_after_another(reading: Reading) -> None:
    files = [written(pl.DataFrame({"x": [float(i)]})) for i in range(8)]

    async def all_at_once() -> list[Inputs]:
        return await asyncio.gather(*(reading.reader.read(PLAN, body) for body in files))

    found = reading.runner.run(all_at_once())
    assert [values_of(PLAN.columns_of([inputs]))[0] for inputs in found] == [[float(i)] for i in range(8)]


def test_the_reader_ends_with_its_front(reading: Reading) -> None:
    check_it_lives(reading)
    process = reading.reader._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert reading.runner.run(asyncio.wait_for(process.wait(), 180)) == 0
    check_it_lives(reading)
