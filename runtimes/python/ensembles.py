"""Trees (see forests.py) as the attributes of the ONNX operator TreeEnsemble (ai.onnx.ml 5), in doubles.

For those who write graphs alone: the converter of Python models, and the builder of other languages' numbers.
"""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from .forests import Forest, Tree

_SUM = 1  # TreeEnsemble's aggregate_function
_MEMBER = 6  # the mode of a node that asks whether a value is one of several


def attributes(forest: Forest) -> dict:
    """The attributes of a TreeEnsemble: inner nodes and leaves in two tables."""
    table = _Table(forest)
    for tree in forest.trees:
        table.add(tree)
    nodes = np.array(table.nodes, dtype=object).reshape(-1, 8).T.tolist()
    mode, feature, threshold, true, true_leaf, false, false_leaf, missing = nodes
    members = (
        {"membership_values": _tensor(np.array(table.members, dtype=np.float64))} if table.members else {}
    )
    return {
        "n_targets": forest.targets,
        "aggregate_function": _SUM,
        "post_transform": 0,
        "tree_roots": table.roots,
        "nodes_modes": _tensor(np.array(mode, dtype=np.uint8)),
        "nodes_featureids": feature,
        "nodes_splits": _tensor(np.array(threshold, dtype=np.float64)),
        "nodes_truenodeids": true,
        "nodes_trueleafs": true_leaf,
        "nodes_falsenodeids": false,
        "nodes_falseleafs": false_leaf,
        "nodes_missing_value_tracks_true": missing,
        "leaf_targetids": table.targets,
        "leaf_weights": _tensor(np.array(table.weights, dtype=np.float64)),
        **members,
    }


class _Table:
    """TreeEnsemble's tables. A leaf adds to one output, so a tree of several is written once an output."""

    def __init__(self, forest: Forest) -> None:
        self._forest = forest
        self.roots, self.nodes, self.targets, self.weights, self.members = [], [], [], [], []

    def add(self, tree: Tree) -> None:
        """Add a tree."""
        if tree.target >= 0:
            self._add(tree, tree.target, tree.value)
            return
        for target in range(self._forest.targets):
            self._add(tree, target, tree.value[:, target])

    def _add(self, tree: Tree, target: int, value: np.ndarray) -> None:
        is_leaf = tree.feature < 0
        first, first_leaf = len(self.nodes), len(self.weights)
        self.roots.append(first)
        self.weights += value[is_leaf].tolist()
        self.targets += [target] * int(is_leaf.sum())
        if is_leaf[0]:  # a tree that is a leaf: a node whose two sides are that leaf
            self.nodes.append((self._forest.mode, 0, 0.0, first_leaf, 1, first_leaf, 1, 0))
            return
        place = np.where(is_leaf, first_leaf + np.cumsum(is_leaf) - 1, first + np.cumsum(~is_leaf) - 1)
        inner = np.flatnonzero(~is_leaf)
        left, right = tree.left[inner], tree.right[inner]
        columns = (
            self._modes(tree, inner), tree.feature[inner], tree.threshold[inner], place[left], is_leaf[left],
            place[right], is_leaf[right], tree.missing_left[inner],
        )  # fmt: skip
        kinds = (int, int, float, int, int, int, int, int)
        lists = [np.asarray(c).astype(k).tolist() for c, k in zip(columns, kinds)]  # noqa: B905
        self.nodes += list(zip(*lists))  # noqa: B905

    def _modes(self, tree: Tree, inner: np.ndarray) -> list:
        modes = []
        for node in inner.tolist():
            members = tree.members.get(node) if tree.members else None
            modes.append(self._forest.mode if members is None else _MEMBER)
            if members is not None:  # the lists of all such nodes, one after another, a NaN after each
                self.members += [*members, np.nan]
        return modes


def _tensor(array: np.ndarray) -> object:
    return numpy_helper.from_array(array)
