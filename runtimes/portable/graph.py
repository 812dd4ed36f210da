"""An ONNX graph that is written node by node; each call gives the name of what it has added."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"
_OPERATORS = {"": 20, ML: 5}
_IR = 10


class Graph:
    """A graph that grows."""

    def __init__(self) -> None:
        self._nodes, self._constants = [], []
        self._done = {}

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """A node; its only output."""
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def constant(self, values: object) -> str:
        """An initializer; equal ones are one."""
        array = np.asarray(values)

        def write() -> str:
            name = f"c{len(self._constants)}"
            self._constants.append(numpy_helper.from_array(array, name))
            return name

        return self.once(("constant", array.dtype.str, array.shape, array.tobytes()), write)

    def number(self, number: float) -> str:
        """A constant of rows by 1."""
        return self.constant(np.array([[number]]))

    def once(self, key: tuple, write: Callable[[], object]) -> object:
        """What `write` gives, called for the first of equal keys alone."""
        if key not in self._done:
            self._done[key] = write()
        return self._done[key]

    def double(self, value: str) -> str:
        """True and false as 1 and 0."""
        return self.add("Cast", value, to=TensorProto.DOUBLE)

    def file(self, inputs: list, outputs: list) -> bytes:
        """The ONNX file.

        Args:
            inputs, outputs: a ValueInfoProto each.
        """
        graph = helper.make_graph(self._nodes, "numbers", inputs, outputs, self._constants)
        versions = [helper.make_opsetid(domain, version) for domain, version in _OPERATORS.items()]
        return helper.make_model(graph, opset_imports=versions, ir_version=_IR).SerializeToString()
