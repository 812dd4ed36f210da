"""A signature: the typed columns a model takes and the columns it answers with."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from modelyard.records.errors import InvalidError

MAX_COLUMNS = 2_000
MAX_COLUMN_NAME = 1_000  # characters
PROBABILITY = "probability:"
LABEL = "label"
PREDICTION = "prediction"


class ColumnType(StrEnum):
    """What a column holds, in signatures and on the wire."""

    FLOAT64 = "float64"
    INT64 = "int64"
    BOOL = "bool"
    STRING = "string"


class Task(StrEnum):
    """How a model's answer is to be read."""

    REGRESSION = "regression"
    CLASSIFICATION = "classification"


# `gc=False`: they hold no circles, a front holds hundreds of thousands, and to look through them took a
# collection of garbage longer than to read a route table.
class Column(Struct, frozen=True, omit_defaults=True, gc=False):
    """One column of a signature.

    Attributes:
        name: as the model knows it; any text without NUL.
        type: see `ColumnType`.
        missing: whether a value may be missing (JSON null, an empty CSV field, a null in Parquet).
        levels: the only strings allowed (an R factor, a pandas Categorical); others are refused.
        categories: the strings seen in the example, for forms and for watching; others are allowed.
        low: the smallest number seen; a fact, not a rule.
        high: the largest number seen.
        example: one value seen, as text, to fill forms and documentation.
    """

    name: str
    type: ColumnType
    missing: bool = False
    levels: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None
    example: str | None = None


class Signature(Struct, frozen=True, gc=False):
    """What goes in and what comes out.

    The outputs are the columns of the worker's answer: for regression one column or several of any
    name (one alone is called `prediction`); for classification `label`, then, where the model gives
    them, one `probability:CLASS` column a class.

    Examples:
        >>> s = Signature((Column("x", ColumnType.FLOAT64),), (Column("prediction", ColumnType.FLOAT64),))
        >>> s.task
        <Task.REGRESSION: 'regression'>
    """

    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...] = ()

    @property
    def task(self) -> Task:
        """Classification where the answer begins with a label."""
        is_classifier = bool(self.outputs) and self.outputs[0].name == LABEL
        return Task.CLASSIFICATION if is_classifier else Task.REGRESSION

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes whose probabilities are answered, in the answer's order."""
        return tuple(c.name[len(PROBABILITY) :] for c in self.outputs if c.name.startswith(PROBABILITY))


def check_signature(signature: Signature) -> Signature:
    """The signature itself if its columns can be served.

    Raises:
        InvalidError: no inputs, a name that is empty, twice there, too long or has a NUL, or too many.
    """
    if not signature.inputs:
        raise InvalidError(
            "The signature has no input columns.",
            "Publish with an example of at least one row, so that the columns are known.",
            field="signature",
        )
    for side, columns in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        _check_columns(side, columns)
    return signature


def _check_columns(side: str, columns: tuple[Column, ...]) -> None:
    if len(columns) > MAX_COLUMNS:
        message = f"The signature has {len(columns)} {side}; the limit is {MAX_COLUMNS}."
        raise InvalidError(message, field=side)
    seen: set[str] = set()
    for column in columns:
        if not column.name or len(column.name) > MAX_COLUMN_NAME or "\0" in column.name:
            raise InvalidError(
                f"A column name of the {side} is empty, over {MAX_COLUMN_NAME} characters or has a NUL.",
                "Rename the column before publishing.",
                field=side,
            )
        if column.name in seen:
            raise InvalidError(
                f"The column {column.name!r} is twice in the {side}.", "Rename one of them.", field=side
            )
        seen.add(column.name)
        if column.levels is not None and column.type is not ColumnType.STRING:
            raise InvalidError(
                f"The column {column.name!r} has levels but is {column.type}.",
                "Only a string column has a closed set of levels.",
                field=side,
            )
