"""Golden and bad frames, read and written by the yard's codec and by the Python runtime's."""

from __future__ import annotations

import socket
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.client.runtime import load_runtime
from modelyard.records.errors import MalformedError
from modelyard.workers import wire
from modelyard.workers.wire import Frame
from tests.contract.frames_cases import frames

FRAMES = Path(__file__).parents[2] / "contract/frames"
GOLDEN = sorted(FRAMES.glob("*.frame"))
BAD = sorted((FRAMES / "bad").glob("*.frame"))
codec = load_runtime("frames")
service = load_runtime("service")


def read(data: bytes, reader: Any = None) -> Any:
    """A frame as the runtime reads it from a stream."""
    prefix = data[: codec.PREFIX.size]
    if len(prefix) < codec.PREFIX.size:
        raise codec.FrameError(
            "cut short"
        )  # the worker waits for the rest and drops the connection at its end
    header, body = codec.lengths(prefix)
    rest = data[codec.PREFIX.size :]
    if len(rest) < header + body:
        raise codec.FrameError("cut short")
    return (reader or codec.Reader()).decode(rest[:header], bytearray(rest[header:]))


def write(frame: Any) -> bytes:
    made: bytes = codec.encode(frame.verb, frame.fields, frame.rows, frame.columns)
    return made


def test_there_are_golden_and_bad_frames() -> None:
    assert len(GOLDEN) >= 18
    assert len(BAD) >= 23


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_frames_are_written_again_byte_for_byte(path: Path) -> None:
    data = path.read_bytes()
    assert wire.encode(wire.decode(data)) == data
    assert write(read(data)) == data


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_frames_are_refused_with_a_reason(path: Path) -> None:
    data = path.read_bytes()
    with pytest.raises(MalformedError, match=r"\w"):
        wire.decode(data)
    with pytest.raises(codec.FrameError, match=r"\w"):
        read(data)


def test_the_golden_values_are_what_they_say() -> None:
    mixed = {column[0]: column for column in read((FRAMES / "mixed.frame").read_bytes()).columns}
    assert mixed["a b\tc"][2].tolist() == [0.1, 0.2]
    assert mixed["π"][2].tolist() == [7, 8]
    assert mixed["\\"][3].tolist() == [True, False]
    assert mixed["d"][2] == ["x", "y"]
    large = read((FRAMES / "int64-large.frame").read_bytes()).columns[0]
    assert large[2].tolist() == [-(2**63), 2**63 - 1, 0, 2**53 + 1]
    assert large[3].tolist() == [True, True, False, True]
    load = read((FRAMES / "load.frame").read_bytes())
    assert load.get("entry") == "model.rds"
    assert load.all("input")[1] == ("carrier", "string", "1", "AA", "UA")


def test_a_frame_of_doubles_is_a_matrix_as_it_lies() -> None:
    frame = read(
        codec.encode(
            "infer", [("id", "1")], 2, [("a", "float64", [1, 2], None), ("b", "float64", [3, 4], None)]
        )
    )
    assert frame.matrix.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert frame.matrix.flags.writeable


@given(frames())
def test_both_codecs_agree_on_frames_of_any_shape(frame: Frame) -> None:
    data = wire.encode(frame)
    assert write(read(data)) == data


@given(frames(), frames())
def test_a_layout_seen_before_changes_nothing(one: Frame, two: Frame) -> None:
    reader = codec.Reader()
    for frame in (one, two, one, two):
        data = wire.encode(frame)
        assert write(read(data, reader)) == data


@given(frames(), st.data())
def test_damage_is_judged_alike_by_both(frame: Frame, data: st.DataObject) -> None:
    damaged = bytearray(wire.encode(frame))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert _accepts_runtime(bytes(damaged)) == _accepts_yard(bytes(damaged))


def _accepts_runtime(data: bytes) -> bool:
    try:
        frame = read(data)
    except codec.FrameError:
        return False
    assert frame.columns is not None
    return True


def _accepts_yard(data: bytes) -> bool:
    try:
        for column in wire.decode(data).columns:
            wire.to_values(column)
    except MalformedError:
        return False
    return True


def test_a_layout_seen_before_does_not_excuse_a_header_without_its_end() -> None:
    reader = codec.Reader()
    assert read(wire.encode(Frame("ping", (("id", "1"),))), reader).id == "1"
    with pytest.raises(codec.FrameError, match="line end"):
        reader.decode(b"ping\nid\t2", bytearray())


def test_the_cache_of_layouts_does_not_grow_without_end() -> None:
    reader = codec.Reader()
    for rows in range(2_000):
        read(codec.encode("infer", [("id", "1")], rows, [("x", "float64", [0.0] * rows, None)]), reader)
    assert len(reader._layouts) <= codec._CACHED


def test_an_answer_over_the_limit_or_with_a_nul_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(codec.FrameError, match="NUL"):
        codec.encode("answer", [("id", "1")], 1, [("label", "string", ["a\0"], None)])
    monkeypatch.setattr(codec, "MAX_BODY", 7)
    with pytest.raises(codec.FrameError, match="fewer rows"):
        codec.encode("answer", [("id", "1")], 1, [("x", "float64", [1.0], None)])


@given(given=st.lists(frames(), min_size=1, max_size=4), data=st.data())
def test_frames_come_whole_and_in_order_however_they_are_cut(given: list[Frame], data: st.DataObject) -> None:
    """Small ones together, and those for which a connection's own space is too small."""
    written = [wire.encode(frame) for frame in given]
    stream = b"".join(written)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "_KEPT", data.draw(st.integers(codec.PREFIX.size, 200)))
        yard, worker = socket.socketpair()
        with yard, worker:
            worker.settimeout(0)
            connection = service.Connection(worker)
            for start, end in pairwise([0, *cuts, len(stream)]):
                yard.sendall(stream[start:end])
                with suppress(BlockingIOError):
                    while True:
                        connection.receive()
                        while (parts := connection.take()) is not None:
                            found.append(b"".join(parts))
    assert found == [one[codec.PREFIX.size :] for one in written]
