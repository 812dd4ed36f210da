"""What a person sees: tables and words for a terminal, JSON for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelyard.records.errors import YardError

Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys, for programs.")]

_WIDE = 240  # characters of a table that is not for a screen: a pipe has no width to fit
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def clean(text: object) -> str:
    r"""The text without what could steer a terminal: it comes from whoever published something.

    >>> clean("done\x1b[2J")
    'done\\x1b[2J'
    """
    return _CONTROL.sub(lambda m: ascii(m[0])[1:-1], str(text))


def screen() -> Console:
    """Standard output."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, soft_wrap=True)


def words() -> Console:
    """Standard error: progress, notes and errors, so that standard output holds results alone."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Tell a person something beside the result."""
    words().print(clean(text), markup=False)


def print_json(value: object) -> None:
    """Print a record or a list of them, as the API has it."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table; a value None is an empty cell."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, header_style="bold", overflow="fold")
    for row in rows:
        table.add_row(*["" if cell is None else Text(clean(cell)) for cell in row])
    screen().print(table, soft_wrap=False)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, leaving out what is empty."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value not in (None, "", ()):
            table.add_row(name, Text(clean(value)))
    screen().print(table, soft_wrap=False)


def print_error(error: YardError) -> None:
    """Say what happened and what to do, on standard error."""
    console = words()
    console.print(Text.assemble(("error: ", "bold red"), clean(error.message)))
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold"), clean(error.hint)))


def when(moment: datetime | None) -> str:
    """A time as a person reads it, in UTC.

    >>> when(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02 03:04:05 UTC'
    """
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
