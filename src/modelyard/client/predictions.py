"""Rows of any kind as JSON records, and predictions in the shape that fits the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from modelyard.client.tables import kind_of
from modelyard.records.errors import InvalidError

PROBABILITY = "probability:"
Record = dict[str, float | int | bool | str | None]


class Predictions(Struct, frozen=True):
    """The yard's answer.

    Attributes:
        model: `department/name`.
        version: which version answered.
        request_id: under which it is recorded; outcomes refer to it.
        predictions: a row each: a number, `{"label", "probabilities"}` or `{output: number}`.
    """

    model: str
    version: int
    request_id: str
    predictions: list[Any]


def to_records(rows: Any) -> list[Record]:
    """A DataFrame, an array (columns x0, x1 …), a dict of columns, records or one record as JSON records.

    A missing value (None, NaN, NA) is null. Dates become ISO text: a model takes none, but they may be keys.

    Raises:
        InvalidError: a value that JSON has no word for.

    >>> to_records({"x": [1.5, float("nan")]})
    [{'x': 1.5}, {'x': None}]
    """
    if isinstance(rows, Mapping) and rows and not any(_is_column(value) for value in rows.values()):
        rows = [rows]
    kind = "records" if _is_empty_list(rows) else kind_of(rows)
    if kind == "records":
        return [{str(name): _plain(name, value) for name, value in row.items()} for row in rows]
    columns = {name: [_plain(name, value) for value in values] for name, values in _columns(kind, rows)}
    if len({len(values) for values in columns.values()}) > 1:
        raise InvalidError("The columns are not of one length.", "Make them so.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _is_empty_list(rows: object) -> bool:
    return isinstance(rows, (list, tuple)) and not rows


def _is_column(value: object) -> bool:
    return isinstance(value, (list, tuple)) or (hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0)


def _columns(kind: str, rows: Any) -> list[tuple[str, Sequence[Any]]]:
    if kind == "pandas":
        return [(str(name), rows.iloc[:, i].tolist()) for i, name in enumerate(rows.columns)]
    if kind == "polars":
        return [(series.name, series.to_list()) for series in rows.get_columns()]
    if kind == "columns":
        return [(str(n), v.tolist() if hasattr(v, "tolist") else v) for n, v in rows.items()]
    if rows.ndim != 2:  # noqa: PLR2004
        raise InvalidError(
            f"An array of shape {tuple(rows.shape)} is no table of rows.", "One row is array.reshape(1, -1)."
        )
    return [(f"x{i}", rows[:, i].tolist()) for i in range(rows.shape[1])]


def _plain(name: object, value: Any) -> float | int | bool | str | None:
    if hasattr(value, "dtype") and hasattr(value, "item"):  # numpy's scalars
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise InvalidError(
                f"The column {name!r} has an infinite number, which JSON cannot carry.",
                "Replace it, or send the rows as CSV to the same address.",
                column=str(name),
            )
        return None if math.isnan(value) else value
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise InvalidError(
        f"The column {name!r} has a {type(value).__name__}, which cannot be sent.",
        "Values are numbers, true/false, text or missing.",
        column=str(name),
    )


def shaped(predictions: list[Any], rows: Any) -> Any:
    """Predictions as a person with such rows wants them.

    A pandas DataFrame gets an array of numbers, or a DataFrame with its index and the columns `label` and
    `probability:CLASS` or the outputs. A numpy array gets an array of numbers. All else stays a list.
    """
    kind = "records" if _is_empty_list(rows) or isinstance(rows, Mapping) else kind_of(rows)
    numbers = not any(isinstance(prediction, dict) for prediction in predictions)
    if kind not in ("pandas", "numpy") or (kind == "numpy" and not numbers):
        return predictions
    if numbers:
        import numpy as np  # noqa: PLC0415  # the rows are numpy's or pandas', so it is there

        return np.array(predictions, dtype=float)
    import pandas as pd  # noqa: PLC0415  # the rows are its own

    return pd.DataFrame([_flat(prediction) for prediction in predictions], index=rows.index)


def _flat(prediction: dict[str, Any]) -> dict[str, Any]:
    chances = prediction.get("probabilities")
    if "label" not in prediction or (chances is not None and not isinstance(chances, dict)):
        return prediction
    return {"label": prediction["label"], **{PROBABILITY + name: p for name, p in (chances or {}).items()}}
