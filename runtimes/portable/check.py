"""The check of an ONNX file before onnxruntime opens it: everything not known here is refused.

A file is data, but data that makes a program allocate and read other files. So what may stand in it is named:
fields, operators, types; each tensor's shape must be that of the bytes that are there; nothing is outside.
"""

from __future__ import annotations

import math

from . import protobuf
from .protobuf import BYTES, VARINT, BrokenError

MAX_FILE = 512 * 1024 * 1024
MAX_NODES = 20_000
MAX_TENSORS = 20_000
MAX_RANK = 6
MAX_INPUTS = 2_000
_MAX_DIMENSION = 2**31
# float, int32, int64, bool, double, uint8, int8, string: bytes of a value
_TYPES = {1: 4, 6: 4, 7: 8, 9: 1, 11: 8, 2: 1, 3: 1, 8: 0}

# What the converters write, and no operator whose output's size is in the data (ConstantOfShape, Expand,
# Tile, Range, Pad, Resize …), that loops, calls, branches or reads.
OPERATORS = {
    "": frozenset({
        "Abs", "Add", "And", "ArgMax", "ArgMin", "Cast", "Clip", "Concat", "Constant", "Div", "Equal",
        "Exp", "Flatten", "Gather", "Gemm", "Greater", "GreaterOrEqual", "Identity", "IsNaN", "Less",
        "LessOrEqual", "Log", "MatMul", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal",
        "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare",
        "Relu", "Reshape", "Shape", "Sigmoid", "Sign", "Slice", "Softmax", "Split", "Sqrt", "Squeeze",
        "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze", "Where", "Xor",
    }),
    "ai.onnx.ml": frozenset({
        "ArrayFeatureExtractor", "Binarizer", "FeatureVectorizer", "Imputer", "LabelEncoder",
        "LinearClassifier", "LinearRegressor", "Normalizer", "OneHotEncoder", "SVMClassifier",
        "SVMRegressor", "Scaler", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor",
    }),
}  # fmt: skip
_DOMAIN_NAMES = {"ai.onnx": ""}


class UnsafeError(Exception):
    """The file is none that may be loaded; the message says why."""


def check(data: bytes) -> None:
    """Look at every part of an ONNX file.

    Raises:
        UnsafeError: it is no ONNX file, or has what may not be in one.
    """
    if len(data) > MAX_FILE:
        raise UnsafeError(f"The ONNX file has {len(data)} bytes; the limit is {MAX_FILE}.")
    try:
        _Check().model(memoryview(data))
    except BrokenError as error:
        raise UnsafeError(f"This is not an ONNX file: it has {error}.") from None


class _Check:
    """Counts over the whole file."""

    def __init__(self) -> None:
        self._nodes = self._tensors = 0

    def model(self, data: memoryview) -> None:
        """ModelProto: version, names, operator sets, metadata, one graph."""
        graphs = 0
        for number, kind, value in protobuf.fields(data):
            _expect(number, kind, {1: VARINT, 5: VARINT}, {2, 3, 4, 6, 7, 8, 14}, "model")
            if number == 8:  # noqa: PLR2004  # onnx.proto's numbers stand in these functions as they are there
                self._domain(value)
            if number == 7:  # noqa: PLR2004
                graphs += 1
                self._graph(value)
        if graphs != 1:
            raise UnsafeError(f"This is not an ONNX file: it has {graphs} graphs where one must be.")

    @staticmethod
    def _domain(data: memoryview) -> None:
        for number, kind, value in protobuf.fields(data):
            _expect(number, kind, {2: VARINT}, {1}, "operator set")
            if number == 1 and _domain_of(protobuf.text(value)) not in OPERATORS:
                raise UnsafeError(f"Operators of {protobuf.text(value)!r} are not among those allowed.")

    def _graph(self, data: memoryview) -> None:
        """GraphProto: nodes, initializers, inputs, outputs, types in between."""
        inputs = 0
        for number, kind, value in protobuf.fields(data):
            _expect(number, kind, {}, {1, 2, 5, 10, 11, 12, 13}, "graph")
            if number == 1:
                self._node(value)
            elif number == 5:  # noqa: PLR2004
                self._tensor(value)
            elif number in (11, 12, 13):
                inputs += number == 11  # noqa: PLR2004
                _value_info(value)
        if inputs > MAX_INPUTS:
            raise UnsafeError(f"The graph has {inputs} inputs; the limit is {MAX_INPUTS}.")

    def _node(self, data: memoryview) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise UnsafeError(f"The graph has more than {MAX_NODES} nodes.")
        operator, domain = "", ""
        for number, kind, value in protobuf.fields(data):
            _expect(number, kind, {}, {1, 2, 3, 4, 5, 6, 7}, "node")
            if number == 4:  # noqa: PLR2004
                operator = protobuf.text(value)
            elif number == 7:  # noqa: PLR2004
                domain = _domain_of(protobuf.text(value))
            elif number == 5:  # noqa: PLR2004
                self._attribute(value)
        if operator not in OPERATORS.get(domain, ()):
            raise UnsafeError(f"The operator {domain + '.' if domain else ''}{operator} is not allowed.")

    def _attribute(self, data: memoryview) -> None:
        """AttributeProto: numbers, text and tensors; no graph in it, no sparse tensor, no type."""
        for number, kind, value in protobuf.fields(data):
            flat = {2: protobuf.FIXED32, 3: VARINT, 20: VARINT}
            if number in (7, 8) and kind in (VARINT, protobuf.FIXED32):
                continue  # a list that is not packed
            _expect(number, kind, flat, {1, 4, 5, 7, 8, 9, 10, 13}, "attribute")
            if number in (5, 10):
                self._tensor(value)

    def _tensor(self, data: memoryview) -> None:
        """TensorProto: the numbers it says it has are there, in the file itself."""
        self._tensors += 1
        if self._tensors > MAX_TENSORS:
            raise UnsafeError(f"The graph has more than {MAX_TENSORS} tensors.")
        shape, data_type, have, raw = [], 0, 0, None
        for number, kind, value in protobuf.fields(data):
            if number in (13, 14):
                raise UnsafeError("The file names data outside itself.")
            if number == 1:
                shape += protobuf.numbers(kind, value)
            elif number == 2:  # noqa: PLR2004
                data_type = value
            elif number == 9:  # noqa: PLR2004
                raw = value
            elif number in (4, 5, 6, 7, 10, 11):
                have += _count(number, kind, value)
            else:
                _expect(number, kind, {}, {8, 12}, "tensor")
        _check_shape(shape, data_type, have, raw)


def _check_shape(shape: list, data_type: int, have: int, raw: memoryview | None) -> None:
    if data_type not in _TYPES:
        raise UnsafeError(f"A tensor is of the type {data_type}, which is not allowed.")
    _check_dimensions(shape)
    if raw is not None:
        have += len(raw) // _TYPES[data_type] if _TYPES[data_type] else -1
    if math.prod(shape) != have:
        raise UnsafeError(f"A tensor of shape {shape} comes with {have} values.")


def _check_dimensions(shape: list) -> None:
    if len(shape) > MAX_RANK or any(size > _MAX_DIMENSION for size in shape):
        told = f"{len(shape)} dimensions, {shape[:MAX_RANK]} …"
        raise UnsafeError(f"A tensor has {told}; the most is {MAX_RANK}, each up to {_MAX_DIMENSION}.")


def _count(number: int, kind: int, value: object) -> int:
    """How many values a tensor's list has."""
    if number == 6:  # noqa: PLR2004  # strings, one a field
        return 1
    if number in (5, 7, 11):
        return len(protobuf.numbers(kind, value))
    width = {4: 4, 10: 8}[number]
    return len(value) // width


def _value_info(data: memoryview) -> None:
    """ValueInfoProto: a tensor of a known type and a small rank."""
    for number, kind, value in protobuf.fields(data):
        _expect(number, kind, {}, {1, 2, 3}, "value")
        if number != 2:  # noqa: PLR2004
            continue
        for inner, inner_kind, tensor in protobuf.fields(value):
            _expect(inner, inner_kind, {}, {1, 6}, "type")
            if inner == 1:
                _tensor_type(tensor)


def _tensor_type(data: memoryview) -> None:
    for number, kind, value in protobuf.fields(data):
        _expect(number, kind, {1: VARINT}, {2}, "tensor type")
        if number == 1 and value not in _TYPES:
            raise UnsafeError(f"A value is of the type {value}, which is not allowed.")
        if number == 2:  # noqa: PLR2004
            _check_dimensions([_dimension(part) for part in _parts(value)])


def _parts(shape: memoryview) -> list:
    for number, kind, _ in protobuf.fields(shape):
        _expect(number, kind, {}, {1}, "shape")
    return [value for _, _, value in protobuf.fields(shape)]


def _dimension(data: memoryview) -> int:
    size = 0
    for number, kind, value in protobuf.fields(data):
        _expect(number, kind, {1: VARINT}, {2, 3}, "dimension")
        size = value if number == 1 else size
    return size


def _domain_of(name: str) -> str:
    return _DOMAIN_NAMES.get(name, name)


def _expect(number: int, kind: int, flat: dict, whole: set, where: str) -> None:
    """A field is among those of this kind of message, and encoded as it must be."""
    if number in flat and kind == flat[number]:
        return
    if number not in whole or kind != BYTES:
        raise UnsafeError(f"A {where} of the file has a field {number} that is not allowed.")
