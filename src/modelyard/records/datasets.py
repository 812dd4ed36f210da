"""Datasets, their immutable versions, what is known of each column, and who may see which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Self

import msgspec
from msgspec import Struct, field

from modelyard.records.errors import InvalidError
from modelyard.records.references import VERSION, check_name, shown

MAX_COLUMNS = 2_000
MAX_COLUMN_NAME = 1_000  # characters
LINEAGE = "dataset:"  # begins the key of a dataset in a bundle's lineage; the value is its version


class DataType(StrEnum):
    """What a column holds, whatever kind of file it came in."""

    BOOL = "bool"
    INT64 = "int64"
    FLOAT64 = "float64"
    STRING = "string"
    DATE = "date"
    DATETIME = "datetime"  # in UTC, to the microsecond


class Mark(StrEnum):
    """Keeps a column from everybody who has no clearance for it.

    Training jobs read a `personal` column, for they run within walls; a `secret` one they do not.
    """

    PERSONAL = "personal"
    SECRET = "secret"  # noqa: S105 - a word, not a password


class Category(Struct, frozen=True):
    """A value of a column of text, and the rows that have it."""

    value: str
    count: int


class Profile(Struct, frozen=True, omit_defaults=True):
    """What the values of a column are like.

    Attributes:
        missing: rows without a value.
        distinct: different values, missing ones apart.
        low: the smallest, as text for dates; None where every value is missing, and of text.
        high: the largest.
        mean: of numbers, infinite ones left out; of booleans the share that is true.
        deviation: the standard deviation of numbers.
        quantiles: of numbers, at `QUANTILES`.
        edges: of the histogram: n + 1 limits of n bins of equal width.
        counts: rows in each bin, the upper limit included in the last alone.
        top: the most frequent values of a column of text, at most 20.
    """

    missing: int = 0
    distinct: int = 0
    low: float | str | None = None
    high: float | str | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    top: tuple[Category, ...] = ()


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class DataColumn(Struct, frozen=True, omit_defaults=True):
    """A column of a dataset's version.

    Attributes:
        mark: as it is now; marks belong to the dataset and hold for all its versions.
        profile: None for who may not read the values.
    """

    name: str
    type: DataType
    mark: Mark | None = None
    profile: Profile | None = None


class Origin(Struct, frozen=True, omit_defaults=True):
    """Where a version came from.

    Attributes:
        kind: `csv`, `parquet` or `sql`.
        connection: the stored connection of a SQL query.
        query: the SQL.
    """

    kind: str
    connection: str = ""
    query: str = ""


class DatasetVersion(Struct, frozen=True):
    """One immutable version of a dataset.

    Attributes:
        dataset: `department/name`.
        version: 1, 2, 3 …
        digest: sha256 over schema and values, the same whichever way they came.
        blob: sha256 of the Parquet file that holds them.
        size: bytes of that file.
        columns: in the file's order.
        why: what the person who pushed it said.
    """

    dataset: str
    version: int
    digest: str
    blob: str
    size: int
    rows: int
    columns: tuple[DataColumn, ...]
    origin: Origin
    created_at: datetime
    created_by: str
    why: str = ""

    def shown_to(self, *, reads: bool, cleared: frozenset[Mark]) -> Self:
        """The version as somebody may know it: without profiles of what they may not read.

        Args:
            reads: whether they may read the dataset's contents at all.
            cleared: the marks that they may look behind.
        """
        columns = tuple(
            column
            if reads and is_shown(column.mark, cleared)
            else msgspec.structs.replace(column, profile=None)
            for column in self.columns
        )
        return msgspec.structs.replace(self, columns=columns)

    def readable(self, cleared: frozenset[Mark]) -> tuple[str, ...]:
        """The columns whose values somebody may see."""
        return tuple(c.name for c in self.columns if is_shown(c.mark, cleared))


class Source(Struct, frozen=True, omit_defaults=True):
    """The SQL that makes a new version when it is asked for: a stored connection's name, and the query."""

    connection: str
    query: str


class Dataset(Struct, frozen=True):
    """A dataset: a name in a department, with versions.

    Attributes:
        latest: the newest version.
        rows: of the newest version.
        columns: how many the newest version has.
        marks: column to mark; also of columns that the newest version lacks.
        changed_at: when the newest version came.
    """

    dataset: str
    latest: int
    rows: int
    columns: int
    size: int
    marks: dict[str, Mark]
    created_at: datetime
    created_by: str
    changed_at: datetime
    source: Source | None = None


class Clearance(Struct, frozen=True):
    """Somebody may see the columns of a dataset with a mark, until a time (None: until it is revoked)."""

    dataset: str
    principal: str
    mark: Mark
    given_at: datetime
    given_by: str
    until: datetime | None = None


class DataConnection(Struct, frozen=True):
    """A database that snapshots are taken from, as it is listed: without its password.

    Attributes:
        address: `postgresql://user@host:5432/name`.
    """

    department: str
    name: str
    address: str
    created_at: datetime
    created_by: str


class TrainedModel(Struct, frozen=True):
    """A version of a model that was trained on a version of a dataset."""

    model: str
    version: int
    dataset: str
    dataset_version: int


class DatasetReference(Struct, frozen=True, order=True):
    """A dataset, and perhaps one of its versions.

    Examples:
        >>> DatasetReference.parse("operations/flights/3").version
        3
        >>> str(DatasetReference.parse("operations/flights"))
        'operations/flights'
    """

    dataset: str
    version: int | None = None

    def __str__(self) -> str:
        return self.dataset if self.version is None else f"{self.dataset}/{self.version}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference as a person types it.

        Raises:
            InvalidError: it is none; the message says which part.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3):
            raise InvalidError(
                f"{shown(text)} is not a reference to a dataset.",
                "Write department/name or department/name/7.",
                field="reference",
            )
        if parts[2:] and not VERSION.fullmatch(parts[2]):
            hint = "Versions are whole numbers from 1."
            raise InvalidError(f"{shown(parts[2])} is not a version.", hint, field="version")
        return cls(check_dataset("/".join(parts[:2])), int(parts[2]) if parts[2:] else None)


def check_dataset(text: str) -> str:
    """The text itself if it is `department/name`.

    Raises:
        InvalidError: it is not.
    """
    department, _, name = text.partition("/")
    return f"{check_name(department, 'department')}/{check_name(name, 'dataset name')}"


def is_shown(mark: Mark | None, cleared: frozenset[Mark]) -> bool:
    """Whether a column with this mark may be seen by who has these clearances."""
    return mark is None or mark in cleared


def trained_on(lineage: Mapping[str, str]) -> Iterable[tuple[str, int]]:
    """The datasets, with their versions, in a bundle's lineage; what is written wrongly there is left out.

    >>> list(trained_on({"code": "4f1c", "dataset:operations/flights": "3", "dataset:x": "1"}))
    [('operations/flights', 3)]
    """
    for key, value in lineage.items():
        if key.startswith(LINEAGE) and VERSION.fullmatch(value):
            try:
                yield check_dataset(key.removeprefix(LINEAGE)), int(value)
            except InvalidError:
                continue


class ColumnChange(Struct, frozen=True, omit_defaults=True):
    """What became of one column between two versions.

    Attributes:
        what: `added`, `removed`, `retyped`, `moved` (its values are distributed otherwise) or `same`.
        before: its type, or None where it was not there.
        after: its type, or None where it is gone.
        missing_before: share of rows without a value.
        missing_after: the same afterwards.
        effect: how far its distribution moved, 0 (not at all) to 1 (nothing in common): the largest
            difference between the two distribution functions of numbers (Kolmogorov and Smirnov's D), of
            other values half the sum of the differences of their shares (total variation).
        mean_before: of numbers.
        mean_after: of numbers.
        changed: rows, of those with the same key, whose value differs.
    """

    name: str
    what: str
    before: DataType | None = None
    after: DataType | None = None
    missing_before: float | None = None
    missing_after: float | None = None
    effect: float | None = None
    mean_before: float | None = None
    mean_after: float | None = None
    changed: int | None = None


class Changes(Struct, frozen=True, omit_defaults=True):
    """What changed between two versions of a dataset, in the columns that may be seen.

    Attributes:
        key: the columns by which rows were matched; none: whole rows were compared.
        added: rows that only the later one has.
        removed: rows that only the earlier one has.
        changed: rows with the same key and other values (0 where there is no key).
        same: rows that both have.
        repeated: keys that stand on several rows, which cannot be matched by it and were left out.
        hidden: columns left out because of their marks.
    """

    before: str
    after: str
    rows_before: int
    rows_after: int
    added: int
    removed: int
    changed: int
    same: int
    columns: tuple[ColumnChange, ...]
    key: tuple[str, ...] = ()
    repeated: int = 0
    hidden: tuple[str, ...] = ()


class Preview(Struct, frozen=True):
    """Some rows of a version: values are numbers, texts (dates, too), booleans or null."""

    version: int
    rows: int
    columns: tuple[str, ...]
    values: tuple[tuple[float | int | str | bool | None, ...], ...] = field(default=())
    hidden: tuple[str, ...] = ()
