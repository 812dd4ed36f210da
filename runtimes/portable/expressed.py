"""A model's numbers (numbers.py) as an ONNX graph and its description (portable.json).

Values are written when they are asked for, and once. A sum takes its plain inputs together, by one product
of matrices, and the columns of one variable with levels as a single look-up.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
from onnx import TensorProto, helper

from . import ensembles, forests, operations
from .graph import ML, Graph
from .numbers import (
    Answer,
    Apply,
    Directions,
    Input,
    Number,
    Numbers,
    NumbersError,
    Pieces,
    Sum,
    Table,
    Trees,
)

_EXACT = 2.0**53 - 1  # doubles hold every whole number up to it
_LARGEST = sys.float_info.max
_HINTS = 400  # thresholds a column


def build(numbers: Numbers, inputs: list) -> tuple:
    """The ONNX file, its description, and thresholds by column (for the proof).

    Args:
        inputs: name, type, missing and levels of each column of the signature.

    Raises:
        NumbersError: the numbers and the signature do not fit.
    """
    builder = _Builder(numbers, inputs)
    outputs = builder.answer(numbers.answer)
    return builder.file(outputs), builder.described(numbers.answer, outputs), builder.thresholds()


class _Builder:
    def __init__(self, numbers: Numbers, inputs: list) -> None:
        self._made = numbers.made
        self._kinds = {name: kind for name, kind, *_ in inputs}
        self._levels = {name: set(levels) for name, _, _, levels in inputs}
        self._graph = Graph()
        self._tensors = {}  # columns to the name of their tensor
        self._known, self._refuses, self._finite = {}, set(), set()
        self._strange = []  # (tensor, words): one where a value is refused
        self._widths = {}  # tensor to its columns, where it has several

    def _tensor(self, columns: tuple) -> str:
        """The tensor of these columns, rows by columns."""
        for column in columns:
            if column not in self._kinds:
                raise NumbersError(f"there is no input {column!r}")
        text = [self._kinds[column] == "string" for column in columns]
        if any(text) and len(columns) > 1:
            raise NumbersError(f"the input {columns[text.index(True)]!r} is text, not a number")
        return self._tensors.setdefault(columns, f"i{len(self._tensors)}")

    # Values

    def _value(self, name: str) -> str:
        """A value as a tensor of rows by 1."""
        made, place = self._made[name]
        if isinstance(made, (Directions, Trees)):
            return self._picked(self._whole(made), (place,))
        writers = {
            Input: self._input, Number: self._number, Table: self._table, Apply: self._apply,
            Sum: self._sum, Pieces: self._pieces,
        }  # fmt: skip
        return self._graph.once((name,), lambda: writers[type(made)](made))

    def _block(self, names: tuple) -> str:
        """Values beside each other, rows by values."""
        made = [self._made[name] for name in names]
        if all(isinstance(one, Input) for one, _ in made):
            return self._tensor(tuple(self._number_column(one) for one, _ in made))
        first = made[0][0]
        if isinstance(first, (Directions, Trees)) and all(one is first for one, _ in made):
            return self._picked(self._whole(first), tuple(place for _, place in made))
        inputs = list(itertools.takewhile(lambda one: isinstance(one[0], Input), made))
        parts = [self._tensor(tuple(self._number_column(one) for one, _ in inputs))] if inputs else []
        parts += [self._value(name) for name in names[len(inputs) :]]
        return parts[0] if len(parts) == 1 else self._graph.add("Concat", *parts, axis=1)

    def _whole(self, made: object) -> str:
        write = self._directions if isinstance(made, Directions) else self._forest
        return self._graph.once((id(made),), lambda: write(made))

    def _picked(self, whole: str, places: tuple) -> str:
        width = self._widths[whole]
        if places == tuple(range(width)):
            return whole
        return self._graph.add(
            "Gather", whole, self._graph.constant(np.array(places, dtype=np.int64)), axis=1
        )

    def _number_column(self, made: Input) -> str:
        if self._kinds.get(made.column) == "string":
            raise NumbersError(f"the input {made.column!r} is text, not a number")
        if made.refuses_missing:
            self._refuses.add(made.column)
        if made.refuses_infinite:
            self._finite.add(made.column)
        return made.column

    def _input(self, made: Input) -> str:
        return self._tensor((self._number_column(made),))

    def _number(self, made: Number) -> str:
        return self._graph.constant(np.array([[made.number]]))

    def _table(self, made: Table) -> str:
        if made.of:
            return self._ranges(made)
        table = np.append(made.numbers, np.nan)  # the last for what is missing
        return self._graph.add("Gather", self._graph.constant(table), self._place(made), axis=0)

    def _place(self, made: Table) -> str:
        """A text's place among the levels; their number where it is none of them."""
        if self._kinds.get(made.column) != "string":
            raise NumbersError(f"the input {made.column!r} is not text")
        if made.refuses_missing:
            self._refuses.add(made.column)
        self._guard(made)
        places = {"keys_strings": list(made.levels), "values_int64s": list(range(len(made.levels)))}
        text = self._tensor((made.column,))
        return self._graph.once(
            ("place", made.column, made.levels),
            lambda: self._graph.add(
                "LabelEncoder", text, domain=ML, default_int64=len(made.levels), **places
            ),
        )

    def _guard(self, made: Table) -> None:
        """Have the texts refused that a table does not know."""
        levels = self._levels[made.column]  # nothing else comes where there are any
        if made.refuses and not (levels and levels <= set(made.levels)):
            self._tensor((made.column,))
            known = self._known.get(made.column, made.levels)
            self._known[made.column] = [level for level in made.levels if level in known]

    def _ranges(self, made: Table) -> str:
        value = self._value(made.of)
        inside, found = self._graph.once(
            ("inside", made.of, made.low.tobytes(), made.high.tobytes()),
            lambda: self._inside(value, made),
        )
        picked = self._graph.add("MatMul", inside, self._graph.constant(made.numbers.reshape(-1, 1)))
        return self._graph.add("Where", found, picked, self._graph.constant(np.array([[np.nan]])))

    def _inside(self, value: str, made: Table) -> tuple:
        low = self._graph.add("GreaterOrEqual", value, self._graph.constant(made.low.reshape(1, -1)))
        high = self._graph.add("LessOrEqual", value, self._graph.constant(made.high.reshape(1, -1)))
        inside = self._graph.double(self._graph.add("And", low, high))
        total = self._graph.add(
            "ReduceSum", inside, self._graph.constant(np.array([1], dtype=np.int64)), keepdims=1
        )
        found = self._graph.add("Greater", total, self._graph.constant(np.array([[0.5]])))
        if made.refuses:
            gone = self._graph.add("Or", found, self._graph.add("IsNaN", value))
            self._strange.append((self._graph.double(self._graph.add("Not", gone)), made.column))
        return inside, found

    def _apply(self, made: Apply) -> str:
        of = [self._value(name) for name in made.of]
        if made.operation == "present":
            self._strange.append((self._graph.double(self._graph.add("IsNaN", of[0])), made.words))
            return of[0]
        if made.operation == "finite":
            size = self._graph.add("Abs", of[0])
            found = self._graph.add("Equal", size, self._graph.number(np.inf))
            self._strange.append((self._graph.double(found), made.words))
            return of[0]
        return operations.apply(self._graph, made.operation, of)

    def _pieces(self, made: Pieces) -> str:
        return operations.polynomial(self._graph, self._value(made.of), made)

    def _sum(self, made: Sum) -> str:
        parts = _Parts(self._made, self._kinds)
        for name, weight in zip(made.values, made.weights.tolist()):  # noqa: B905
            parts.add(name, weight)
        found = []
        if parts.plain:
            columns = self._tensor(tuple(self._number_column(one) for one in parts.plain))
            weights = np.array(list(parts.plain.values())).reshape(-1, 1)
            found.append(self._graph.add("MatMul", columns, self._graph.constant(weights)))
        found += [self._table(table) for table in parts.tables.values()]
        if parts.others:
            others = self._block(tuple(parts.others))
            weights = np.array(list(parts.others.values())).reshape(-1, 1)
            found.append(self._graph.add("MatMul", others, self._graph.constant(weights)))
        if parts.bias or not found:
            found.append(self._graph.constant(np.array([[parts.bias]])))
        return found[0] if len(found) == 1 else self._graph.add("Sum", *found)

    def _directions(self, made: Directions) -> str:
        features = self._block(made.features)
        ranks = [[] for _ in range(made.nodes)]
        for row, node in enumerate(made.node.tolist()):
            ranks[node].append(row)
        start = np.full((1, made.nodes), np.nan)
        for node, rows in enumerate(ranks):  # a candidate without a feature is there always: it ends the list
            for place, row in enumerate(rows):
                if made.feature[row] < 0:
                    start[0, node], ranks[node] = made.sign[row], rows[:place]
                    break
        answer = self._graph.constant(start)
        for rank in reversed(range(max(map(len, ranks)))):
            rows = [rows[rank] if len(rows) > rank else -1 for rows in ranks]
            answer = self._candidates(features, made, np.array(rows), answer)
        name = self._graph.add("Identity", answer)
        self._widths[name] = made.nodes
        return name

    def _candidates(self, features: str, made: Directions, rows: np.ndarray, before: str) -> str:
        there = rows >= 0
        feature, threshold, sign = made.feature[rows], made.threshold[rows], made.sign[rows]
        picked = self._graph.add(
            "Gather", features, self._graph.constant(np.where(there, feature, 0)), axis=1
        )
        is_less = self._graph.add("Less", picked, self._graph.constant(threshold.reshape(1, -1)))
        signs = self._graph.constant(sign.reshape(1, -1)), self._graph.constant(-sign.reshape(1, -1))
        decided = self._graph.add("Where", is_less, *signs)
        passed = self._graph.add(
            "Or", self._graph.add("IsNaN", picked), self._graph.constant(~there.reshape(1, -1))
        )
        return self._graph.add("Where", passed, before, decided)

    def _forest(self, made: Trees) -> str:
        # Inputs before what is calculated: they are one tensor then.
        order = sorted(
            range(len(made.features)), key=lambda i: not isinstance(self._made[made.features[i]][0], Input)
        )
        place = np.argsort(np.array(order))
        trees = [
            tree._replace(feature=np.where(tree.feature < 0, -1, place[tree.feature]))
            for tree in made.forest.trees
        ]
        features = self._block(tuple(made.features[i] for i in order))
        attributes = ensembles.attributes(made.forest._replace(trees=trees))
        raw = self._graph.add("TreeEnsemble", features, domain=ML, **attributes)
        if made.forest.divisor != 1.0:
            raw = self._graph.add("Div", raw, self._graph.constant(np.array([[made.forest.divisor]])))
        self._widths[raw] = made.forest.targets
        return raw

    # The answer

    def answer(self, told: Answer) -> dict:
        """Write what is answered; the outputs, by what they are."""
        for made, _ in self._made.values():  # whether it is used or not
            if isinstance(made, Table) and not made.of and made.column in self._kinds:
                self._guard(made)
        if told.task == "regression":
            outputs = {"prediction": operations.linked(self._graph, self._block(told.values), told.link)}
        else:
            outputs = self._classified(told)
        if not self._tensors:
            raise NumbersError("the model reads no column")
        if self._strange:
            parts = [each for each, _ in self._strange]
            outputs["strange"] = self._graph.add("Concat", *parts, axis=1)
        return outputs

    def _classified(self, told: Answer) -> dict:
        outputs = {}
        if told.chances:
            chances = operations.linked(self._graph, self._block(told.chances), told.link)
            if len(told.chances) == 1:
                rest = self._graph.add("Sub", self._graph.constant(np.array([[1.0]])), chances)
                chances = self._graph.add("Concat", rest, chances, axis=1)
            outputs["chances"] = chances
        if told.scores:
            best = self._graph.add("ArgMax", self._block(told.scores), axis=1, keepdims=0)
            outputs["best"] = self._graph.add("Cast", best, to=TensorProto.INT64)
        return outputs

    # The files

    def file(self, outputs: dict) -> bytes:
        """The ONNX file."""
        kinds = {True: TensorProto.STRING, False: TensorProto.DOUBLE}
        given = [
            helper.make_tensor_value_info(
                name, kinds[self._kinds[columns[0]] == "string"], [None, len(columns)]
            )
            for columns, name in self._tensors.items()
        ]
        told = [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if what == "best" else TensorProto.DOUBLE, None
            )
            for what, name in outputs.items()
        ]
        return self._graph.file(given, told)

    def described(self, told: Answer, outputs: dict) -> dict:
        """The description."""
        layout = [
            {
                "tensor": name,
                "type": "string" if self._kinds[columns[0]] == "string" else "double",
                "columns": list(columns),
            }
            for columns, name in self._tensors.items()
        ]
        # A language that takes no int64 is not asked larger ones: the portable form refuses these, too.
        limits = {column: [-_LARGEST, _LARGEST] for column in sorted(self._finite)}
        limits |= {column: [-_EXACT, _EXACT] for column, kind in self._kinds.items() if kind == "int64"}
        refused = {"refuses": sorted(self._refuses), "limits": limits, "known": self._known}
        description = {"format": 1, "inputs": layout, **refused}
        if self._strange:
            words = [words for _, words in self._strange]
            description["strange"] = {"tensor": outputs["strange"], "columns": words}
        if told.task == "regression":
            answer = {"task": "regression", "tensor": outputs["prediction"], "names": list(told.names)}
        else:
            answer = {
                "task": "classification", "kind": told.kind, "classes": _classes(told),
                "probabilities": outputs.get("chances"), "best": outputs.get("best"), "gaps": True,
            }  # fmt: skip
        return {**description, "outputs": answer}

    def thresholds(self) -> dict:
        """Column to numbers that the model compares it with, where it compares the input itself."""
        found = {}
        for made, _ in self._made.values():
            if isinstance(made, Trees):
                for feature, values in forests.thresholds(made.forest).items():
                    self._compared(found, made.features[feature], values)
            elif isinstance(made, Directions):
                for feature in np.unique(made.feature[made.feature >= 0]).tolist():
                    self._compared(found, made.features[feature], made.threshold[made.feature == feature])
            elif isinstance(made, Table) and made.of:
                self._compared(found, made.of, np.concatenate([made.low, made.high]))
            elif isinstance(made, Pieces):
                self._compared(found, made.of, made.starts)
        return {column: _spread(np.unique(np.concatenate(parts))) for column, parts in found.items()}

    def _compared(self, found: dict, name: str, values: np.ndarray) -> None:
        made, _ = self._made[name]
        if isinstance(made, Input):
            found.setdefault(made.column, []).append(values)


class _Parts:
    """What a sum is made of, like with like.

    Attributes:
        bias: the constant.
        plain: inputs to their weights.
        tables: tables that look up the same, added up.
        others: values to their weights.
    """

    def __init__(self, made: dict, kinds: dict) -> None:
        self._made, self._kinds = made, kinds
        self.bias = 0.0
        self.plain, self.tables, self.others = {}, {}, {}

    def add(self, name: str, weight: float) -> None:
        """Add a value times its weight."""
        made = self._made[name][0] if name else Number(1.0)
        if isinstance(made, Number):
            self.bias += made.number * weight
        elif isinstance(made, Input):
            self.plain[made] = self.plain.get(made, 0.0) + weight
        elif isinstance(made, Table) and (switch := self._switch(made)):
            column, off, on = switch
            self.bias += off * weight
            self.plain[column] = self.plain.get(column, 0.0) + (on - off) * weight
        elif isinstance(made, Table):
            key = (made.column, made.of, made.levels, made.low.tobytes() if made.of else b"", made.refuses)
            before = self.tables[key].numbers if key in self.tables else 0.0
            self.tables[key] = made._replace(numbers=before + made.numbers * weight)
        else:
            self.others[name] = self.others.get(name, 0.0) + weight

    def _switch(self, made: Table) -> tuple | None:
        """Of a boolean input its values for false and for true."""
        of = self._made[made.of][0] if made.of else None
        is_bool = isinstance(of, Input) and self._kinds.get(of.column) == "bool"
        if is_bool and made.low.tolist() == made.high.tolist() == [0.0, 1.0]:
            return of, *made.numbers.tolist()
        return None


def _classes(told: Answer) -> list:
    """The classes in their own type."""
    try:
        if told.kind == "bool":
            return [{"false": False, "true": True}[name] for name in told.names]
        return [int(name) for name in told.names] if told.kind == "int64" else list(told.names)
    except (KeyError, ValueError) as error:
        raise NumbersError(f"a class is not of the kind {told.kind}: {error}") from error


def _spread(values: np.ndarray) -> list:
    finite = values[np.isfinite(values)]
    return finite[:: max(1, -(-len(finite) // _HINTS))].tolist()
