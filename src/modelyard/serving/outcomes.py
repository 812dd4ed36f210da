"""Outcomes as callers send them, checked against the model's answers, as frames for the spool.

An outcome says what really happened: `actual`, of the prediction with this `request_id` and `row` (0 where
none is given), or of those whose key columns have these values: every other column is a key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import polars as pl

from modelyard.records.errors import InvalidError, MalformedError, TooLargeError
from modelyard.records.outcomes import ACTUAL, key_text
from modelyard.records.references import shown
from modelyard.records.signatures import ColumnType, Signature, Task
from modelyard.serving.tables import read_csv
from modelyard.workers.wire import ColumnData, block_of, compose, from_values

REQUEST, ROW = "request_id", "row"
_OWN = (ACTUAL, REQUEST, ROW)
MOST = 1_000_000  # outcomes of one request: more would take gigabytes of a front
_ROWS_A_FRAME = 50_000
_LONGEST_ID = 100
_LONGEST_ROW = 10  # digits
_HINT = 'Send [{"request_id": "…", "row": 0, "actual": …}, …], or key columns in place of the id.'

Rows = list[tuple[str | None, int, str | None, float | str]]


def from_json(body: bytes, signature: Signature) -> Rows:
    """An array of outcomes, or an object with one under `outcomes`; for each its id, row, keys and outcome.

    Raises:
        MalformedError: no JSON.
        TooLargeError: over a million outcomes.
        InvalidError: an outcome that fits no prediction of this model; the message names its row.
    """
    _check_count(body.count(b"{") + body.count(b"["))
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"The body is not JSON: {error}.", _HINT) from error
    if isinstance(data, dict):
        data = data.get("outcomes", data.get("records"))
    if not isinstance(data, list):
        raise InvalidError("The body is neither an array of outcomes nor an object with one.", _HINT)
    fit = _fitting(signature)
    return [_outcome(record, number, fit) for number, record in enumerate(data)]


def from_csv(body: bytes, signature: Signature) -> Rows:
    """A CSV with a header line; see `from_json`."""
    _check_count(body.count(b"\n"))
    table = read_csv(body)
    if ACTUAL not in table.columns:
        raise InvalidError("The CSV has no column `actual`.", "Name the column of the outcomes so.")
    fit = _fitting(signature)
    rows: list[dict[str, Any]] = table.with_columns(pl.col(pl.String).replace("", None)).to_dicts()
    return [_outcome(record, number, fit) for number, record in enumerate(rows)]


def from_keys(keys: Sequence[str | None], signature: Signature) -> Rows:
    """Rows as JSON objects, as a Parquet file gives them; see `from_json`."""
    fit = _fitting(signature)
    return [_outcome(msgspec.json.decode(text or "{}"), number, fit) for number, text in enumerate(keys)]


def frames(model: str, rows: Rows, signature: Signature) -> Iterator[bytes]:
    """The outcomes as records for the spool."""
    kind = ColumnType.FLOAT64 if signature.task is Task.REGRESSION else ColumnType.STRING
    for begin in range(0, len(rows), _ROWS_A_FRAME):
        some = rows[begin : begin + _ROWS_A_FRAME]
        ids, numbers, keys, came = zip(*some, strict=True)
        columns: list[ColumnData] = [
            from_values("request", ColumnType.STRING, ids),
            from_values("row", ColumnType.INT64, numbers),
            from_values("keys", ColumnType.STRING, keys),
            from_values(ACTUAL, kind, came),
        ]
        fields = (("model", model), ("at", str(time.time_ns() // 1000)))
        yield compose("outcomes", fields, len(some), block_of(columns))


def _check_count(count: int) -> None:
    """Before anything is read of a body that has about so many outcomes, and surely no more."""
    if count > MOST + 2:  # the array and an object around it, or the line of names
        hint = "Send them in parts, as `yard outcomes` does with a file of any size."
        raise TooLargeError(f"There are more than {MOST:,} outcomes in one request.", hint)


def _outcome(
    record: object, number: int, fit: Callable[[Any, int], float | str]
) -> tuple[str | None, int, str | None, float | str]:
    if not isinstance(record, dict):
        raise InvalidError(f"Row {number} is not an object.", _HINT, row=number)
    if record.get(ACTUAL) is None:
        raise InvalidError(f"Row {number} has no `actual`.", _HINT, row=number)
    request, keys = record.get(REQUEST), {k: v for k, v in record.items() if k not in _OWN and v is not None}
    if request is None and not keys:
        message = f"Row {number} does not say of which prediction it is: by `request_id` or key columns."
        raise InvalidError(message, _HINT, row=number)
    came = fit(record[ACTUAL], number)
    if request is None:
        return None, 0, _keys_of(keys, number), came
    if not isinstance(request, str) or not request or len(request) > _LONGEST_ID or "\0" in request:
        message = f"Row {number}: the request_id {shown(str(request))} is none."
        raise InvalidError(message, "Send the `request_id` of the answer.", row=number)
    return request, _row_of(record.get(ROW), number), None, came


def _row_of(value: object, number: int) -> int:
    text = str(0 if value is None else value)
    is_whole = text.isascii() and text.isdigit() and len(text) < _LONGEST_ROW
    if isinstance(value, bool) or not is_whole:
        message = f"Row {number}: `row` is {shown(text)}."
        raise InvalidError(message, "It is the row's place in its request, from 0 on.", row=number)
    return int(text)


def _keys_of(keys: dict[str, Any], number: int) -> str:
    plain = {str(k): key_text(v) for k, v in sorted(keys.items())}
    if any(v is None or "\0" in v or "\0" in k for k, v in plain.items()):
        raise InvalidError(f"Row {number}: a key is neither text nor a number.", _HINT, row=number)
    return msgspec.json.encode(plain).decode()


def _fitting(signature: Signature) -> Callable[[Any, int], float | str]:
    return _number if signature.task is Task.REGRESSION else _Label(signature.classes)


def _number(value: object, number: int) -> float:
    try:
        found = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        found = None
    if found is None or found - found != 0:  # no number, NaN or an infinity
        message = f"Row {number}: `actual` is {shown(str(value))}, and the model answers numbers."
        raise InvalidError(message, "Send a number.", row=number)
    return found


class _Label:
    """Fits an outcome to the classes; `1.0` is `1`, `TRUE` is `True` where the model says it so."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._known = {c.lower(): c for c in classes} | {c: c for c in classes}

    def __call__(self, value: object, number: int) -> str:
        text = key_text(value)
        if text is None or "\0" in text:
            raise InvalidError(f"Row {number}: `actual` is no label.", "Send a text.", row=number)
        if not self._classes:
            return text
        plain = text.removesuffix(".0")
        found = self._known.get(text) or self._known.get(plain) or self._known.get(text.lower())
        if found is None:
            message = f"Row {number}: `actual` is {shown(text)}, which is none of the model's classes."
            raise InvalidError(message, f"They are {', '.join(self._classes[:12])}.", row=number)
        return found
