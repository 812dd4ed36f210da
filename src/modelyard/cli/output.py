"""What a person sees: tables and words for a terminal, JSON for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelyard.records.errors import YardError

Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys, for programs.")]

_GAP = 2  # characters between two columns
_WORD = 30  # characters; a longer word is broken where need be
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
    """Print a table; a value None is an empty cell.

    Where the terminal is too narrow for whole words, columns without any value are left out; where that is
    not enough, each row is printed as facts, one below the other.
    """
    console = screen()
    cells = [["" if cell is None else clean(cell) for cell in row] for row in rows]
    widths = fitting(columns, cells, console.width)
    if widths is None and cells:
        kept = [i for i in range(len(columns)) if any(row[i] for row in cells)]
        columns, cells = [columns[i] for i in kept], [[row[i] for i in kept] for row in cells]
        widths = fitting(columns, cells, console.width)
        if widths is None:
            _print_rows(console, columns, cells, title)
            return
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    unset: list[int | None] = [None] * len(columns)
    for column, width in zip(columns, widths or unset, strict=True):
        table.add_column(column, header_style="bold", overflow="fold", width=width)
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table, soft_wrap=False)


def fitting(columns: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """The widths of a table's columns in so many characters, no word broken; None where they do not fit.

    >>> fitting(["model", "why"], [["finance/fuel", "better on newest rows"]], 30)
    [12, 16]
    >>> fitting(["model", "why"], [["finance/fuel", "better"]], 15) is None
    True
    """
    each = [[column, *(row[i] for row in cells)] for i, column in enumerate(columns)]
    widths = [max(cell_len(line) for text in texts for line in (text.splitlines() or [""])) for texts in each]
    least = [
        min(_WORD, max((cell_len(word) for text in texts for word in text.split()), default=0))
        for texts in each
    ]
    room -= _GAP * (len(columns) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max((i for i in range(len(widths)) if widths[i] > least[i]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _print_rows(console: Console, columns: Sequence[str], cells: Iterable[Sequence[str]], title: str) -> None:
    if title:
        console.print(Text(title, style="bold"))
    for number, row in enumerate(cells):
        if number:
            console.print()
        _print_facts(console, zip(columns, row, strict=True))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, leaving out what is empty."""
    _print_facts(screen(), facts)


def _print_facts(console: Console, facts: Iterable[tuple[str, object]]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value not in (None, "", ()):
            table.add_row(name, Text(clean(value)))
    console.print(table, soft_wrap=False)


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
