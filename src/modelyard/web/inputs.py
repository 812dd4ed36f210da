"""The form made from a signature, and what was typed into it as a record for the model. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.web.words import number

CHOICES = 40  # levels in a list to choose from; more are searched for while typing
_LONGEST_CHOICES = 2_000  # characters of all of them together
_TRUE, _FALSE = "true", "false"
_ABSENT = "absent."  # before a field's name: the value is missing


class Field(Struct, frozen=True):
    """One input of the form.

    Attributes:
        name: of the form's field, `c0` and so on: a column's own name can be anything.
        kind: number, choice, search, yes-no or text.
        value: what stands in it.
        hint: what was seen, in words.
        choices: of a choice; of a search none.
        is_closed: whether only the levels are taken.
        absent: whether the value is missing.
    """

    name: str
    column: Column
    kind: str
    value: str
    hint: str
    choices: tuple[str, ...] = ()
    is_closed: bool = False
    absent: bool = False

    @property
    def step(self) -> str:
        """For a number: whole ones, or any."""
        return "1" if self.column.type is ColumnType.INT64 else "any"


def fields_of(signature: Signature, typed: Mapping[str, str] | None = None) -> list[Field]:
    """The form's fields, filled with what was typed or with the example."""
    return [_field(f"c{i}", column, typed) for i, column in enumerate(signature.inputs)]


def _field(name: str, column: Column, typed: Mapping[str, str] | None) -> Field:
    named = column.levels if column.levels is not None else column.categories
    few = bool(named) and len(named or ()) <= CHOICES and sum(map(len, named or ())) <= _LONGEST_CHOICES
    if column.type is ColumnType.BOOL:
        kind = "yes-no"
    elif column.type in (ColumnType.FLOAT64, ColumnType.INT64):
        kind = "number"
    elif few and column.levels is not None:
        kind = "choice"
    else:
        kind = "search" if named else "text"
    return Field(
        name,
        column,
        kind,
        _value(name, column, typed),
        _hint(column),
        tuple(named or ()) if few else (),
        column.levels is not None,
        bool(typed) and f"{_ABSENT}{name}" in (typed or {}),
    )


def _value(name: str, column: Column, typed: Mapping[str, str] | None) -> str:
    if typed is not None:
        return typed.get(name, "")
    if column.example is not None:
        return column.example.lower() if column.type is ColumnType.BOOL else column.example
    if column.levels:
        return column.levels[0]
    if column.low is not None and column.high is not None:
        middle = (column.low + column.high) / 2
        return str(round(middle)) if column.type is ColumnType.INT64 else f"{middle:g}"
    return ""


def _hint(column: Column) -> str:
    if column.low is not None and column.high is not None:
        return f"seen {number(column.low)} to {number(column.high)}"
    named = column.levels if column.levels is not None else column.categories
    if named and len(named) > CHOICES:
        return f"{len(named):,} {'values' if column.levels is not None else 'values seen'}"
    return ""


def matches(column: Column, typed: str, most: int = 20) -> list[str]:
    """The column's values that begin with what was typed, then those that have it in them.

    >>> matches(Column("x", ColumnType.STRING, levels=("JFK", "EWR", "AJ")), "j")
    ['JFK', 'AJ']
    """
    named = column.levels if column.levels is not None else column.categories or ()
    wanted = typed.strip().lower()
    begin = [v for v in named if v.lower().startswith(wanted)]
    if len(begin) < most:
        begin += [v for v in named if wanted in v.lower() and not v.lower().startswith(wanted)]
    return begin[:most]


def record_of(signature: Signature, typed: Mapping[str, str]) -> dict[str, Any]:
    """What was typed as a record; what does not fit its column stays text; the model's door says so."""
    return {
        column.name: _typed(column, typed.get(f"c{i}", ""), absent=f"{_ABSENT}c{i}" in typed)
        for i, column in enumerate(signature.inputs)
    }


def _typed(column: Column, text: str, *, absent: bool) -> Any:  # noqa: ANN401 - any JSON value
    if absent or (not text and column.type is not ColumnType.STRING):
        return None
    try:
        match column.type:
            case ColumnType.FLOAT64:
                return float(text.replace(",", "."))
            case ColumnType.INT64:
                return int(text)
            case ColumnType.BOOL:
                return {_TRUE: True, _FALSE: False}.get(text.lower(), text)
    except ValueError:
        pass
    return text
