"""A table of a TOML file as a record, and where in the file a key stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.references import shown

Record = TypeVar("Record", bound=Struct)
_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]#]+?)\s*\]")
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")


def read_table(table: Mapping[str, object], kind: type[Record], name: str) -> Record:
    """A table as the record it stands for.

    Args:
        table: as the TOML reader has it.
        kind: of the record.
        name: of the table, for messages.

    Raises:
        InvalidError: an unknown key, a wrong type or a value that means nothing; `key` is `NAME.KEY`.
    """
    known = {field.name for field in msgspec.structs.fields(kind)}
    for key in table:
        if key not in known:
            hint = f"[{name}] knows {', '.join(sorted(known))}."
            raise InvalidError(
                f"[{name}] has a key that is not known: {shown(key)}.", hint, key=f"{name}.{key}"
            )
    try:
        return msgspec.convert(dict(table), kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = re.split(r"[`.\[]", where.removeprefix("."))[0]
        if found := re.search(r"missing required field `(\w+)`", what):
            raise InvalidError(f"[{name}] has no {found[1]}.", key=f"{name}.{found[1]}") from None
        raise InvalidError(f"[{name}] {key}: {what}.", key=f"{name}.{key}") from None


def line_of(text: str, key: str) -> int | None:
    r"""The line a key like `promote.metric` stands on, from 1; of one that is not there, that of its table.

    >>> line_of("model = 'a/b'\n[train]\nrun = 'python train.py'", "train.run")
    3
    >>> line_of("[train]\nrun = 'python train.py'", "train.time")
    1
    """
    lines = dict(reversed(list(_keys(text))))  # of a key that stands twice, the first
    parts = key.split(".")
    for count in range(len(parts), 0, -1):
        if (found := lines.get(".".join(parts[:count]))) is not None:
            return found
    return None


def _keys(text: str) -> Iterator[tuple[str, int]]:
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _plain(header[1]) + "."
            yield table[:-1], number
        elif key := _KEY.match(line):
            yield table + _plain(key[1]), number


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
