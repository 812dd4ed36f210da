"""What the process is asked, and what it answers: one JSON line each way; rows go by files."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from modelyard.records.datasets import ColumnChange, DataColumn, DataType
from modelyard.records.provenance import Label


class Read(Struct, frozen=True, tag="read"):
    """Read a file of others (`csv` or `parquet`) and write it as a version's Parquet.

    Attributes:
        types: of the version before: a CSV column keeps its type where all values still fit.
    """

    source: str
    kind: str
    into: str
    types: dict[str, DataType] = field(default_factory=dict)


class Scan(Struct, frozen=True, tag="scan"):
    """Say what the pickles in a folder would call."""

    folder: str


class Scanned(Struct, frozen=True):
    """What they would call, by file and name."""

    labels: tuple[Label, ...]


class Query(Struct, frozen=True, tag="query"):
    """Ask a PostgreSQL database, and write the rows as a version's Parquet.

    Attributes:
        parameters: of the connection, as libpq names them; `hostaddr` was checked before.
        seconds: one statement may take.
    """

    parameters: dict[str, str]
    query: str
    into: str
    seconds: int


class Made(Struct, frozen=True):
    """A version's Parquet was written."""

    digest: str
    rows: int
    columns: tuple[DataColumn, ...]


class Write(Struct, frozen=True, tag="write"):
    """Write some columns and rows of a version as another file.

    Attributes:
        form: `csv` or `parquet`.
        start: first row.
        count: rows at most, or None for all.
        is_for_people: put a `'` before texts that a spreadsheet would run as formulas (CSV alone).
    """

    source: str
    into: str
    form: str
    columns: tuple[str, ...]
    start: int = 0
    count: int | None = None
    is_for_people: bool = False


class Written(Struct, frozen=True):
    """Rows that were written."""

    rows: int


class Show(Struct, frozen=True, tag="show"):
    """Tell some rows."""

    source: str
    columns: tuple[str, ...]
    start: int
    count: int


class Shown(Struct, frozen=True):
    """Rows as JSON values."""

    values: tuple[tuple[float | int | str | bool | None, ...], ...]


class Compare(Struct, frozen=True, tag="compare"):
    """Tell what changed between two versions.

    Attributes:
        columns: those that may be looked at.
        key: columns by which rows are matched; none: whole rows are compared.
    """

    before: str
    after: str
    columns: tuple[str, ...]
    key: tuple[str, ...] = ()


class Compared(Struct, frozen=True):
    """See `records.datasets.Changes`."""

    added: int
    removed: int
    changed: int
    same: int
    repeated: int
    columns: tuple[ColumnChange, ...]


class Refused(Struct, frozen=True):
    """An error of the house."""

    code: str
    message: str
    hint: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


Task = Read | Query | Write | Show | Compare | Scan
