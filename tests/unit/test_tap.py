"""The tap: one frame a batch, each row with its request; and an error of the spool comes through."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import FLOAT64, STRING

from modelyard.records.errors import UnavailableError
from modelyard.serving.tap import Asked, Tap
from modelyard.workers.wire import ColumnData, Frame, block_of, decode, from_values, to_values


def record(asked: list[Asked], inputs: list[ColumnData], outputs: list[ColumnData]) -> Frame:
    written: list[bytes] = []
    Tap(written.append).record("finance/fuel-cost", 3, asked, block_of(inputs), block_of(outputs))
    (only,) = written
    return decode(only)


def column(name: str, rows: int) -> ColumnData:
    return from_values(name, FLOAT64, [float(i) for i in range(rows)])


@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=4), keyed=st.sets(st.integers(0, 3)))
def test_each_row_has_its_request(counts: list[int], keyed: set[int]) -> None:
    began = time.monotonic() - 1.0
    asked = [
        Asked(f"id-{i}", f"caller-{i}", "champion", n, began, [f'{{"k":{i}}}'] * n if i in keyed else None)
        for i, n in enumerate(counts)
    ]
    total = sum(counts)
    frame = record(asked, [column("x", total)], [column("prediction", total)])
    assert (frame.verb, frame.rows) == ("predictions", total)
    assert (frame.get("model"), frame.get("version")) == ("finance/fuel-cost", "3")
    assert abs(int(frame.get("at")) / 1e6 - time.time()) < 60
    found = {c.name: to_values(c) for c in frame.columns}
    each = [i for i, n in enumerate(counts) for _ in range(n)]
    assert found["request"] == [f"id-{i}" for i in each]
    assert found["caller"] == [f"caller-{i}" for i in each]
    assert found["row"] == [row for n in counts for row in range(n)]
    assert all(isinstance(s, float) and 1.0 <= s < 60 for s in found["seconds"])
    if any(i in keyed for i in each):
        assert found["keys"] == [f'{{"k":{i}}}' if i in keyed else None for i in each]
    else:
        assert "keys" not in found
    assert found["in:x"] == found["out:prediction"] == [float(i) for i in range(total)]


def test_the_columns_go_as_they_came() -> None:
    text = from_values("s", STRING, ["a", None])
    frame = record([Asked("id", "c", "v", 2, 0.0)], [text], [])
    (found,) = [c for c in frame.columns if c.name == "in:s"]
    assert (bytes(found.data), bytes(found.validity or b"")) == (text.data, text.validity)


def test_an_error_of_the_spool_comes_through() -> None:
    def full(_: bytes) -> None:
        raise UnavailableError("The disk is full.")

    with pytest.raises(UnavailableError, match="disk is full"):
        Tap(full).record(
            "finance/fuel-cost", 3, [Asked("id", "c", "v", 1, 0.0)], block_of([column("x", 1)]), block_of([])
        )
