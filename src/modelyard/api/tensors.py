"""Open Inference Protocol v2: requests' tensors to tables, answers to tensors, JSON or binary."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta, Struct, field

from modelyard.records.errors import InvalidError, MalformedError
from modelyard.records.references import shown
from modelyard.records.signatures import ColumnType
from modelyard.serving.answers import Answer
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.tables import from_table
from modelyard.workers.wire import Value

_NUMPY = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
DATATYPES = {
    ColumnType.FLOAT64: "FP64",
    ColumnType.INT64: "INT64",
    ColumnType.BOOL: "BOOL",
    ColumnType.STRING: "BYTES",
}
_LENGTH = struct.Struct("<I")
_TABLE_RANK = 2
_LONGEST_NUMBER = 10  # digits of a length
_SEE = "See the Open Inference Protocol v2; docs/applications.md has an example."
_ASK = "GET /v2/models/DEPARTMENT.NAME says what each input takes."

# Small enough that their product is a number of reasonable size, whatever it says.
Dimension = Annotated[int, Meta(ge=0, le=2**31)]


class Tensor(Struct, kw_only=True):
    """An input or output; `data` is a list (JSON) or None where it is binary."""

    name: str
    datatype: str
    shape: Annotated[list[Dimension], Meta(min_length=1, max_length=8)]
    parameters: dict[str, Any] = field(default_factory=dict)
    data: list[Any] | None = None


class Wanted(Struct, kw_only=True):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


class InferRequest(Struct, kw_only=True):
    """The JSON part of a request."""

    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: list[Wanted] | None = None


class _InferReply(Struct, kw_only=True, omit_defaults=True):
    model_name: str
    model_version: str
    id: str
    outputs: list[Any]


def read_request(body: bytes, json_length: bytes) -> tuple[InferRequest, bytes]:
    """The JSON part and the binary part.

    Args:
        json_length: the header `Inference-Header-Content-Length`, empty where there is none.

    Raises:
        MalformedError: the length is not one, or the JSON is none.
        InvalidError: the JSON is no inference request.
    """
    end = len(body)
    if json_length:
        short = json_length.isdigit() and len(json_length) <= _LONGEST_NUMBER
        if not short or int(json_length) > len(body):
            message = "Inference-Header-Content-Length is not a length within the body."
            raise MalformedError(message, "It is the number of bytes of the JSON before the binary data.")
        end = int(json_length)
    try:
        return msgspec.json.decode(body[:end], type=InferRequest), body[end:]
    except msgspec.ValidationError as error:
        raise InvalidError(f"The body is no inference request: {error}.", _SEE) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"The body's JSON cannot be read: {error}.", _SEE) from error


def to_inputs(request: InferRequest, binary: bytes, plan: InputPlan) -> Inputs:
    """The request's tensors as rows of the signature.

    Each column is a tensor of shape [n] or [n, 1]; or one tensor [n, columns] holds all, if all are numbers.

    Raises:
        InvalidError: shapes, types and lengths do not agree, or do not fit the signature.
    """
    series: dict[str, pl.Series] = {}
    at = 0
    _refuse_twice([tensor.name for tensor in request.inputs], "input")
    for tensor in request.inputs:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            values = _from_json(tensor)
        else:
            if not isinstance(size, int) or size < 0 or at + size > len(binary) or tensor.data is not None:
                raise InvalidError(
                    f"The binary data of {shown(tensor.name)} reaches beyond the body, or is there twice.",
                    _SEE,
                )
            values = _from_binary(tensor, binary[at : at + size])
            at += size
        series.update(_columns(tensor, values, plan, alone=len(request.inputs) == 1))
    if at != len(binary):
        raise InvalidError(f"The body has {len(binary)} bytes of binary data; its tensors take {at}.", _SEE)
    heights = {len(s) for s in series.values()}
    if len(heights) != 1:
        message = "The tensors have different numbers of rows, or there are none."
        raise InvalidError(message, "Give each the same first dimension.")
    return from_table(plan, pl.DataFrame([s.alias(name) for name, s in series.items()]))


def _refuse_twice(names: list[str], what: str) -> None:
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise InvalidError(f"The {what} {shown(twice)} is twice in the request.", "Leave one out.")


def _from_json(tensor: Tensor) -> np.ndarray[Any, Any] | list[str]:
    if tensor.data is None:
        raise InvalidError(f"The tensor {shown(tensor.name)} has no data.", _SEE)
    flat = _flatten(tensor.data)
    due = math.prod(tensor.shape)
    if len(flat) != due:
        message = f"The tensor {shown(tensor.name)} has {len(flat)} values; its shape says {due}."
        raise InvalidError(message, _SEE)
    kind = "s" if tensor.datatype == "BYTES" else _dtype(tensor).kind
    for row, value in enumerate(flat):  # numpy would turn 1.5 into 1 and "no" into true
        if not _IS[kind](value):
            message = f"Value {row} of {shown(tensor.name)} is not {tensor.datatype}: {shown(str(value))}."
            raise InvalidError(message, _ASK, row=row)
    if tensor.datatype == "BYTES":
        return flat
    try:
        with np.errstate(over="raise"):
            return np.array(flat, dtype=_dtype(tensor))
    except (OverflowError, FloatingPointError) as error:
        message = f"A value of {shown(tensor.name)} is beyond {tensor.datatype}."
        raise InvalidError(message, _ASK) from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# By numpy's kinds: what a value of JSON must be. null is NaN among floating-point numbers.
_IS: dict[str, Callable[[object], bool]] = {
    "b": lambda v: isinstance(v, bool),
    "f": lambda v: v is None or _is_number(v),
    "i": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "u": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "s": lambda v: isinstance(v, str),
}


def _flatten(data: list[Any]) -> list[Any]:
    while data and all(isinstance(part, list) for part in data):
        data = [value for part in data for value in part]
    return data


def _from_binary(tensor: Tensor, data: bytes) -> np.ndarray[Any, Any] | list[str]:
    count = math.prod(tensor.shape)
    if tensor.datatype == "BYTES":
        return _strings(tensor, data, count)
    dtype = _dtype(tensor)
    if count * dtype.itemsize != len(data):
        raise InvalidError(
            f"The tensor {shown(tensor.name)} has {len(data)} bytes; {tensor.shape} of {tensor.datatype} "
            f"has {count * dtype.itemsize}.",
            _SEE,
        )
    return np.frombuffer(data, dtype=dtype)


def _strings(tensor: Tensor, data: bytes, count: int) -> list[str]:
    values: list[str] = []
    at = 0
    try:
        while at < len(data) and len(values) <= count:
            (size,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size + size
            if at > len(data):
                break
            values.append(data[at - size : at].decode())
    except (struct.error, UnicodeDecodeError) as error:
        raise InvalidError(f"A string of {shown(tensor.name)} cannot be read: {error}.", _SEE) from error
    if at != len(data) or len(values) != count:
        message = f"The BYTES tensor {shown(tensor.name)} does not hold the {count} strings its shape says."
        raise InvalidError(message, _SEE)
    return values


def _dtype(tensor: Tensor) -> np.dtype[Any]:
    code = _NUMPY.get(tensor.datatype)
    if code is None:
        raise InvalidError(
            f"The datatype {shown(tensor.datatype)} of {shown(tensor.name)} is not taken.",
            f"Use {', '.join(_NUMPY)} or BYTES.",
        )
    return np.dtype(code)


def _columns(
    tensor: Tensor, values: np.ndarray[Any, Any] | list[str], plan: InputPlan, *, alone: bool
) -> dict[str, pl.Series]:
    shape = tensor.shape
    if len(shape) == 1 or (len(shape) == _TABLE_RANK and shape[1] == 1):
        name = tensor.name
        if alone and len(plan.columns) == 1 and name != plan.columns[0].name:
            name = plan.columns[0].name  # one column, one tensor: no other can be meant
        return {name: _series(values)}
    if alone and shape == [shape[0], len(plan.columns)] and isinstance(values, np.ndarray):
        table = values.reshape(shape)
        return {c.name: _series(np.ascontiguousarray(table[:, i])) for i, c in enumerate(plan.columns)}
    raise InvalidError(
        f"The tensor {shown(tensor.name)} has the shape {shape}.",
        f"Send one tensor of shape [n] or [n, 1] a column, or one of [n, {len(plan.columns)}] for all.",
    )


def _series(values: np.ndarray[Any, Any] | list[str]) -> pl.Series:
    if isinstance(values, list):
        return pl.Series(values, dtype=pl.String)
    return pl.Series(values.astype(np.float32) if values.dtype == np.float16 else values)


def write_reply(request: InferRequest, answer: Answer) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON part if binary data follows.

    Raises:
        InvalidError: an output is asked for that the model does not have.
    """
    columns = {c.name: (c, v) for c, v in zip(answer.signature.outputs, answer.outputs, strict=True)}
    every = request.parameters.get("binary_data_output") is True
    wanted = request.outputs or [Wanted(name=name) for name in columns]
    _refuse_twice([want.name for want in wanted], "output")
    outputs, binary = [], bytearray()
    for want in wanted:
        if want.name not in columns:
            raise InvalidError(
                f"The model has no output {shown(want.name)}.", f"It has {', '.join(columns)}."
            )
        column, values = columns[want.name]
        tensor: dict[str, Any] = {
            "name": column.name,
            "datatype": DATATYPES[column.type],
            "shape": [len(values)],
        }
        if want.parameters.get("binary_data", every) is True:
            data = _to_binary(column.type, values)
            tensor["parameters"] = {"binary_data_size": len(data)}
            binary += data
        else:
            tensor["data"] = values
        outputs.append(tensor)
    name = answer.model.replace("/", ".")
    reply = _InferReply(model_name=name, model_version=str(answer.version), id=request.id, outputs=outputs)
    head = msgspec.json.encode(reply)
    return head + bytes(binary), len(head) if binary else None


def _to_binary(kind: ColumnType, values: list[Value]) -> bytes:
    if kind is ColumnType.STRING:
        texts = [str(v or "").encode() for v in values]
        return b"".join(_LENGTH.pack(len(t)) + t for t in texts)
    if kind is ColumnType.FLOAT64:
        values = [math.nan if v is None else v for v in values]
    return np.array([0 if v is None else v for v in values], dtype=_NUMPY[DATATYPES[kind]]).tobytes()
