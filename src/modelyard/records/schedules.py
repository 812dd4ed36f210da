"""Cron schedules: five fields, UTC. Read strictly: a schedule that never fires looks like a quiet one."""

from __future__ import annotations

import re
from datetime import datetime

from modelyard.records.errors import InvalidError
from modelyard.records.references import shown

_FIELDS = 5
_LONGEST = 200  # characters
# No `L`, `#`, `H` or `R`: one server's cron knows them, the next does not.
_PLACE = r"(?:\*|[0-9]{1,2}(?:-[0-9]{1,2})?|[A-Za-z]{3}(?:-[A-Za-z]{3})?)"
_PART = rf"{_PLACE}(?:/[0-9]{{1,2}})?"
_FIELD = re.compile(rf"{_PART}(?:,{_PART}){{0,59}}", re.ASCII)
_ZERO_STEP = re.compile(r"/0{1,2}(?![0-9])", re.ASCII)
_HINT = "Write five fields: minute hour day month weekday, as `0 3 * * 1` for Mondays at 03:00 UTC."
_YEARS = 9  # the longest time between two 29ths of February


def check_schedule(text: str) -> str:
    """The text itself if it is a schedule that fires.

    The last check, that it fires at all, needs croniter, which a light client lacks; the server makes it.

    Raises:
        InvalidError: it is none, fires more often than once a minute, or never.

    >>> check_schedule("0 3 * * 1")
    '0 3 * * 1'
    """
    fields = text.split(" ")
    if len(text) > _LONGEST or not all(_FIELD.fullmatch(field) for field in fields):
        raise _wrong(text, "is not a cron schedule")
    if len(fields) != _FIELDS:
        raise _wrong(text, f"has {len(fields)} fields, and a schedule has five (there are none for seconds)")
    if _ZERO_STEP.search(text):
        raise _wrong(text, "has a step of 0")
    try:
        import croniter  # noqa: F401, PLC0415 - optional: not in the light install
    except ImportError:
        return text
    next_fire(text, datetime(2001, 1, 1))  # noqa: DTZ001 - any moment will do
    return text


def next_fire(text: str, after: datetime) -> datetime:
    """When a schedule fires next after a moment.

    Raises:
        InvalidError: it is no schedule, or never fires.
    """
    from croniter import croniter  # noqa: PLC0415 - optional: not in the light install
    from croniter.croniter import CroniterBadDateError, CroniterError  # noqa: PLC0415 - the same

    try:
        found: datetime = croniter(text, after, max_years_between_matches=_YEARS).get_next(datetime)
    except CroniterBadDateError:
        raise _wrong(text, "never fires") from None
    except (CroniterError, ValueError, KeyError) as error:
        raise _wrong(text, f"is not a cron schedule ({str(error).splitlines()[0]})") from None
    return found


def _wrong(text: str, what: str) -> InvalidError:
    return InvalidError(f"The schedule {shown(text)} {what}.", _HINT, field="schedule")
