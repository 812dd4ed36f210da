"""example.csv and expected.csv as `contract/bundle.md` has them, and typed columns of a person's CSV file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence

from modelyard.client.tables import TableColumn
from modelyard.records.errors import InvalidError, MalformedError
from modelyard.records.signatures import ColumnType

Value = float | int | bool | str | None
_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SPECIAL = {"nan": math.nan, "inf": math.inf, "+inf": math.inf, "-inf": -math.inf}
_BOOL = {"true": True, "false": False}
_LARGEST = 2**63


def write_csv(columns: Sequence[tuple[str, Sequence[Value]]]) -> str:
    r"""Columns (name, values) as CSV text; None and NaN are missing.

    >>> write_csv([("x", [1.5, None]), ("s", ["", 'a"b'])])
    '"x","s"\n1.5,""\n,"a""b"\n'
    """
    lines = [",".join(_quoted(name) for name, _ in columns)]
    lines += [",".join(map(_field, row)) for row in zip(*(values for _, values in columns), strict=True)]
    return "\n".join(lines) + "\n"


def _field(value: Value) -> str:
    if value is None or value != value:  # noqa: PLR0124  # only NaN differs from itself
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float) and math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return repr(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def read_csv(text: str) -> list[TableColumn]:
    """Typed columns of a CSV file.

    An empty field or NA, without quotes, is missing. A column is int64, float64 or bool (`true`, `TRUE`,
    `True` …) if each field that is there reads as such without quotes, else string.

    Raises:
        MalformedError: no rows, or a row with another number of fields; the message has its line.
        InvalidError: a column without a single value, so that its type is unknown.
    """
    records = list(_records(text.removeprefix("\ufeff")))
    if len(records) < 2:  # noqa: PLR2004
        raise MalformedError("The CSV file has no rows.", "It needs a header line and one row at least.")
    names = [field for field, _ in records[0][1]]
    for line, record in records:
        if len(record) != len(names):
            raise MalformedError(
                f"Line {line} of the CSV file has {len(record)} fields, the header has {len(names)}.",
                line=line,
            )
    return [_column(name, [record[i] for _, record in records[1:]]) for i, name in enumerate(names)]


def _column(name: str, fields: list[tuple[str, bool]]) -> TableColumn:
    there = [(text, quoted) for text, quoted in fields if quoted or text not in ("", "NA")]
    if not there:
        raise InvalidError(
            f"The column {name!r} has no value at all, so its type is unknown.",
            "Give an example with at least one value in each column.",
            column=name,
        )
    readers: list[tuple[ColumnType, Callable[[str], Value]]] = [
        (ColumnType.INT64, _read_int),
        (ColumnType.FLOAT64, _read_float),
        (ColumnType.BOOL, lambda text: _BOOL.get(text.lower())),
    ]
    if not any(quoted for _, quoted in there):
        for kind, read in readers:
            if all(read(text) is not None for text, _ in there):
                return TableColumn(name, kind, [read(text) for text, _ in fields])
    values: list[Value] = [text if quoted or text not in ("", "NA") else None for text, quoted in fields]
    return TableColumn(name, ColumnType.STRING, values)


def _read_int(text: str) -> int | None:
    number = int(text) if _WHOLE.fullmatch(text) else _LARGEST
    return number if -_LARGEST <= number < _LARGEST else None


def _read_float(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else _SPECIAL.get(text.lower())


def _records(text: str) -> Iterator[tuple[int, list[tuple[str, bool]]]]:
    """Each record with the line it begins on; a field with whether it stood in quotes.

    The standard library's reader does not say whether a field was quoted, which is what tells "" from
    missing.
    """
    at, line = 0, 1
    pattern = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|\Z)')
    record: list[tuple[str, bool]] = []
    begins = line
    while at < len(text):
        found = pattern.match(text, at)
        if not found:
            raise MalformedError(f"Line {line} of the CSV file has a quote that does not fit.", line=line)
        quoted = found[1] is not None
        record.append((found[1].replace('""', '"'), True) if quoted else (found[2], False))
        line += found[0].count("\n")
        at = found.end()
        if found[3] != ",":
            yield begins, record
            record, begins = [], line
    if text.endswith(","):
        yield begins, [*record, ("", False)]
