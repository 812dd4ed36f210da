"""Performance over time as SVG: measured and estimated with their intervals, versions marked. Pure.

Shapes are stretched to the width there is; words, dots and marks are placed in percent, so they never are.
Measured days are a line over a band, with dots where there is room; estimated ones a dashed line, with
whiskers and open squares. So they can be told apart without colour.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup, escape
from msgspec import Struct

from modelyard.records.predictions import Performance
from modelyard.web import scales
from modelyard.web.words import number

_TOP, _BOTTOM = 12.0, 88.0  # percent of the height between which values lie
_LEFT, _RIGHT = 7.0, 98.5  # of the width
_DAY = timedelta(days=1)
_GAP = timedelta(days=4)  # a longer one interrupts a line
_APART = 1.2  # percent of the width between two days, of which each has a dot
_CLOSE = 3.2  # percent of the width that two words of marks need between them
_SHORT_SPAN = timedelta(days=200)  # dates of a longer one have their year


class Mark(Struct, frozen=True):
    """A version that became champion: when, and which."""

    at: datetime
    version: int


class Timeline(Struct, frozen=True):
    """One metric over time.

    Attributes:
        measured, estimated: a day each, oldest first.
        marks: oldest first.
        since, until: what the axis spans.
        limit: a value drawn as a line across, in words `limit_words`; or None.
    """

    name: str
    measured: tuple[Performance, ...]
    estimated: tuple[Performance, ...]
    marks: tuple[Mark, ...]
    since: datetime
    until: datetime
    limit: float | None = None
    limit_words: str = ""

    @property
    def every(self) -> tuple[Performance, ...]:
        """All days, oldest first."""
        return tuple(sorted((*self.measured, *self.estimated), key=lambda p: (p.day, p.estimated)))


def draw(line: Timeline, label: str) -> Markup:
    """A timeline as SVG; `label` says in words what it shows."""
    values = [p.value for p in line.every] + ([line.limit] if line.limit is not None else [])
    low, high = scales.room(values, [(p.low, p.high) for p in line.every])
    place = _Place(line.since, line.until, low, high)
    shapes = _band(line.measured, place)
    is_wide = place.x(line.since + _DAY) - _LEFT >= _APART
    if not is_wide:  # too narrow for whiskers
        shapes += _band(line.estimated, place, "band estimated")
    shapes += _lines(line.measured, place, "measured") + _lines(line.estimated, place, "estimated")
    drawn = [
        *_grid(place),
        *_marks(line.marks, place),
        *_limit(line, place),
        f'<svg viewBox="0 0 1000 1000" width="100%" height="100%" preserveAspectRatio="none">{shapes}</svg>',
        *(_whiskers(line.estimated, place) if is_wide else []),
        *_dots(line.measured, place, "measured", every=is_wide),
        *_dots(line.estimated, place, "estimated", every=is_wide),
    ]
    return Markup(  # noqa: S704 - numbers, and all words escaped
        f'<svg class="timeline" role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'
    )


def describe(line: Timeline) -> str:
    """A timeline in a sentence, for who does not see it."""
    told = [f"{line.name} from {line.since:%Y-%m-%d} to {line.until:%Y-%m-%d}"]
    for kind, days in (("measured", line.measured), ("estimated", line.estimated)):
        if days:
            last = days[-1]
            said = f"last {number(last.value)} on {last.day:%Y-%m-%d} by version {last.version}"
            told.append(f"{kind} on {len(days)} days, {said}")
    if line.limit is not None:
        told.append(f"{line.limit_words} {number(line.limit)}")
    return "; ".join(told)


class _Place(Struct, frozen=True):
    """Where a day and a value lie, in percent of the width and the height."""

    since: datetime
    until: datetime
    low: float
    high: float

    def x(self, day: datetime) -> float:
        whole = (self.until - self.since).total_seconds() or 1.0
        share = min(1.0, max(0.0, (day - self.since).total_seconds() / whole))
        return round(_LEFT + (_RIGHT - _LEFT) * share, 2)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1.0)
        return round(_BOTTOM - (_BOTTOM - _TOP) * share, 2)

    def point(self, day: datetime, value: float) -> str:
        """In thousandths, for shapes that are stretched."""
        return f"{10 * self.x(day):.4g},{10 * self.y(value):.4g}"


def _grid(place: _Place) -> list[str]:
    drawn = []
    for value in scales.ticks(place.low, place.high):
        y = place.y(value)
        drawn.append(f'<line class="grid" x1="0" x2="100%" y1="{y}%" y2="{y}%"/>')
        drawn.append(f'<text class="tick" x="0" y="{y}%" dy="-4">{escape(number(value))}</text>')
    form = "%-d %b" if place.until - place.since < _SHORT_SPAN else "%b %Y"
    days = scales.days(place.since, place.until)
    for day in days:
        end = "end" if day == days[-1] else "middle late" if day == days[-2] else "middle"
        drawn.append(f'<text class="tick {end}" x="{place.x(day)}%" y="99%">{day.strftime(form)}</text>')
    return drawn


def _marks(marks: Sequence[Mark], place: _Place) -> list[str]:
    drawn, last = [], -math.inf
    for mark in marks:
        if not place.since <= mark.at <= place.until:
            continue
        x = place.x(mark.at)
        title = f"<title>Version {mark.version} in use from {mark.at:%Y-%m-%d}</title>"
        drawn.append(f'<line class="mark" x1="{x}%" x2="{x}%" y1="7%" y2="{_BOTTOM}%">{title}</line>')
        if x - last >= _CLOSE:
            drawn.append(f'<text class="mark-word middle" x="{x}%" y="5.5%">v{mark.version}</text>')
            last = x
    return drawn


def _limit(line: Timeline, place: _Place) -> list[str]:
    """From where the version in use began: the limit is beside its first month."""
    if line.limit is None or not scales.can_be_drawn(line.limit):
        return []
    y = place.y(line.limit)
    x = max((place.x(mark.at) for mark in line.marks), default=_LEFT)
    title = f"<title>{escape(line.limit_words)} {escape(number(line.limit))}</title>"
    return [f'<line class="limit" x1="{x}%" x2="100%" y1="{y}%" y2="{y}%">{title}</line>']


def _runs(days: Sequence[Performance]) -> list[list[Performance]]:
    """The days in pieces without a gap."""
    known = [day for day in days if scales.can_be_drawn(day.value)]
    pieces: list[list[Performance]] = [known[:1]] if known else []
    for before, day in itertools.pairwise(known):
        if day.day - before.day > _GAP:
            pieces.append([])
        pieces[-1].append(day)
    return pieces


def _band(days: Sequence[Performance], place: _Place, kind: str = "band") -> str:
    drawn = ""
    for run in _runs([day for day in days if scales.can_be_drawn(day.low, day.high)]):
        upper = [place.point(day.day, day.high) for day in run]
        lower = [place.point(day.day, day.low) for day in reversed(run)]
        drawn += f'<polygon class="{kind}" points="{" ".join(upper + lower)}"/>'
    return drawn


def _lines(days: Sequence[Performance], place: _Place, kind: str) -> str:
    drawn = ""
    for run in _runs(days):
        points = " ".join(place.point(day.day, day.value) for day in run)
        drawn += f'<polyline class="course {kind}" points="{points}"/>'
    return drawn


def _whiskers(days: Sequence[Performance], place: _Place) -> list[str]:
    return [
        f'<line class="whisker" x1="{place.x(d.day)}%" x2="{place.x(d.day)}%" '
        f'y1="{place.y(d.low)}%" y2="{place.y(d.high)}%"/>'
        for d in days
        if scales.can_be_drawn(d.low, d.high)
    ]


def _dots(days: Sequence[Performance], place: _Place, kind: str, *, every: bool) -> list[str]:
    """A dot a day; where these would touch, of days alone only, which no line shows."""
    return [_dot(day, place, kind) for run in _runs(days) if every or len(run) == 1 for day in run]


def _dot(day: Performance, place: _Place, kind: str) -> str:
    said = f"{day.day:%Y-%m-%d}, version {day.version}: {number(day.value)}"
    title = f"<title>{said} ({number(day.low)} to {number(day.high)}), {kind}, {day.labels:,} rows</title>"
    x, y = place.x(day.day), place.y(day.value)
    if kind == "measured":
        return f'<circle class="dot measured" cx="{x}%" cy="{y}%" r="3">{title}</circle>'
    return (
        f'<svg x="{x}%" y="{y}%" overflow="visible"><rect class="dot estimated" x="-3" y="-3" '
        f'width="6" height="6">{title}</rect></svg>'
    )
