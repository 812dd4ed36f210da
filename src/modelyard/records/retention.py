"""How long logs and curves of jobs are kept: days for the yard, and for departments where they differ."""

from __future__ import annotations

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.references import NAME, shown

FOR_EVER = 0
_MOST = 36_500


class Retention(Struct, frozen=True):
    """Days after a job's end; 0 for ever."""

    days: int
    departments: dict[str, int] = {}

    def of(self, department: str) -> int:
        """Those of a department."""
        return self.departments.get(department, self.days)


def read_retention(text: str) -> Retention:
    """Read a setting: a number, and `department=number` for those that differ, with commas between.

    Raises:
        InvalidError: it is none.

    >>> read_retention("365, finance=3650").of("finance")
    3650
    """
    days, departments = FOR_EVER, dict[str, int]()
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, number = part.rpartition("=")
        if not number.isdecimal() or len(number) > len(str(_MOST)) or (name and not NAME.fullmatch(name)):
            hint = "Write days, and departments that differ: 365, finance=3650. 0 keeps for ever."
            raise InvalidError(f"YARD_JOB_DAYS has {shown(part)}, which is no number of days.", hint)
        if name:
            departments[name] = int(number)
        else:
            days = int(number)
    return Retention(days, departments)
