"""A worker's answer, and how a caller gets it: JSON, CSV or Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl
from msgspec import Struct

from modelyard.records.errors import MalformedError, ModelError
from modelyard.records.signatures import LABEL, PROBABILITY, ColumnType, Signature, Task
from modelyard.workers.wire import Frame, Value, to_values

_POLARS = {
    ColumnType.FLOAT64: pl.Float64,
    ColumnType.INT64: pl.Int64,
    ColumnType.BOOL: pl.Boolean,
    ColumnType.STRING: pl.String,
}


# A spreadsheet takes a cell that begins so for a formula; a plain number is harmless.
_FORMULA = r"^[=+\-@\t\r]"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


KEY = "key:"
_ENCODER = msgspec.json.Encoder()


class Answer(Struct, frozen=True):
    """The answer to one request.

    Attributes:
        model: `department/name`.
        version: which version gave it.
        request_id: under which the prediction is recorded.
        outputs: for each output column of the signature, one value a row.
        keys: for each row the request's other columns, as a JSON object, or None.
    """

    model: str
    version: int
    request_id: str
    signature: Signature
    outputs: list[list[Value]]
    keys: Sequence[str | None] | None = None


class _Body(Struct):
    model: str
    version: int
    request_id: str
    predictions: list[Any]


def read_answer(frame: Frame, signature: Signature, rows: int) -> list[list[Value]]:
    """The output columns of an `answer`, in the signature's order.

    Raises:
        ModelError: it has other columns or another number of rows than it must.
    """
    names = [(c.name, c.type) for c in frame.columns]
    due = [(c.name, c.type) for c in signature.outputs]
    if frame.rows != rows:
        raise ModelError(
            f"The model answered {frame.rows} rows to {rows}.",
            "Its predict must answer one row for each row.",
        )
    if names != due:
        raise ModelError(
            f"The model answered the columns {_listed(names)}; its signature says {_listed(due)}.",
            "A model must answer the same columns every time.",
        )
    try:
        return [to_values(c) for c in frame.columns]
    except MalformedError as error:  # the caller's request is not to blame
        raise ModelError(f"The model's answer cannot be read: {error.message}") from error


def _listed(columns: list[tuple[str, ColumnType]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in columns) or "none"


def to_json(answer: Answer) -> bytes:
    """`{"model", "version", "request_id", "predictions"}`; a value that is not a number is null."""
    names = tuple([c.name for c in answer.signature.outputs])
    try:
        rows = _quick_rows(names, answer.outputs) if len(names) > 1 else predictions(answer)
    except ValueError:  # a name that msgspec does not take for a field: with a quote in it, say
        rows = predictions(answer)
    return _ENCODER.encode(_Body(answer.model, answer.version, answer.request_id, rows))


def _quick_rows(names: tuple[str, ...], outputs: list[list[Value]]) -> list[Any]:
    if names[0] != LABEL:
        return list(map(_record(names), *outputs))
    label, probabilities = _classified(names)
    return list(map(label, outputs[0], map(probabilities, *outputs[1:])))


@lru_cache(256)
def _record(names: tuple[str, ...]) -> type[Struct]:
    """An object with these keys: several times quicker to make and write than a dict."""
    fields = [f"f{i}" for i in range(len(names))]
    return msgspec.defstruct("Row", fields, rename=dict(zip(fields, names, strict=True)), gc=False)


@lru_cache(256)
def _classified(names: tuple[str, ...]) -> tuple[type[Struct], type[Struct]]:
    classes = tuple(name[len(PROBABILITY) :] for name in names[1:])
    return _record((LABEL, "probabilities")), _record(classes)


def predictions(answer: Answer) -> list[Any]:
    """One prediction a row: a number, `{"label", "probabilities"}` or an object of the outputs."""
    outputs, columns = answer.outputs, answer.signature.outputs
    if answer.signature.task is Task.CLASSIFICATION:
        if len(columns) == 1:
            return [{LABEL: label} for label in outputs[0]]
        classes = [c.name[len(PROBABILITY) :] for c in columns[1:]]
        labels, *probabilities = outputs
        rows = zip(*probabilities, strict=True)
        return [
            {LABEL: label, "probabilities": dict(zip(classes, row, strict=True))}
            for label, row in zip(labels, rows, strict=True)
        ]
    if len(outputs) == 1:
        return outputs[0]
    names = [c.name for c in columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*outputs, strict=True)]


def to_table(answer: Answer) -> pl.DataFrame:
    """The kept keys' columns as text, then the outputs, a row for each row asked.

    A key that is named like an output stands under `key:NAME`.
    """
    columns = [
        pl.Series(c.name, values, dtype=_POLARS[c.type])
        for c, values in zip(answer.signature.outputs, answer.outputs, strict=True)
    ]
    table = pl.DataFrame(columns)
    if answer.keys is None:
        return table
    keys, taken = [], set(table.columns)
    for series in _key_columns(answer.keys):
        name = series.name
        while name in taken:
            name = KEY + name
        taken.add(name)
        keys.append(series.alias(name))
    return pl.DataFrame([*keys, *table])


def _key_columns(keys: Sequence[str | None]) -> list[pl.Series]:
    records = [msgspec.json.decode(key) if key else {} for key in keys]
    names = list(dict.fromkeys(name for record in records for name in record))
    return [pl.Series(name, [_text(r.get(name)) for r in records], dtype=pl.String) for name in names]


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def to_csv(answer: Answer, *, has_header: bool = True) -> bytes:
    """A CSV with a header line, or its rows alone.

    Text and names that a spreadsheet would take for a formula (`= + - @`, TAB or CR at the beginning, and
    no number) get an apostrophe before them, as spreadsheets themselves do; JSON and Parquet have them
    as they are.
    """
    table = to_table(answer)
    texts = [_harmless(column) if column.dtype == pl.String else column for column in table]
    rows = pl.DataFrame(texts).write_csv(include_header=False).encode()
    if not has_header:
        return rows
    names = _harmless(pl.Series(table.columns, dtype=pl.String)).to_frame().transpose()
    return names.write_csv(include_header=False).encode() + rows


def _harmless(text: pl.Series) -> pl.Series:
    risky = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    return ("'" + text).alias(text.name).zip_with(risky.fill_null(value=False), text)


def to_parquet(answer: Answer) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    to_table(answer).write_parquet(out)
    return out.getvalue()
