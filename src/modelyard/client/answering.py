"""Has a model answer its example here, in the very way in which the yard will ask it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from modelyard.client.runtime import Answer, from_answer, load_runtime, to_batch
from modelyard.client.tables import Table, Value
from modelyard.records.errors import InvalidError
from modelyard.records.signatures import Column

T = TypeVar("T")
_TOLERANCE = 1e-6  # the check's own, in contract/bundle.md


def answer_example(
    model: object, options: Mapping[str, str], inputs: Sequence[Column], table: Table, example: Any
) -> list[Answer]:
    """The answers to an example, sent as the yard sends rows; they must be those to the example itself.

    Args:
        model: as it comes out of its pickle.
        options: the bundle's options.
        inputs: the signature's columns.
        table: the example's columns.
        example: the example as the person gave it, or None to skip the comparison.

    Raises:
        InvalidError: the model fails, answers what cannot be passed on, or answers otherwise than it does to
            the example itself.
    """
    models = load_runtime("models")
    columns = [models.Input(c.name, c.type.value, c.missing, c.levels or ()) for c in inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the person has seen what the model warns of
        loaded = _try("The model cannot be served", lambda: models.Model(model, dict(options), columns))
        own = None if example is None else _asked(loaded, example, table.rows)
        sent = _try(
            "The model answers the example itself, but fails on the same rows as the yard sends them",
            lambda: from_answer(loaded.answer(to_batch(table.columns))),
        )
    if own is not None:
        _compare(own, sent)
    return sent


def _asked(loaded: Any, example: Any, rows: int) -> list[Answer]:
    return _try("The model fails on its own example", lambda: from_answer(loaded.ask(example, rows)))


def _try(what: str, act: Callable[[], T]) -> T:
    try:
        return act()
    except Exception as error:
        said = str(error) if type(error).__name__ == "AnswerError" else f"{type(error).__name__}: {error}"
        raise InvalidError(
            f"{what}: {said}",
            "Give an example of the kind that the model predicts on, or say how to ask it with options={…}: "
            "docs/python.md lists them.",
        ) from error


def _compare(own: list[Answer], sent: list[Answer]) -> None:
    hint = (
        "Does the model answer the same twice? Then give the example in the plain types that requests have: "
        "numbers, whole numbers, true/false, text."
    )
    if [(a.name, a.type) for a in own] != [(a.name, a.type) for a in sent]:
        raise InvalidError(
            f"The model answers {[a.name for a in own]} to the example itself, but {[a.name for a in sent]} "
            "to the same rows as the yard sends them.",
            hint,
        )
    for mine, theirs in zip(own, sent, strict=True):
        for row, (a, b) in enumerate(zip(mine.values, theirs.values, strict=True)):
            if not _same(a, b):
                raise InvalidError(
                    f"Row {row} of the example: the model answers {mine.name} = {a!r} to the example itself, "
                    f"but {b!r} to the same row as the yard sends it.",
                    hint,
                )


def _same(a: Value, b: Value) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return a == b
