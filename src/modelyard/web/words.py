"""Numbers, times and sizes as a person reads them on a page. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from modelyard.records.predictions import Finding

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_STEPS = ((365 * _DAY, "year"), (30 * _DAY, "month"), (_DAY, "day"), (_HOUR, "h"), (_MINUTE, "min"))
_SHORT = ("h", "min")
_THOUSAND = 1_000
_UNITS = ("B", "kB", "MB", "GB", "TB")
NONE = "\N{EN DASH}"
_LANGUAGES = {"python": "Python", "r": "R", "julia": "Julia"}
_KINDS = {
    "drift": "values have moved",
    "outputs": "answers have moved",
    "missing": "values are missing",
    "out-of-range": "values outside of all seen before",
    "new-category": "values never seen before",
    "type": "another type than before",
    "constant": "always the same value",
    "volume": "far fewer predictions than usual",
    "performance": "answers have got worse",
    "estimated": "answers are estimated to be worse",
}


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long ago, in the largest unit that fits.

    >>> ago(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, 5, tzinfo=UTC))
    '2 days ago'
    """
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for step, unit in _STEPS:
        if seconds >= step:
            many = int(seconds // step)
            plural = "s" if many > 1 and unit not in _SHORT else ""
            return f"{many} {unit}{plural} ago"
    return "just now" if seconds >= -_MINUTE else clock(moment)


def clock(moment: datetime) -> str:
    """To the minute, in UTC.

    >>> clock(datetime(2026, 1, 3, 5, 7, tzinfo=UTC))
    '2026-01-03 05:07 UTC'
    """
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def number(value: float | None, digits: int = 4) -> str:
    """A measured number with so many significant digits; whole numbers as they are.

    >>> number(12.10457), number(1234567.0), number(0.000012345)
    ('12.1', '1,234,567', '1.234e-05')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == int(value) and abs(value) < 10**15:
        return f"{int(value):,}"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def short(value: float) -> str:
    """A count in little room.

    >>> short(950), short(12_345), short(3_400_000)
    ('950', '12.3k', '3.4M')
    """
    if value < _THOUSAND:
        return f"{value:.0f}"
    if value < _THOUSAND**2:
        return f"{value / _THOUSAND:.3g}k"
    return f"{value / _THOUSAND**2:.3g}M"


def rate(per_second: float) -> str:
    """Requests a second; of few, a minute.

    >>> rate(0), rate(0.05), rate(3.14), rate(1234)
    ('0', '3/min', '3.1/s', '1.23k/s')
    """
    if per_second <= 0:
        return "0"
    if per_second < 1:
        return f"{max(1, round(per_second * 60))}/min"
    return f"{per_second:.1f}/s" if per_second < 10 else f"{short(per_second)}/s"  # noqa: PLR2004


def seconds(value: float | None) -> str:
    """A time an answer took.

    >>> seconds(0.0042), seconds(1.5)
    ('4.2 ms', '1.5 s')
    """
    if value is None:
        return NONE
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def size(value: float) -> str:
    """Bytes.

    >>> size(999), size(1_500_000)
    ('999 B', '1.5 MB')
    """
    for unit in _UNITS[:-1]:
        if value < _THOUSAND:
            return f"{value:.3g} {unit}"
        value /= _THOUSAND
    return f"{value:,.3g} {_UNITS[-1]}"


def share(value: float | None) -> str:
    """A share in percent.

    >>> share(0.0312), share(1)
    ('3.1 %', '100 %')
    """
    return NONE if value is None else f"{100 * value:.3g} %" if value >= 1 else f"{100 * value:.2g} %"


def language(name: str) -> str:
    """A language as its people write it; one that was added as a runtime as it calls itself.

    >>> language("r"), language("octave")
    ('R', 'octave')
    """
    return _LANGUAGES.get(name, name)


def cut(text: str, limit: int = 120) -> str:
    """The beginning of a long text.

    >>> cut("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def title_of(finding: Finding) -> str:
    """What a finding is, in a few words: of which column, and what about it."""
    what = _KINDS.get(finding.kind, finding.kind.replace("-", " "))
    return f"{cut(finding.column, 60)}: {what}" if finding.column else what.capitalize()
