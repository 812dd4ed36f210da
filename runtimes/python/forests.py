"""Trees of every library as one kind of table, read from what the library itself keeps.

For the converter alone. A `Tree` has a node an entry; values stay doubles, so that a threshold in the
portable form is the very number the model compares with.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

LESS_OR_EQUAL, LESS = 0, 1


class RefusedError(Exception):
    """The converter cannot express this model; the message says what of it."""


class Tree(NamedTuple):
    """One tree, its root at 0.

    Attributes:
        feature: the column compared, or -1 at a leaf.
        threshold: left is `x <= threshold` or `x < threshold`, as the forest says.
        missing_left: whether a missing value goes left.
        target: the output that the leaf adds to, or -1: to all of them.
        value: what a leaf adds: one number, or a row of them where target is -1.
        members: node to the values that go left, where not a threshold but these decide.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    target: int
    value: np.ndarray
    members: dict = {}  # noqa: RUF012  # of a NamedTuple: never changed


class Forest(NamedTuple):
    """Trees whose leaves are added up.

    Attributes:
        targets: how many outputs.
        base: what is added to each output, the trees' sum being divided by `divisor` before.
        link: what the sum goes through: none, exp, sigmoid, sigmoid2 (of twice the sum) or softmax.
        rounds: whether values are rounded to float32 before they are compared.
        zero: values up to this size are taken as 0.
    """

    trees: list
    targets: int
    mode: int
    rounds: bool
    base: np.ndarray
    divisor: float = 1.0
    link: str = "none"
    zero: float = 0.0


def forest_of(model: object) -> Forest:
    """A fitted model's trees.

    Raises:
        RefusedError: it has something this table has no place for.
    """
    name = type(model).__name__
    if name.startswith("HistGradientBoosting"):
        return _histogram(model)
    if name.startswith("GradientBoosting"):
        return _boosting(model)
    if name.startswith("XGB"):
        return _xgboost(model)
    if name.startswith("LGBM"):
        return _lightgbm(model)
    return _sklearn(model)


def _sklearn(model: object) -> Forest:
    """Decision trees, random forests and extra trees of scikit-learn."""
    members = list(getattr(model, "estimators_", [model]))
    if model.n_outputs_ > 1 and hasattr(model, "classes_"):
        raise RefusedError("a classifier of several outputs")
    trees = [_sklearn_tree(member.tree_, is_classifier=hasattr(model, "classes_")) for member in members]
    if hasattr(model, "classes_") and len(model.classes_) == 2:  # noqa: PLR2004  # of two the second says all
        trees = [tree._replace(value=tree.value[:, 1:]) for tree in trees]
    targets = trees[0].value.shape[1]
    return Forest(
        trees, targets, LESS_OR_EQUAL, rounds=True, base=np.zeros(targets), divisor=float(len(members))
    )


def _sklearn_tree(tree: object, *, is_classifier: bool) -> Tree:
    value = np.asarray(tree.value, dtype=np.float64)
    value = value[:, 0, :] if is_classifier else value[:, :, 0]
    if is_classifier:
        total = value.sum(axis=1, keepdims=True)
        value = value / np.where(total == 0, 1.0, total)
    leaf = tree.children_left < 0
    missing = np.asarray(getattr(tree, "missing_go_to_left", np.zeros(len(leaf))), dtype=bool)
    feature = np.where(leaf, -1, tree.feature)
    return Tree(feature, tree.threshold, tree.children_left, tree.children_right, missing, -1, value)


def _boosting(model: object) -> Forest:
    """Gradient boosting of scikit-learn."""
    start = model.init_
    if isinstance(start, str):
        base = np.zeros(model.estimators_.shape[1])
    elif type(start).__name__ in ("DummyClassifier", "DummyRegressor"):
        zeros = np.zeros((1, model.n_features_in_), dtype=np.float32)
        base = np.asarray(model._raw_predict_init(zeros), dtype=np.float64).ravel()  # noqa: SLF001
    else:
        raise RefusedError(f"gradient boosting that starts from a {type(start).__name__}")
    trees = []
    for stage in model.estimators_:
        for target, member in enumerate(stage):
            tree = _sklearn_tree(member.tree_, is_classifier=False)
            trees.append(tree._replace(target=target, value=tree.value[:, 0] * model.learning_rate))
    link = "none"
    if hasattr(model, "classes_"):
        binary = "sigmoid2" if model.loss == "exponential" else "sigmoid"
        link = binary if len(base) == 1 else "softmax"
    return Forest(trees, len(base), LESS_OR_EQUAL, rounds=True, base=base, link=link)


def _histogram(model: object) -> Forest:
    """HistGradientBoosting."""
    categorical = getattr(model, "is_categorical_", None)
    if categorical is not None and np.any(categorical):
        raise RefusedError("HistGradientBoosting with categorical_features")
    trees = []
    for stage in model._predictors:  # noqa: SLF001
        for target, predictor in enumerate(stage):
            nodes = predictor.nodes
            if nodes["is_categorical"].any():
                raise RefusedError("HistGradientBoosting with categorical_features")
            feature = np.where(nodes["is_leaf"], -1, nodes["feature_idx"].astype(np.int64))
            sides = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
            missing = nodes["missing_go_to_left"].astype(bool)
            trees.append(Tree(feature, nodes["num_threshold"], *sides, missing, target, nodes["value"]))
    base = np.asarray(model._baseline_prediction, dtype=np.float64).ravel()  # noqa: SLF001
    if hasattr(model, "classes_"):
        link = "sigmoid" if len(base) == 1 else "softmax"
    else:
        link = {"poisson": "exp", "gamma": "exp"}.get(model.loss, "none")
    return Forest(trees, len(base), LESS_OR_EQUAL, rounds=False, base=base, link=link)


_XGBOOST = {
    "reg:squarederror": "none", "reg:absoluteerror": "none", "reg:pseudohubererror": "none",
    "binary:logistic": "sigmoid", "reg:logistic": "sigmoid", "multi:softprob": "softmax",
    "count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp",
}  # fmt: skip


def _xgboost(model: object) -> Forest:
    """The scikit-learn classes of XGBoost."""
    if not np.isnan(model.missing):
        raise RefusedError("XGBoost with a `missing` of its own")
    booster = model.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    told = learner["gradient_booster"]
    objective = learner["objective"]["name"]
    if told["name"] != "gbtree" or objective not in _XGBOOST:
        raise RefusedError(f"XGBoost with booster {told['name']} and objective {objective}")
    link = _XGBOOST[objective]
    score = np.atleast_1d(np.asarray(json.loads(learner["learner_model_param"]["base_score"]), dtype=float))
    score = {"exp": np.log, "sigmoid": lambda p: np.log(p / (1 - p))}.get(link, np.asarray)(score)
    groups = max(1, int(learner["learner_model_param"]["num_class"]))
    targets = max(groups, int(learner["learner_model_param"].get("num_target", 1)))
    trees, info = told["model"]["trees"], told["model"]["tree_info"]
    best = learner.get("attributes", {}).get("best_iteration")
    if best is not None:
        count = told["model"]["iteration_indptr"][int(best) + 1]
        trees, info = trees[:count], info[:count]
    read = [_xgboost_tree(tree, target) for tree, target in zip(trees, info)]  # noqa: B905  # Python 3.9
    return Forest(read, targets, LESS, rounds=True, base=np.broadcast_to(score, (targets,)), link=link)


def _xgboost_tree(tree: dict, target: int) -> Tree:
    if any(tree["split_type"]) or tree["tree_param"].get("size_leaf_vector", "1") not in ("0", "1"):
        raise RefusedError("XGBoost with categorical columns or leaves of several values")
    left, right = np.asarray(tree["left_children"]), np.asarray(tree["right_children"])
    numbers = np.asarray(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    feature = np.where(left < 0, -1, np.asarray(tree["split_indices"]))
    missing = np.asarray(tree["default_left"], dtype=bool)
    return Tree(feature, numbers, left, right, missing, target, numbers)


_LIGHTGBM_ZERO = float(np.float32(1e-35))  # its kZeroThreshold: smaller values of a row are left out as 0
_LIGHTGBM = {
    "regression": "none", "regression_l1": "none", "huber": "none", "fair": "none", "quantile": "none",
    "mape": "none", "poisson": "exp", "gamma": "exp", "tweedie": "exp", "binary": "sigmoid",
    "multiclass": "softmax",
}  # fmt: skip


def _lightgbm(model: object) -> Forest:
    """The scikit-learn classes of LightGBM."""
    booster = model.booster_
    told = booster.dump_model()
    objective, *words = str(told.get("objective", "")).split()
    if objective not in _LIGHTGBM or "sqrt" in words or (objective == "binary" and "sigmoid:1" not in words):
        raise RefusedError(f"LightGBM with the objective {told.get('objective')}")
    if told.get("average_output") or booster.pandas_categorical:
        raise RefusedError("LightGBM with categorical columns or a random forest's average")
    targets = told["num_tree_per_iteration"]
    trees = [
        _lightgbm_tree(tree["tree_structure"], number % targets)
        for number, tree in enumerate(told["tree_info"])
    ]
    base, link = np.zeros(targets), _LIGHTGBM[objective]
    return Forest(trees, targets, LESS_OR_EQUAL, rounds=False, base=base, link=link, zero=_LIGHTGBM_ZERO)


def _lightgbm_tree(root: dict, target: int) -> Tree:
    nodes, waiting = [], [root]
    rows = []
    while waiting:
        node = waiting.pop()
        place = len(nodes)
        nodes.append(node)
        node["place"] = place
        if "leaf_value" in node:
            if "leaf_coeff" in node:
                raise RefusedError("LightGBM with linear trees")
            continue
        if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
            raise RefusedError("LightGBM with categorical columns or zero_as_missing")
        waiting += [node["left_child"], node["right_child"]]
    for node in nodes:
        if "leaf_value" in node:
            rows.append((-1, 0.0, -1, -1, False, node["leaf_value"]))
            continue
        # Without missing values in training LightGBM takes one as 0.
        is_left = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0.0
        sides = node["left_child"]["place"], node["right_child"]["place"]
        rows.append((node["split_feature"], node["threshold"], *sides, is_left, 0.0))
    feature, threshold, left, right, missing, value = map(np.asarray, zip(*rows))  # noqa: B905
    return Tree(feature, threshold.astype(np.float64), left, right, missing, target, value.astype(np.float64))


def thresholds(forest: Forest) -> dict:
    """Column number to the thresholds its values are compared with, sorted."""
    found = {}
    for tree in forest.trees:
        for feature in np.unique(tree.feature[tree.feature >= 0]).tolist():
            found.setdefault(feature, []).append(tree.threshold[tree.feature == feature])
    return {feature: np.unique(np.concatenate(parts)) for feature, parts in found.items()}
