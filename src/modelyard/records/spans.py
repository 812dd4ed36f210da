"""Lengths of time, shares and sizes as a person writes them: `30m`, `5%`, `200 MB`."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_SPAN = re.compile(r"([0-9]{1,6})\s?([smhdw])", re.ASCII)
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s?%", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,6})\s?(KB|MB|GB)", re.ASCII)


def seconds_of(text: str) -> int | None:
    """Seconds of a length of time, or None if it is none.

    >>> seconds_of("30m"), seconds_of("7d"), seconds_of("soon")
    (1800, 604800, None)
    """
    found = _SPAN.fullmatch(text)
    return int(found[1]) * _SECONDS[found[2]] if found else None


def share_of(text: str) -> float | None:
    """A percentage as a share, or None if it is none.

    >>> share_of("5%"), share_of("five")
    (0.05, None)
    """
    found = _SHARE.fullmatch(text)
    return float(found[1]) / 100 if found else None


def bytes_of(text: str) -> int | None:
    """Bytes of a size, or None if it is none.

    >>> bytes_of("200 MB"), bytes_of("big")
    (200000000, None)
    """
    found = _SIZE.fullmatch(text)
    return int(found[1]) * _BYTES[found[2]] if found else None


def span(seconds: float) -> str:
    """A length of time as a person reads it, in its two largest units.

    >>> span(5400), span(90), span(0.2), span(172800)
    ('1 h 30 min', '1 min 30 s', '0 s', '2 d')
    """
    left = round(seconds)
    parts = []
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def size(count: int) -> str:
    """A number of bytes as a person reads it.

    >>> size(1536)
    '1.5 KiB'
    """
    value, unit = float(count), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
