"""Months, as the ledger counts: `2026-11`, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Self

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.references import shown

_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])", re.ASCII)
_LAST = 12


class Month(Struct, frozen=True, order=True):
    """A month of a year.

    Examples:
        >>> Month.parse("2026-02").days
        28
        >>> str(Month(2026, 12).next)
        '2027-01'
    """

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2026-11`.

        Raises:
            InvalidError: it is no month of this century.
        """
        found = _MONTH.fullmatch(text)
        if found is None:
            raise InvalidError(f"{shown(text)} is no month.", "Write it as 2026-11.", field="month")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """The month of a time, UTC."""
        at = moment.astimezone(UTC)
        return cls(at.year, at.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def begins(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def ends(self) -> datetime:
        """The first moment after it."""
        return self.next.begins

    @property
    def next(self) -> Month:
        """The one after it."""
        return Month(self.year + 1, 1) if self.month == _LAST else Month(self.year, self.month + 1)

    @property
    def before(self) -> Month:
        """The one before it."""
        return Month.of(self.begins - timedelta(days=1))

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.ends - self.begins).days

    @property
    def words(self) -> str:
        """For a person.

        >>> Month(2026, 11).words
        'November 2026'
        """
        return f"{self.begins:%B %Y}"
