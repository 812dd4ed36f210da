"""Parts of ONNX graphs that the converter writes itself, where skl2onnx would round to float32 or cannot.

For the converter alone: trees of all libraries become the operator TreeEnsemble (ai.onnx.ml 5) in doubles,
with the model's own thresholds; imputers become a Where.
"""

from __future__ import annotations

import importlib

import numpy as np
from onnx import TensorProto, helper
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import StringTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.shape_calculators.imputer import calculate_sklearn_imputer_output_shapes

from . import ensembles, forests

MISSING = "\0missing"  # as in runtimes/portable
_ML = "ai.onnx.ml"
_OPERATORS = 5  # the version of ai.onnx.ml that has TreeEnsemble …
_AS_KNOWN = 3  # … and the newest that skl2onnx lets one name
_CLASSIFIERS = {
    "sklearn.tree": ("DecisionTreeClassifier", "ExtraTreeClassifier"),
    "sklearn.ensemble": (
        "RandomForestClassifier", "ExtraTreesClassifier", "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
    ),
    "xgboost": ("XGBClassifier", "XGBRFClassifier"),
    "lightgbm": ("LGBMClassifier",),
}  # fmt: skip


def register(model_modules: set) -> None:
    """Have skl2onnx use these parts.

    Args:
        model_modules: top-level modules that are loaded already; libraries that are not are left alone.
    """
    options = {"zipmap": [True, False, "columns"], "nocl": [True, False], "raw_scores": [True, False]}
    for module, names in _CLASSIFIERS.items():
        if module.partition(".")[0] not in model_modules:
            continue
        library = importlib.import_module(module)
        for name in names:
            shapes = calculate_linear_classifier_output_shapes
            update_registered_converter(
                getattr(library, name), "Yard" + name, shapes, _classifier, overwrite=True, options=options
            )
            kind = getattr(library, name.replace("Classifier", "Regressor"))
            shapes = calculate_linear_regressor_output_shapes
            update_registered_converter(kind, "Yard" + kind.__name__, shapes, _regressor)
    imputer = importlib.import_module("sklearn.impute").SimpleImputer
    update_registered_converter(imputer, "YardImputer", calculate_sklearn_imputer_output_shapes, _imputer)


def newest(model: object) -> None:
    """Say that the graph's operators are those of ai.onnx.ml 5: what skl2onnx wrote is the same in it.

    And that an output which comes from a cast to doubles is doubles, whatever skl2onnx guessed.
    """
    doubles = {
        n.output[0]
        for n in model.graph.node
        if n.op_type == "Cast" and n.attribute[0].i == TensorProto.DOUBLE
    }
    for output in model.graph.output:
        if output.name in doubles:
            output.type.tensor_type.elem_type = TensorProto.DOUBLE
    for each in model.opset_import:
        if each.domain == _ML:
            each.version = _OPERATORS


class _Writer:
    """Adds nodes to a graph one after another; each call gives the name of its output."""

    def __init__(self, scope: object, container: object) -> None:
        self._scope, self._container = scope, container

    def add(
        self, operator: str, inputs: list, output: str = "", version: int = 13, **attributes: object
    ) -> str:
        """A node."""
        domain = _ML if operator in ("TreeEnsemble", "ArrayFeatureExtractor") else ""
        name = output or self._scope.get_unique_variable_name(operator)
        node = self._scope.get_unique_operator_name(operator)
        self._container.add_node(
            operator, inputs, name, op_domain=domain, op_version=version, name=node, **attributes
        )
        return name

    def constant(self, values: object) -> str:
        """An initializer."""
        array = np.asarray(values)
        name = self._scope.get_unique_variable_name("constant")
        kind = helper.np_dtype_to_tensor_dtype(array.dtype) if array.dtype.kind != "U" else TensorProto.STRING
        values = (
            [v.encode() for v in array.ravel().tolist()]
            if array.dtype.kind == "U"
            else array.ravel().tolist()
        )
        self._container.add_initializer(name, kind, list(array.shape), values)
        return name


def _regressor(scope: object, operator: object, container: object) -> None:
    writer = _Writer(scope, container)
    raw = _forest(writer, operator, forests.forest_of(operator.raw_operator))
    writer.add("Cast", [raw], operator.outputs[0].full_name, to=TensorProto.DOUBLE)


def _classifier(scope: object, operator: object, container: object) -> None:
    writer, model = _Writer(scope, container), operator.raw_operator
    forest = forests.forest_of(model)
    chances = _forest(writer, operator, forest)
    if forest.targets == 1 and len(model.classes_) == 2:  # noqa: PLR2004  # the probability of the second
        rest = writer.add("Sub", [writer.constant(np.array([1.0])), chances], version=14)
        chances = writer.add("Concat", [rest, chances], axis=1)
    writer.add("Cast", [chances], operator.outputs[1].full_name, to=TensorProto.DOUBLE)
    first = writer.add("ArgMax", [chances], axis=1, keepdims=0)
    classes = np.asarray(model.classes_)
    labels = classes.astype(str) if classes.dtype.kind in "OUT" else classes.astype(np.int64)
    picked = writer.add("ArrayFeatureExtractor", [writer.constant(labels), first], version=1)
    flat = writer.constant(np.array([-1], dtype=np.int64))
    writer.add("Reshape", [picked, flat], operator.outputs[0].full_name, version=14)


def _forest(writer: _Writer, operator: object, forest: forests.Forest) -> str:
    """The forest's answer, rows by outputs, in doubles."""
    given = [value.full_name for value in operator.inputs]
    given = [writer.add("Cast", [name], to=TensorProto.DOUBLE) for name in given]
    whole = given[0] if len(given) == 1 else writer.add("Concat", given, axis=1)
    if forest.rounds:
        whole = writer.add("Cast", [writer.add("Cast", [whole], to=TensorProto.FLOAT)], to=TensorProto.DOUBLE)
    if forest.zero:
        small = writer.add(
            "LessOrEqual", [writer.add("Abs", [whole]), writer.constant(np.array(forest.zero))]
        )
        whole = writer.add("Where", [small, writer.constant(np.array(0.0)), whole], version=16)
    raw = writer.add("TreeEnsemble", [whole], version=_AS_KNOWN, **ensembles.attributes(forest))
    if forest.divisor != 1.0:
        raw = writer.add("Div", [raw, writer.constant(np.array([forest.divisor]))], version=14)
    if forest.base.any():
        raw = writer.add("Add", [raw, writer.constant(forest.base)], version=14)
    if forest.link == "sigmoid2":
        raw = writer.add("Mul", [raw, writer.constant(np.array([2.0]))], version=14)
    links = {"exp": "Exp", "sigmoid": "Sigmoid", "sigmoid2": "Sigmoid", "softmax": "Softmax"}
    if forest.link in links:
        raw = writer.add(links[forest.link], [raw], **({"axis": 1} if forest.link == "softmax" else {}))
    return raw


def _imputer(scope: object, operator: object, container: object) -> None:
    """SimpleImputer: a missing value becomes the column's own; its indicators are not known here."""
    writer, model = _Writer(scope, container), operator.raw_operator
    name, output = operator.inputs[0].full_name, operator.outputs[0].full_name
    if model.add_indicator or len(operator.inputs) != 1:
        raise forests.RefusedError("SimpleImputer with add_indicator")
    if isinstance(operator.inputs[0].type, StringTensorType):
        fill = np.array([[str(value) for value in model.statistics_]])
        gone = writer.add("Equal", [name, writer.constant(np.array([MISSING]))], version=19)
        writer.add("Where", [gone, writer.constant(fill), name], output, version=16)
        return
    fill = np.asarray(model.statistics_, dtype=np.float64).reshape(1, -1)
    is_nan = isinstance(model.missing_values, float) and np.isnan(model.missing_values)
    if not is_nan or np.isnan(fill).any():
        raise forests.RefusedError("SimpleImputer of empty columns or of values that are not NaN")
    double = writer.add("Cast", [name], to=TensorProto.DOUBLE)
    gone = writer.add("IsNaN", [double])
    writer.add("Where", [gone, writer.constant(fill), double], output, version=16)
