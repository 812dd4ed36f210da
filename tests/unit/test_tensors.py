"""Tensors of the Open Inference Protocol: in, JSON and binary; out, JSON and binary."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import BOOL, FLOAT64, INT64, PREDICTION, STRING, values_of

from modelyard.api.tensors import read_request, to_inputs, write_reply
from modelyard.records.errors import InvalidError, MalformedError, TooLargeError, YardError
from modelyard.records.signatures import Column, Signature
from modelyard.serving.answers import Answer
from modelyard.serving.inputs import InputPlan
from modelyard.workers.wire import Value

NUMBERS = InputPlan(Signature((Column("x", FLOAT64), Column("n", INT64, missing=True))), max_rows=10)
MIXED = InputPlan(
    Signature(
        tuple(
            Column(name, kind, missing=True)
            for name, kind in zip("xnbs", (FLOAT64, INT64, BOOL, STRING), strict=True)
        )
    ),
    max_rows=10,
)
SIGNED = ["INT8", "INT16", "INT32", "INT64"]
UNSIGNED = ["UINT8", "UINT16", "UINT32", "UINT64"]
FLOATS = ["FP16", "FP32", "FP64"]
CODES = dict(zip([*SIGNED, *UNSIGNED, *FLOATS, "BOOL"], "bhiqBHIQefd?", strict=True))


def tensor(
    name: str, datatype: str, data: Any, shape: list[int] | None = None, **more: Any
) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data, **more}


def binary(name: str, datatype: str, data: bytes, shape: list[int]) -> tuple[dict[str, Any], bytes]:
    parameters = {"binary_data_size": len(data)}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}, data


def packed(datatype: str, *values: float) -> bytes:
    return struct.pack(f"<{len(values)}{CODES[datatype]}", *values)


def strings(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(v)) + v for v in values)


def read(*tensors: Any, plan: InputPlan = MIXED, tail: bytes = b"") -> list[list[Value]]:
    """The columns' values of a request of JSON tensors, and binary ones as (tensor, data)."""
    split = [t if isinstance(t, tuple) else (t, b"") for t in tensors]
    head = json.dumps({"inputs": [t for t, _ in split]}).encode()
    body = head + b"".join(data for _, data in split) + tail
    request, rest = read_request(body, str(len(head)).encode())
    return values_of(plan.columns_of([to_inputs(request, rest, plan)]))


def test_a_tensor_a_column() -> None:
    expected = [[1.5, None], [2, -3], [True, False], ["é", ""]]
    for shape in ([2], [2, 1]):
        found = read(
            tensor("s", "BYTES", ["é", ""], shape),
            tensor("b", "BOOL", [True, False], shape),
            tensor("n", "INT64", [2, -3], shape),
            tensor("x", "FP64", [1.5, None], shape),
        )
        assert found == expected
        found = read(
            binary("x", "FP64", packed("FP64", 1.5, math.nan), shape),
            binary("n", "INT64", packed("INT64", 2, -3), shape),
            tensor("b", "BOOL", [True, False], shape),
            binary("s", "BYTES", strings("é".encode(), b""), shape),
        )
        assert found == expected


@pytest.mark.parametrize("datatype", [*SIGNED, *UNSIGNED, *FLOATS])
def test_numbers_of_every_width(datatype: str) -> None:
    for column, name in enumerate("xn"):
        for each in (tensor(name, datatype, [1, 2]), binary(name, datatype, packed(datatype, 1, 2), [2])):
            assert read(each)[column] == [1, 2]


def test_booleans_of_any_byte() -> None:
    assert read(binary("b", "BOOL", b"\x00\x01\x07", [3]))[2] == [False, True, True]


def test_one_tensor_for_all_columns() -> None:
    assert read(tensor("anything", "FP32", [[1, 2], [3, 4]], [2, 2]), plan=NUMBERS) == [[1.0, 3.0], [2, 4]]
    assert read(tensor("anything", "FP32", [1, 2, 3, 4], [2, 2]), plan=NUMBERS) == [[1.0, 3.0], [2, 4]]
    data = np.arange(6, dtype="<i4").tobytes()
    assert read(binary("any", "INT32", data, [3, 2]), plan=NUMBERS) == [[0.0, 2.0, 4.0], [1, 3, 5]]


def test_one_column_is_meant_whatever_the_tensor_is_called() -> None:
    plan = InputPlan(Signature((Column("x", FLOAT64),)), 10)
    assert read(tensor("input-0", "FP64", [1.0]), plan=plan) == [[1.0]]


def test_no_rows() -> None:
    assert read(tensor("x", "FP64", [], [0]), tensor("n", "INT64", [], [0]), plan=NUMBERS) == [[], []]
    assert read(binary("x", "FP64", b"", [0]), plan=NUMBERS) == [[], []]
    assert read(binary("any", "FP64", b"", [0, 2]), plan=NUMBERS) == [[], []]


WRONG = [
    tensor("x", "FP64", ["1"]),
    tensor("x", "FP64", [True]),
    tensor("x", "FP64", [10**400]),
    tensor("x", "FP32", [1e300]),
    tensor("x", "FP64", [[1.0], 2.0], [2]),
    tensor("x", "FP64", [{}]),
    tensor("n", "INT64", [1.5]),
    tensor("n", "INT64", [None]),
    tensor("n", "INT64", [2**63]),
    tensor("n", "UINT8", [256]),
    tensor("n", "UINT8", [-1]),
    tensor("n", "UINT64", [2**64 - 1]),
    tensor("n", "FP64", [1.5]),
    tensor("b", "BOOL", ["no"]),
    tensor("b", "BOOL", [1]),
    tensor("b", "FP64", [1.0]),
    tensor("s", "BYTES", [1]),
    tensor("s", "BYTES", ["a\0b"]),
    tensor("s", "FP64", [1.0]),
    tensor("x", "BYTES", ["one"]),
    tensor("x", "COMPLEX", [1.0]),
    tensor("x", "FP64", [1.0, 2.0], [3]),
    tensor("x", "FP64", [1.0], [-1]),
    tensor("x", "FP64", [1.0], [1, -1, -1]),
    tensor("x", "FP64", [1.0], [2**62, 4]),
    tensor("x", "FP64", [1.0], [2**31] * 8),
    tensor("x", "FP64", [1.0], [1] * 9),
    tensor("x", "FP64", [1.0], [1, 1, 1]),
    tensor("x", "FP64", [1.0, 2.0], [1, 2]),
    tensor("x", "FP64", None, [1]),
    binary("x", "FP64", b"\0" * 7, [1]),
    binary("x", "FP64", b"\0" * 16, [1]),
    binary("x", "FP64", b"\0" * 8, [2**31, 2**31]),
    binary("s", "BYTES", b"\xff\xff\xff\xff", [1]),
    binary("s", "BYTES", b"\x02\0\0\0a", [1]),
    binary("s", "BYTES", b"\x01\0", [1]),
    binary("s", "BYTES", strings(b"a", b"b"), [1]),
    binary("s", "BYTES", strings(b"a"), [2]),
    binary("s", "BYTES", strings(b"\xff"), [1]),
    binary("s", "BYTES", strings(b"a\0"), [1]),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: str(w)[:70])
def test_shapes_types_and_lengths_must_agree(wrong: Any) -> None:
    """HARDENING 27."""
    name = (wrong[0] if isinstance(wrong, tuple) else wrong)["name"]
    with pytest.raises(InvalidError) as caught:
        read(wrong)
    assert len(str(caught.value)) < 500
    assert f"'{name}'" in caught.value.message or "no inference request" in caught.value.message


@pytest.mark.parametrize("size", [-1, 9, 2**62, "8", 1.5, None])
def test_a_binary_size_within_the_body(size: Any) -> None:
    each, data = binary("x", "FP64", packed("FP64", 1.0), [1])
    each["parameters"]["binary_data_size"] = size
    with pytest.raises(InvalidError):
        read((each, data))


def test_data_that_belongs_to_no_tensor() -> None:
    with pytest.raises(InvalidError, match="9 bytes of binary data; its tensors take 8"):
        read(binary("x", "FP64", packed("FP64", 1.0), [1]), tail=b"\0")
    both, data = binary("x", "FP64", packed("FP64", 1.0), [1])
    with pytest.raises(InvalidError, match="twice"):
        read(({**both, "data": [1.0]}, data))


def test_tensors_of_one_request_fit_together() -> None:
    with pytest.raises(InvalidError, match="different numbers of rows"):
        read(tensor("x", "FP64", [1.0]), tensor("n", "INT64", [1, 2]))
    with pytest.raises(InvalidError, match="there are none"):
        read()
    with pytest.raises(InvalidError, match="'x' is twice"):
        read(tensor("x", "FP64", [1.0]), tensor("x", "FP64", [2.0]))
    with pytest.raises(TooLargeError, match="11 rows"):
        read(tensor("x", "FP64", [1.0] * 11))
    with pytest.raises(InvalidError, match=r"'x' .* is not there"):
        read(tensor("n", "INT64", [1]), plan=NUMBERS)


@pytest.mark.parametrize("length", [b"-1", b"+1", b" 1", b"x", b"3", b"9" * 5000, b"1.0"])
def test_a_json_length_within_the_body(length: bytes) -> None:
    with pytest.raises(MalformedError, match="Inference-Header-Content-Length"):
        read_request(b"{}", length)


DEEP = b'{"inputs":[],"parameters":{"a":' + b"[" * 100_000


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"inputs":[],"id":"\xff"}', DEEP], ids=lambda b: b[:9]
)
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(MalformedError):
        read_request(body, b"")


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"inputs": 1}', b'{"inputs": [{"name": "x"}]}', b'{"inputs": [], "id": 1}']
)
def test_what_is_no_inference_request(body: bytes) -> None:
    with pytest.raises(InvalidError, match="no inference request"):
        read_request(body, b"")


ANSWER = Answer(
    "finance/fuel-cost",
    3,
    "id-1",
    Signature(
        (Column("x", FLOAT64),),
        (Column("label", STRING), Column("n", INT64), Column("b", BOOL), Column("p", FLOAT64)),
    ),
    [["é", None], [2**53 + 1, None], [True, None], [0.5, math.nan]],
)


def reply(answer: Answer = ANSWER, **request: Any) -> tuple[dict[str, Any], bytes]:
    asked, _ = read_request(json.dumps({"inputs": [], **request}).encode(), b"")
    body, length = write_reply(asked, answer)
    head = body if length is None else body[:length]
    return json.loads(head), body[len(head) :]


def test_a_reply_in_json() -> None:
    found, rest = reply(id="42")
    assert rest == b""
    assert found == {
        "model_name": "finance.fuel-cost",
        "model_version": "3",
        "id": "42",
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["é", None]},
            {"name": "n", "datatype": "INT64", "shape": [2], "data": [2**53 + 1, None]},
            {"name": "b", "datatype": "BOOL", "shape": [2], "data": [True, None]},
            {"name": "p", "datatype": "FP64", "shape": [2], "data": [0.5, None]},
        ],
    }


def test_a_reply_in_binary() -> None:
    found, rest = reply(parameters={"binary_data_output": True})
    sizes = [o["parameters"]["binary_data_size"] for o in found["outputs"]]
    label, n, b, p = (rest[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(4))
    assert label == strings("é".encode(), b"")
    assert np.frombuffer(n, "<i8").tolist() == [2**53 + 1, 0]
    assert b == b"\x01\x00"
    assert np.frombuffer(p, "<f8").tolist()[0] == 0.5
    assert math.isnan(np.frombuffer(p, "<f8")[1])
    assert sum(sizes) == len(rest)


def test_some_outputs_each_in_its_own_form() -> None:
    wanted = [{"name": "p", "parameters": {"binary_data": True}}, {"name": "n"}]
    found, rest = reply(outputs=wanted)
    assert [(o["name"], "data" in o) for o in found["outputs"]] == [("p", False), ("n", True)]
    assert len(rest) == 16
    wanted = [{"name": "p", "parameters": {"binary_data": False}}]
    found, rest = reply(outputs=wanted, parameters={"binary_data_output": True})
    assert (found["outputs"][0]["data"], rest) == ([0.5, None], b"")


def test_outputs_that_are_not_there_or_asked_for_twice() -> None:
    with pytest.raises(InvalidError, match="no output 'q'"):
        reply(outputs=[{"name": "q"}])
    with pytest.raises(InvalidError, match="'p' is twice"):
        reply(outputs=[{"name": "p"}, {"name": "p"}])


def test_no_rows_in_binary() -> None:
    empty = Answer("a/b", 1, "id", Signature((), PREDICTION), [[]])
    found, rest = reply(empty, parameters={"binary_data_output": True})
    assert (found["outputs"][0]["shape"], rest) == ([0], b"")


PARTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "n", "b", "s", "k"]),
        "datatype": st.sampled_from([*CODES, "BYTES", "FP8"]),
        "shape": st.lists(st.integers(-1, 3) | st.integers(), max_size=3),
    },
    optional={
        "data": st.lists(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), max_size=4
        ),
        "parameters": st.dictionaries(st.just("binary_data_size"), st.integers(0, 16)),
    },
)


@given(tensors=st.lists(PARTS, max_size=4), tail=st.binary(max_size=40))
def test_whatever_comes_only_errors_of_ours_leave(tensors: list[dict[str, Any]], tail: bytes) -> None:
    try:
        values = read(*tensors, tail=tail)
    except YardError:
        return
    assert len({len(column) for column in values}) == 1


@given(
    body=st.binary() | st.text("{}[]:,0").map(str.encode),
    length=st.binary(max_size=4) | st.integers(0, 40).map(lambda n: str(n).encode()),
)
def test_whatever_bytes_come_only_errors_of_ours_leave(body: bytes, length: bytes) -> None:
    with pytest.raises(YardError):
        read_request(body, length)
