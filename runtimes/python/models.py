"""Load a model out of its bundle, and ask it in the way of its kind. README.md says the conventions in words.

The SDK loads this file too, to answer the example with the very same code that will serve the model.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pickle
import sys

import numpy as np

from . import answers, inputs

AnswerError = answers.AnswerError
Input = inputs.Input
_TIE = 1e-9
_MATRIX = 2

# Classifiers whose predict() is the class of the highest probability: one call answers both. Others (an SVC,
# a tuned threshold) may say something else, and are asked twice.
_ONE_CALL = {
    "sklearn": {
        "LogisticRegression", "LogisticRegressionCV", "DecisionTreeClassifier", "ExtraTreeClassifier",
        "RandomForestClassifier", "ExtraTreesClassifier", "GradientBoostingClassifier",
        "HistGradientBoostingClassifier", "GaussianNB", "MLPClassifier",
    },
    "xgboost": {"XGBClassifier", "XGBRFClassifier"},
    "lightgbm": {"LGBMClassifier"},
}  # fmt: skip


# And of these the very same numbers decide, so a tie need not be asked about: that is a whole forest's work.
_EXACT = {("sklearn", "RandomForestClassifier"), ("sklearn", "ExtraTreesClassifier")}


class Model:
    """A loaded model.

    Args:
        model: what was unpickled or imported.
        options: the bundle's options.
        signature: an `Input` a column of the signature.
    """

    def __init__(self, model: object, options: dict, signature: list) -> None:
        self.names = [each.name for each in signature]
        self._input = inputs.maker(options, signature)
        self._outputs = json.loads(options["outputs"]) if "outputs" in options else None
        self._classes = np.asarray(json.loads(options["classes"])) if "classes" in options else None
        method = options.get("method", "")
        self._ask = None if method else _classifier(model)
        if self._ask is None:
            self._call = _caller(model, method)
            self._ask = self._plain
            if method == "predict_proba" and self._classes is None:
                self._classes = getattr(model, "classes_", None)

    def answer(self, batch: object) -> list:
        """The answer to a batch, which has `rows`, `columns` and `matrix` (see frames.py), as columns.

        Raises:
            AnswerError: no rows, or the answer cannot be passed on.
            Exception: whatever the model raises.
        """
        if not batch.rows:
            raise AnswerError("There are no rows to answer; ask for one at least.")
        return self._ask(self._input(batch), batch.rows)

    def ask(self, given: object, rows: int) -> list:
        """The answer to what the model takes by itself (a DataFrame, an array …), as columns."""
        return self._ask(given, rows)

    def _plain(self, given: object, rows: int) -> list:
        return answers.columns(self._call(given), rows, self._outputs, self._classes)


def load(bundle: str, entry: str, options: dict, signature: list) -> Model:
    """The model of a bundle; its folder comes first on sys.path, for the code files in it.

    Args:
        bundle: the folder.
        entry: a pickle file in it, or `module:function`, `module:Class`, `module:instance`.
        options: the bundle's options.
        signature: an `Input` a column.

    Raises:
        Exception: whatever goes wrong; the type and message are for the person who published it.
    """
    sys.path.insert(0, bundle)
    file, _, attribute = entry.partition(":")
    model = _imported(file, attribute) if attribute else unpickled(os.path.join(bundle, entry))
    return Model(model, options, signature)


def _imported(module: str, attribute: str) -> object:
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found() if inspect.isclass(found) else found


def unpickled(path: str) -> object:
    """The model of a pickle or joblib file; reading it runs what is in it."""
    if path.endswith(".joblib"):
        import joblib  # noqa: PLC0415  # only where the model was saved with it

        return joblib.load(path)
    with open(path, "rb") as file:
        return pickle.load(file)


def _caller(model: object, method: str) -> object:
    """The function that asks a model of this kind."""
    if _is_a(model, "torch.nn.modules.module", "Module"):
        return _torch(model, method)
    if method and method != "call":
        return getattr(model, method)
    if _is_a(model, "xgboost.core", "Booster"):
        return _booster(model)
    if hasattr(model, "predict") and method != "call":
        return model.predict
    if callable(model):
        return model
    raise TypeError(
        f"A {type(model).__name__} has no predict() and cannot be called; name its method in the options."
    )


def _is_a(model: object, module: str, name: str) -> bool:
    """Whether it is an instance of a class that may not even be installed."""
    return any(kind.__module__ == module and kind.__name__ == name for kind in type(model).__mro__)


def _booster(model: object) -> object:
    import xgboost  # noqa: PLC0415  # the model is one of its own

    return lambda given: model.predict(xgboost.DMatrix(given, nthread=1, enable_categorical=True))


def _torch(model: object, method: str) -> object:
    """Ask a torch module with a tensor: floating point as its parameters are, whole numbers as they come."""
    import torch  # noqa: PLC0415  # the model is one of its own

    model.eval()
    ask = getattr(model, method) if method and method != "call" else model
    floating = next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), torch.float32)

    def call(given: object) -> object:
        array = np.ascontiguousarray(given.to_numpy() if hasattr(given, "to_numpy") else given)
        tensor = torch.from_numpy(array)
        with torch.inference_mode():
            return ask(tensor.to(floating) if tensor.dtype.is_floating_point else tensor)

    return call


def _classifier(model: object) -> object:
    """What asks a classifier for labels and, where it has them, probabilities; None if it is none."""
    classes = getattr(model, "classes_", None)
    if classes is None or not hasattr(model, "predict") or (isinstance(classes, list) and _nested(classes)):
        return None
    classes = np.asarray(classes)
    probabilities = getattr(model, "predict_proba", None)
    if classes.ndim != 1 or probabilities is None:
        return None if classes.ndim != 1 else lambda given, rows: _labels(model, given, classes, rows)
    one_call, is_exact = is_one_call(model), _last(model) in _EXACT

    def ask(given: object, rows: int) -> list:
        chances = np.asarray(probabilities(given))
        if chances.ndim != _MATRIX or chances.shape[1] != len(
            classes
        ):  # as many labels at once, or hinge losses
            return _labels(model, given, classes, rows)
        if one_call:
            labels = _best(None if is_exact else model, given, chances, classes)
        else:
            labels = model.predict(given)
        return answers.labelled(labels, chances, classes, rows)

    return ask


def _labels(model: object, given: object, classes: np.ndarray, rows: int) -> list:
    return answers.labelled(model.predict(given), None, classes, rows)


def _nested(classes: list) -> bool:
    """Whether these are the classes of several outputs."""
    return any(np.ndim(each) for each in classes)


def is_one_call(model: object) -> bool:
    """Whether predict() is the most probable class, for this model or the last step of this pipeline."""
    library, name = _last(model)
    return name in _ONE_CALL.get(library, ())


def _last(model: object) -> tuple:
    """Library and class of a model, or of the last step of a pipeline."""
    while type(model).__name__ == "Pipeline" and type(model).__module__.startswith("sklearn."):
        model = model.steps[-1][1]
    return type(model).__module__.partition(".")[0], type(model).__name__


def _best(model: object, given: object, chances: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The most probable class of each row; a model is asked itself about rows that are as good as tied."""
    labels = classes[chances.argmax(axis=1)]
    if model is None:
        return labels
    tied = _tied(chances)
    if not tied.any():
        return labels
    if not (isinstance(given, np.ndarray) or hasattr(given, "iloc")):  # neither an array nor a pandas frame
        return model.predict(given)
    labels[tied] = model.predict(given[tied])
    return labels


def _tied(chances: np.ndarray) -> np.ndarray:
    """In which rows the two highest probabilities are so close that rounding may have chosen."""
    if chances.shape[1] < 2:  # noqa: PLR2004
        return np.zeros(len(chances), dtype=bool)
    highest = np.partition(chances, -2, axis=1)
    return highest[:, -1] - highest[:, -2] < _TIE
