"""The yard's own codec: values to columns and back, frames to bytes and back, and what it refuses."""

from __future__ import annotations

import math
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.frames_cases import frames, texts

from modelyard.records.errors import InvalidError, MalformedError, TooLargeError, YardError
from modelyard.records.signatures import ColumnType
from modelyard.workers import wire
from modelyard.workers.wire import ColumnData, Frame, Value, as_float64, from_values, present, to_values


@given(frames())
def test_a_frame_comes_back_as_it_was(frame: Frame) -> None:
    back = wire.decode(wire.encode(frame))
    assert (back.verb, back.fields, back.rows) == (frame.verb, frame.fields, frame.rows)
    assert [(c.name, c.type, bytes(c.data)) for c in back.columns] == [
        (c.name, c.type, c.data) for c in frame.columns
    ]
    assert [c.validity and bytes(c.validity) for c in back.columns] == [c.validity for c in frame.columns]


@given(frames(), st.data())
def test_a_damaged_frame_is_read_or_refused_and_nothing_else(frame: Frame, data: st.DataObject) -> None:
    damaged = bytearray(wire.encode(frame))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedError):
        for column in wire.decode(damaged).columns:
            assert len(to_values(column)) <= len(damaged)


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
def test_whole_numbers_keep_all_64_bits(values: list[Value]) -> None:
    column = from_values("n", ColumnType.INT64, values)
    assert to_values(column) == values
    assert (column.validity is None) == (None not in values)


@given(st.lists(st.none() | texts))
def test_strings_keep_empty_and_missing_apart(values: list[Value]) -> None:
    assert to_values(from_values("s", ColumnType.STRING, values)) == values


@given(st.lists(st.none() | st.booleans()))
def test_booleans(values: list[Value]) -> None:
    assert to_values(from_values("b", ColumnType.BOOL, values)) == values


@given(st.lists(st.floats(allow_nan=False)))
def test_doubles_come_back_to_the_bit(values: list[Value]) -> None:
    back = to_values(from_values("x", ColumnType.FLOAT64, values))
    assert [struct.pack("<d", v) for v in back] == [struct.pack("<d", v) for v in values]


def test_a_missing_double_is_nan_without_a_validity_block() -> None:
    column = from_values("x", ColumnType.FLOAT64, [1, None])
    assert column.validity is None
    first, second = to_values(column)
    assert first == 1.0
    assert isinstance(second, float)
    assert math.isnan(second)


def test_present_leaves_out_what_is_missing() -> None:
    assert present(from_values("s", ColumnType.STRING, ["a", None, ""])) == ["a", ""]
    assert present(from_values("n", ColumnType.INT64, [7, 8])) == [7, 8]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ColumnType.FLOAT64, ["1"]),
        (ColumnType.INT64, [1.5]),
        (ColumnType.INT64, [2**63]),
        (ColumnType.STRING, [1]),
        (ColumnType.STRING, ["a\0b"]),
        (ColumnType.STRING, ["\ud800"]),
    ],
)
def test_values_of_another_type_are_refused_by_name(kind: ColumnType, values: list[Value]) -> None:
    with pytest.raises(InvalidError, match="'age'"):
        from_values("age", kind, values)


def test_whole_numbers_become_doubles_only_where_doubles_hold_them() -> None:
    fits = from_values("n", ColumnType.INT64, [2**53 - 1, None, -5])
    assert to_values(as_float64(fits))[::2] == [2.0**53 - 1, -5.0]
    assert math.isnan(to_values(as_float64(fits))[1])  # type: ignore[arg-type]
    for value in (2**53, -(2**53), 2**63 - 1):
        with pytest.raises(InvalidError, match=r"'n' has a whole number of 2\^53"):
            as_float64(from_values("n", ColumnType.INT64, [value]))


def test_a_nul_in_a_name_or_field_is_refused() -> None:
    column = ColumnData("a\0b", ColumnType.BOOL, b"\x01")
    for frame in (Frame("ping", (("id", "\0"),)), Frame("p\0"), Frame("infer", (), 1, (column,))):
        with pytest.raises(YardError, match="NUL"):
            wire.encode(frame)


def test_limits_of_header_and_body(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLargeError, match="over the limit"):
        wire.encode(Frame("x" * (wire.MAX_HEADER + 1)))
    monkeypatch.setattr(wire, "MAX_BODY", 7)
    with pytest.raises(TooLargeError):
        wire.encode(Frame("infer", (), 1, (from_values("x", ColumnType.FLOAT64, [1.0]),)))
    with pytest.raises(MalformedError, match="over the limit"):
        wire.lengths(wire.PREFIX.pack(wire.MAGIC, 5, 8))


def test_get_takes_the_first_field_of_a_name() -> None:
    frame = Frame("load", (("option",), ("option", "a", "1"), ("option", "b", "2")))
    assert frame.get("option") == "a"
    assert frame.get("entry", "none") == "none"


def test_64_an_answer_is_not_larger_than_its_question_can_have() -> None:
    assert wire.largest_answer(100) < 70 * 2**20
    assert wire.largest_answer(50_000 * 8) > 50_000 * 8 * 1000, "a thousand classes for rows of one column"
    assert wire.largest_answer(2**31) == wire.MAX_BODY
    prefix = wire.PREFIX.pack(wire.MAGIC, 5, 1 << 30)
    assert wire.lengths(prefix) == (5, 1 << 30)
    with pytest.raises(MalformedError, match="over the limit"):
        wire.lengths(prefix, wire.largest_answer(100))
