"""The operations and links of contract/numbers.md as nodes of a graph, missing values as they are in R."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from .graph import Graph
from .numbers import Pieces

_PLAIN = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "power": "Pow", "log": "Log",
    "exp": "Exp", "sqrt": "Sqrt", "abs": "Abs", "floor": "Floor", "ceiling": "Ceil", "least": "Min",
    "greatest": "Max",
}  # fmt: skip
_COMPARED = {"less": "Less", "less_or_equal": "LessOrEqual", "equal": "Equal"}
_FROM, _TO, _STEP, _DEGREE = -8.5, 8.5, 0.25, 9  # of the pieces that are the normal distribution


def apply(graph: Graph, operation: str, of: list) -> str:
    """An operation of these values, rows by 1."""
    if operation in _PLAIN:
        return graph.add(_PLAIN[operation], *of)
    zero = graph.number(0.0)
    if operation == "if":
        chosen = graph.add("Where", graph.add("Equal", of[0], zero), of[2], of[1])
        return _where_all(graph, of[:1], chosen)
    if operation in _COMPARED:
        return _where_all(graph, of, graph.double(graph.add(_COMPARED[operation], *of)))
    is_false = [graph.add("Equal", each, zero) for each in of]
    if operation == "not":
        return _where_all(graph, of, graph.double(is_false[0]))
    # One false decides an `and`, one true an `or`, whatever is missing beside it.
    if operation == "and":
        return graph.add("Where", graph.add("Or", *is_false), zero, _where_all(graph, of, graph.number(1.0)))
    is_true = [
        graph.add("Not", graph.add("Or", false, graph.add("IsNaN", each)))
        for false, each in zip(is_false, of)  # noqa: B905  # Python 3.9
    ]
    return graph.add("Where", graph.add("Or", *is_true), graph.number(1.0), _where_all(graph, of, zero))


def _where_all(graph: Graph, of: list, answer: str) -> str:
    """The answer where none of the values is missing."""
    gaps = [graph.add("IsNaN", each) for each in of]
    gap = gaps[0] if len(gaps) == 1 else graph.add("Or", *gaps)
    return graph.add("Where", gap, graph.number(math.nan), answer)


def polynomial(graph: Graph, value: str, made: Pieces) -> str:
    """The polynomials of pieces, of a value of rows by 1."""
    past = graph.double(graph.add("GreaterOrEqual", value, graph.constant(made.starts[1:].reshape(1, -1))))
    axis = graph.constant(np.array([1], dtype=np.int64))
    place = graph.add("Cast", graph.add("ReduceSum", past, axis, keepdims=0), to=TensorProto.INT64)

    def picked(column: np.ndarray) -> str:
        return graph.add("Gather", graph.constant(column.reshape(-1, 1)), place, axis=0)

    local = graph.add("Sub", value, picked(made.centres))
    answer = graph.add("Mul", local, graph.number(0.0))  # missing where the value is
    for power in made.coefficients.T[::-1]:
        answer = graph.add("Add", graph.add("Mul", answer, local), picked(power))
    return answer


def linked(graph: Graph, value: str, link: str) -> str:
    """What stands behind a link, of the linear value before it."""
    operators = {
        "log": ("Exp",),
        "logit": ("Sigmoid",),
        "1/mu^2": ("Sqrt", "Reciprocal"),
        "inverse": ("Reciprocal",),
    }
    if link in operators:
        for operator in operators[link]:
            value = graph.add(operator, value)
    elif link == "softmax":
        value = graph.add("Softmax", value, axis=1)
    elif link == "share":
        value = graph.add("Exp", value)
        total = graph.add("ReduceSum", value, graph.constant(np.array([1], dtype=np.int64)), keepdims=1)
        value = graph.add("Div", value, total)
    elif link == "sqrt":
        value = graph.add("Mul", value, value)
    elif link == "cloglog":
        rest = graph.add("Exp", graph.add("Neg", graph.add("Exp", value)))
        value = graph.add("Sub", graph.number(1.0), rest)
    elif link == "probit":
        value = graph.add("Min", graph.add("Max", value, graph.number(_FROM)), graph.number(_TO))
        value = polynomial(graph, value, _normal())
    return value


def _normal() -> Pieces:
    """The distribution function of the standard normal, as polynomials on short pieces.

    Interpolated at Chebyshev's points: off by less than 1e-13. The library has no erf in doubles.
    """
    starts = np.arange(_FROM, _TO, _STEP)
    points = np.cos((2 * np.arange(_DEGREE + 1) + 1) / (2 * _DEGREE + 2) * math.pi) / 2
    powers = np.vander(points, increasing=True)
    rows = []
    for start in starts.tolist():
        middle = start + _STEP / 2
        wanted = [0.5 * math.erfc(-(middle + x * _STEP) / math.sqrt(2)) for x in points.tolist()]
        rows.append(np.linalg.solve(powers, wanted) / _STEP ** np.arange(_DEGREE + 1))
    centres = starts + _STEP / 2
    starts[0] = -np.inf  # nothing outside is asked
    return Pieces("", starts, centres, np.array(rows))
